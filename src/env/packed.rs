//! The tasks of a split, packed: only those at hand take the room of their trees.
//!
//! A task is some kilobytes as it is worked with, and made again it costs as much as the rest of its item. Packed it is a
//! tenth of that, and a block of neighbours opens in the time that one of them takes to be made.

use super::{Env, Hidden, Task};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Tasks that are packed, and opened, together.
const BLOCK: usize = 64;
/// Blocks that stay open, at least: rows come mostly in the order of tasks, a few blocks at a time.
const OPEN: usize = 32;

#[derive(Debug)]
pub struct PackedTasks {
    blocks: Vec<Packed>,
    /// Those opened last, the newest behind.
    open: Mutex<VecDeque<(usize, Block)>>,
}

/// A block: lines of JSON, in Zstandard.
#[derive(Debug)]
struct Packed {
    raw: usize,
    coded: Box<[u8]>,
}

type Block = Arc<[Task]>;

/// A task of an open block.
#[derive(Clone, Debug)]
pub struct OpenTask {
    block: Block,
    at: usize,
}

impl Deref for OpenTask {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.block[self.at]
    }
}

impl PackedTasks {
    /// Makes every task of a split, once.
    ///
    /// # Panics
    /// As [`Env::count`].
    pub fn of(env: &Env, split: &str) -> Self {
        let count = env.count(split);
        let starts = (0..count).into_par_iter().step_by(BLOCK);
        let blocks = starts.map(|start| {
            let end = count.min(start + BLOCK as u32);
            Packed::of(&(start..end).map(|index| env.task(split, index)).collect::<Vec<_>>())
        });
        Self { blocks: blocks.collect(), open: Mutex::default() }
    }

    /// Calls with each task and its place, in parallel; what comes of them stands in the order of the tasks.
    pub fn flat_map<T: Send>(&self, of_task: impl Fn(usize, &Task) -> Vec<T> + Sync) -> Vec<T> {
        let of_block = |(block, packed): (usize, &Packed)| {
            let tasks = packed.open();
            let places = block * BLOCK..;
            places.zip(tasks.iter()).flat_map(|(place, task)| of_task(place, task)).collect::<Vec<T>>()
        };
        self.blocks.par_iter().enumerate().flat_map_iter(of_block).collect()
    }

    /// # Panics
    /// When the split has no task of this place.
    pub fn get(&self, place: usize) -> OpenTask {
        let (number, at) = (place / BLOCK, place % BLOCK);
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = lock().iter().find(|(open, _)| *open == number) {
            return OpenTask { block: block.clone(), at };
        }
        // Not under the lock: that two threads open the same one now and then is cheaper than that all wait.
        let block: Block = self.blocks[number].open().into();
        let mut open = lock();
        if !open.iter().any(|(other, _)| *other == number) {
            open.push_back((number, block.clone()));
        }
        // Each thread may be at a place of its own.
        if open.len() > OPEN.max(2 * rayon::current_num_threads()) {
            open.pop_front();
        }
        OpenTask { block, at }
    }
}

impl Packed {
    /// Two lines a task, since JSON on one line has no line's end inside: what may be seen, and what is hidden, which is text
    /// already.
    fn of(tasks: &[Task]) -> Self {
        let mut text = Vec::new();
        for Task { id, fields, hidden } in tasks {
            serde_json::to_writer(&mut text, &(id, fields)).expect("a task is plain data");
            text.extend([b"\n", hidden.as_str().as_bytes(), b"\n"].concat());
        }
        let coded = zstd::bulk::compress(&text, 1).expect("memory has room for it");
        Self { raw: text.len(), coded: coded.into() }
    }

    fn open(&self) -> Vec<Task> {
        let text = zstd::bulk::decompress(&self.coded, self.raw).expect("it was packed here");
        let text = String::from_utf8(text).expect("it was text");
        let lines: Vec<&str> = text.lines().collect();
        let task = |lines: &[&str]| {
            let (id, fields) = serde_json::from_str(lines[0]).expect("it was written here");
            Task { id, fields, hidden: Hidden(lines[1].into()) }
        };
        lines.par_chunks_exact(2).map(task).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{EnvKind, EnvSpec, Split};

    #[test]
    fn a_task_comes_out_as_it_went_in_however_it_is_asked_for() {
        let size = (BLOCK * (OPEN + 2) + 5) as u32;
        let split = |name: &str, size| Split { name: name.to_owned(), size, held_out: false };
        let splits = vec![split("train", size), split("dev", 0)];
        let env =
            Env::open(&EnvSpec { kind: EnvKind::Desk, splits, max_steps: 6 }, &crate::model::Wire::default()).unwrap();
        let (tasks, packed) = (env.tasks("train"), PackedTasks::of(&env, "train"));
        assert_eq!(packed.flat_map(|place, task| vec![(place, task.clone()); place % 3]), {
            let each = tasks.iter().cloned().enumerate();
            each.flat_map(|(place, task)| vec![(place, task); place % 3]).collect::<Vec<_>>()
        });
        // There and back, so that blocks are let go and opened again.
        let places: Vec<usize> = (0..tasks.len()).chain((0..tasks.len()).rev()).collect();
        assert!(places.par_iter().all(|&place| *packed.get(place) == tasks[place]));
        assert!(PackedTasks::of(&env, "dev").flat_map(|place, _| vec![place]).is_empty());
    }
}

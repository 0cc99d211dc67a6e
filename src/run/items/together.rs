//! Works items in groups: a model answers a group at once, and while it does a thread beside it files what it has answered.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached, or part of one. What was made waits for the disk only as far as the channel is
//! long, so that no more is held in memory than a few groups.

use super::round::{Round, Watch};
use super::{Made, WorkItems};
use crate::node::lost::Lost;
use crate::run::StepError;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

/// Items asked together.
const GROUP: usize = 64;
/// Groups that may wait to be filed.
const WAITING: usize = 2;

enum Came {
    Made(Vec<(usize, Made)>),
    Lost(usize, Lost),
}

/// # Errors
/// As [`Round::work`]; no thread can be started.
pub fn work<T: Clone + Send>(
    round: &mut Round<'_, '_, '_, '_, T>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    most: usize,
) -> Result<(), StepError> {
    let watch = round.watch();
    let (tell, hear) = mpsc::sync_channel(WAITING);
    let serve = move || {
        for came in hear {
            match came {
                Came::Made(made) => round.file(made),
                Came::Lost(at, lost) => round.lost(at, lost),
            }
        }
    };
    thread::scope(|scope| {
        let filing = thread::Builder::new().spawn_scoped(scope, serve);
        let filing = filing.map_err(|problem| StepError::Threads(problem.to_string()))?;
        let ended = ask(&watch, wanted, work, most, &tell);
        drop(tell);
        filing.join().unwrap_or_else(|panic| resume_unwind(panic));
        ended
    })
}

fn ask(
    watch: &Watch<'_>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    most: usize,
    tell: &SyncSender<Came>,
) -> Result<(), StepError> {
    // Nobody hears where filing panicked: then nothing more is asked.
    let tell = |came| tell.send(came).unwrap_or_else(|_| watch.stop());
    let groups = wanted.chunk_by(|a, b| a / GROUP == b / GROUP);
    // Between two groups a pause is looked for, and what failed is told.
    let mut queue: Vec<Vec<usize>> =
        groups.flat_map(|group| group.chunks(most.max(1))).map(<[usize]>::to_vec).collect();
    queue.reverse();
    while let Some(mut wanted) = queue.pop() {
        if watch.pauses() {
            break;
        }
        // What does not fit with the others may fit once they took less than they might have.
        let admitted = watch.admit(wanted.len())?;
        if admitted < wanted.len() {
            queue.push(wanted.split_off(admitted));
        }
        let results = work(&wanted, &watch.begin(), &mut |made| {
            made.iter().for_each(|(place, made)| watch.take(wanted[*place], made.took));
            tell(Came::Made(made.into_iter().map(|(place, made)| (wanted[place], made)).collect()));
        })?;
        for (&at, result) in wanted.iter().zip(results) {
            if let Err(lost) = result {
                watch.take(at, lost.took);
                tell(Came::Lost(at, lost));
            }
        }
    }
    Ok(())
}

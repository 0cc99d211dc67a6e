//! Works items in groups: a model answers a group at once, and while it does what it has answered is filed.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached, or part of one.

use super::WorkItems;
use super::beside::{Came, beside};
use super::round::{Round, Watch};
use crate::run::StepError;

/// Items asked together.
const GROUP: usize = 64;
/// Groups that may wait to be filed.
const WAITING: usize = 2;

/// # Errors
/// As [`Round::work`]; no thread can be started.
pub fn work<T: Clone + Send>(
    round: &mut Round<'_, '_, '_, '_, T>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    most: usize,
) -> Result<(), StepError> {
    beside(round, WAITING, |watch, tell| ask(watch, wanted, work, most, tell))
}

fn ask(
    watch: &Watch<'_>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    most: usize,
    tell: &dyn Fn(Came),
) -> Result<(), StepError> {
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

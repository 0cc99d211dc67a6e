//! Works items in groups: a model answers a group at once, and while it does what it has answered is filed.
//!
//! # Invariants
//! A group is a range of item indices, whatever is cached, or part of one.

use super::WorkItems;
use super::beside::Came;
use super::round::Watch;
use crate::run::StepError;

/// Items asked together.
const GROUP: usize = 64;
/// Groups that may wait to be filed.
pub const WAITING: usize = 2;

/// # Errors
/// What of a group ends the round.
pub fn ask(
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

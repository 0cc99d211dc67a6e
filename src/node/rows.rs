//! Turns a trajectory with its verdict into the row that a rule sees.

use super::spec::Verdict;
use super::trajectory::Trajectory;
use crate::env::{Task, Truth};
use crate::select::Row;

/// `truth` is given only where the file says `unstable(oracle)`.
pub fn row(
    task: &Task,
    trajectory: &Trajectory,
    verdict: Option<&Verdict>,
    truth: Option<&Truth>,
    iteration: u32,
) -> Row {
    let _ = (task, trajectory, verdict, truth, iteration);
    todo!()
}

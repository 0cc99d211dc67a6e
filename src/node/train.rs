//! Turns kept trajectories and static data into training rows, and a declared recipe into one iteration's.

use super::spec::TrainerSpec;
use crate::base::Seed;
use crate::model::{TrainConfig, TrainRow};

/// One kept trajectory's own ids.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRow {
    pub task: String,
    pub sample: u32,
    pub iteration: u32,
    pub row: TrainRow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    #[error("there is no row to train on")]
    NoRows,
    #[error("none of the {0} rows has a token to learn")]
    NothingToLearn(usize),
    #[error("{0} % of other rows leaves no room for any of its own")]
    Share(u32),
}

/// The recipe at one iteration (from 1; 0 outside a loop).
pub fn config(spec: &TrainerSpec, iteration: u32) -> TrainConfig {
    let _ = (spec, iteration);
    todo!()
}

/// How many mixed rows make `share` of all beside `own` rows.
pub fn mixed_count(own: usize, share: f64) -> Result<usize, AssembleError> {
    let _ = (own, share);
    todo!()
}

/// Which of `available` rows are drawn, ascending, without replacement; all when there are not enough.
pub fn draw(available: usize, count: usize, seed: Seed) -> Vec<usize> {
    let _ = (available, count, seed);
    todo!()
}

/// Own rows by (task, sample, iteration), then the mixed ones as drawn.
///
/// # Errors
/// No row, or none with a token to learn.
pub fn assemble(own: Vec<KeptRow>, mixed: Vec<TrainRow>) -> Result<Vec<TrainRow>, AssembleError> {
    let _ = (own, mixed);
    todo!()
}

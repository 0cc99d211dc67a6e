//! Turns kept trajectories and static data into training rows.
//!
//! # Invariants
//! The order of rows is that of tasks and samples: how the selection ordered them, and when they finished, never shows.

use crate::base::Seed;
use crate::model::TrainRow;

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
    #[error("{0} % of other rows leaves no room for rows of its own")]
    Share(u32),
}

/// How many mixed rows make `share` of all beside `own` rows: `own · share / (1 − share)`, to the nearest.
///
/// # Errors
/// A share that is not in `0..1`.
pub fn mixed_count(own: usize, share: f64) -> Result<usize, AssembleError> {
    if !(0.0..1.0).contains(&share) {
        return Err(AssembleError::Share((share * 100.0).round() as u32));
    }
    Ok((own as f64 * share / (1.0 - share)).round() as usize)
}

/// Which of `available` rows are drawn, ascending, without replacement; all when there are not enough.
pub fn draw(available: usize, count: usize, seed: Seed) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..available).collect();
    let count = count.min(available);
    let mut rng = seed.rng();
    for place in 0..count {
        indices.swap(place, place + rng.below(available - place));
    }
    indices.truncate(count);
    indices.sort_unstable();
    indices
}

/// Own rows by (task, sample, iteration), then the mixed ones as drawn.
///
/// # Errors
/// No row, or none with a token to learn.
pub fn assemble(mut own: Vec<KeptRow>, mixed: Vec<TrainRow>) -> Result<Vec<TrainRow>, AssembleError> {
    own.sort_by(|a, b| (&a.task, a.sample, a.iteration).cmp(&(&b.task, b.sample, b.iteration)));
    let rows: Vec<TrainRow> = own.into_iter().map(|kept| kept.row).chain(mixed).collect();
    // The first token is never predicted, so a mark on it alone teaches nothing.
    let teaches = |row: &TrainRow| row.learn.iter().skip(1).any(|learn| *learn);
    if rows.is_empty() {
        Err(AssembleError::NoRows)
    } else if !rows.iter().any(teaches) {
        Err(AssembleError::NothingToLearn(rows.len()))
    } else {
        Ok(rows)
    }
}

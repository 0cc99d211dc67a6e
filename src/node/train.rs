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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(id: u32, learn: bool) -> TrainRow {
        TrainRow { tokens: vec![0, id], learn: vec![false, learn] }
    }

    fn kept(task: &str, sample: u32, iteration: u32, id: u32) -> KeptRow {
        KeptRow { task: task.to_owned(), sample, iteration, row: row(id, true) }
    }

    #[test]
    fn rows_stand_by_task_and_sample_and_mixed_ones_after() {
        let own = vec![kept("b", 0, 1, 3), kept("a", 1, 2, 2), kept("a", 1, 1, 1), kept("a", 0, 2, 0)];
        let rows = assemble(own, vec![row(9, false), row(8, true)]).unwrap();
        assert_eq!(rows.iter().map(|row| row.tokens[1]).collect::<Vec<_>>(), [0, 1, 2, 3, 9, 8]);
    }

    #[test]
    fn there_must_be_something_to_learn() {
        assert_eq!(assemble(Vec::new(), Vec::new()), Err(AssembleError::NoRows));
        assert_eq!(assemble(Vec::new(), vec![row(1, false)]), Err(AssembleError::NothingToLearn(1)));
        let first_only = TrainRow { tokens: vec![1, 2], learn: vec![true, false] };
        assert_eq!(assemble(Vec::new(), vec![first_only]), Err(AssembleError::NothingToLearn(1)));
    }

    #[test]
    fn a_quarter_of_all_is_a_third_of_ones_own() {
        assert_eq!(mixed_count(30, 0.25), Ok(10));
        assert_eq!((mixed_count(30, 0.0), mixed_count(0, 0.5)), (Ok(0), Ok(0)));
        assert_eq!(mixed_count(30, 1.0), Err(AssembleError::Share(100)));
        assert!(mixed_count(30, f64::NAN).is_err() && mixed_count(30, -0.1).is_err());
    }

    proptest! {
        #[test]
        fn a_draw_is_a_set_of_the_wanted_size(available in 0usize..50, count in 0usize..60, seed: u64) {
            let drawn = draw(available, count, Seed(seed));
            prop_assert_eq!(drawn.len(), count.min(available));
            prop_assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.iter().all(|at| *at < available));
        }
    }

    #[test]
    fn draws_are_fair() {
        let mut counts = [0usize; 10];
        (0..5000).for_each(|seed| draw(10, 3, Seed(seed)).into_iter().for_each(|at| counts[at] += 1));
        assert!(counts.iter().all(|count| (1350..1650).contains(count)), "{counts:?}");
    }
}

//! Files and tells what comes of items on a thread of its own, while others are asked.
//!
//! # Invariants
//! It is filed and told in the order in which it came. What was made waits for the disk only as far as the channel is long.

use super::Made;
use super::round::{Round, Watch};
use crate::node::lost::Lost;
use crate::run::StepError;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

/// What comes of items, by their places.
pub enum Came {
    Made(Vec<(usize, Made)>),
    Lost(usize, Lost),
    /// The round is over.
    Trouble(StepError),
}

/// Runs `ask`, which tells what comes; `waiting` of it may wait to be filed.
///
/// # Errors
/// Those of `ask`; no thread can be started. What ended the round is the round's to say.
pub fn beside<T: Clone + Send>(
    round: &mut Round<'_, '_, '_, '_, T>,
    waiting: usize,
    ask: impl FnOnce(&Watch<'_>, &dyn Fn(Came)) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let watch = round.watch();
    let (tell, hear) = mpsc::sync_channel(waiting);
    let serve = move || {
        while let Ok(first) = hear.recv() {
            // What came meanwhile is one write.
            let mut made = Vec::new();
            for came in std::iter::once(first).chain(hear.try_iter().take(waiting)) {
                match came {
                    Came::Made(more) => made.extend(more),
                    Came::Lost(at, lost) => {
                        round.file(std::mem::take(&mut made));
                        round.lost(at, lost);
                    }
                    Came::Trouble(trouble) => round.stop(trouble),
                }
            }
            round.file(made);
        }
    };
    thread::scope(|scope| {
        let filing = thread::Builder::new().spawn_scoped(scope, serve);
        let filing = filing.map_err(|problem| StepError::Threads(problem.to_string()))?;
        // Nobody hears where filing panicked: then nothing more is asked.
        let ended = ask(&watch, &|came| tell.send(came).unwrap_or_else(|_| watch.stop()));
        drop(tell);
        filing.join().unwrap_or_else(|panic| resume_unwind(panic));
        ended
    })
}

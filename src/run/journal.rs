//! Turns events into `journal.jsonl` and back: append-only, one event a line, each line chained to the one before by its
//! BLAKE3 digest.

use crate::run::{RunError, RunEvent};
use std::path::Path;

/// The events of a journal with their times (milliseconds since the Unix epoch). A torn last line, as a kill leaves it, is
/// not read.
///
/// # Errors
/// A file that cannot be read, a line that is not an event, a broken chain.
pub fn read(path: &Path) -> Result<Vec<(u64, RunEvent)>, RunError> {
    let _ = path;
    todo!()
}

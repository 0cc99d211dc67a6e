//! Where events go: the journal first, then whoever watches.

use crate::run::journal::Writer;
use crate::run::{Clock, RunError, RunEvent};

pub struct Emitter<'a> {
    journal: Writer,
    clock: Clock<'a>,
    sink: &'a mut (dyn FnMut(&RunEvent) + Send),
    error: Option<RunError>,
}

impl<'a> Emitter<'a> {
    pub fn new(journal: Writer, clock: Clock<'a>, sink: &'a mut (dyn FnMut(&RunEvent) + Send)) -> Self {
        Self { journal, clock, sink, error: None }
    }

    /// A journal that cannot be written ends the run at the next [`Emitter::check`]: nothing happens unrecorded.
    pub fn emit(&mut self, event: &RunEvent) {
        if self.error.is_some() {
            return;
        }
        match self.journal.write((self.clock)(), event) {
            Ok(()) => (self.sink)(event),
            Err(error) => self.error = Some(error),
        }
    }

    pub fn progress(&mut self, node: &str, done: u64, total: u64, note: String) {
        self.emit(&RunEvent::Progress { node: node.to_owned(), done, total, note });
    }

    pub fn broken(&self) -> bool {
        self.error.is_some()
    }

    pub fn check(&mut self) -> Result<(), RunError> {
        self.error.take().map_or(Ok(()), Err)
    }

    pub fn flush(&mut self) -> Result<(), RunError> {
        self.check()?;
        self.journal.flush()
    }
}

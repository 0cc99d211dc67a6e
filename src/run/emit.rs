//! Where events go: the journal first, then whoever watches.

use crate::run::journal::Writer;
use crate::run::{Clock, RunError, RunEvent};
use crate::store::Store;
use std::collections::BTreeSet;

/// Damaged files that are told one by one.
const FEW: usize = 3;

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
        self.emit_all(std::slice::from_ref(event));
    }

    /// Events that happened together are written at once.
    pub fn emit_all(&mut self, events: &[RunEvent]) {
        if self.error.is_some() {
            return;
        }
        match self.journal.write((self.clock)(), events) {
            Ok(()) => events.iter().for_each(|event| (self.sink)(event)),
            Err(error) => self.error = Some(error),
        }
    }

    pub fn clock(&self) -> Clock<'a> {
        self.clock
    }

    /// Tells what the store found damaged since it was last asked: each by name, of a flood the first few.
    pub fn tell_damage(&mut self, store: &Store) {
        let damage = store.take_damage();
        if damage.len() <= FEW {
            damage.iter().for_each(|damage| self.emit(&RunEvent::DamageFound { what: damage.to_string() }));
            return;
        }
        let paths: BTreeSet<_> = damage.iter().map(|damage| &damage.path).collect();
        let named: Vec<String> = paths.iter().take(FEW).map(|path| path.display().to_string()).collect();
        let more = if paths.len() > FEW { ", …" } else { "" };
        let what = format!(
            "{} places in the store are damaged; they count as missing and are made again: {}{more}",
            damage.len(),
            named.join(", ")
        );
        self.emit(&RunEvent::DamageFound { what });
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

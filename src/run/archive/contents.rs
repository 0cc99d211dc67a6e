//! Turns a run as it was worked into the blobs and records that it consists of.
//!
//! # Invariants
//! A result or record that is named and not there is an error. Of steps that gave no result, what their items left.

use crate::base::Digest;
use crate::run::manifest::{RowEntry, RowSet};
use crate::run::worked::Worked;
use crate::run::{ItemOutcome, Project, RunError, RunEvent};
use crate::store::Record;
use std::collections::{BTreeMap, BTreeSet};

/// All that a run's journal leads to.
#[derive(Debug, Default)]
pub struct Contents {
    pub blobs: BTreeSet<Digest>,
    pub records: BTreeMap<Digest, Record>,
}

impl Contents {
    /// # Errors
    /// A record or a set of rows that cannot be read.
    pub fn of(project: &Project, worked: &Worked) -> Result<Self, RunError> {
        let mut contents = Self::default();
        for made in &worked.steps {
            let node = &worked.step(made).id;
            let untrue = |what: &str| RunError::Untrue { node: node.clone(), what: what.to_owned() };
            let lost = || untrue("there is no record of its key: it was lost, or made by another agx");
            contents.blobs.insert(made.output);
            contents.blobs.extend(made.manifest.blobs());
            // A step that does without some items has no record: they are tried again.
            if !contents.take(project, &made.key)? && made.manifest.missing.is_empty() {
                return Err(lost());
            }
            for item in &made.manifest.items {
                let is_made = matches!(item.outcome, ItemOutcome::Done { .. } | ItemOutcome::Unparsed { .. });
                if !contents.take(project, &item.key)? && is_made {
                    return Err(lost());
                }
            }
            if let Some(rows) = made.manifest.output.filter(|_| made.has_rows()) {
                let bytes = project.store.get(&rows)?;
                let rows: RowSet = serde_json::from_slice(&bytes).map_err(|_| untrue("its rows cannot be read"))?;
                contents.blobs.extend(rows.rows.into_iter().chain(rows.dropped).flat_map(RowEntry::blobs));
            }
        }
        for (_, event) in &worked.events {
            if let RunEvent::ItemFinished { key, .. } | RunEvent::ItemCached { key, .. } = event {
                contents.take(project, key)?;
            }
        }
        Ok(contents)
    }

    /// A record with what it names; `false` where there is none.
    fn take(&mut self, project: &Project, key: &Digest) -> Result<bool, RunError> {
        if self.records.contains_key(key) {
            return Ok(true);
        }
        let Some(record) = project.store.lookup(key)? else { return Ok(false) };
        self.blobs.extend(record.blobs());
        self.records.insert(*key, record);
        Ok(true)
    }
}

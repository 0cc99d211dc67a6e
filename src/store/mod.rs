//! Turns bytes into digests and back: a content-addressed store on disk that several runs share without locks.
//!
//! ```text
//! .agx/
//!   cas/ab/cdef…            blobs by blake3, write-once
//!   records/kk/<key>        what was made from which recipe
//!   divergences/kk/<key>.…  a second result for one key, kept to be looked at
//!   runs/<id>/              what belongs to one run (written by the run, not by this floor)
//! ```
//!
//! [`Store`] is the entry. [`Store::put`] and [`Store::get`] move blobs, [`Store::record`] and [`Store::lookup`] records,
//! [`Store::load`] both at once: the finished item or nothing.
//!
//! # Invariants
//! What is read is what was written, or it is reported as damage: every blob is hashed again and every record's checksum
//! compared on each read. Nothing here is ever changed in place. Nothing here deletes.
//!
//! # Durability
//! Every file is written beside its place and renamed into it, so a killed process leaves whole files only. An item's
//! small blob and record are not flushed to the disk one by one (milliseconds each): after a power cut one of them may be
//! torn, which the next read notices, and that item is worked again. Blobs of [`FLUSHED`] bytes or more (weights, whole
//! data sets: few, dear) and the records that name them are flushed before the rename.

pub mod blob;
pub mod error;
pub mod record;
pub mod verify;

#[cfg(test)]
mod tests;

pub use blob::{FLUSHED, Store};
pub use error::{Damage, StoreError};
pub use record::{Divergence, Record, RunLabel};
pub use verify::Health;

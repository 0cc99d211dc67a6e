//! Turns bytes into digests and back: a content-addressed store on disk that several processes share.
//!
//! ```text
//! .agx/
//!   packs/                 small blobs, and records: what was made from which recipe
//!   cas/ab/cdef…           large blobs by BLAKE3, a file each
//!   divergences/kk/<key>.… a second result for one key, kept to be looked at
//!   runs/<id>/             what belongs to one run (written by the run, not by this floor)
//! ```
//!
//! [`Store`] is the entry. [`Store::put`] and [`Store::get`] move blobs, [`Store::record`] and [`Store::lookup`] records,
//! [`Store::load`] both at once: the finished item or nothing.
//!
//! Packs rather than an embedded database: a flipped bit costs one item and is told by name, where it may cost a database
//! all that stands behind a page; a store lies on whatever file system locks a file; and appending is all that is needed.
//!
//! # Invariants
//! What is read is what was written, or it is reported as damage: every blob is hashed again and every record's checksum
//! compared on each read. Nothing is changed in place but damage. Only [`Sweep::keep`] deletes.
//!
//! # Durability
//! An entry of a pack is whole or it is none, and a large blob is written beside its place and renamed into it, so a killed
//! process loses what it was writing and nothing else. Small entries are not flushed to the disk one by one (milliseconds
//! each): after a power cut some may be torn, which the next read notices, and these items are worked again. Blobs of
//! [`LARGE`] bytes or more (weights, whole data sets: few, dear) and the records that name them are flushed; all is where a run
//! ends or pauses, before its journal says so.

mod batch;
pub mod blob;
mod entry;
pub mod error;
mod large;
mod pack;
mod packs;
pub mod record;
mod sweep;
pub mod verify;

#[cfg(test)]
mod tests;

pub use blob::{LARGE, Loaded, Store};
pub use error::{Damage, StoreError};
pub use record::{Divergence, Record, RunLabel};
pub use sweep::Sweep;
pub use verify::Health;

//! What each kind of node does: its typed configuration, its items, and how they are worked.
//!
//! One file a kind (rollout, judge, select, audit, calibrate, train, evaluate, gate, pick). Plain data shared by them is in
//! [`spec`], [`template`] and [`trajectory`]; what identifies a piece of work is in [`key`], what is done about one that fails
//! in [`tolerance`].
//!
//! # Invariants
//! Nothing here reads a file, a clock or a random source, and nothing here stores: a finished item is handed to the caller
//! at once. Ground truth reaches [`audit`], [`calibrate`], [`evaluate`] and (marked) [`labels`], nothing else.

pub mod spec;
pub mod fence;
pub mod template;
pub mod trajectory;
pub mod key;
pub mod metric;
pub mod tolerance;
pub mod lost;
pub mod reasons;
pub mod rollout;
pub mod answer;
pub mod ballot;
pub mod judge;
pub mod compare;
pub mod labels;
pub mod calibrate;
pub mod roc;
pub mod rows;
pub mod audit;
pub mod train;
pub mod evaluate;
pub mod gate;
pub mod written;
pub mod pick;

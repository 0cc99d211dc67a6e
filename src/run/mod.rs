//! (to be written: Plan → RunEvent*)

pub mod event;

pub use event::{ItemCounts, ItemOutcome, Metric, NodeInfo, NodeStatus, PauseReason, RunEvent, RunLabel};

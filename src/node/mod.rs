//! What each kind of node does: its typed configuration, its items, and how they are worked.
//!
//! One file a kind (rollout, judge, select, audit, calibrate, train, evaluate, gate, pick). Plain data shared by them is in
//! [`spec`], [`template`] and [`trajectory`].

pub mod spec;
pub mod template;
pub mod trajectory;

//! agx: a declarative language and runner for training LLM agents without expert trajectories and without a definitive
//! reward.
//!
//! `Source → Ast → Experiment → Plan → RunEvent* → Report`: one floor an arrow, one folder a floor. `ARCHITECTURE.md` has
//! the map. A module imports only what stands before it in this list.

pub mod base;
pub mod model;
pub mod store;
pub mod env;
pub mod select;
pub mod node;
pub mod syntax;
pub mod experiment;
pub mod plan;
pub mod editor;
pub mod run;
pub mod report;
pub mod serve;
pub mod cli;

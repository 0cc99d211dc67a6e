//! (to be written: Ast → Experiment)

pub mod model;

pub use model::*;

//! What the generator and the trainer ask of whatever computes: the processor's kernels, or a GPU's.
//!
//! # Shapes
//! As [`decoder`](super::decoder) has them.

use super::checkpoint::State;
use super::config::Shape;
use super::kernels::Buffer;
use super::ops::{Dropout, Goal, Segments};
use candle_core::Result;

/// What answers.
pub trait Engine: Send + Sync {
    /// Keys and values of one sequence, in all layers. A clone shares what is there.
    type Cache: Clone + Send + Sync;

    fn shape(&self) -> &Shape;

    /// Of a sequence that has no row yet.
    fn cache(&self) -> Self::Cache;

    /// Forgets all rows from `len` on.
    fn truncate(cache: &mut Self::Cache, len: usize);

    /// What a row of a sequence takes in its cache.
    fn row_bytes(&self) -> usize;

    /// Bytes that are free where caches lie, where that is not this machine's own memory.
    fn room(&self) -> Option<u64> {
        None
    }

    /// The logits of the chosen ones of rows that go on from what their sequences' caches hold, and are added there; `positions`
    /// is each row's place in its sequence.
    ///
    /// # Panics
    /// A token outside the vocabulary, a position past those that the engine was made for.
    fn advance(
        &self,
        ids: &[u32],
        segments: Segments,
        positions: Vec<u32>,
        caches: &mut [&mut Self::Cache],
        chosen: &[usize],
    ) -> Result<Buffer>;
}

/// What learns: a decoder, its variables and their optimiser.
pub trait Learner: Send {
    /// The loss of whole sequences, side by side; its gradients are added to those of this step.
    ///
    /// # Errors
    /// A target outside the vocabulary.
    fn learn(&mut self, ids: &[u32], segments: Segments, goal: &Goal, way: &Way) -> Result<f64>;

    /// The norm over the gradients of this step.
    ///
    /// # Errors
    /// Names the first variable that has none.
    fn norm(&mut self) -> Result<f64>;

    /// Ends the step: gradients times `scale` move the variables at learning rate `lr`.
    fn update(&mut self, lr: f64, scale: f64) -> Result<()>;

    /// All that the next step goes on from.
    fn state(&self) -> Result<State>;

    /// # Errors
    /// A state of other variables.
    fn restore(&mut self, state: State) -> Result<()>;
}

/// How a gradient is worked, beside what of.
pub struct Way {
    pub dropout: Option<Dropout>,
    /// Whether of a layer only what goes in is kept until its gradient is due, and the rest computed again (Chen et al. 2016).
    pub recompute: bool,
}

//! Stands for a GPU that is not here: whoever plans, or proves what is recorded, needs of its model the tokenizer alone.

use crate::model::local::config::Shape;
use crate::model::local::engine::Engine;
use crate::model::local::kernels::Buffer;
use crate::model::local::ops::Segments;
use candle_core::{Error, Result};

/// Answers nothing, and says why.
pub struct Absent {
    shape: Shape,
    why: String,
}

impl Absent {
    pub fn new(shape: Shape, why: String) -> Self {
        Self { shape, why }
    }
}

impl Engine for Absent {
    type Cache = ();

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn cache(&self) {}

    fn truncate((): &mut (), _: usize) {}

    fn row_bytes(&self) -> usize {
        1
    }

    fn advance(&self, _: &[u32], _: Segments, _: Vec<u32>, _: &mut [&mut ()], _: &[usize]) -> Result<Buffer> {
        Err(Error::msg(&self.why))
    }
}

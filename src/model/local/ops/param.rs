//! A weight as the operations see it: its value, and where its gradient collects.
//!
//! # Invariants
//! Gradients are added in the order in which the backward pass comes by: those of a batch's chunks go on from one another.

use super::floats;
use super::kernels::{Buffer, zeros};
use candle_core::{Result, Tensor, bail};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the gradient of one variable collects, from its first part on.
#[derive(Clone, Default)]
pub struct Slot(Arc<Mutex<Option<Buffer>>>);

impl Slot {
    /// What was collected; the next part begins anew.
    pub fn take(&self) -> Option<Buffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Clone)]
pub struct Param {
    value: Tensor,
    slot: Option<Slot>,
}

impl Param {
    /// One that never changes, or with a `slot` one that learns.
    ///
    /// # Errors
    /// A tensor that is not contiguous f32 on the CPU.
    pub fn new(value: &Tensor, slot: Option<Slot>) -> Result<Self> {
        if floats(value)?.len() != value.elem_count() {
            bail!("a weight is not whole");
        }
        Ok(Self { value: value.clone(), slot })
    }

    pub fn dims(&self) -> &[usize] {
        self.value.dims()
    }

    /// The numbers, row by row.
    pub fn value(&self) -> impl Deref<Target = [f32]> + '_ {
        floats(&self.value).expect("seen when it was made")
    }

    /// Lets `add` add to the gradient, where there is one.
    pub fn learn(&self, add: impl FnOnce(&mut [f32])) {
        if let Some(Slot(slot)) = &self.slot {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            add(slot.get_or_insert_with(|| zeros(self.value.elem_count())));
        }
    }
}

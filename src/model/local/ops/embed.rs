//! Turns ids into rows of a table.
//!
//! # Invariants
//! The gradient of a table adds rows one after another, in the order of the ids.

use super::kernels::rows;
use super::{floats, isa, slice, tensor};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// Rows of `table` `[vocab, width]` by id. The backward pass adds row after row, in order.
pub fn embed(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    let vocab = table.dims2()?.0;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        bail!("embed: id {id} is past the table's {vocab} rows");
    }
    table.contiguous()?.apply_op1(Embed { ids: ids.to_vec() })
}

/// Rows of `x`, in the order of `rows`; to ask for the logits of last positions alone.
pub fn select_rows(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let ids = rows.iter().map(|&row| u32::try_from(row).map_err(candle_core::Error::wrap));
    embed(x, &ids.collect::<Result<Vec<_>>>()?)
}

struct Embed {
    ids: Vec<u32>,
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.shape().dims2()?.1;
        let table = slice(table, layout)?;
        let mut out = Vec::with_capacity(self.ids.len() * width);
        for &id in &self.ids {
            out.extend_from_slice(&table[id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(out), (self.ids.len(), width).into()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (vocab, width) = table.dims2()?;
        let grad = grad.contiguous()?;
        let mut out = vec![0.0; vocab * width];
        for (&id, grad) in self.ids.iter().zip(floats(&grad)?.chunks(width.max(1))) {
            rows::add(isa(), grad, &mut out[id as usize * width..][..width]);
        }
        Ok(Some(tensor(out, (vocab, width))?))
    }
}

//! Turns hidden rows into those after one layer of a decoder: attention, then the feed-forward part, each over a norm and
//! beside a residual sum.
//!
//! What lies between the products is computed again in the backward pass where that is cheap, and nothing is copied on the way.
//!
//! # Invariants
//! A row's result depends on its own sequence alone.

use super::kernels::{Buffer, attention};
use super::{Dropout, Heads, KvCache, Linear, Norm, RopeTables, Segments, add_onto, isa, swiglu, swiglu_back};
use std::sync::Arc;

pub struct Layer {
    pub heads: Heads,
    pub attention_norm: Norm,
    /// Of each head's queries and keys.
    pub query_norm: Option<Norm>,
    pub key_norm: Option<Norm>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub mlp_norm: Norm,
    pub gate: Linear,
    pub up: Linear,
    pub down: Linear,
}

/// What the rows of one pass through a decoder have in common.
pub struct Pass {
    pub segments: Segments,
    /// Each row's place in its sequence.
    pub positions: Vec<u32>,
    pub tables: Arc<RopeTables>,
    pub dropout: Option<Dropout>,
}

/// What the backward pass needs of the forward pass.
pub struct Saved {
    query: Turned,
    key: Turned,
    value: Buffer,
    seen: Buffer,
    middle: Buffer,
    gate: Buffer,
    up: Buffer,
}

/// Queries or keys.
struct Turned {
    rows: Buffer,
    /// What they were before their norm, where they have one.
    plain: Option<Buffer>,
}

impl Turned {
    fn new(rows: Buffer, norm: Option<&Norm>, pass: &Pass) -> Self {
        match norm {
            None => Self { rows: pass.tables.turn(&rows, &pass.positions, 1.0), plain: None },
            Some(norm) => {
                Self { rows: pass.tables.turn(&norm.forward(&rows), &pass.positions, 1.0), plain: Some(rows) }
            }
        }
    }

    fn backward(&self, grad: &[f32], norm: Option<&Norm>, pass: &Pass) -> Buffer {
        let grad = pass.tables.turn(grad, &pass.positions, -1.0);
        match (norm, &self.plain) {
            (Some(norm), Some(plain)) => norm.backward(plain, &grad, None),
            _ => grad,
        }
    }
}

impl Layer {
    /// The rows after the layer, `[rows, width]` as those before. Each segment is a whole sequence; with `caches`, it goes on from
    /// what its cache holds, and is added there.
    pub fn forward(&self, x: &[f32], pass: &Pass, caches: Option<&mut [&mut KvCache]>) -> (Buffer, Saved) {
        let (dropout, segments) = (pass.dropout.as_ref(), pass.segments.ranges());
        let normed = self.attention_norm.forward(x);
        let query = Turned::new(self.query.forward(&normed, dropout), self.query_norm.as_ref(), pass);
        let key = Turned::new(self.key.forward(&normed, dropout), self.key_norm.as_ref(), pass);
        let value = self.value.forward(&normed, dropout);
        drop(normed);
        let seen = match caches {
            None => attention::forward(isa(), self.heads, &query.rows, &key.rows, &value, segments),
            Some(caches) => attention::cached(isa(), self.heads, &query.rows, &key.rows, &value, segments, caches),
        };
        let mut middle = self.output.forward(&seen, dropout);
        add_onto(&mut middle, x);
        let normed = self.mlp_norm.forward(&middle);
        let (gate, up) = (self.gate.forward(&normed, dropout), self.up.forward(&normed, dropout));
        drop(normed);
        let mut out = self.down.forward(&swiglu(&gate, &up), dropout);
        add_onto(&mut out, &middle);
        (out, Saved { query, key, value, seen, middle, gate, up })
    }

    /// The gradient to `x` from that to the result; those to the weights collect in their slots.
    pub fn backward(&self, x: &[f32], saved: Saved, grad: &[f32], pass: &Pass) -> Buffer {
        let Saved { query, key, value, seen, middle, gate, up } = saved;
        let (dropout, segments) = (pass.dropout.as_ref(), pass.segments.ranges());
        let dproduct = self.down.backward(&swiglu(&gate, &up), grad, dropout, None);
        let [dgate, dup] = swiglu_back(&gate, &up, &dproduct);
        drop((gate, up, dproduct));
        let normed = self.mlp_norm.forward(&middle);
        let dnormed = self.gate.backward(&normed, &dgate, dropout, None);
        let dnormed = self.up.backward(&normed, &dup, dropout, Some(dnormed));
        drop((dgate, dup));
        let dmiddle = self.mlp_norm.backward(&middle, &dnormed, Some(grad));
        let dseen = self.output.backward(&seen, &dmiddle, dropout, None);
        let [dquery, dkey, dvalue] =
            attention::backward(isa(), self.heads, &query.rows, &key.rows, &value, &dseen, segments);
        let dquery = query.backward(&dquery, self.query_norm.as_ref(), pass);
        let dkey = key.backward(&dkey, self.key_norm.as_ref(), pass);
        let normed = self.attention_norm.forward(x);
        let dnormed = self.query.backward(&normed, &dquery, dropout, None);
        let dnormed = self.key.backward(&normed, &dkey, dropout, Some(dnormed));
        let dnormed = self.value.backward(&normed, &dvalue, dropout, Some(dnormed));
        self.attention_norm.backward(x, &dnormed, Some(&dmiddle))
    }
}

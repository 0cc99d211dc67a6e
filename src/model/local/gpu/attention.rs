//! Turns queries into what they see, for sequences of any lengths at once.
//!
//! Rows are packed, but a product of many small matrices wants them of one size: sequences go in companies of about the same
//! lengths, padded with rows that are thrown away and keys that are masked. Nothing else is ever padded.

use super::pool::Tables;
use crate::model::local::ops::Heads;
use candle_core::{D, DType, Device, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How many times what they need the scores of a company may take.
const WASTE: usize = 2;

/// Who sees what, in one pass.
pub struct Sight {
    companies: Vec<Company>,
    /// For each packed row, its place among the rows of all companies.
    back: Tensor,
}

struct Company {
    sequences: usize,
    rows: usize,
    keys: usize,
    /// `[sequences · rows]`: packed rows.
    queries: Tensor,
    /// `[sequences · kv_heads · keys]`: rows of the tables.
    places: Tensor,
    /// By window `[sequences, 1, 1, rows, keys]`: 0 where a query sees a key, −∞ elsewhere.
    masks: BTreeMap<Option<usize>, Tensor>,
}

/// A sequence's rows in the pass and all its keys' rows in the tables.
struct Member<'a> {
    rows: Range<usize>,
    keys: &'a [u32],
}

impl Sight {
    /// `keys` are the places of each segment's keys, those of its own rows last; `layers` differ in their windows alone.
    pub fn new(segments: &[Range<usize>], keys: &[Vec<u32>], layers: &[Heads], device: &Device) -> Result<Self> {
        let mut members: Vec<Member> =
            segments.iter().zip(keys).map(|(rows, keys)| Member { rows: rows.clone(), keys }).collect();
        members.sort_by_key(|member| (member.rows.len(), member.keys.len()));
        let mut back = vec![0u32; segments.last().map_or(0, |last| last.end)];
        let (mut companies, mut placed, mut rest) = (Vec::new(), 0, &members[..]);
        while !rest.is_empty() {
            let (these, others) = rest.split_at(together(rest));
            let company = Company::new(these, layers, device)?;
            for (at, member) in these.iter().enumerate() {
                for (row, place) in member.rows.clone().zip(placed + at * company.rows..) {
                    back[row] = place as u32;
                }
            }
            placed += company.sequences * company.rows;
            companies.push(company);
            rest = others;
        }
        let back = Tensor::from_vec(back, segments.last().map_or(0, |last| last.end), device)?;
        Ok(Self { companies, back })
    }

    /// `q` `[rows, heads · head_dim]`, keys and values as they lie in the tables; gives rows as those of `q`.
    pub fn attend(&self, heads: Heads, q: &Tensor, tables: &Tables) -> Result<Tensor> {
        let Heads { kv_heads, head_dim, window, .. } = heads;
        let group = heads.group();
        let see = |company: &Company| {
            let Company { sequences, rows, keys, queries, places, masks } = company;
            let (sequences, rows, keys) = (*sequences, *rows, *keys);
            let q = q.index_select(queries, 0)?.reshape((sequences, rows, kv_heads, group, head_dim))?;
            let q = q.permute((0, 2, 3, 1, 4))?.reshape((sequences * kv_heads, group * rows, head_dim))?;
            // Before the product, which half precision might not hold.
            let q = (q * (1.0 / (head_dim as f64).sqrt()))?;
            let k = tables.keys.index_select(places, 0)?.reshape((sequences * kv_heads, keys, head_dim))?;
            let v = tables.values.index_select(places, 0)?.reshape((sequences * kv_heads, keys, head_dim))?;
            let scores = q.matmul(&k.t()?)?.to_dtype(DType::F32)?;
            let scores = scores.reshape((sequences, kv_heads, group, rows, keys))?.broadcast_add(&masks[&window])?;
            let weights = softmax(&scores)?.reshape((sequences * kv_heads, group * rows, keys))?;
            let seen = weights.to_dtype(v.dtype())?.matmul(&v)?;
            let seen = seen.reshape((sequences, kv_heads, group, rows, head_dim))?.permute((0, 3, 1, 2, 4))?;
            seen.reshape((sequences * rows, kv_heads * group * head_dim))
        };
        let seen = self.companies.iter().map(see).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&seen, 0)?.index_select(&self.back, 0)
    }
}

/// How many of the first go together.
fn together(members: &[Member]) -> usize {
    let (mut rows, mut keys, mut needed) = (0, 0, 0);
    let fits = |(at, member): (usize, &Member)| {
        rows = rows.max(member.rows.len());
        keys = keys.max(member.keys.len());
        needed += member.rows.len() * member.keys.len();
        (at + 1) * rows * keys <= WASTE * needed
    };
    members.iter().enumerate().map(fits).take_while(|fits| *fits).count().max(1)
}

impl Company {
    fn new(members: &[Member], layers: &[Heads], device: &Device) -> Result<Self> {
        let rows = members.iter().map(|member| member.rows.len()).max().unwrap_or(0);
        let keys = members.iter().map(|member| member.keys.len()).max().unwrap_or(0);
        let kv_heads = layers.first().map_or(0, |heads| heads.kv_heads);
        let (mut queries, mut places) = (Vec::new(), Vec::new());
        for member in members {
            queries.extend((0..rows).map(|row| (member.rows.start + row.min(member.rows.len() - 1)) as u32));
            // What is masked is multiplied all the same: a key of its own is no other's trouble.
            let key = |at: usize| member.keys[at.min(member.keys.len() - 1)] as usize;
            let head = |head: usize| (0..keys).map(move |at| (key(at) * kv_heads + head) as u32);
            places.extend((0..kv_heads).flat_map(head));
        }
        let windows: BTreeSet<Option<usize>> = layers.iter().map(|heads| heads.window).collect();
        let mask = |window: Option<usize>| {
            let mut mask = Vec::with_capacity(members.len() * rows * keys);
            for member in members {
                let before = member.keys.len() - member.rows.len();
                for row in 0..rows {
                    let place = before + row.min(member.rows.len() - 1);
                    let first = window.map_or(0, |window| (place + 1).saturating_sub(window));
                    mask.extend(
                        (0..keys).map(|key| if (first..=place).contains(&key) { 0.0 } else { f32::NEG_INFINITY }),
                    );
                }
            }
            Tensor::from_vec(mask, (members.len(), 1, 1, rows, keys), device)
        };
        Ok(Self {
            sequences: members.len(),
            rows,
            keys,
            masks: windows.into_iter().map(|window| Ok((window, mask(window)?))).collect::<Result<_>>()?,
            queries: Tensor::from_vec(queries, members.len() * rows, device)?,
            places: Tensor::from_vec(places, members.len() * kv_heads * keys, device)?,
        })
    }
}

/// Over the last axis. Of candle's own, gradients end in the fused one.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let greatest = x.max_keepdim(D::Minus1)?.detach();
    let x = x.broadcast_sub(&greatest)?.exp()?;
    x.broadcast_div(&x.sum_keepdim(D::Minus1)?)
}

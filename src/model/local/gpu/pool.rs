//! Keeps the keys and values of many sequences in two tables a layer, a row a token.
//!
//! Sequences hold rows by number, in any order. What they share they hold together, and a row is free again when nobody holds it.
//!
//! # Shapes
//! A table is `[rows · kv_heads, head_dim]`.

use super::Place;
use candle_core::{Result, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of a table that begins.
const FEWEST: usize = 1024;

type Free = Arc<Mutex<Vec<u32>>>;

/// A row that somebody holds.
struct Row {
    at: u32,
    free: Free,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.at);
    }
}

/// The rows of one sequence, in its order; the same ones in every layer.
#[derive(Clone, Default)]
pub struct Cache {
    rows: Vec<Arc<Row>>,
}

impl Cache {
    pub fn truncate(&mut self, len: usize) {
        self.rows.truncate(len);
    }

    /// The numbers of all rows.
    pub fn places(&self) -> Vec<u32> {
        self.rows.iter().map(|row| row.at).collect()
    }
}

/// Keys and values of a layer.
#[derive(Clone)]
pub struct Tables {
    pub keys: Tensor,
    pub values: Tensor,
}

pub struct Pool {
    layers: Vec<Tables>,
    kv_heads: usize,
    rows: usize,
    free: Free,
}

impl Pool {
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize, place: &Place) -> Result<Self> {
        let table = || Tensor::zeros((FEWEST * kv_heads, head_dim), place.dtype, &place.device);
        let layers = (0..layers).map(|_| Ok(Tables { keys: table()?, values: table()? })).collect::<Result<_>>()?;
        let free = Arc::new(Mutex::new((0..FEWEST as u32).rev().collect()));
        Ok(Self { layers, kv_heads, rows: FEWEST, free })
    }

    pub fn layer(&self, index: usize) -> &Tables {
        &self.layers[index]
    }

    /// Adds rows to a sequence.
    ///
    /// # Errors
    /// No memory for tables twice as large.
    pub fn extend(&mut self, cache: &mut Cache, count: usize) -> Result<()> {
        let short = count.saturating_sub(self.free.lock().unwrap_or_else(PoisonError::into_inner).len());
        if short > 0 {
            self.grow(self.rows.max(short))?;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let left = free.len() - count;
        cache.rows.extend(free.drain(left..).rev().map(|at| Arc::new(Row { at, free: self.free.clone() })));
        Ok(())
    }

    fn grow(&mut self, more: usize) -> Result<()> {
        for Tables { keys, values } in &mut self.layers {
            for table in [keys, values] {
                let (_, width) = table.dims2()?;
                let rest = Tensor::zeros((more * self.kv_heads, width), table.dtype(), table.device())?;
                *table = Tensor::cat(&[&*table, &rest], 0)?;
            }
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.splice(0..0, (self.rows as u32..(self.rows + more) as u32).rev());
        self.rows += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn rows_are_shared_given_back_and_made() {
        let mut pool = Pool::new(2, 3, 4, &Place { device: Device::Cpu, dtype: DType::F32 }).unwrap();
        let mut first = Cache::default();
        pool.extend(&mut first, 5).unwrap();
        assert_eq!(first.places(), [0, 1, 2, 3, 4]);
        let mut second = first.clone();
        second.truncate(3);
        pool.extend(&mut second, 2).unwrap();
        assert_eq!(second.places(), [0, 1, 2, 5, 6]);
        drop(first);
        let mut third = Cache::default();
        pool.extend(&mut third, 2).unwrap();
        let mut places = third.places();
        places.sort_unstable();
        assert_eq!(places, [3, 4], "what nobody holds is free");
        pool.extend(&mut third, 3 * FEWEST).unwrap();
        assert_eq!(pool.layer(1).values.dims(), [pool.rows * 3, 4]);
        let mut all = [second.places(), third.places()].concat();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "no row is held twice");
        assert!((*all.last().unwrap() as usize) < pool.rows);
    }
}

//! Turns slices of f32 into slices of f32, with the same bits on every machine.
//!
//! [`matmul`] is the product everything rests on; [`rows`] holds what works row by row, [`attention`] what needs both.
//! Each is written once over [`simd::Simd`], sixteen lanes wide, and compiled for every instruction set.
//!
//! # Invariants
//! - Every element of a matrix product is one chain of fused multiply-adds over k = 0, 1, …, from zero. Work is split over
//!   rows and columns, never over k. Of a weight in eight bits the chain is over whole numbers; its end is scaled, once.
//! - Other reductions run in sixteen lanes that are folded in one fixed tree; chunks of fixed size are added in order.
//! - Transcendental functions are those of [`math`]. Nothing here calls the platform's.
//! - So bits do not depend on threads, tiling, batch or instruction set. `unsafe` appears nowhere outside this folder.

#![allow(unsafe_code)]

pub mod attention;
mod buffer;
pub mod math;
pub mod matmul;
pub mod pack;
pub mod parallel;
mod quantised;
pub mod rows;
pub mod simd;
mod tile;

pub use buffer::{Buffer, Hold};
pub use matmul::{LowRank, matmul, matmul_added, matmul_low_rank, matmul_onto, matmul_quantised};
pub use pack::{Lane, Packed, Panels, View};
pub use parallel::{awake, filled, zeros};
pub use quantised::Quantised;
pub use simd::{Isa, isa, set_isa};

#[cfg(test)]
mod tests;

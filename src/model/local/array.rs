//! Keeps the numbers of a tensor as its file has them: what takes sixteen bits there takes sixteen here, until somebody asks for
//! floats.
//!
//! # Invariants
//! f32, bf16 and f16 widen exactly. What is kept narrow holds the same numbers.

use crate::model::Dtype;
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One tensor, row-major.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    numbers: Numbers,
}

#[derive(Clone, Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

pub type Arrays = BTreeMap<String, Array>;

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.floats() == other.floats()
    }
}

impl Array {
    pub fn new(shape: &[usize], floats: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), floats.len());
        Self { shape: shape.to_vec(), numbers: Numbers::F32(floats) }
    }

    /// From the bytes of a file, little-endian.
    ///
    /// # Errors
    /// A type that is not read; a number that is not finite.
    pub fn read(shape: &[usize], dtype: safetensors::Dtype, bytes: &[u8]) -> Result<Self, String> {
        let pairs = || bytes.as_chunks::<2>().0.par_iter().map(|pair| u16::from_le_bytes(*pair));
        let quads = || bytes.as_chunks::<4>().0.par_iter().map(|quad| f32::from_le_bytes(*quad));
        let (numbers, finite) = match dtype {
            safetensors::Dtype::F32 => {
                let numbers: Vec<f32> = quads().collect();
                let finite = numbers.par_iter().all(|number| number.is_finite());
                (Numbers::F32(numbers), finite)
            }
            safetensors::Dtype::BF16 => {
                let numbers: Vec<bf16> = pairs().map(bf16::from_bits).collect();
                let finite = numbers.par_iter().all(|number| number.is_finite());
                (Numbers::Bf16(numbers), finite)
            }
            safetensors::Dtype::F16 => {
                let numbers: Vec<f16> = pairs().map(f16::from_bits).collect();
                let finite = numbers.par_iter().all(|number| number.is_finite());
                (Numbers::F16(numbers), finite)
            }
            other => return Err(no_type(other)),
        };
        if finite { Ok(Self { shape: shape.to_vec(), numbers }) } else { Err(NOT_FINITE.to_owned()) }
    }

    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => numbers.len(),
            Numbers::Bf16(numbers) => numbers.len(),
            Numbers::F16(numbers) => numbers.len(),
        }
    }

    /// The numbers, row by row; made where they are kept narrow.
    pub fn floats(&self) -> Cow<'_, [f32]> {
        match &self.numbers {
            Numbers::F32(numbers) => Cow::Borrowed(numbers),
            Numbers::Bf16(numbers) => Cow::Owned(numbers.par_iter().map(|number| number.to_f32()).collect()),
            Numbers::F16(numbers) => Cow::Owned(numbers.par_iter().map(|number| number.to_f32()).collect()),
        }
    }

    /// The numbers to be changed; they are floats from now on.
    pub fn floats_mut(&mut self) -> &mut Vec<f32> {
        if !matches!(self.numbers, Numbers::F32(_)) {
            self.numbers = Numbers::F32(self.floats().into_owned());
        }
        match &mut self.numbers {
            Numbers::F32(numbers) => numbers,
            _ => unreachable!("just made floats"),
        }
    }

    pub fn into_floats(mut self) -> Vec<f32> {
        std::mem::take(self.floats_mut())
    }

    /// Rounds to what `dtype` can hold, to nearest even, and keeps it so. To eight bits nothing is rounded here: it is no type of
    /// its own for a number, but a whole row's way to be packed, which rounds from what the row was.
    pub fn round(&mut self, dtype: Dtype) {
        self.numbers = match (dtype, &self.numbers) {
            (Dtype::F32 | Dtype::Int8, _) | (Dtype::Bf16, Numbers::Bf16(_)) | (Dtype::F16, Numbers::F16(_)) => return,
            (Dtype::Bf16, _) => Numbers::Bf16(self.floats().par_iter().map(|number| bf16::from_f32(*number)).collect()),
            (Dtype::F16, _) => Numbers::F16(self.floats().par_iter().map(|number| f16::from_f32(*number)).collect()),
        };
    }
}

const NOT_FINITE: &str = "holds a value that is not finite";

pub fn no_type(dtype: safetensors::Dtype) -> String {
    format!("has the type {dtype:?}; supported: F32, BF16, F16")
}

/// Floats that are made of something else.
pub fn finite(numbers: Vec<f32>) -> Result<Vec<f32>, String> {
    match numbers.par_iter().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => Err(NOT_FINITE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(dtype: safetensors::Dtype, bits: &[u16]) -> Result<Array, String> {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        Array::read(&[bits.len()], dtype, &bytes)
    }

    #[test]
    fn every_number_of_sixteen_bits_is_read_as_it_is_or_refused() {
        use safetensors::Dtype::{BF16, F16};
        for bits in 0..=u16::MAX {
            let (b, h) = (bf16::from_bits(bits).to_f32(), f16::from_bits(bits).to_f32());
            for (dtype, wanted) in [(BF16, b), (F16, h)] {
                let read = stored(dtype, &[bits, 0]);
                assert_eq!(read.is_ok(), wanted.is_finite(), "{dtype:?} {bits:x}");
                if let Ok(mut array) = read {
                    assert_eq!(array.floats()[0].to_bits(), wanted.to_bits());
                    assert_eq!((array.len(), array.floats_mut().len()), (2, 2));
                    assert_eq!(array.into_floats()[0].to_bits(), wanted.to_bits());
                }
            }
        }
        assert!(stored(safetensors::Dtype::I16, &[1]).unwrap_err().contains("I16"));
    }

    #[test]
    fn rounding_is_to_the_nearest_and_keeps_what_fits() {
        let exact = Array::new(&[4], vec![1.0, 1.003_906_3, -3.140_9, 65_519.0]);
        for (dtype, wanted) in [
            (Dtype::F32, [1.0, 1.003_906_3, -3.140_9, 65_519.0]),
            (Dtype::Int8, [1.0, 1.003_906_3, -3.140_9, 65_519.0]),
            (Dtype::Bf16, [1.0, 1.0, -3.140_625, 65_536.0]),
            (Dtype::F16, [1.0, 1.003_906_3, -3.140_625, 65_504.0]),
        ] {
            let mut rounded = exact.clone();
            rounded.round(dtype);
            assert_eq!(rounded.floats().as_ref(), wanted, "{dtype:?}");
            let once = rounded.clone();
            rounded.round(dtype);
            assert_eq!(rounded, once);
        }
        let mut other = stored(safetensors::Dtype::F16, &[0x3c01]).unwrap();
        other.round(Dtype::Bf16);
        assert_eq!(other.floats().as_ref(), [1.0]);
    }
}

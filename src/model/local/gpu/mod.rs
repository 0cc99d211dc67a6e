//! Answers and learns by candle's kernels, on its tensors: on a GPU, where one is declared.
//!
//! The decoder is the same as the processor's, over the same weights, and so are sampling, shared prefixes, rows and steps. What
//! differs is who adds: a GPU's sums have no order that we could fix, so what it says is `recorded`, never `seeded`.
//!
//! # Invariants
//! Everything here runs on whatever device candle has; tests run it on its processor, beside our own engine. Nothing asks for
//! a device but [`place`].

mod absent;
mod attention;
mod decoder;
mod learner;
mod pool;

#[cfg(test)]
mod tests;

pub use absent::Absent;
pub use decoder::{Answering, Model, Weights};
pub use learner::Learning;

use crate::model::{Device, Dtype, ModelError, ModelSpec};
use candle_core::DType;

/// Where candle computes, and in what.
#[derive(Clone, Debug)]
pub struct Place {
    pub device: candle_core::Device,
    pub dtype: DType,
}

/// Where a model that is declared on a GPU computes; `None` for the processor's.
///
/// # Errors
/// This build or this machine has no such thing; a precision that is not a GPU's.
pub fn place(spec: &ModelSpec) -> Result<Option<Place>, ModelError> {
    let dtype = match spec.dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::Int8 if spec.device.is_gpu() => {
            let problem = format!("`dtype = int8` does not go with `device = {}`: declare bf16", spec.device.as_str());
            return Err(ModelError::Engine(problem));
        }
        Dtype::Int8 => return Ok(None),
    };
    Ok(device(spec.device)?.map(|device| Place { device, dtype }))
}

fn device(asked: Device) -> Result<Option<candle_core::Device>, ModelError> {
    match asked {
        Device::Auto | Device::Cpu => Ok(None),
        #[cfg(feature = "cuda")]
        Device::Cuda => cuda().map(Some),
        #[cfg(not(feature = "cuda"))]
        Device::Cuda => Err(unbuilt(asked, "build it with `--features cuda`, or declare `device = cpu`")),
        Device::Metal => Err(unbuilt(asked, "declare `device = cpu`")),
    }
}

/// Bytes that are free on a GPU.
fn room(device: &candle_core::Device) -> Option<u64> {
    match device {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(device) => {
            let (free, _) = device.cuda_stream().context().mem_get_info().ok()?;
            Some(free as u64)
        }
        _ => None,
    }
}

fn unbuilt(asked: Device, instead: &str) -> ModelError {
    ModelError::Engine(format!("this build has no {} support: {instead}", asked.as_str()))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<candle_core::Device, ModelError> {
    // Where there is no driver, candle's bindings panic as they look for it.
    let driver =
        ["/proc/driver/nvidia/version", "/dev/dxg"].into_iter().any(|place| std::path::Path::new(place).exists());
    if cfg!(target_os = "linux") && !driver {
        return Err(ModelError::Engine("no NVIDIA driver is loaded here; declare `device = cpu`".to_owned()));
    }
    // One stream for all threads: passes follow one another on whichever is free. Where a library is missing, the bindings panic.
    let device = std::panic::catch_unwind(|| candle_core::Device::new_cuda_with_stream(0));
    let unusable = |why: String| ModelError::Engine(format!("no CUDA device can be used: {why}"));
    device
        .map_err(|_| unusable("a library of CUDA's cannot be opened; LD_LIBRARY_PATH says where they are".to_owned()))?
        .map_err(|error| unusable(error.to_string()))
}

//! Turns what the machine has, and what its environment says of it, into what models work with.
//!
//! # Invariants
//! No result depends on any of it.

use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::variable;

/// `AGX_ISA` picks the kernels' instruction set: for tests and for machines that clock down; results stay the same.
pub fn choose_kernels() -> Result<(), Failure> {
    let Some(name) = variable("AGX_ISA") else { return Ok(()) };
    #[cfg(feature = "local")]
    {
        use crate::model::local::kernels::{Isa, set_isa};
        let Some(isa) = Isa::named(&name) else {
            let known: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
            let failure = Failure::new(Exit::Usage, format!("AGX_ISA: this machine has no `{name}`"));
            return Err(failure.help(format!("it has {}", known.join(", "))));
        };
        set_isa(isa);
    }
    // Without local models there are no kernels, and nothing to choose.
    let _ = name;
    Ok(())
}

/// The instruction set that local models compute with, where this build has such models.
pub fn instructions() -> Option<&'static str> {
    #[cfg(feature = "local")]
    let set = Some(crate::model::local::kernels::isa().name());
    #[cfg(not(feature = "local"))]
    let set = None;
    set
}

/// A share of the memory that is free: several models may be open, and there is more on a machine than agx.
const SHARE: u64 = 4;

/// Bytes of keys and values that each local model keeps of what it has read: as `AGX_MEMORY` says, else a quarter of what is free
/// now. None where that cannot be told.
pub fn memory() -> Result<Option<u64>, Failure> {
    match variable("AGX_MEMORY").as_deref() {
        None | Some("auto") => Ok(free().map(|free| free / SHARE)),
        Some(text) => bytes(text).map(Some).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("AGX_MEMORY: `{text}` is no amount of memory"))
                .help("write `auto`, `512 MiB` or `8 GiB`")
        }),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (number, shift) = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Of the machine, or of what the container that this runs in may take.
fn free() -> Option<u64> {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return None;
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let limited = system.cgroup_limits().map(|limits| limits.free_memory);
    Some(system.available_memory().min(limited.unwrap_or(u64::MAX))).filter(|free| *free > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        let read = ["512 MiB", "8GiB", "1KiB", "0 GiB"].map(bytes);
        assert_eq!(read, [Some(512 << 20), Some(8 << 30), Some(1 << 10), Some(0)]);
        for wrong in ["", "8", "GiB", "-1 GiB", "1.5 GiB", "8 GB", "99999999999 TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert!(free().is_none_or(|free| free > 1 << 20));
    }
}

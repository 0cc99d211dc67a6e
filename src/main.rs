//! The program: an allocator, and the command line.

use std::process::ExitCode;

/// The engine allocates and frees large tensors all the time: the system's allocator gives them back to the kernel each
/// time, which costs a third of a training.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    agx::cli::main()
}

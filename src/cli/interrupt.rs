//! What an interrupt ends at once: the program, and the programs that it started.

use crate::cli::exit::Exit;
use crate::env::outside::end_programs;

/// Ends the program at the first interrupt. For a verb that has nothing to finish, but may start the programs of environments.
pub fn end_on_interrupt() {
    // Fails only where a handler is set already, as in a process that embeds agx.
    let _ = ctrlc::set_handler(|| end());
}

/// Programs of environments have process groups of their own, which the system leaves alone.
#[expect(clippy::disallowed_methods, reason = "asked to stop: now")]
pub fn end() -> ! {
    end_programs();
    std::process::exit(Exit::Paused as i32)
}

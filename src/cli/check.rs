//! `agx check`: every mistake, each once.

use crate::cli::args::CheckArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::cli::{draw, load};

pub fn check(args: &CheckArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for path in &args.files {
        let checked = load::check(path, &args.sets)?;
        let diagnostics = &checked.diagnostics;
        if !diagnostics.is_empty() {
            draw::diagnostics(terminal, &checked.name, &checked.text, diagnostics);
        }
        if diagnostics.iter().any(crate::base::Diagnostic::is_error) {
            exit = Exit::Diagnostics;
        }
        if !terminal.json() {
            terminal.say(&draw::count(&checked.name, diagnostics).unwrap_or_else(|| format!("{}: ok", checked.name)));
        }
    }
    Ok(exit)
}

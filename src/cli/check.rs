//! `agx check`: every mistake, each once.

use crate::cli::args::CheckArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::cli::{draw, load, params};

pub fn check(args: &CheckArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    let given = params::given(&args.sets)?;
    for path in &args.files {
        let checked = if path.as_os_str() == "-" { load::piped(&given) } else { load::check(path, &given) };
        let (diagnostics, name) = (&checked.diagnostics, &checked.sources.root().name);
        draw::diagnostics(terminal, &checked.sources, diagnostics);
        if diagnostics.iter().any(crate::base::Diagnostic::is_error) {
            exit = Exit::Diagnostics;
        }
        if !terminal.json() {
            let only = if checked.experiments.is_empty() { ", declarations only" } else { "" };
            terminal.say(&draw::count(name, diagnostics).unwrap_or_else(|| format!("{name}: ok{only}")));
        }
    }
    Ok(exit)
}

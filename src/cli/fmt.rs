//! `agx fmt`: files in the canonical style.

use crate::cli::args::FmtArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::rewrite::{self, Rewritten};
use crate::cli::terminal::Terminal;
use crate::syntax::SourceMap;
use crate::syntax::fmt::format;

pub fn fmt(args: &FmtArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for place in rewrite::places(&args.rewriting)? {
        let (source, problem) = place.read();
        let formatted = match problem {
            Some(problem) => Err(vec![problem]),
            None => format(&source.text),
        };
        let (new, left) = match formatted {
            Ok(new) => (Some(new), Vec::new()),
            Err(diagnostics) => (None, diagnostics),
        };
        let rewritten = Rewritten { new, left, sources: SourceMap::new(source.clone()), details: Vec::new() };
        let own = rewrite::conclude(&place, &source, &rewritten, &args.rewriting, terminal, "formatted")?;
        exit = if own == Exit::Ok { exit } else { own };
    }
    Ok(exit)
}

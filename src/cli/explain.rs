//! `agx explain`: what a code means.

use crate::cli::args::ExplainArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;

pub fn explain(args: &ExplainArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let _ = (args, terminal);
    Ok(Exit::Ok)
}

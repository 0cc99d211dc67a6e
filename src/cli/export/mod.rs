//! `agx export`: what a run made, for other programs.

mod archive;
mod jsonl;
mod version;

use crate::cli::args::{ExportArgs, ExportForm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use std::path::Path;

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let ExportArgs { run: _, form, to: _, force: _, model, node, dropped } = args;
    let of = |forms: &[ExportForm], option: &str, named: &str| match forms.contains(form) {
        true => Ok(()),
        false => Err(Failure::new(Exit::Usage, format!("`{option}` is for `--as {named}`"))),
    };
    use ExportForm::{Cassette, Hf, Jsonl, Peft, Tar};
    if model.is_some() {
        of(&[Hf, Peft], "--model", "hf` and `--as peft")?;
    }
    if node.is_some() {
        of(&[Hf, Peft, Jsonl], "--node", "hf`, `--as peft` and `--as jsonl")?;
    }
    if *dropped {
        of(&[Jsonl], "--dropped", "jsonl")?;
    }
    match form {
        Hf | Peft => version::export(args, place, terminal),
        Jsonl => jsonl::export(args, place, terminal),
        Tar | Cassette => archive::export(args, place, terminal),
    }
}

/// The place of a file that is to be made: one that is there is not written over unless that is asked for, and what is no
/// file never.
fn free(to: &Path, force: bool) -> Result<(), Failure> {
    let refused = |what: &str| Failure::new(Exit::Usage, format!("{} {what}", to.display()));
    match std::fs::metadata(to) {
        Ok(found) if found.is_dir() => Err(refused("is a directory").help("name a file in it")),
        Ok(found) if !found.is_file() => Err(refused("is not a regular file").help("name another file")),
        Ok(_) if !force => Err(refused("exists already").help("name another file, or write it anew with `--force`")),
        _ => Ok(()),
    }
}

/// `-`
fn is_stdout(to: &Path) -> bool {
    to == Path::new("-")
}

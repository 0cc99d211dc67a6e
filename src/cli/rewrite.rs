//! Turns the new text of a file into a file, a diff, or an object of JSON: what `fmt` and `fix` have in common.
//!
//! # Invariants
//! A file is replaced whole or not at all, and only by a text that differs from its own.

use crate::base::Diagnostic;
use crate::base::file::reason;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load;
use crate::cli::terminal::Terminal;
use crate::cli::{args, draw};
use crate::report::text::plain_lines;
use crate::syntax::{Source, SourceMap};
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

const GONE: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const NEW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));

/// Where a text comes from and where its successor goes.
pub enum Place<'a> {
    /// Standard input, to standard output.
    Pipe,
    File(&'a Path),
}

/// What became of one text.
pub struct Rewritten {
    /// Nothing where the text was refused.
    pub new: Option<String>,
    /// What is wrong with the new text, or with the one that was refused.
    pub left: Vec<Diagnostic>,
    /// The texts that this is about.
    pub sources: SourceMap,
    /// More for its object of JSON.
    pub details: Vec<(&'static str, Value)>,
}

/// The files to rewrite; none, or `-`, is standard input.
pub fn places<'a>(args: &'a args::Rewriting) -> Result<Vec<Place<'a>>, Failure> {
    if args.files.is_empty() {
        if std::io::stdin().is_terminal() {
            let failure = Failure::new(Exit::Usage, "no file is named");
            return Err(failure.help("name files, or pipe a text in"));
        }
        return Ok(vec![Place::Pipe]);
    }
    let place = |path: &'a PathBuf| if path.as_os_str() == "-" { Place::Pipe } else { Place::File(path) };
    Ok(args.files.iter().map(place).collect())
}

impl Place<'_> {
    pub fn read(&self) -> (Source, Option<Diagnostic>) {
        match self {
            Self::Pipe => load::input(),
            Self::File(path) => load::source(path),
        }
    }

    /// What a path in the text is relative to.
    pub fn path(&self) -> &Path {
        match self {
            Self::Pipe => Path::new("stdin.agx"),
            Self::File(path) => path,
        }
    }
}

/// Writes, or with `--check` shows, what became of one text; `done` says it in words.
pub fn conclude(
    place: &Place,
    source: &Source,
    rewritten: &Rewritten,
    args: &args::Rewriting,
    terminal: &Terminal,
    done: &str,
) -> Result<Exit, Failure> {
    let Source { name, text } = source;
    let Rewritten { new, left, sources, details } = rewritten;
    let changed = new.as_ref().filter(|new| *new != text);
    let difference = changed.filter(|_| args.check).map(|new| diff(name, text, new));
    if let (Some(new), Place::File(path), false) = (changed, place, args.check) {
        write(path, new)?;
    }
    if terminal.json() {
        let diagnostics: Vec<Value> = left.iter().map(|it| draw::value(sources, it)).collect();
        let mut value =
            json!({ "file": name, "changed": changed.is_some(), "diff": difference, "diagnostics": diagnostics });
        for (key, detail) in details {
            value[*key] = detail.clone();
        }
        if let (Place::Pipe, false) = (place, args.check) {
            value["text"] = json!(new);
        }
        terminal.data(&format!("{value}\n"));
    } else {
        if let Some(difference) = &difference {
            terminal.data(&coloured(difference));
        } else if let (Place::Pipe, Some(new), false) = (place, new, args.check) {
            terminal.data(new);
        }
        draw::diagnostics(terminal, sources, left);
        let said = match (changed, args.check) {
            (None, _) => None,
            (Some(_), true) => Some(format!("{name}: would be {done}")),
            (Some(_), false) => Some(format!("{name}: {done}")),
        };
        let count = draw::count(name, left);
        if said.is_none() && count.is_none() {
            terminal.say(&format!("{name}: nothing to do"));
        }
        said.into_iter().chain(count).for_each(|line| terminal.say(&line));
    }
    let wrong = left.iter().any(Diagnostic::is_error) || difference.is_some();
    Ok(if wrong { Exit::Diagnostics } else { Exit::Ok })
}

fn diff(name: &str, old: &str, new: &str) -> String {
    let diff = ::similar::TextDiff::from_lines(old, new);
    diff.unified_diff().header(name, name).to_string()
}

fn coloured(diff: &str) -> String {
    let line = |line: &str| match line.as_bytes().first() {
        Some(b'-') => format!("{GONE}{}{GONE:#}\n", line.trim_end_matches('\n')),
        Some(b'+') => format!("{NEW}{}{NEW:#}\n", line.trim_end_matches('\n')),
        _ => line.to_owned(),
    };
    plain_lines(diff).split_inclusive('\n').map(line).collect()
}

/// Through a file beside it, which then takes its place: whoever reads it sees the old text or the new one.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |problem: std::io::Error| {
        Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), reason(&problem)))
    };
    // A link stays one.
    let path = std::fs::canonicalize(path).map_err(fail)?;
    let metadata = std::fs::metadata(&path).map_err(fail)?;
    if metadata.permissions().readonly() {
        return Err(fail(std::io::ErrorKind::PermissionDenied.into()));
    }
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.as_file().set_permissions(metadata.permissions()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&path).map_err(|problem| fail(problem.error))?;
    Ok(())
}

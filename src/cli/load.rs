//! Turns a path into a checked experiment and its plan, or into diagnostics.

use crate::base::{Diagnostic, Span};
use crate::cli::args::Sets;
use crate::cli::draw;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::experiment::{self, Experiment, World};
use crate::plan::{self, Identities, Plan};
use crate::run;
use crate::syntax::{self, Source};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// No more than this is read, whatever a path leads to (`/dev/zero`): far above what the parser takes.
const MOST_READ: u64 = 64 << 20;

/// A file as it was read, and everything found in it.
pub struct Checked {
    pub name: String,
    pub text: String,
    pub overrides: BTreeMap<String, Value>,
    /// There when nothing is an error.
    pub experiment: Option<Experiment>,
    pub diagnostics: Vec<Diagnostic>,
}

/// A file without errors.
pub struct Loaded {
    pub name: String,
    pub text: String,
    pub overrides: BTreeMap<String, Value>,
    pub experiment: Experiment,
}

pub fn check(path: &Path, sets: &Sets) -> Result<Checked, Failure> {
    let overrides = overrides(sets)?;
    let (Source { name, text }, problem) = source(path);
    let (experiment, diagnostics) = match problem {
        Some(problem) => (None, vec![problem]),
        None => examine(path, &text, sets),
    };
    Ok(Checked { name, text, overrides, experiment, diagnostics })
}

/// What a text means that stands, or would stand, at `path`, and everything found in it.
pub fn examine(path: &Path, text: &str, sets: &Sets) -> (Option<Experiment>, Vec<Diagnostic>) {
    let (file, mut diagnostics) = syntax::parse(text);
    // Absolute, so that a run can be resumed from anywhere.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = absolute.parent().unwrap_or(Path::new("."));
    let world = World { root: directory, exists: &|path| path.exists() };
    let (experiment, found) = experiment::check(&file, &sets.sets, world);
    diagnostics.extend(found);
    diagnostics.sort_by_key(Diagnostic::primary);
    let broken = diagnostics.iter().any(Diagnostic::is_error);
    (experiment.filter(|_| !broken), diagnostics)
}

/// A file's text, or why there is none.
pub fn source(path: &Path) -> (Source, Option<Diagnostic>) {
    let name = path.display().to_string();
    match read(path) {
        Ok(bytes) => Source::from_bytes(name, bytes),
        Err(diagnostic) => (Source { name, text: String::new() }, Some(diagnostic)),
    }
}

/// What stands on standard input.
pub fn input() -> (Source, Option<Diagnostic>) {
    let name = "<stdin>".to_owned();
    let mut bytes = Vec::new();
    match std::io::stdin().take(MOST_READ).read_to_end(&mut bytes) {
        Ok(_) => Source::from_bytes(name, bytes),
        Err(problem) => {
            let message = "standard input cannot be read";
            let diagnostic = Diagnostic::error("E0001", message, Span::default(), reason(&problem));
            (Source { name, text: String::new() }, Some(diagnostic))
        }
    }
}

/// Checks, shows what is wrong, and stops there if it is an error.
pub fn load(path: &Path, sets: &Sets, terminal: &Terminal) -> Result<Loaded, Failure> {
    let Checked { name, text, overrides, experiment, diagnostics } = check(path, sets)?;
    if !diagnostics.is_empty() {
        draw::diagnostics(terminal, &name, &text, &diagnostics);
    }
    let Some(experiment) = experiment else {
        if let Some(count) = draw::count(&name, &diagnostics).filter(|_| !terminal.json()) {
            terminal.say(&count);
        }
        return Err(Failure::Told(Exit::Diagnostics));
    };
    Ok(Loaded { name, text, overrides, experiment })
}

pub struct Planned {
    pub identities: Identities,
    pub plan: Plan,
}

pub fn plan(experiment: &Experiment) -> Result<Planned, Failure> {
    let identities = run::identify(experiment)?;
    let plan = plan::build(experiment, &identities).map_err(run::RunError::from)?;
    Ok(Planned { identities, plan })
}

fn overrides(sets: &Sets) -> Result<BTreeMap<String, Value>, Failure> {
    let mut overrides = BTreeMap::new();
    for (name, text) in &sets.sets {
        if overrides.insert(name.clone(), Value::String(text.clone())).is_some() {
            return Err(Failure::new(Exit::Usage, format!("`--set {name}=…` is given twice")));
        }
    }
    Ok(overrides)
}

fn read(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let place = Span::default();
    if path.is_dir() {
        let message = format!("{} is a directory, not a file", path.display());
        return Err(Diagnostic::error("E0002", message, place, "").help("name an `.agx` file in it"));
    }
    let mut bytes = Vec::new();
    let fail = |problem: std::io::Error| {
        let diagnostic =
            Diagnostic::error("E0001", format!("{} cannot be read", path.display()), place, reason(&problem));
        diagnostic.help("is the path right? it is taken from the directory you are in")
    };
    File::open(path).map_err(fail)?.take(MOST_READ).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// The system's words without its error number.
pub fn reason(problem: &std::io::Error) -> String {
    let text = problem.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

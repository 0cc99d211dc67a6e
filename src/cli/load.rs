//! Turns a path into a checked experiment and its plan, or into diagnostics.

use crate::base::file::{self, reason};
use crate::base::{Diagnostic, Span};
use crate::cli::args::{Sets, Which};
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::cli::{draw, params};
use crate::experiment::{self, Checked, Experiment, Given, NOT_BUILT, Unreadable, World};
use crate::plan::{self, Identities, Plan};
use crate::run;
use crate::syntax::{Source, SourceMap};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// No more than this is read: far above what the parser takes.
const MOST_READ: u64 = 64 << 20;

/// A file without errors, and what was given for its params.
pub struct Loaded {
    pub checked: Checked,
    pub given: Vec<Given>,
}

impl Loaded {
    pub fn name(&self) -> &str {
        &self.checked.sources.root().name
    }

    pub fn text(&self) -> &str {
        &self.checked.sources.root().text
    }

    /// What the file imports, by the path from its directory.
    pub fn imports(&self) -> Vec<(PathBuf, &str)> {
        let directory = Path::new(self.name()).parent().unwrap_or(Path::new(""));
        let path = |source: &Source| {
            let path = Path::new(&source.name);
            path.strip_prefix(directory).unwrap_or(path).to_owned()
        };
        self.checked.sources.imported().map(|source| (path(source), source.text.as_str())).collect()
    }

    /// The experiment that is meant.
    pub fn experiment(&self, which: &Which) -> Result<&Experiment, Failure> {
        let experiments = &self.checked.experiments;
        let names = || experiments.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
        match (&which.experiment, experiments.as_slice()) {
            (_, []) => Err(Failure::new(Exit::Diagnostics, format!("{} holds no experiment", self.name()))
                .help("it is there to be imported: `import \"…\" as name`")),
            (None, [only]) => Ok(only),
            (None, _) => {
                let message = format!("{} holds {} experiments", self.name(), experiments.len());
                Err(Failure::new(Exit::Usage, message)
                    .help(format!("choose with `--experiment`: {}", names().join(", "))))
            }
            (Some(name), _) => experiments.iter().find(|it| it.name == *name).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{} holds no experiment `{name}`", self.name()))
                    .help(format!("it holds {}", names().join(", ")))
            }),
        }
    }
}

pub fn check(path: &Path, given: &[Given]) -> Checked {
    let (source, problem) = source(path);
    match problem {
        Some(problem) => unread(source, problem),
        None => examine(path, source, given),
    }
}

/// What stands on standard input, checked as a file of this directory.
pub fn piped(given: &[Given]) -> Checked {
    let (source, problem) = input();
    match problem {
        Some(problem) => unread(source, problem),
        None => examine(Path::new("<stdin>"), source, given),
    }
}

/// A file that is not even a text.
pub fn unread(source: Source, problem: Diagnostic) -> Checked {
    Checked {
        sources: SourceMap::new(source),
        file: Default::default(),
        experiments: Vec::new(),
        matrices: Vec::new(),
        counts: Vec::new(),
        diagnostics: vec![problem],
        index: Default::default(),
    }
}

/// Checks a text that stands, or would stand, at `path`.
pub fn examine(path: &Path, source: Source, given: &[Given]) -> Checked {
    // Absolute, so that a run can be resumed from anywhere.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = absolute.parent().unwrap_or(Path::new("."));
    let world = World { root: directory, exists: &|path| path.exists(), read: &|path| import(directory, path) };
    plan::afford(experiment::check(source, given, world))
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
    let given = params::given(sets)?;
    let checked = check(path, &given);
    sound(checked, given, terminal)
}

/// The same to run it: what this version only checks and plans is an error here, at each place, before anything is spent.
pub fn load_to_run(path: &Path, sets: &Sets, terminal: &Terminal) -> Result<Loaded, Failure> {
    let given = params::given(sets)?;
    let mut checked = check(path, &given);
    let refused = experiment::not_built(&checked.diagnostics);
    checked.diagnostics.retain(|diagnostic| diagnostic.code != NOT_BUILT);
    checked.diagnostics.extend(refused);
    checked.diagnostics.sort_by_key(Diagnostic::primary);
    sound(checked, given, terminal)
}

/// The same to look at it: what is no error is `agx check`'s to tell.
pub fn load_to_show(path: &Path, sets: &Sets, terminal: &Terminal) -> Result<Loaded, Failure> {
    let given = params::given(sets)?;
    let mut checked = check(path, &given);
    if !checked.diagnostics.iter().any(Diagnostic::is_error) {
        checked.diagnostics.clear();
    }
    sound(checked, given, terminal)
}

fn sound(checked: Checked, given: Vec<Given>, terminal: &Terminal) -> Result<Loaded, Failure> {
    draw::diagnostics(terminal, &checked.sources, &checked.diagnostics);
    if checked.diagnostics.iter().any(Diagnostic::is_error) {
        let name = &checked.sources.root().name;
        if let Some(count) = draw::count(name, &checked.diagnostics).filter(|_| !terminal.json()) {
            terminal.say(&count);
        }
        return Err(Failure::Told(Exit::Diagnostics));
    }
    Ok(Loaded { checked, given })
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

/// The bytes of an imported file, which links may not lead out of the root's directory.
pub fn import(root: &Path, path: &Path) -> Result<Vec<u8>, Unreadable> {
    let fail = |problem: std::io::Error| match problem.kind() {
        std::io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Other(reason(&problem)),
    };
    let real = path.canonicalize().map_err(fail)?;
    if !real.starts_with(root.canonicalize().map_err(fail)?) {
        return Err(Unreadable::Outside);
    }
    if real.is_dir() {
        return Err(Unreadable::Other("it is a directory".to_owned()));
    }
    file::read(&real, MOST_READ).map_err(fail)
}

fn read(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let place = Span::default();
    if path.is_dir() {
        let message = format!("{} is a directory, not a file", path.display());
        return Err(Diagnostic::error("E0002", message, place, "").help("name an `.agx` file in it"));
    }
    let fail = |problem: std::io::Error| {
        let diagnostic =
            Diagnostic::error("E0001", format!("{} cannot be read", path.display()), place, reason(&problem));
        match problem.kind() {
            ErrorKind::InvalidInput => diagnostic.help("name an `.agx` file"),
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                diagnostic.help("is the path right? it is taken from the directory you are in")
            }
            _ => diagnostic,
        }
    };
    file::read(path, MOST_READ).map_err(fail)
}

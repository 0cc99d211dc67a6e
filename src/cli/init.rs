//! `agx init`: a project to start from, written out of the program itself.
//!
//! # Invariants
//! What is written is what the repository's `experiments/` holds: nothing is kept twice. Nothing is overwritten unless
//! `--force` says so, and nothing is written before all of it may be.

use crate::base::file::{self, reason};
use crate::cli::args::{InitArgs, Start};
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::report::text::{Cell, Table};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::Path;

/// A file of a project: where it goes, and what is in it.
type Document = (&'static str, &'static [u8]);

macro_rules! documents {
    ($($path:literal),* $(,)?) => { &[$(($path, include_bytes!(concat!("../../experiments/", $path)))),*] };
}

const POLICY: &[Document] = documents![
    "base/policy/config.json",
    "base/policy/model.safetensors",
    "base/policy/tokenizer.json",
    "base/policy/tokenizer_config.json",
];
const CRITIC: &[Document] = documents![
    "base/critic/config.json",
    "base/critic/model.safetensors",
    "base/critic/tokenizer.json",
    "base/critic/tokenizer_config.json",
];

/// The line that keeps results out of version control.
const IGNORED: &str = ".agx/";

impl Start {
    fn name(self) -> String {
        self.to_possible_value().expect("no start is hidden").get_name().to_owned()
    }

    fn about(self) -> String {
        let value = self.to_possible_value().expect("no start is hidden");
        value.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The experiment, and the models it begins with.
    fn documents(self) -> impl Iterator<Item = Document> {
        let (experiment, models): (&[Document], &[&[Document]]) = match self {
            Start::Minimal => (documents!["minimal.agx"], &[POLICY]),
            Start::Quickstart => (documents!["quickstart.agx"], &[POLICY, CRITIC]),
            Start::Paper => (documents!["paper.agx"], &[POLICY, CRITIC]),
            Start::Eto => (documents!["eto.agx"], &[POLICY, CRITIC]),
        };
        experiment.iter().chain(models.iter().copied().flatten()).copied()
    }

    /// What to type next, in the project's directory, and what it does.
    fn next(self) -> Vec<(String, &'static str)> {
        let file = format!("{}.agx", self.name());
        vec![
            (format!("agx check {file}"), "every mistake, before anything runs"),
            (format!("agx plan {file}"), "what would run"),
            match self {
                Start::Eto => (format!("agx show rule --file {file}"), "which pairs it makes"),
                _ => (format!("agx run {file}"), "work, watched; Ctrl-C pauses"),
            },
        ]
    }
}

pub fn init(args: &InitArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    if args.list {
        list(terminal);
        return Ok(Exit::Ok);
    }
    let directory = &args.directory;
    let mut files = Vec::new();
    for document in args.from.documents() {
        files.push((document, state(&directory.join(document.0), document.1)?));
    }
    let changed: Vec<&str> =
        files.iter().filter(|(_, state)| *state == State::Other).map(|((path, _), _)| *path).collect();
    if !changed.is_empty() && !args.force {
        let there: Vec<String> = changed.iter().map(|path| shown(directory, path)).collect();
        let message = format!("{} would be overwritten", there.join(", "));
        return Err(Failure::new(Exit::Usage, message).help("name another directory, or overwrite with `--force`"));
    }
    for ((path, bytes), state) in &files {
        if *state != State::Same {
            write(&directory.join(path), bytes)?;
        }
    }
    let ignored = ignore(&directory.join(".gitignore"))?;
    let mut written: Vec<&str> =
        files.iter().filter(|(_, state)| *state != State::Same).map(|((path, _), _)| *path).collect();
    if ignored {
        written.push(".gitignore");
    }
    tell(args, &written, terminal);
    Ok(Exit::Ok)
}

fn tell(args: &InitArgs, written: &[&str], terminal: &Terminal) {
    let next = args.from.next();
    if terminal.json() {
        terminal.value(&json!({
            "from": args.from.name(),
            "directory": args.directory,
            "written": written,
            "next": next.iter().map(|(command, _)| command).collect::<Vec<_>>(),
        }));
        return;
    }
    for path in written {
        terminal.data(&format!("wrote {}\n", shown(&args.directory, path)));
    }
    if written.is_empty() {
        terminal.say("everything is there already");
    }
    let mut table = Table::default();
    if args.directory != Path::new(".") {
        table.push([Cell::left(format!("cd {}", args.directory.display())), Cell::left("")]);
    }
    for (command, what) in next {
        table.push([Cell::left(command), Cell::left(what)]);
    }
    terminal.say(&format!("\nNext:\n{}", table.text().trim_end()));
}

/// As the person who typed the directory would write it.
fn shown(directory: &Path, path: &str) -> String {
    if directory == Path::new(".") { path.to_owned() } else { directory.join(path).display().to_string() }
}

fn list(terminal: &Terminal) {
    let starts = Start::value_variants();
    if terminal.json() {
        let value = |start: &Start| {
            let files: Vec<&str> = start.documents().map(|(path, _)| path).collect();
            json!({ "name": start.name(), "about": start.about(), "files": files })
        };
        terminal.value(&Value::Array(starts.iter().map(value).collect()));
        return;
    }
    let mut table = Table::default();
    for start in starts {
        table.push([Cell::left(start.name()), Cell::left(start.about())]);
    }
    terminal.data(&table.text());
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    /// The same bytes are there.
    Same,
    Other,
}

fn state(path: &Path, bytes: &[u8]) -> Result<State, Failure> {
    let is_longer = |there: &std::fs::Metadata| there.is_file() && there.len() != bytes.len() as u64;
    match std::fs::metadata(path) {
        Ok(there) if is_longer(&there) => Ok(State::Other),
        Ok(_) => match file::read(path, u64::MAX) {
            Ok(there) => Ok(if there == bytes { State::Same } else { State::Other }),
            Err(problem) => Err(failure(path, &problem)),
        },
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(State::Absent),
        Err(problem) => Err(failure(path, &problem)),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|problem| failure(directory, &problem))?;
    }
    std::fs::write(path, bytes).map_err(|problem| failure(path, &problem))
}

/// Adds the store to what version control leaves alone, after what is there. Whether anything had to be added.
fn ignore(path: &Path) -> Result<bool, Failure> {
    let there = match file::read(path, u64::MAX) {
        Ok(bytes) => bytes,
        Err(problem) if problem.kind() == ErrorKind::NotFound => Vec::new(),
        Err(problem) => return Err(failure(path, &problem)),
    };
    let mut lines = there.split(|byte| *byte == b'\n');
    if lines.any(|line| matches!(line.trim_ascii(), b".agx" | b".agx/" | b"/.agx" | b"/.agx/")) {
        return Ok(false);
    }
    let gap = if there.is_empty() || there.ends_with(b"\n") { "" } else { "\n" };
    write(path, &[there.as_slice(), format!("{gap}{IGNORED}\n").as_bytes()].concat())?;
    Ok(true)
}

fn failure(path: &Path, problem: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), reason(problem)))
}

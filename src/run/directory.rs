//! A run's own directory, `.agx/runs/<id>/`: what it was started from, its journal, its lock.
//!
//! ```text
//! source/<file>.agx      the file as it was, and what it imports at its path
//! source/overrides.json  what `--set` and `--params` said
//! source/experiment.json what the checker made of both: what `resume` goes on from
//! source/identities.json what stood in the files that it names: digests, in the order of the declarations
//! plan.json              every step with its key
//! journal.jsonl          what happened
//! lock                   held by the one process that writes
//! scratch/               checkpoints of a training under way
//! files/                 of a run that was brought here: what its experiment names (see [`carried`](super::carried))
//! ```
//!
//! # Invariants
//! The frozen files are written before the first event and never changed.

use crate::base::{Digest, file};
use crate::env::EnvKind;
use crate::experiment::{Dataset, Experiment, Named};
use crate::model::{ModelSpec, Source};
use crate::plan::Identities;
use crate::run::journal::Follower;
use crate::run::{Project, RunError, RunEvent, Subject};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Frozen files are written by people, or by the checker from such.
const MOST_FROZEN: u64 = 1 << 28;
/// The first event holds the plan.
const MOST_LINE: u64 = 1 << 26;

/// A run that this process alone writes.
#[derive(Debug)]
pub struct RunDirectory {
    pub run: String,
    pub path: PathBuf,
    /// Something happened in it: it stays.
    begun: bool,
    _lock: File,
    /// Nothing is removed from the store meanwhile.
    _working: File,
}

/// One that nothing happened in is nobody's run: what it made could not be told from nothing. A panic is as sudden as a kill,
/// and leaves it.
impl Drop for RunDirectory {
    fn drop(&mut self) {
        if !self.begun && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl RunDirectory {
    /// Makes the next directory of this experiment and freezes the source in it.
    pub fn create(
        project: &Project,
        subject: &Subject<'_>,
        identities: &Identities,
        plan_json: &str,
    ) -> Result<Self, RunError> {
        let working = project.store.working()?;
        let (run, path) = claim(project, &word(&subject.experiment.name))?;
        let lock = lock(&run, &path)?;
        let directory = Self { run, path, begun: false, _lock: lock, _working: working };
        let path = &directory.path;
        for part in ["source", "scratch"] {
            let part = path.join(part);
            std::fs::create_dir_all(&part).map_err(|problem| RunError::file(&part, problem))?;
        }
        let source = path.join("source");
        let name = Path::new(subject.file_name).file_name().unwrap_or("source.agx".as_ref());
        write(&source.join(name), subject.source.as_bytes())?;
        for (path, text) in subject.imports {
            let path = source.join(path);
            let directory = path.parent().unwrap_or(&source);
            std::fs::create_dir_all(directory).map_err(|problem| RunError::file(directory, problem))?;
            write(&path, text.as_bytes())?;
        }
        let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).expect("plain data");
        write(&source.join("overrides.json"), pretty(&serde_json::json!(subject.overrides)).as_bytes())?;
        let experiment = portable(project, subject.experiment);
        write(&source.join("experiment.json"), pretty(&serde_json::json!(experiment)).as_bytes())?;
        write(&source.join("identities.json"), pretty(&serde_json::json!(identities)).as_bytes())?;
        write(&path.join("plan.json"), plan_json.as_bytes())?;
        Ok(directory)
    }

    /// Takes an existing run to go on with it.
    pub fn open(project: &Project, run: &str) -> Result<Self, RunError> {
        let path = project.run_dir(run);
        if !is_word(run) || !path.is_dir() {
            return Err(RunError::UnknownRun(run.to_owned()));
        }
        let working = project.store.working()?;
        let lock = lock(run, &path)?;
        let scratch = path.join("scratch");
        std::fs::create_dir_all(&scratch).map_err(|problem| RunError::file(&scratch, problem))?;
        Ok(Self { run: run.to_owned(), path, begun: true, _lock: lock, _working: working })
    }

    /// Its first event is written.
    pub fn begun(&mut self) {
        self.begun = true;
    }

    /// Digests of the frozen files, by their paths from here.
    pub fn frozen(&self) -> Result<BTreeMap<String, Digest>, RunError> {
        frozen(&self.path)
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
}

/// Makes the next directory of a series of runs: `lab-3` after `lab-2`.
pub(super) fn claim(project: &Project, series: &str) -> Result<(String, PathBuf), RunError> {
    let taken = all(project)?;
    let number = |run: &String| run.strip_prefix(series)?.strip_prefix('-')?.parse::<u64>().ok();
    let mut next = taken.iter().filter_map(number).max().unwrap_or(0).saturating_add(1);
    loop {
        let run = format!("{series}-{next}");
        let path = project.run_dir(&run);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok((run, path)),
            // Another process may take the same number between the look and the make.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && next < u64::MAX => next += 1,
            Err(problem) => return Err(RunError::file(&path, problem)),
        }
    }
}

pub(super) fn frozen(path: &Path) -> Result<BTreeMap<String, Digest>, RunError> {
    let mut found = BTreeMap::new();
    digests(path, &path.join("source"), &mut found)?;
    Ok(found)
}

/// Compares a run's frozen files with what its first event notes of them.
///
/// # Errors
/// A frozen file that is not as it was noted, or not noted.
pub fn compare(project: &Project, run: &str, noted: &BTreeMap<String, Digest>) -> Result<(), RunError> {
    let path = project.run_dir(run);
    let found = frozen(&path)?;
    let names = noted.keys().chain(found.keys());
    match names.into_iter().find(|name| noted.get(*name) != found.get(*name)) {
        Some(name) => Err(RunError::Frozen { run: run.to_owned(), path: path.join(name) }),
        None => Ok(()),
    }
}

/// The frozen experiment of a run, its files where they lie: with the run, if it was brought here, else where it was made.
pub fn experiment(project: &Project, run: &str) -> Result<Experiment, RunError> {
    let mut experiment = as_frozen(project, run)?;
    let (carried, anchor) = (carried(project, run), anchor(project));
    for (place, file) in places(&mut experiment) {
        let here = carried.join(place);
        *file = if here.exists() { here } else { anchor.join(&*file) };
    }
    Ok(experiment)
}

pub const CARRIED: &str = "files";

/// `.agx/runs/<run>/files/`
pub fn carried(project: &Project, run: &str) -> PathBuf {
    project.run_dir(run).join(CARRIED)
}

/// Whether a run was made elsewhere.
pub fn is_brought(project: &Project, run: &str) -> bool {
    carried(project, run).is_dir()
}

/// Every path that an experiment names with its place: a number and its own name. One path has one place.
pub(super) fn places(experiment: &mut Experiment) -> Vec<(PathBuf, &mut PathBuf)> {
    let mut numbers: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut place = |path: &mut PathBuf| {
        let next = numbers.len();
        let number = *numbers.entry(path.clone()).or_insert(next);
        Path::new(&number.to_string()).join(path.file_name().unwrap_or("file".as_ref()))
    };
    files(experiment).into_iter().map(|path| (place(path), path)).collect()
}

/// The frozen experiment of a run, its files as they were named.
pub(super) fn as_frozen(project: &Project, run: &str) -> Result<Experiment, RunError> {
    let path = project.run_dir(run).join("source").join("experiment.json");
    let text = file::read(&path, MOST_FROZEN).map_err(|problem| absent(project, run, &path, problem))?;
    serde_json::from_slice(&text).map_err(|problem| RunError::file(&path, std::io::Error::other(problem)))
}

/// What stood in the files that a run's experiment names, when it was started; `None` for a run of before this was kept.
pub fn identities(project: &Project, run: &str) -> Result<Option<Identities>, RunError> {
    let path = project.run_dir(run).join("source").join("identities.json");
    let fail = |problem| RunError::file(&path, problem);
    match file::read(&path, MOST_FROZEN) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|problem| fail(std::io::Error::other(problem))),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(fail(problem)),
    }
}

/// The plan as it was frozen.
pub fn plan(project: &Project, run: &str) -> Result<serde_json::Value, RunError> {
    let path = project.run_dir(run).join("plan.json");
    let text = file::read(&path, MOST_FROZEN).map_err(|problem| RunError::file(&path, problem))?;
    serde_json::from_slice(&text).map_err(|problem| RunError::file(&path, std::io::Error::other(problem)))
}

/// The same experiment with its files named as a frozen one names them: from where the project lies.
pub fn portable(project: &Project, experiment: &Experiment) -> Experiment {
    let mut experiment = experiment.clone();
    unroot(&mut experiment, &anchor(project));
    experiment
}

/// What was set from outside the file.
pub fn overrides(project: &Project, run: &str) -> Result<BTreeMap<String, serde_json::Value>, RunError> {
    let path = project.run_dir(run).join("source").join("overrides.json");
    let text = file::read(&path, MOST_FROZEN).map_err(|problem| absent(project, run, &path, problem))?;
    serde_json::from_slice(&text).map_err(|problem| RunError::file(&path, std::io::Error::other(problem)))
}

/// An experiment in which files have names and no places.
pub fn without_places(experiment: &Experiment) -> Experiment {
    let mut bare = experiment.clone();
    for file in files(&mut bare) {
        *file = file.file_name().map(PathBuf::from).unwrap_or_default();
    }
    bare
}

/// A file of a run that cannot be read: where it is only missing, so is the run, or its beginning.
fn absent(project: &Project, run: &str, path: &Path, problem: std::io::Error) -> RunError {
    match problem.kind() {
        ErrorKind::NotFound if !project.run_dir(run).is_dir() => RunError::UnknownRun(run.to_owned()),
        ErrorKind::NotFound if started(&project.journal(run)) == Started::Never => {
            RunError::NeverStarted(run.to_owned())
        }
        _ => RunError::file(path, problem),
    }
}

/// The frozen files of a run, as they were written: its own, and what that imports.
pub fn sources(project: &Project, run: &str) -> Result<Vec<String>, RunError> {
    let mut texts = Vec::new();
    let mut left = vec![project.run_dir(run).join("source")];
    while let Some(path) = left.pop() {
        let fail = |problem| RunError::file(&path, problem);
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(fail)?;
            let mut paths =
                entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(fail)?;
            paths.sort_unstable();
            left.extend(paths);
        } else if path.extension().is_none_or(|extension| extension != "json") {
            texts.push(file::read_text(&path, MOST_FROZEN).map_err(fail)?);
        }
    }
    Ok(texts)
}

/// From where a frozen run names its files, so that a project can be moved.
fn anchor(project: &Project) -> PathBuf {
    let store = project.store.root();
    let store = store.canonicalize().unwrap_or_else(|_| store.to_owned());
    store.parent().map(Path::to_owned).unwrap_or_default()
}

fn unroot(experiment: &mut Experiment, anchor: &Path) {
    for file in files(experiment) {
        let full = file.canonicalize().unwrap_or_else(|_| file.clone());
        *file = full.strip_prefix(anchor).map(Path::to_owned).unwrap_or(full);
    }
}

/// Every path that an experiment names: those of models before all others.
pub(super) fn files(experiment: &mut Experiment) -> Vec<&mut PathBuf> {
    let models = model_files(&mut experiment.models);
    let envs = experiment.envs.iter_mut().flat_map(|env| match &mut env.it.kind {
        EnvKind::Desk => Vec::new(),
        EnvKind::ApiBank(declared) => vec![&mut declared.data],
        EnvKind::Outside(outside) => outside.files_mut(),
    });
    let datasets = experiment.datasets.iter_mut().filter_map(|dataset| match &mut dataset.it {
        Dataset::Jsonl { path } => Some(path),
        Dataset::Offered { .. } | Dataset::Hub { .. } => None,
    });
    models.chain(envs).chain(datasets).collect()
}

pub(super) fn model_files(models: &mut [Named<ModelSpec>]) -> impl Iterator<Item = &mut PathBuf> {
    models.iter_mut().flat_map(|model| {
        let source = match &mut model.it.source {
            Source::Path(path) | Source::Gguf(path) | Source::Scripted(path) => Some(path),
            Source::Fresh(fresh) => Some(&mut fresh.tokenizer),
            Source::Hub { .. } | Source::Remote(_) => None,
        };
        source.into_iter().chain(&mut model.it.adapter)
    })
}

/// The runs that were started, oldest first.
pub fn list(project: &Project) -> Result<Vec<String>, RunError> {
    let started = found(project)?.into_iter().filter(|(started, ..)| *started != Started::Never);
    Ok(started.map(|(_, _, run)| run).collect())
}

/// All runs, those first that never came to their first event.
pub fn all(project: &Project) -> Result<Vec<String>, RunError> {
    Ok(found(project)?.into_iter().map(|(_, _, run)| run).collect())
}

/// Where the journal of each run is or should be, also of those whose directory has another name than runs have.
pub(super) fn journals(project: &Project) -> Result<Vec<PathBuf>, RunError> {
    let runs = project.runs_dir();
    let fail = |problem| RunError::file(&runs, problem);
    let mut journals = Vec::new();
    for entry in std::fs::read_dir(&runs).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(file::TEMPORARY.as_bytes());
        if !is_unfinished && entry.path().is_dir() {
            journals.push(entry.path().join("journal.jsonl"));
        }
    }
    journals.sort();
    Ok(journals)
}

/// When a run was started.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Started {
    /// There is no whole event.
    Never,
    /// The first line is no event: the journal is damaged.
    Sometime,
    At(u64),
}

/// All runs with the time they were started at and their numbers, in this order.
fn found(project: &Project) -> Result<Vec<(Started, u64, String)>, RunError> {
    let runs = project.runs_dir();
    let entries = match std::fs::read_dir(&runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(RunError::file(&runs, problem)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|problem| RunError::file(&runs, problem))?;
        let Ok(run) = entry.file_name().into_string() else { continue };
        let number = run.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
        if let (Some(number), true) = (number, series(&run).is_some() && entry.path().is_dir()) {
            found.push((started(&project.journal(&run)), number, run));
        }
    }
    // A later number of one experiment is a later run, whatever a clock that was set back says.
    found.sort_by_key(|(_, number, _)| *number);
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    for (started, _, run) in &mut found {
        if let (Started::At(time), Some((series, _))) = (started, run.rsplit_once('-')) {
            let latest = latest.entry(series.to_owned()).or_default();
            *latest = (*latest).max(*time);
            *time = *latest;
        }
    }
    found.sort();
    Ok(found)
}

fn started(journal: &Path) -> Started {
    let mut line = Vec::new();
    match file::open(journal) {
        Ok(file) => match BufReader::new(file.take(MOST_LINE)).read_until(b'\n', &mut line) {
            Ok(_) if !line.ends_with(b"\n") && (line.len() as u64) < MOST_LINE => return Started::Never,
            Ok(_) => {}
            Err(_) => return Started::Sometime,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => return Started::Never,
        Err(_) => return Started::Sometime,
    }
    // The time stands in front of what may be long.
    let head = String::from_utf8_lossy(&line[..line.len().min(64)]);
    let time = head.split_once("\"time\":").map(|(_, rest)| rest);
    let digits = time.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse().ok()).map_or(Started::Sometime, Started::At)
}

/// The system frees the lock when its process ends, however it ends; the number inside is for people.
fn lock(run: &str, path: &Path) -> Result<File, RunError> {
    let path = path.join("lock");
    let fail = |problem| RunError::file(&path, problem);
    if path.exists() {
        file::open(&path).map_err(fail)?;
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
    // A holder that is just ending, or a child that has not shed its copy yet, is waited for.
    let mut tries = (0..10).map(|_| file.try_lock());
    let held = |result: &Result<(), TryLockError>| {
        let held = matches!(result, Err(TryLockError::WouldBlock));
        if held {
            #[allow(clippy::disallowed_methods, reason = "the system tells nobody that a lock came free")]
            std::thread::sleep(Duration::from_millis(20));
        }
        held
    };
    match tries.find(|result| !held(result)) {
        Some(Ok(())) => {}
        Some(Err(TryLockError::Error(problem))) => return Err(fail(problem)),
        Some(Err(TryLockError::WouldBlock)) | None => {
            let mut holder = String::new();
            let pid = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok()).unwrap_or(0);
            return Err(RunError::Locked { run: run.to_owned(), pid });
        }
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    std::fs::write(path, bytes).map_err(|problem| RunError::file(path, problem))
}

/// What a run can be called: the name of a series and a number.
pub(super) fn series(run: &str) -> Option<&str> {
    let (series, number) = run.rsplit_once('-')?;
    (is_word(run) && number.parse::<u64>().is_ok()).then_some(series)
}

/// Letters, digits, `_` and `-`: nothing that leaves the directory.
fn is_word(run: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !run.is_empty() && run.chars().all(plain)
}

fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// Calls with each event of a run and its time: with one at least. Only a few of them are in memory at a time.
pub fn each_event(project: &Project, run: &str, mut hear: impl FnMut(u64, RunEvent)) -> Result<(), RunError> {
    let path = project.journal(run);
    let blame = |error| match error {
        RunError::File { problem, .. } => absent(project, run, &path, problem),
        other => other,
    };
    let mut journal = Follower::new(path.clone());
    let mut any = false;
    loop {
        let events = journal.more().map_err(blame)?;
        if events.is_empty() {
            break;
        }
        any = true;
        events.into_iter().for_each(|(time, event)| hear(time, event));
    }
    match file::open(&path) {
        _ if any => Ok(()),
        Ok(_) => Err(RunError::NeverStarted(run.to_owned())),
        Err(problem) => Err(absent(project, run, &path, problem)),
    }
}

/// The events of a run, with their times: one at least.
pub fn events(project: &Project, run: &str) -> Result<Vec<(u64, RunEvent)>, RunError> {
    let mut all = Vec::new();
    each_event(project, run, |time, event| all.push((time, event)))?;
    Ok(all)
}

/// Digests of the files below a directory, by their paths from `root`.
fn digests(root: &Path, directory: &Path, found: &mut BTreeMap<String, Digest>) -> Result<(), RunError> {
    let fail = |problem| RunError::file(directory, problem);
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_type().map_err(fail)?.is_dir() {
            digests(root, &path, found)?;
        } else {
            let bytes = file::read(&path, MOST_FROZEN).map_err(|problem| RunError::file(&path, problem))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.insert(name, Digest::of_bytes(&bytes));
        }
    }
    Ok(())
}

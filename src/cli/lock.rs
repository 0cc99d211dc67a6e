//! `agx lock`: what a file names and what came of it, written down beside it; `--locked` and `agx verify FILE` hold against it.

use crate::base::Digest;
use crate::cli::args::LockArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::{self, Planned};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use crate::experiment::Experiment;
use crate::run::lock::{self, Differs, Lock, LockError, Locked, Results};
use crate::run::{self, Project, RunError, directory};
use serde_json::json;
use std::path::Path;

/// More of them are counted, not shown.
const MOST_SHOWN: usize = 12;

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let failure = Self::new(Exit::Usage, error.to_string());
        match error {
            LockError::Unwritable { .. } => failure,
            LockError::Unreadable { .. } | LockError::Version { .. } => {
                failure.help("take it from git again, or remove it and write it anew with `agx lock`")
            }
        }
    }
}

pub fn lock(args: &LockArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load_to_show(&args.file, &args.sets, terminal)?;
    let experiment = loaded.experiment(&args.which.clone().into())?;
    let Planned { identities, plan } = load::plan(experiment)?;
    let path = lock::path(&args.file);
    let mut written = Lock::read(&path)?.unwrap_or_default();
    let before = written.experiments.remove(&experiment.name);
    let mut now = Locked::now(experiment, &identities, &plan);
    if !args.update.is_empty() {
        now = updated(before.as_ref(), now, &args.update, &path)?;
    }
    now.results = match &before {
        _ if args.results => found(place, now.plan)?,
        Some(before) if before.plan == now.plan => before.results.clone(),
        _ => Default::default(),
    };
    let changed = before.as_ref().map(|before| before.inputs_differ(&now)).unwrap_or_default();
    let (inputs, results) = (now.inputs.len(), now.results.len());
    let same = before.as_ref() == Some(&now);
    written.experiments.insert(experiment.name.clone(), now);
    if !same {
        written.write(&path)?;
    }
    if terminal.json() {
        let (file, name) = (path.display().to_string(), &experiment.name);
        terminal.value(
            &json!({ "lock": file, "experiment": name, "changed": changed, "inputs": inputs, "results": results }),
        );
        return Ok(Exit::Ok);
    }
    let of = if results == 0 { "no results yet".to_owned() } else { format!("results of {results} nodes") };
    let verb = if same { "holds already" } else { "now holds" };
    terminal.say(&format!("{} {verb} {inputs} inputs and {of}", path.display()));
    say(terminal, &changed);
    if results == 0 {
        let take = place.command(&format!("lock {} --results", args.file.display()));
        terminal.say(&format!("once a run of it has finished, {take} takes in what it gave"));
    }
    Ok(Exit::Ok)
}

/// Only the inputs that are named, the others as they were.
fn updated(before: Option<&Locked>, now: Locked, names: &[String], path: &Path) -> Result<Locked, Failure> {
    let Some(before) = before else {
        let message = format!("{} has nothing of this experiment to update", path.display());
        return Err(Failure::new(Exit::Usage, message).help("write it first: `agx lock FILE`"));
    };
    for differs in before.inputs_differ(&now) {
        let named =
            |name: &String| differs.name == *name || differs.name.split_once(' ').is_some_and(|it| it.1 == name);
        if !names.iter().any(named) {
            let message = format!("`{}` has changed too, and is not to be updated", differs.name);
            return Err(Failure::new(Exit::Usage, message).help("name it as well, or bring back what was locked"));
        }
    }
    let known =
        |name: &String| now.inputs.keys().any(|it| it == name || it.split_once(' ').is_some_and(|it| it.1 == name));
    match names.iter().find(|name| !known(name)) {
        Some(name) => {
            let list: Vec<&str> = now.inputs.keys().map(String::as_str).collect();
            let message = format!("the experiment names no `{name}`");
            Err(Failure::new(Exit::Usage, message).help(format!("its inputs are {}", list.join(", "))))
        }
        None => Ok(now),
    }
}

/// The results of the newest finished run of a plan.
fn found(place: &Place, plan: Digest) -> Result<std::collections::BTreeMap<String, Digest>, Failure> {
    let project = place.open()?;
    let mut lacking = None;
    for run in run::list(&project)?.into_iter().rev() {
        // A run that cannot be read is none of this plan's.
        let Ok(events) = directory::events(&project, &run) else { continue };
        match lock::results(events.iter().map(|(_, event)| event)).filter(|results| results.plan == plan) {
            Some(Results { nodes, missing, plan: _ }) if missing.is_empty() => return Ok(nodes),
            // Another machine, or another day, would give something else.
            Some(_) => drop(lacking.get_or_insert(run)),
            None => {}
        }
    }
    if let Some(run) = lacking {
        let message = format!("run {run} is missing items that failed: its results are not those of the file alone");
        let again = place.command(&format!("resume {run}"));
        return Err(Failure::new(Exit::Usage, message).help(format!("{again} tries them again")));
    }
    let message = "no finished run here is of this file as it is now";
    Err(Failure::new(Exit::Usage, message).help("`agx run` it first, then lock its results"))
}

/// The entry of an experiment, with its inputs as they were locked.
///
/// # Errors
/// No lock, no entry, an input that has changed, another plan.
pub fn held(file: &Path, experiment: &Experiment, planned: &Planned, terminal: &Terminal) -> Result<Locked, Failure> {
    let path = lock::path(file);
    let write = format!("`agx lock {}` writes it", file.display());
    let Some(lock) = Lock::read(&path)? else {
        return Err(Failure::new(Exit::Usage, format!("there is no {}", path.display())).help(write));
    };
    let Some(locked) = lock.experiments.get(&experiment.name) else {
        let message = format!("{} has nothing of `{}`", path.display(), experiment.name);
        return Err(Failure::new(Exit::Usage, message).help(write));
    };
    let now = Locked::now(experiment, &planned.identities, &planned.plan);
    let differs = locked.inputs_differ(&now);
    if !differs.is_empty() {
        say(terminal, &differs);
        let message = format!("{} inputs are not as {} has them", differs.len(), path.display());
        return Err(
            Failure::new(Exit::Differs, message).help("bring them back, or take them in with `agx lock --update NAME`")
        );
    }
    if locked.plan != now.plan {
        let message = format!("the experiment is not as {} has it", path.display());
        return Err(Failure::new(Exit::Differs, message).help(
            "the file was changed, or something was set: `agx lock` takes it in; its results are then to be made anew",
        ));
    }
    Ok(locked.clone())
}

/// A run's results beside the lock's.
pub struct Compared {
    pub nodes: usize,
    pub differs: Vec<Differs>,
}

impl Compared {
    /// # Errors
    /// A run that cannot be read.
    pub fn of(project: &Project, run: &str, locked: &Locked) -> Result<Self, Failure> {
        let events = directory::events(project, run)?;
        let results = lock::results(events.iter().map(|(_, event)| event));
        let now = results.ok_or_else(|| Failure::from(RunError::NeverStarted(run.to_owned())))?.nodes;
        Ok(Self { nodes: now.len(), differs: locked.results_differ(&now) })
    }

    /// # Errors
    /// Results that differ.
    pub fn say(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { nodes, differs } = self;
        if differs.is_empty() {
            terminal.say(&format!("the results of all {nodes} nodes are as locked, byte for byte"));
            return Ok(Exit::Ok);
        }
        say(terminal, differs);
        let message = format!("{} of {nodes} nodes gave other results than are locked", differs.len());
        Err(Failure::new(Exit::Differs, message).help("the first of them is where to look"))
    }
}

fn say(terminal: &Terminal, differs: &[Differs]) {
    let short = |digest: &Option<Digest>| digest.map_or_else(|| "not there".to_owned(), |digest| digest.short());
    for Differs { name, locked, now } in differs.iter().take(MOST_SHOWN) {
        terminal.say(&format!("  {name}: {} in the lock, {} now", short(locked), short(now)));
    }
    if differs.len() > MOST_SHOWN {
        terminal.say(&format!("  … and {} more", differs.len() - MOST_SHOWN));
    }
}

//! `agx verify`: what of a run can be proven, and what not.

use crate::base::{Diagnostic, Seed, file};
use crate::cli::args::{Sets, VerifyArgs, Which};
use crate::cli::exit::{Exit, Failure};
use crate::cli::fetch;
use crate::cli::live::View;
use crate::cli::load;
use crate::cli::lock::{self, Compared};
use crate::cli::machine;
use crate::cli::place::{self, Place};
use crate::cli::run::{Worker, subject};
use crate::cli::terminal::Terminal;
use crate::experiment::{self, Dataset, Experiment, Given, Origin, Unreadable, World};
use crate::report::text::{Cell, Table, counted, plain};
use crate::run::verify::{self, Asked, Expand, Finding, Level, Verified};
use crate::run::{self, Project, RunEnd, RunLabel};
use crate::syntax::Source;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More of them are counted, not shown.
const MOST_SHOWN: usize = 20;

pub fn verify(args: &VerifyArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    if let Some(file) = args.run.as_deref().filter(|it| it.ends_with(".agx")) {
        return anew(Path::new(file), args, terminal);
    }
    let project = place.open()?;
    let run = place.run(&project, args.run.as_deref())?;
    place::may_start(&project, &run, args.start_programs)?;
    let level = match (args.sample, &args.against) {
        (Some(_), _) | (_, Some(_)) => Level::Remade,
        _ => Level::ALL[usize::from(args.level)],
    };
    if args.against.as_ref() == Some(&run) {
        return Err(Failure::new(Exit::Usage, format!("`{run}` beside itself proves nothing"))
            .help("name a run that was worked by itself: on another machine, or in another store"));
    }
    if level == Level::Remade && args.against.is_none() {
        fetch::required(&project, &run)?;
    }
    let jobs = args.jobs.map(usize::from);
    let asked = Asked {
        level,
        share: args.sample.unwrap_or(1.0),
        draw: Seed(place::now()).derive("agx-verify"),
        jobs,
        against: args.against.clone(),
        wire: place::wire().keeping(machine::memory()?),
    };
    let worker = Worker::watching(jobs, *terminal)?;
    let mut view = View::new(worker.screen().clone());
    let expand: Expand<'_> = &expand;
    let verified =
        verify::verify(&project, &run, &asked, expand, worker.control(), &place::now, &mut |event| view.show(event))?;
    drop(view);
    if terminal.json() {
        terminal.value(&data(&verified));
    } else {
        terminal.data(&words(&verified, &asked, place));
    }
    Ok(if verified.interrupted {
        Exit::Paused
    } else if verified.holds() {
        Exit::Ok
    } else {
        Exit::Differs
    })
}

/// A file run from nothing in a place that is removed afterwards, and held against its lock.
fn anew(file: &Path, args: &VerifyArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load_to_run(file, &Sets::default(), terminal)?;
    let experiment = loaded.experiment(&Which::default())?;
    let planned = load::plan(experiment)?;
    let locked = lock::held(file, experiment, &planned, terminal)?;
    if run::label(experiment, &planned.plan) == RunLabel::Recorded {
        let message = format!(
            "{} asks a model behind an endpoint or on a GPU, which may say something else each time",
            file.display()
        );
        return Err(Failure::new(Exit::Usage, message)
            .help("`agx verify RUN` proves a run from what was recorded, and asks nobody"));
    }
    if locked.results.is_empty() {
        let message = format!("{} holds no results to compare with", run::lock::path(file).display());
        return Err(
            Failure::new(Exit::Usage, message).help("`agx run` the file, then `agx lock --results` takes them in")
        );
    }
    let beside = tempfile::tempdir().map_err(|problem| Failure::new(Exit::Usage, file::reason(&problem)))?;
    let project = Project::at(beside.path())?;
    let (imports, overrides) = (loaded.imports(), BTreeMap::new());
    let subject = subject(&loaded, &imports, &overrides, experiment);
    let worker = Worker::watching(args.jobs.map(usize::from), *terminal)?;
    let outcome =
        worker.work(|options, control, sink| run::start(&project, &subject, options, control, &place::now, sink))?;
    match outcome.end {
        RunEnd::Finished => {
            let compared = Compared::of(&project, &outcome.run, &locked)?;
            if terminal.json() {
                let Compared { nodes, differs } = &compared;
                terminal.value(&json!({
                    "file": file, "lock": run::lock::path(file), "experiment": experiment.name, "holds": differs.is_empty(),
                    "nodes": nodes, "differs": differs,
                }));
            }
            compared.say(terminal)
        }
        RunEnd::Paused => Ok(Exit::Paused),
        RunEnd::Failed => {
            let failed = outcome.failed.first().map(|failed| format!("{} failed: {}", failed.step, failed.reason));
            Err(Failure::new(Exit::NodeFailed, failed.unwrap_or_else(|| "a node failed".to_owned())))
        }
    }
}

fn data(verified: &Verified) -> Value {
    let proven = |level: &Level| verified.levels.iter().any(|it| it.level == *level && it.proven());
    let (yes, no): (Vec<Level>, Vec<Level>) = Level::ALL.into_iter().partition(proven);
    let claims =
        |levels: Vec<Level>| levels.into_iter().map(|it| json!({ "level": it, "word": it.word(), "what": it.claim() }));
    let lacking = unproven(verified).into_iter().map(|what| json!({ "what": what }));
    json!({
        "run": verified.run,
        "holds": verified.holds(),
        "finished": verified.finished,
        "interrupted": verified.interrupted,
        "levels": verified.levels,
        "lacking": verified.lacking,
        "proven": claims(yes).collect::<Vec<_>>(),
        "not_proven": claims(no).chain(lacking).collect::<Vec<_>>(),
    })
}

/// What was looked at, and not proven.
fn unproven(verified: &Verified) -> Vec<String> {
    let lacking = &verified.lacking;
    let (missing, too_long) = lacking.not_proven();
    let nothing = verified.levels.iter().any(|it| it.findings.is_empty() && !it.proves);
    let nothing = nothing.then(|| "that the models say the same again: of nothing was it said twice".to_owned());
    let mut words: Vec<String> = nothing.into_iter().collect();
    if lacking.recorded > 0 {
        let items = counted(usize::try_from(lacking.recorded).unwrap_or(usize::MAX), "item");
        words.push(format!(
            "what a model behind an endpoint or on a GPU said of {items}: it stands in the record, and nobody was asked again"
        ));
    }
    if missing > 0 {
        words.push(counted(missing, "missing item"));
    }
    if too_long > 0 {
        let items = counted(too_long, "item");
        words.push(format!("{items} that took too long: nobody looked at what would have come of them"));
    }
    words
}

/// A line a level, then what was found, then what to do.
fn words(verified: &Verified, asked: &Asked, place: &Place) -> String {
    let mut out = format!("run {}\n", verified.run);
    let mut table = Table::default();
    for level in Level::ALL {
        let outcome = verified.levels.iter().find(|it| it.level == level);
        let (mark, looked) = match outcome {
            None => ("·", "not looked at"),
            Some(it) if it.proven() => ("✓", it.looked_at.as_str()),
            Some(it) if it.findings.is_empty() => ("·", it.looked_at.as_str()),
            Some(it) => ("✗", it.looked_at.as_str()),
        };
        let head = format!("{mark} {} {}", level.number(), level.word());
        table.push([Cell::left(head), Cell::left(level.claim()), Cell::left(looked)]);
    }
    out.push_str(&table.text());
    if let Some(again @ 1..) = verified.lacking.failed_again {
        out.push_str(&format!("\nproven: {} failed again\n", counted(again, "missing item")));
    }
    for what in unproven(verified) {
        out.push_str(&format!("\nnot proven: {what}\n"));
    }
    let findings: Vec<&Finding> = verified.findings().collect();
    if !findings.is_empty() {
        out.push('\n');
    }
    for Finding { level: _, node, item, what } in findings.iter().take(MOST_SHOWN) {
        let place: Vec<&str> = node.iter().chain(item).map(String::as_str).collect();
        let place = if place.is_empty() { "the run".to_owned() } else { place.join(", ") };
        out.push_str(&format!("{}: {}\n", plain(&place), plain(what)));
    }
    if findings.len() > MOST_SHOWN {
        out.push_str(&format!("… and {} more: `--format json` has all\n", findings.len() - MOST_SHOWN));
    }
    if verified.holds() && !verified.finished {
        out.push_str("\nthe run has not finished, or its journal was cut short: only what it tells was looked at\n");
    }
    let run = &verified.run;
    let next = match verified.levels.last() {
        _ if verified.interrupted => Some("interrupted: nothing of it was kept".to_owned()),
        Some(last) if !last.findings.is_empty() && last.level < asked.level => {
            Some("the levels above were not looked at: what they say would rest on this".to_owned())
        }
        Some(last) if last.findings.is_empty() && last.level < Level::Replayed => {
            let command = place.command(&format!("verify {run} --level {}", last.level.number() + 1));
            Some(format!("{command} looks further"))
        }
        Some(last) if last.findings.is_empty() && last.level < Level::Remade && verified.remakable => {
            let command = place.command(&format!("verify {run} --sample 5%"));
            Some(format!("{command} lets the models make a part of it again"))
        }
        _ => None,
    };
    next.into_iter().for_each(|next| out.push_str(&format!("\n{next}\n")));
    out
}

/// The experiments that a frozen source gives, checked as when it was run.
pub fn expand(
    directory: &Path,
    overrides: &BTreeMap<String, Value>,
    frozen: &Experiment,
) -> Result<Vec<Experiment>, String> {
    let entries = std::fs::read_dir(directory).map_err(|problem| file::reason(&problem))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "agx")).collect();
    paths.sort();
    let given: Vec<Given> = overrides
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .map(|(name, value)| Given { name, value, origin: Origin::Set })
        .collect();
    let mut found = Vec::new();
    for path in paths {
        found.extend(expanded(directory, &path, &given, frozen));
    }
    Ok(found)
}

fn expanded(directory: &Path, path: &Path, given: &[Given], frozen: &Experiment) -> Vec<Experiment> {
    let (source, None) = load::source(path) else { return Vec::new() };
    // Rows of a dataset lie where the run found them, everything else beside the source.
    let rows = |path: &Path| {
        let mut files = frozen.datasets.iter().filter_map(|dataset| match &dataset.it {
            Dataset::Jsonl { path } => Some(path),
            Dataset::Offered { .. } | Dataset::Hub { .. } => None,
        });
        files.find(|file| file.file_name() == path.file_name())
    };
    let read = |path: &Path| match (load::import(directory, path), rows(path)) {
        (Err(Unreadable::Missing), Some(file)) => {
            file::read(file, u64::MAX).map_err(|problem| Unreadable::Other(file::reason(&problem)))
        }
        (found, _) => found,
    };
    let world = World { root: directory, exists: &|_| true, read: &read };
    let again = |given: &[Given]| experiment::check(Source { ..source.clone() }, given, world);
    let whole = again(given);
    if !whole.diagnostics.iter().any(Diagnostic::is_error) {
        return whole.experiments;
    }
    // Of a matrix's cell some values are axes, which nobody else may set.
    let plain = again(&[]);
    let axes = |name: &str| {
        let mut settings = plain.matrices.iter().flat_map(|matrix| &matrix.cells).flat_map(|cell| &cell.settings);
        settings.any(|setting| setting.axis == name)
    };
    let (axes, params): (Vec<Given>, Vec<Given>) = given.iter().cloned().partition(|given| axes(&given.name));
    let cells = again(&params).matrices.into_iter().flat_map(|matrix| matrix.cells);
    let is_meant = |cell: &experiment::Cell| {
        cell.settings.iter().all(|setting| axes.iter().any(|it| it.name == setting.axis && it.value == setting.value))
    };
    cells.filter(is_meant).map(|cell| cell.experiment).collect()
}

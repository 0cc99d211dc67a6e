//! `agx export`: what a run made, for other programs.

mod archive;
mod jsonl;

use crate::cli::args::{ExportArgs, ExportForm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::show::read;
use crate::cli::terminal::Terminal;
use crate::experiment::Experiment;
use crate::model::ModelSpec;
use crate::report::{NodeReport, Report};
use crate::run::manifest::Manifest;
use crate::run::{NodeStatus, directory};
use serde_json::json;
use std::path::Path;

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let ExportArgs { run: _, form, to: _, force: _, model, node, dropped } = args;
    let of = |forms: &[ExportForm], option: &str, named: &str| match forms.contains(form) {
        true => Ok(()),
        false => Err(Failure::new(Exit::Usage, format!("`{option}` is for `--as {named}`"))),
    };
    use ExportForm::{Cassette, Hf, Jsonl, Tar};
    if model.is_some() {
        of(&[Hf], "--model", "hf")?;
    }
    if node.is_some() {
        of(&[Jsonl], "--node", "jsonl")?;
    }
    if *dropped {
        of(&[Jsonl], "--dropped", "jsonl")?;
    }
    match form {
        Hf => version(args, place, terminal),
        Jsonl => jsonl::export(args, place, terminal),
        Tar | Cassette => archive::export(args, place, terminal),
    }
}

/// A file that is there already is not written over.
fn occupied(to: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("{} exists already", to.display()))
        .help("name another file, or write it anew with `--force`")
}

/// A version of a model, for others to open.
fn version(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    let holds_something = std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !args.force {
        let message = format!("{} holds something already", args.to.display());
        return Err(Failure::new(Exit::Usage, message).help("name another directory, or write into it with `--force`"));
    }
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    let experiment = directory::experiment(&project, &run)?;
    let (name, number) = wanted(args.model.as_deref(), &report, &experiment)?;
    let spec = spec(&experiment, &name)?;
    let trained: Vec<&NodeReport> = trainings(&report, &name).collect();
    let number = number.unwrap_or(trained.len());
    let weights = match number.checked_sub(1).map(|at| trained.get(at)) {
        None => None,
        Some(Some(node)) => {
            let manifest: Option<Manifest> = node.output.map(|output| read(&project.store, &output)).transpose()?;
            manifest.and_then(|manifest| manifest.output)
        }
        Some(None) => {
            let message = format!("run `{run}` has no `{name}@{number}`");
            return Err(Failure::new(Exit::Usage, message).help(format!("the newest is `{name}@{}`", trained.len())));
        }
    };
    let stored = |digest| project.store.get(&digest).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()));
    let weights = weights.map(stored).transpose()?;
    crate::model::export(spec, weights.as_deref(), &args.to, true)
        .map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    if terminal.json() {
        terminal.value(&json!({ "run": run, "model": name, "version": number, "as": "hf", "to": args.to }));
    } else {
        terminal.say(&format!("wrote {name}@{number} to {}", args.to.display()));
    }
    Ok(Exit::Ok)
}

/// The slot and the version, `None` for the newest. Without a name, the run's winner, or the only slot that was trained.
fn wanted(asked: Option<&str>, report: &Report, experiment: &Experiment) -> Result<(String, Option<usize>), Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let Some(asked) = asked else {
        if let Some(winner) = &report.winner {
            return parse(winner).ok_or_else(|| usage(format!("the winner `{winner}` is no version")));
        }
        let mut names: Vec<&str> = experiment.models.iter().map(|model| model.name.as_str()).collect();
        names.retain(|name| trainings(report, name).next().is_some());
        return match names.as_slice() {
            [only] => Ok(((*only).to_owned(), None)),
            _ => Err(usage("which model? the run has no winner".to_owned()).help("`--model NAME@VERSION`")),
        };
    };
    match asked.split_once('@') {
        Some((name, "best" | "winner")) => match report.winner.as_deref().and_then(parse) {
            Some((winner, version)) if winner == name => Ok((winner, version)),
            _ => Err(usage(format!("the run picked no version of `{name}`"))),
        },
        Some((name, "last")) => Ok((name.to_owned(), None)),
        _ => parse(asked)
            .ok_or_else(|| usage(format!("`{asked}` is no version")).help("`policy`, `policy@2` or `policy@best`")),
    }
}

/// `policy`, `policy@2`.
fn parse(text: &str) -> Option<(String, Option<usize>)> {
    match text.split_once('@') {
        None => Some((text.to_owned(), None)),
        Some((name, version)) => Some((name.to_owned(), Some(version.parse().ok()?))),
    }
}

/// Trainings of a slot that were not left out by a gate, in order: the n-th makes version n.
fn trainings<'a>(report: &'a Report, model: &'a str) -> impl Iterator<Item = &'a NodeReport> {
    let trains = report.nodes.iter().filter(move |node| node.info.op == "train" && node.info.name == model);
    trains.filter(|node| matches!(node.status, NodeStatus::Done | NodeStatus::Cached))
}

fn spec<'a>(experiment: &'a Experiment, name: &str) -> Result<&'a ModelSpec, Failure> {
    let found = experiment.models.iter().find(|model| model.name == name);
    found.map(|model| &model.it).ok_or_else(|| {
        let names: Vec<&str> = experiment.models.iter().map(|model| model.name.as_str()).collect();
        Failure::new(Exit::Usage, format!("the experiment has no model `{name}`"))
            .help(format!("it has {}", names.join(", ")))
    })
}

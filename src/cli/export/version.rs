//! Turns a version of a model into a directory that others open, with where it comes from beside it.

use super::is_stdout;
use crate::base::file;
use crate::cli::args::{ExportArgs, ExportForm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::reading::find;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::experiment::{Experiment, ModelId};
use crate::model::{self, ModelError};
use crate::plan::Work;
use crate::report::Report;
use crate::run::lineage::{self, Origin};
use crate::run::resources::Version;
use crate::run::worked::{Worked, WorkedStep, trained, worked};
use crate::syntax::similar::{did_you_mean, similar};
use serde_json::json;

/// Lies beside the weights.
const ORIGIN: &str = "agx.json";

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    if is_stdout(&args.to) {
        return Err(Failure::new(Exit::Usage, "it is a directory of files, which stdout cannot be").help("`--to DIR`"));
    }
    let holds_something = std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !args.force {
        let message = format!("{} holds something already", args.to.display());
        return Err(Failure::new(Exit::Usage, message).help("name another directory, or write into it with `--force`"));
    }
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    let worked = worked(&project, &run)?;
    let experiment = &worked.past.experiment;
    let asked = match &args.node {
        Some(id) => {
            find(&report, &run, id)?;
            Asked::Training(training(&worked, id)?)
        }
        None => wanted(args.model.as_deref(), &report, &worked)?,
    };
    let (version, maker) = match asked {
        Asked::Declared(model) => (Version { model, number: 0, weights: None }, None),
        Asked::Training(step) => worked.maker(step),
    };
    let name = lineage::version(experiment, &version);
    if let Asked::Training(step) = asked
        && !trained(step)
    {
        terminal.say(&format!("{} had nothing to train on: what it left is {name}", worked.step(step).id));
    }
    let weights = version.weights.map(|digest| project.store.get(&digest));
    let weights = weights.transpose().map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let spec = &experiment.models[version.model.0].it;
    let written = match (args.form, &weights) {
        (ExportForm::Peft, Some(weights)) => model::export_adapter(spec, weights, &args.to),
        (ExportForm::Peft, None) => Err(ModelError::NoAdapter),
        _ => model::export(spec, weights.as_deref(), &args.to, true),
    };
    let form = if args.form == ExportForm::Peft { "peft" } else { "hf" };
    written.map_err(|problem| match problem {
        ModelError::NoAdapter if maker.is_none() => {
            Failure::new(Exit::Usage, format!("{name} is as declared: there is no adapter of it"))
        }
        ModelError::NoAdapter => {
            Failure::new(Exit::Usage, format!("{name}: {problem}")).help("`--as hf` writes it whole")
        }
        ModelError::NoWeights => Failure::new(Exit::Usage, format!("{name} cannot be exported: {problem}")),
        _ => Failure::new(Exit::Usage, problem.to_string()),
    })?;
    let origin: Origin = lineage::origin(&project, &worked, &version, maker)?;
    let text = serde_json::to_string_pretty(&origin).expect("plain data");
    let path = args.to.join(ORIGIN);
    std::fs::write(&path, text + "\n").map_err(|problem| {
        Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), file::reason(&problem)))
    })?;
    if terminal.json() {
        let model = &experiment.models[version.model.0].name;
        terminal.value(&json!({
            "run": run, "model": model, "version": version.number, "as": form, "to": args.to, "origin": origin,
        }));
    } else {
        terminal.say(&format!("wrote {name} to {}", args.to.display()));
    }
    Ok(Exit::Ok)
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Declared(ModelId),
    /// What a training left.
    Training(&'a WorkedStep),
}

fn training<'a>(worked: &'a Worked, node: &str) -> Result<&'a WorkedStep, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let step = worked.named(node).ok_or_else(|| usage(format!("`{node}` has not finished")))?;
    match &worked.step(step).work {
        Work::Train { .. } => Ok(step),
        _ => Err(usage(format!("`{node}` trains nothing")).help("name a `train@1`")),
    }
}

/// Without a name, the run's winner, or the newest of the only slot that was trained.
fn wanted<'a>(asked: Option<&str>, report: &Report, worked: &'a Worked) -> Result<Asked<'a>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let experiment = &worked.past.experiment;
    let winner = || report.winner.as_deref().and_then(parse);
    let (name, number) = match asked {
        None => match winner() {
            Some(winner) => winner,
            None => {
                let named = (0..experiment.models.len()).filter(|&at| newest(worked, ModelId(at)).is_some());
                match named.collect::<Vec<_>>().as_slice() {
                    [only] => (experiment.models[*only].name.clone(), None),
                    _ => {
                        return Err(
                            usage("which model? the run has no winner".to_owned()).help("`--model NAME@VERSION`")
                        );
                    }
                }
            }
        },
        Some(asked) => match asked.split_once('@') {
            Some((name, "best" | "winner")) => match winner() {
                Some(winner) if winner.0 == name => winner,
                _ => return Err(usage(format!("the run picked no version of `{name}`"))),
            },
            Some((name, "last")) => (name.to_owned(), None),
            _ => parse(asked).ok_or_else(|| {
                usage(format!("`{asked}` is no version")).help("`policy`, `policy@2` or `policy@best`")
            })?,
        },
    };
    let model = slot(experiment, &name)?;
    let newest = newest(worked, model);
    let step = match number {
        Some(0) => None,
        None => newest,
        Some(number) => Some(worked.training(model, number).ok_or_else(|| {
            let last = newest.and_then(|step| lineage::training(worked, step)).map(|it| it.version);
            usage(format!("run `{}` has no `{name}@{number}`", report.run))
                .help(format!("the newest is `{}`", last.unwrap_or_else(|| format!("{name}@0"))))
        })?),
    };
    Ok(step.map_or(Asked::Declared(model), Asked::Training))
}

/// `policy`, `policy@2`.
fn parse(text: &str) -> Option<(String, Option<u32>)> {
    match text.split_once('@') {
        None => Some((text.to_owned(), None)),
        Some((name, version)) => Some((name.to_owned(), Some(version.parse().ok()?))),
    }
}

/// The last training of a slot that had something to train on.
fn newest(worked: &Worked, model: ModelId) -> Option<&WorkedStep> {
    let of = |step: &&WorkedStep| matches!(&worked.step(step).work, Work::Train { start, .. } if start.model == model);
    worked.steps.iter().rev().filter(of).find(|step| trained(step))
}

fn slot(experiment: &Experiment, name: &str) -> Result<ModelId, Failure> {
    let names = || experiment.models.iter().map(|model| model.name.as_str());
    names().position(|it| it == name).map(ModelId).ok_or_else(|| {
        let help = did_you_mean(&similar(name, names()))
            .unwrap_or_else(|| format!("it has {}", names().collect::<Vec<_>>().join(", ")));
        Failure::new(Exit::Usage, format!("the experiment has no model `{name}`")).help(help)
    })
}

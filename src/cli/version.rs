//! Turns a name of a version (`policy`, `policy@2`, `policy@best`) into what a run made.

use crate::cli::exit::{Exit, Failure};
use crate::experiment::{Experiment, ModelId};
use crate::plan::Work;
use crate::report::Report;
use crate::run::lineage;
use crate::run::resources::Version;
use crate::run::worked::{Worked, WorkedStep, trained};
use crate::syntax::similar::{did_you_mean, similar};

/// What a name means.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    Declared(ModelId),
    /// What a training left.
    Training(&'a WorkedStep),
}

impl<'a> Asked<'a> {
    /// The version, and the training that made it.
    pub fn version(self, worked: &'a Worked) -> (Version, Option<&'a WorkedStep>) {
        match self {
            Asked::Declared(model) => (Version { model, number: 0, weights: None }, None),
            Asked::Training(step) => worked.maker(step),
        }
    }
}

/// What a node left.
pub fn training<'a>(worked: &'a Worked, node: &str) -> Result<&'a WorkedStep, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let step = worked.named(node).ok_or_else(|| usage(format!("`{node}` has not finished")))?;
    match &worked.step(step).work {
        Work::Train { .. } => Ok(step),
        _ => Err(usage(format!("`{node}` trains nothing")).help("name a `train@1`")),
    }
}

/// Without a name, the run's winner, or the newest of the only slot that was trained.
pub fn wanted<'a>(asked: Option<&str>, report: &Report, worked: &'a Worked) -> Result<Asked<'a>, Failure> {
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

/// Of a version whose model is not what it was when the run made it.
pub fn changed(name: &str, run: &str) -> Failure {
    let message = format!("the files that {name} was made from have changed since run `{run}`");
    Failure::new(Exit::Usage, message).help("put them back, or use what `agx export --as hf` wrote before")
}

pub fn slot(experiment: &Experiment, name: &str) -> Result<ModelId, Failure> {
    let names = || experiment.models.iter().map(|model| model.name.as_str());
    names().position(|it| it == name).map(ModelId).ok_or_else(|| {
        let help = did_you_mean(&similar(name, names()))
            .unwrap_or_else(|| format!("it has {}", names().collect::<Vec<_>>().join(", ")));
        Failure::new(Exit::Usage, format!("the experiment has no model `{name}`")).help(help)
    })
}

//! Turns a step into why this version does not run it, if it does not.
//!
//! The edge refuses such an experiment with the places in its file before anything is spent; this is the same by type, so
//! that no way around the edge gives a wrong result.

use crate::env::NotBuilt;
use crate::experiment::{CriticId, Dataset, DatasetId, Experiment, ModelId, Sole};
use crate::model::{Method, ModelSpec, Source};
use crate::node::spec::TrainerSpec;
use crate::plan::{Episodes, Judge, Op, Plan, RowsFrom, TrainFrom, Work};

/// # Errors
/// The first thing that this version declares and does not run.
pub fn refuse(experiment: &Experiment, plan: &Plan) -> Result<(), NotBuilt> {
    let refusal = Refusal { experiment, plan };
    plan.steps.iter().try_for_each(|step| refusal.work(&step.work))
}

struct Refusal<'a> {
    experiment: &'a Experiment,
    plan: &'a Plan,
}

fn later(what: impl Into<String>) -> Result<(), NotBuilt> {
    Err(NotBuilt(what.into()))
}

impl Refusal<'_> {
    fn work(&self, work: &Work) -> Result<(), NotBuilt> {
        match work {
            Work::Rollout(episodes) | Work::Evaluate(episodes) => self.episodes(episodes),
            Work::Judge { rows, by, joined: _, tolerance: _ } => {
                let RowsFrom::Newest(steps) = rows else { return later("judging the rows of several iterations") };
                if steps.iter().any(|step| self.plan.step(*step).op != Op::Rollout) {
                    return later("judging anything but the rows of one rollout");
                }
                self.judges(by)
            }
            Work::Select { rows: _, rule } => match self.experiment.rules[rule.0].it.later() {
                Some(stage) => later(format!("the stage `{}`", stage.describe())),
                None => Ok(()),
            },
            Work::Audit { .. } | Work::Gate { .. } | Work::Pick { .. } => Ok(()),
            Work::Calibrate { by, joined: _, dataset } => {
                self.judges(by)?;
                self.dataset(*dataset)
            }
            Work::Train { start, on, mixed, trainer, reference: _, version: _ } => {
                self.model(start.model)?;
                if matches!(self.experiment.models[start.model.0].it.source, Source::Remote(_)) {
                    return later("the training of a remote model");
                }
                match on {
                    TrainFrom::Rows(_) => {}
                    TrainFrom::Dataset(dataset) => self.dataset(*dataset)?,
                    TrainFrom::Through { dataset, critic: _ } => self.dataset(*dataset)?,
                }
                if mixed.len() > 1 {
                    return later("`mixed with` twice");
                }
                mixed.iter().try_for_each(|mixed| self.dataset(mixed.dataset))?;
                trains(&self.experiment.trainers[trainer.0].it)
            }
        }
    }

    fn episodes(&self, episodes: &Episodes) -> Result<(), NotBuilt> {
        let Episodes { version, env: _, split: _, prompt: _, samples: _, sampling: _, stream, best_by, tolerance: _ } =
            episodes;
        self.model(version.model)?;
        match (stream, best_by.is_empty()) {
            (0, true) => Ok(()),
            (_, true) => later("`stream`"),
            (_, false) => later("`best_by`"),
        }
    }

    fn judges(&self, by: &[Judge]) -> Result<(), NotBuilt> {
        by.iter().try_for_each(|judge| self.judge(judge.critic))
    }

    fn judge(&self, critic: CriticId) -> Result<(), NotBuilt> {
        let Sole { model, prompt: _, answer: _, on_unparsed: _, sampling: _, kind: _, votes: _ } =
            self.experiment.sole(critic);
        self.model(*model)
    }

    fn dataset(&self, dataset: DatasetId) -> Result<(), NotBuilt> {
        match self.experiment.datasets[dataset.0].it {
            Dataset::Offered { .. } | Dataset::Jsonl { .. } => Ok(()),
            Dataset::Hub { .. } => later("a data set of the hub"),
        }
    }

    fn model(&self, model: ModelId) -> Result<(), NotBuilt> {
        let ModelSpec { source, adapter: _, context: _, dtype: _, device: _, lora: _, tool_format: _, tool_calls: _ } =
            &self.experiment.models[model.0].it;
        match source {
            Source::Path(_)
            | Source::Fresh(_)
            | Source::Gguf(_)
            | Source::Hub { .. }
            | Source::Scripted(_)
            | Source::Remote(_) => Ok(()),
        }
    }
}

fn trains(trainer: &TrainerSpec) -> Result<(), NotBuilt> {
    let TrainerSpec {
        method,
        lr: _,
        decay: _,
        epochs: _,
        batch: _,
        max_len: _,
        clip: _,
        weight_decay: _,
        lora: _,
        accumulate: _,
        recompute: _,
        command,
    } = trainer;
    if !method.values().all(|method| matches!(method, Method::Sft { .. })) {
        return later("a method other than `sft`");
    }
    if command.is_some() { later("an outside trainer") } else { Ok(()) }
}

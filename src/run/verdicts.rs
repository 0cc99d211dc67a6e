//! Judging and calibration: a critic asked about trajectories.

use crate::base::{Canonical, Digest, Seed};
use crate::env::{Labelled, OpenTask};
use crate::experiment::{CriticId, Dataset, DatasetId, Sole};
use crate::model::{LanguageModel, Tokens};
use crate::node::calibrate::Confusion;
use crate::node::judge::{self, JudgeItem, JudgeReply};
use crate::node::key::{JudgeKey, item_seed};
use crate::node::spec::{AnswerSchema, OnUnparsed, Verdict};
use crate::node::template::{Scope, token_counter};
use crate::node::trajectory::Trajectory;
use crate::node::{answer, labels};
use crate::plan::{Judge, RowsFrom, StepId, Work};
use crate::run::items::{Also, Class, Item, Made, Ready, WorkItems, Worked};
use crate::run::manifest::{Manifest, ManifestItem, RowSet};
use crate::run::resources::{Resources, Tasks, Version, blame, read_json};
use crate::run::state::State;
use crate::run::steps::{Bench, Finished};
use crate::run::{ItemOutcome, StepError};
use rayon::prelude::*;
use std::sync::Arc;

/// Questions to a critic, with the critic that is to answer.
pub struct Questions<'a> {
    pub items: Vec<Item>,
    /// Renders some of them: kept whole, they would take more room than all else.
    render: Box<Render<'a>>,
    model: Arc<dyn LanguageModel>,
}

type Render<'a> = dyn Fn(&[usize]) -> Result<Vec<JudgeItem>, StepError> + Sync + 'a;

/// So many questions are rendered at once to be keyed.
const RENDERED: usize = 1024;

/// One question before it is rendered.
type Topic = (String, Scope, Seed);

/// The questions about some rows. Opens the critic: its tokens decide where a transcript is cut.
pub fn about_rows<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    rows: &RowsFrom,
    set: &'a RowSet,
    by: &Judge,
) -> Result<Questions<'a>, StepError> {
    let origins = Origins::of(resources, state, rows)?;
    let (store, root) = (resources.store, Seed(resources.experiment.seed));
    let topic = move |at: usize| -> Result<Topic, StepError> {
        let row = &set.rows[at];
        let task = origins.task(&row.task)?;
        let trajectory: Trajectory = read_json(store, &row.trajectory)?;
        let seed = item_seed(root, "judge", row.iteration, &task, row.sample);
        Ok((format!("{}/{}", row.task, row.sample), Scope::new().task(&task).trajectory(&trajectory), seed))
    };
    questions(resources, by.critic, &state.version(&by.version), set.rows.len(), topic)
}

/// The questions about labelled examples.
pub fn about_examples<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    by: &Judge,
    examples: &'a [Labelled],
) -> Result<Questions<'a>, StepError> {
    let root = Seed(resources.experiment.seed);
    let topic = move |at: usize| {
        let example = &examples[at];
        let seed = item_seed(root, "calibrate", 0, &example.task, at as u32);
        Ok((format!("{at:05}"), labels::scope(example), seed))
    };
    questions(resources, by.critic, &state.version(&by.version), examples.len(), topic)
}

/// A dataset's rows with their true verdicts.
pub fn labelled(resources: &Resources<'_>, dataset: DatasetId) -> Result<Vec<Labelled>, StepError> {
    let examples = resources.examples(dataset)?;
    let unlabelled = || StepError::Unlabelled(resources.experiment.datasets[dataset.0].name.clone());
    examples.into_iter().map(|example| example.labelled.ok_or_else(unlabelled)).collect()
}

/// The metric that says whether a task of this dataset is solved.
pub fn label_metric<'a>(resources: &Resources<'a>, dataset: DatasetId) -> Result<&'a str, StepError> {
    match &resources.experiment.datasets[dataset.0].it {
        Dataset::Offered { env, .. } => Ok(crate::env::schema(&resources.experiment.envs[env.0].it.kind).success()),
        Dataset::Jsonl { .. } | Dataset::Hub { .. } => {
            Err(StepError::Unlabelled(resources.experiment.datasets[dataset.0].name.clone()))
        }
    }
}

fn questions<'a>(
    resources: &'a Resources<'_>,
    critic: CriticId,
    version: &Version,
    count: usize,
    topic: impl Fn(usize) -> Result<Topic, StepError> + Sync + 'a,
) -> Result<Questions<'a>, StepError> {
    let Sole { model: slot, prompt, answer, on_unparsed: _, sampling, kind: _, votes: _ } =
        resources.experiment.sole(critic);
    let model = resources.model(version)?;
    let model_digest = resources.version_digest(version);
    let template = &resources.experiment.prompts[prompt.0].it;
    let greedy = sampling.temperature <= 0.0;
    let (asked, name) = (model.clone(), &resources.experiment.models[slot.0].name);
    let render = move |places: &[usize]| -> Result<Vec<(String, JudgeItem)>, StepError> {
        let count = token_counter(&*asked).map_err(|problem| blame(name, problem))?;
        let render = |&at: &usize| {
            let (name, scope, seed) = topic(at)?;
            // A greedy critic draws nothing: the same question is asked once.
            let seed = if greedy { Seed(0) } else { seed };
            Ok((name, JudgeItem { messages: judge::messages(template, answer, scope, &count), seed }))
        };
        places.par_iter().map(render).collect()
    };
    let mut items = Vec::with_capacity(count);
    for start in (0..count).step_by(RENDERED) {
        let places: Vec<usize> = (start..count.min(start + RENDERED)).collect();
        for (name, JudgeItem { messages, seed }) in render(&places)? {
            let key = JudgeKey {
                model: model_digest,
                sampling: sampling.clone(),
                messages: messages.digest(),
                answer: answer.clone(),
                vote: 0,
                seed,
            };
            items.push(Item { name, key: key.key() });
        }
    }
    let render = move |places: &[usize]| Ok(render(places)?.into_iter().map(|(_, item)| item).collect());
    Ok(Questions { items, render: Box::new(render), model })
}

/// Asks what is not in the store yet.
fn ask(
    bench: &mut Bench<'_, '_>,
    id: StepId,
    critic: CriticId,
    questions: &Questions<'_>,
) -> Result<Worked<Judged>, StepError> {
    let Sole { answer, on_unparsed, sampling, .. } = bench.resources.experiment.sole(critic);
    let Questions { items, render, model } = questions;
    let read = |bytes: &[u8], _: &Also| {
        let judged = read(bytes, answer);
        let class = match (&judged, on_unparsed) {
            (Ok(_), _) => Class::Done,
            (Err(_), OnUnparsed::Drop) => Class::Unparsed,
            (Err(why), OnUnparsed::Fail) => Class::Failed(format!("the verdict cannot be read: {why}")),
        };
        Ok((class, judged))
    };
    bench.worker(id).work(items, &read, &mut |_| String::new(), &|| {
        let work: Box<WorkItems<'_>> = Box::new(move |wanted, halt, on_done| {
            Ok(judge::run_group(&**model, sampling, &render(wanted)?, halt, &mut |replies| {
                on_done(replies.into_iter().map(made_of).collect());
            }))
        });
        Ok(Ready { work, in_flight: model.in_flight() })
    })
}

fn made_of((place, took, reply): (usize, Tokens, JudgeReply)) -> (usize, Made) {
    let output = serde_json::to_vec(&reply).expect("a reply is plain data");
    (place, Made { output, also: Also::new(), took })
}

/// A verdict, or why none could be read.
type Judged = Result<Verdict, String>;

/// A stored reply, read by the answer's schema.
fn read(bytes: &[u8], answer: &AnswerSchema) -> Judged {
    let reply: JudgeReply = serde_json::from_slice(bytes).map_err(|problem| problem.to_string())?;
    judge::read(&reply, answer)
}

/// Rows in, the same rows with verdicts out. A row judged before keeps the fields that this critic does not give.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, rows: &RowsFrom, by: &Judge) -> Result<Finished, StepError> {
    let mut set = bench.rows(rows)?;
    let questions = about_rows(bench.resources, bench.state, rows, &set, by)?;
    let Worked { made, missing, counts } = ask(bench, id, by.critic, &questions)?;
    drop(questions);
    let answer = &bench.resources.experiment.sole(by.critic).answer;
    let mut manifest = Manifest::new(crate::plan::Op::Judge);
    let mut rows = Vec::with_capacity(set.rows.len());
    // A row whose question is missing goes no further.
    for (mut row, made) in set.rows.into_iter().zip(made) {
        let Some((item, judged)) = made else { continue };
        row.reply = reply_of(&item);
        match judged {
            Ok(verdict) => {
                match &mut row.verdict {
                    Some(before) => before.extend(verdict),
                    none => *none = Some(verdict),
                }
                row.unparsed = None;
            }
            Err(why) => {
                row.verdict = None;
                row.unparsed = Some(why);
            }
        }
        rows.push(row);
        manifest.items.push(item);
    }
    set.rows = rows;
    let verdicts: Vec<Option<&Verdict>> = set.rows.iter().map(|row| row.verdict.as_ref()).collect();
    manifest.metrics = judge::metrics(&verdicts, answer);
    manifest.missing = missing;
    manifest.output = Some(bench.put_json(&set)?);
    Ok(Finished { manifest, counts })
}

fn reply_of(item: &ManifestItem) -> Option<Digest> {
    match item.outcome {
        ItemOutcome::Done { blob } | ItemOutcome::Unparsed { blob } => Some(blob),
        ItemOutcome::Failed { .. } | ItemOutcome::Timeout => None,
    }
}

/// A critic against labelled verdicts.
pub fn calibrate(bench: &mut Bench<'_, '_>, id: StepId, by: &Judge, dataset: DatasetId) -> Result<Finished, StepError> {
    let examples = labelled(bench.resources, dataset)?;
    let metric = label_metric(bench.resources, dataset)?;
    let questions = about_examples(bench.resources, bench.state, by, &examples)?;
    let Worked { made, missing: _, counts } = ask(bench, id, by.critic, &questions)?;
    let schema = &bench.resources.experiment.sole(by.critic).answer;
    let pair = |(example, judged): (&Labelled, Judged)| {
        let passes = judged.ok().and_then(|verdict| answer::passes(&verdict, schema));
        (passes, labels::solved(&example.truth, metric))
    };
    // A calibration tolerates no failed item.
    let (items, judged): (Vec<ManifestItem>, Vec<Judged>) = made.into_iter().flatten().unzip();
    let pairs: Vec<(Option<bool>, bool)> = examples.iter().zip(judged).map(pair).collect();
    let confusion = Confusion::of(&pairs);
    let mut manifest = Manifest::new(crate::plan::Op::Calibrate);
    manifest.metrics = confusion.metrics();
    manifest.detail = serde_json::json!({ "confusion": confusion });
    manifest.items = items;
    Ok(Finished { manifest, counts })
}

/// The tasks that rows may belong to: those of the rollouts from which they come.
pub struct Origins(Vec<Tasks>);

impl Origins {
    pub fn of(resources: &Resources<'_>, state: &State<'_>, rows: &RowsFrom) -> Result<Self, StepError> {
        let mut splits = Vec::new();
        for origin in state.origins(rows) {
            if let Work::Rollout(episodes) = &state.plan.step(origin).work {
                splits.push(resources.tasks(episodes.env, &episodes.split)?);
            }
        }
        Ok(Self(splits))
    }

    pub fn task(&self, id: &str) -> Result<OpenTask, StepError> {
        self.0.iter().find_map(|split| split.get(id)).ok_or_else(|| StepError::UnknownTask(id.to_owned()))
    }
}

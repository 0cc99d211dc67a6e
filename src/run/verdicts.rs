//! Judging and calibration: a critic asked about trajectories.

use crate::base::{Canonical, Digest, Seed};
use crate::env::{Labelled, Task};
use crate::experiment::{CriticId, Dataset, DatasetId, Sole};
use crate::model::{LanguageModel, Tokens};
use crate::node::calibrate::Confusion;
use crate::node::judge::{self, JudgeItem, JudgeReply};
use crate::node::key::{JudgeKey, item_seed};
use crate::node::lost::Lost;
use crate::node::spec::{AnswerSchema, OnUnparsed, Verdict};
use crate::node::template::{Scope, token_counter};
use crate::node::trajectory::Trajectory;
use crate::node::{answer, labels};
use crate::plan::{Judge, RowsFrom, StepId, Work};
use crate::run::items::{Class, Item, Made, Worked};
use crate::run::manifest::{Manifest, ManifestItem, RowSet};
use crate::run::resources::{Resources, Version, read_json};
use crate::run::state::State;
use crate::run::steps::{Bench, Finished};
use crate::run::{ItemOutcome, StepError};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Questions to a critic, with the critic that is to answer.
pub struct Questions {
    pub items: Vec<Item>,
    asked: Vec<JudgeItem>,
    model: Arc<dyn LanguageModel>,
}

/// One question before it is rendered.
type Topic = (String, Scope, Seed);

/// The questions about some rows. Opens the critic: its tokens decide where a transcript is cut.
pub fn about_rows(
    resources: &Resources<'_>,
    state: &State<'_>,
    rows: &RowsFrom,
    set: &RowSet,
    by: &Judge,
) -> Result<Questions, StepError> {
    let tasks = tasks(resources, state, rows)?;
    let (store, root) = (resources.store, Seed(resources.experiment.seed));
    let topic = |row: &crate::run::manifest::RowEntry| -> Result<Topic, StepError> {
        let task = tasks.get(&row.task).ok_or_else(|| StepError::UnknownTask(row.task.clone()))?;
        let trajectory: Trajectory = read_json(store, &row.trajectory)?;
        let seed = item_seed(root, "judge", row.iteration, task, row.sample);
        Ok((format!("{}/{}", row.task, row.sample), Scope::new().task(task).trajectory(&trajectory), seed))
    };
    let topics = set.rows.par_iter().map(topic).collect::<Result<_, _>>()?;
    questions(resources, by.critic, &state.version(&by.version), topics)
}

/// The questions about labelled examples.
pub fn about_examples(
    resources: &Resources<'_>,
    state: &State<'_>,
    by: &Judge,
    examples: &[Labelled],
) -> Result<Questions, StepError> {
    let root = Seed(resources.experiment.seed);
    let topic = |(at, example): (usize, &Labelled)| {
        (format!("{at:05}"), labels::scope(example), item_seed(root, "calibrate", 0, &example.task, at as u32))
    };
    let topics = examples.iter().enumerate().map(topic).collect();
    questions(resources, by.critic, &state.version(&by.version), topics)
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

fn questions(
    resources: &Resources<'_>,
    critic: CriticId,
    version: &Version,
    topics: Vec<Topic>,
) -> Result<Questions, StepError> {
    let Sole { model: slot, prompt, answer, on_unparsed: _, sampling, kind: _, votes: _ } =
        resources.experiment.sole(critic);
    let model = resources.model(version)?;
    let model_digest = resources.version_digest(version);
    let template = &resources.experiment.prompts[prompt.0].it;
    let greedy = sampling.temperature <= 0.0;
    let asked: Vec<(Item, JudgeItem)> = {
        let count = token_counter(&*model).map_err(|problem| resources.blame(*slot, problem))?;
        let ask = |(name, scope, seed): Topic| {
            // A greedy critic draws nothing: the same question is asked once.
            let seed = if greedy { Seed(0) } else { seed };
            let messages = judge::messages(template, answer, scope, &count);
            let key = JudgeKey {
                model: model_digest,
                sampling: sampling.clone(),
                messages: messages.digest(),
                answer: answer.clone(),
                vote: 0,
                seed,
            };
            (Item { name, key: key.key() }, JudgeItem { messages, seed })
        };
        topics.into_par_iter().map(ask).collect()
    };
    let (items, asked) = asked.into_iter().unzip();
    Ok(Questions { items, asked, model })
}

/// Asks what is not in the store yet.
fn ask(bench: &mut Bench<'_, '_>, id: StepId, critic: CriticId, questions: &Questions) -> Result<Worked, StepError> {
    let Sole { answer, on_unparsed, sampling, .. } = bench.resources.experiment.sole(critic);
    let Questions { items, asked, model } = questions;
    let classify = |bytes: &[u8]| match read(bytes, answer) {
        Ok(_) => Class::Done,
        Err(why) => match on_unparsed {
            OnUnparsed::Drop => Class::Unparsed,
            OnUnparsed::Fail => Class::Failed(format!("the verdict cannot be read: {why}")),
        },
    };
    bench.worker(id).work(items, &classify, &mut |_| String::new(), &mut |wanted, halt, on_done| {
        let group: Vec<JudgeItem> = wanted.iter().map(|&at| asked[at].clone()).collect();
        let results: Vec<Result<(), Lost>> =
            judge::run_group(&**model, sampling, &group, halt, &mut |place, prompt, reply: JudgeReply| {
                let took = Tokens { prompt: prompt as u64, completion: u64::from(reply.tokens) };
                let output = serde_json::to_vec(&reply).expect("a reply is plain data");
                on_done(place, Made { output, also: Vec::new(), took });
            });
        Ok(results)
    })
}

/// A stored reply, read by the answer's schema.
fn read(bytes: &[u8], answer: &AnswerSchema) -> Result<Verdict, String> {
    let reply: JudgeReply = serde_json::from_slice(bytes).map_err(|problem| problem.to_string())?;
    judge::read(&reply, answer)
}

/// Rows in, the same rows with verdicts out. A row judged before keeps the fields that this critic does not give.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, rows: &RowsFrom, by: &Judge) -> Result<Finished, StepError> {
    let mut set = bench.rows(rows)?;
    let questions = about_rows(bench.resources, bench.state, rows, &set, by)?;
    let Worked { made, missing, counts } = ask(bench, id, by.critic, &questions)?;
    let answer = &bench.resources.experiment.sole(by.critic).answer;
    let mut verdicts = Vec::with_capacity(set.rows.len());
    let mut manifest = Manifest::new(crate::plan::Op::Judge);
    let mut rows = Vec::with_capacity(set.rows.len());
    // A row whose question is missing goes no further.
    for (mut row, made) in set.rows.into_iter().zip(made) {
        let Some((item, bytes)) = made else { continue };
        row.reply = reply_of(&item);
        match read(&bytes, answer) {
            Ok(verdict) => {
                row.verdict.get_or_insert_default().extend(verdict.clone());
                row.unparsed = None;
                verdicts.push(Some(verdict));
            }
            Err(why) => {
                row.verdict = None;
                row.unparsed = Some(why);
                verdicts.push(None);
            }
        }
        rows.push(row);
        manifest.items.push(item);
    }
    set.rows = rows;
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
    let pair = |(example, bytes): (&Labelled, &Vec<u8>)| {
        let verdict = read(bytes, schema).ok();
        let passes = verdict.and_then(|verdict| answer::passes(&verdict, schema));
        (passes, labels::solved(&example.truth, metric))
    };
    // A calibration tolerates no failed item.
    let (items, outputs): (Vec<ManifestItem>, Vec<Vec<u8>>) = made.into_iter().flatten().unzip();
    let pairs: Vec<(Option<bool>, bool)> = examples.iter().zip(&outputs).map(pair).collect();
    let confusion = Confusion::of(&pairs);
    let mut manifest = Manifest::new(crate::plan::Op::Calibrate);
    manifest.metrics = confusion.metrics();
    manifest.detail = serde_json::json!({ "confusion": confusion });
    manifest.items = items;
    Ok(Finished { manifest, counts })
}

/// The tasks that rows may belong to, by id.
pub fn tasks(
    resources: &Resources<'_>,
    state: &State<'_>,
    rows: &RowsFrom,
) -> Result<BTreeMap<String, Arc<Task>>, StepError> {
    let mut tasks = BTreeMap::new();
    for origin in state.origins(rows) {
        if let Work::Rollout(episodes) = &state.plan.step(origin).work {
            let split = resources.tasks(episodes.env, &episodes.split)?;
            tasks.extend(split.iter().map(|task| (task.id.clone(), task.clone())));
        }
    }
    Ok(tasks)
}

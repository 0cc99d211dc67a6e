//! Judging and calibration: critics asked about trajectories, each question as often as the file says, and several verdicts
//! on one trajectory made one.

use crate::base::{Canonical, Digest, Seed};
use crate::env::{Labelled, OpenTask};
use crate::experiment::{CriticId, Dataset, DatasetId, Experiment, Sole};
use crate::model::{LanguageModel, Tokens};
use crate::node::ballot;
use crate::node::calibrate::Confusion;
use crate::node::judge::{self, JudgeItem, JudgeReply};
use crate::node::key::{JudgeKey, item_seed};
use crate::node::spec::{AnswerSchema, Joined, OnUnparsed, Verdict};
use crate::node::template::{Scope, token_counter};
use crate::node::trajectory::Trajectory;
use crate::node::{answer, labels};
use crate::plan::bounds::question;
use crate::plan::{Judge, RowsFrom, StepId, Work};
use crate::run::items::{Also, Class, Item, Made, Ready, WorkItems, Worked};
use crate::run::manifest::{Manifest, ManifestItem, RowSet};
use crate::run::resources::{Resources, Tasks, blame, read_json};
use crate::run::state::State;
use crate::run::steps::{Bench, Finished};
use crate::run::{ItemOutcome, StepError};
use rayon::prelude::*;
use std::sync::Arc;

/// Who judges: a critic, or the members of a panel with how their verdicts become one.
#[derive(Clone, Copy)]
pub struct Jury<'a> {
    by: &'a [Judge],
    joined: Option<Joined>,
}

impl<'a> Jury<'a> {
    pub fn of(by: &'a [Judge], joined: Option<Joined>) -> Self {
        Self { by, joined }
    }

    /// Of a panel, all members answer in one scale.
    fn answer<'e>(&self, experiment: &'e Experiment) -> &'e AnswerSchema {
        &experiment.sole(self.by[0].critic).answer
    }
}

/// Questions to critics, about some things: all questions to the first of a panel, then all to the next.
pub struct Questions<'a> {
    pub items: Vec<Item>,
    critics: Vec<Asked<'a>>,
}

/// A critic, and what it is asked: each thing after the other, each as often as it has votes.
struct Asked<'a> {
    critic: CriticId,
    votes: usize,
    /// The place of its first question.
    first: usize,
    /// Renders some of them, by their places after the first: kept whole, they would take more room than all else.
    render: Box<Render<'a>>,
    model: Arc<dyn LanguageModel>,
}

impl Questions<'_> {
    /// Whom a question asks.
    fn asked(&self, at: usize) -> &Asked<'_> {
        let next = self.critics.partition_point(|asked| asked.first <= at);
        &self.critics[next - 1]
    }
}

type Render<'a> = dyn Fn(&[usize]) -> Result<Vec<(String, JudgeItem)>, StepError> + Sync + 'a;

/// So many questions are rendered at once to be keyed.
const RENDERED: usize = 1024;

/// One question before it is rendered.
type Topic = (String, Scope, Seed);

/// The questions about some rows. Opens the critics: their tokens decide where a transcript is cut.
pub fn about_rows<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    rows: &RowsFrom,
    set: &'a RowSet,
    jury: Jury<'_>,
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
    questions(resources, state, jury, set.rows.len(), topic)
}

/// The questions about labelled examples.
pub fn about_examples<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    jury: Jury<'_>,
    examples: &'a [Labelled],
) -> Result<Questions<'a>, StepError> {
    let root = Seed(resources.experiment.seed);
    let topic = move |at: usize| {
        let example = &examples[at];
        let seed = item_seed(root, "calibrate", 0, &example.task, at as u32);
        Ok((format!("{at:05}"), labels::scope(example), seed))
    };
    questions(resources, state, jury, examples.len(), topic)
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
    state: &State<'_>,
    jury: Jury<'_>,
    things: usize,
    topic: impl Fn(usize) -> Result<Topic, StepError> + Send + Sync + 'a,
) -> Result<Questions<'a>, StepError> {
    let topic = Arc::new(topic);
    let mut all = Questions { items: Vec::new(), critics: Vec::new() };
    for Judge { critic, version } in jury.by {
        let version = state.version(version);
        let Sole { model: slot, prompt, answer, on_unparsed: _, sampling, kind: _, votes } =
            resources.experiment.sole(*critic);
        let (model, model_digest) = (resources.model(&version)?, resources.version_digest(&version));
        let template = &resources.experiment.prompts[prompt.0].it;
        let member = jury.joined.map(|_| resources.experiment.critics[critic.0].name.as_str());
        let (greedy, votes) = (sampling.temperature <= 0.0, votes.count as usize);
        let (asked, name) = (model.clone(), &resources.experiment.models[slot.0].name);
        let topic = topic.clone();
        let render = move |places: &[usize]| -> Result<Vec<(String, JudgeItem)>, StepError> {
            let count = token_counter(&*asked).map_err(|problem| blame(name, problem))?;
            let render = |&at: &usize| {
                let (about, scope, seed) = topic(at / votes)?;
                let vote = (at % votes) as u32;
                // A greedy critic draws nothing: the same question is asked once.
                let seed = match vote {
                    _ if greedy => Seed(0),
                    0 => seed,
                    vote => seed.derive("vote").derive(vote),
                };
                let name = question(&about, member, (votes > 1).then_some(vote + 1));
                Ok((name, JudgeItem { messages: judge::messages(template, answer, scope, &count), seed }))
            };
            places.par_iter().map(render).collect()
        };
        let (first, count) = (all.items.len(), things * votes);
        all.items.reserve(count);
        for start in (0..count).step_by(RENDERED) {
            let places: Vec<usize> = (start..count.min(start + RENDERED)).collect();
            for (at, (name, JudgeItem { messages, seed })) in places.iter().zip(render(&places)?) {
                let key = JudgeKey {
                    model: model_digest,
                    sampling: sampling.clone(),
                    messages: messages.digest(),
                    answer: answer.clone(),
                    vote: (at % votes) as u32,
                    seed,
                };
                all.items.push(Item { name, key: key.key() });
            }
        }
        all.critics.push(Asked { critic: *critic, votes, first, render: Box::new(render), model });
    }
    Ok(all)
}

/// Asks what is not in the store yet.
fn ask(bench: &mut Bench<'_, '_>, id: StepId, questions: &Questions<'_>) -> Result<Worked<Judged>, StepError> {
    let experiment = bench.resources.experiment;
    let read = |at: usize, bytes: &[u8], _: &Also| {
        let Sole { answer, on_unparsed, .. } = experiment.sole(questions.asked(at).critic);
        let judged = read(bytes, answer);
        let class = match (&judged, on_unparsed) {
            (Ok(_), _) => Class::Done,
            (Err(_), OnUnparsed::Drop) => Class::Unparsed,
            (Err(why), OnUnparsed::Fail) => Class::Failed(format!("the verdict cannot be read: {why}")),
        };
        Ok((class, judged))
    };
    bench.worker(id).work(&questions.items, &read, &mut |_| String::new(), &|| {
        let work: Box<WorkItems<'_>> = Box::new(move |wanted, halt, on_done| {
            let mut results = Vec::with_capacity(wanted.len());
            for wanted in wanted.chunk_by(|a, b| questions.asked(*a).first == questions.asked(*b).first) {
                let Asked { critic, votes: _, first, render, model } = questions.asked(wanted[0]);
                let places: Vec<usize> = wanted.iter().map(|at| at - first).collect();
                let asked: Vec<JudgeItem> = render(&places)?.into_iter().map(|(_, item)| item).collect();
                let before = results.len();
                let sampling = &experiment.sole(*critic).sampling;
                results.extend(judge::run_group(&**model, sampling, &asked, halt, &mut |replies| {
                    on_done(replies.into_iter().map(|reply| made_of(before, reply)).collect());
                }));
            }
            Ok(results)
        });
        let in_flight = questions.critics.iter().filter_map(|asked| asked.model.in_flight()).max();
        Ok(Ready { work, in_flight })
    })
}

fn made_of(before: usize, (place, took, reply): (usize, Tokens, JudgeReply)) -> (usize, Made) {
    let output = serde_json::to_vec(&reply).expect("a reply is plain data");
    (before + place, Made { output, also: Also::new(), took })
}

/// A verdict, or why none could be read.
type Judged = Result<Verdict, String>;

/// A stored reply, read by the answer's schema.
fn read(bytes: &[u8], answer: &AnswerSchema) -> Judged {
    let reply: JudgeReply = serde_json::from_slice(bytes).map_err(|problem| problem.to_string())?;
    judge::read(&reply, answer)
}

/// What critics said of one thing.
struct Ballot<'w> {
    /// One a question that is not missing.
    made: Vec<&'w (ManifestItem, Judged)>,
    /// One verdict of all that could be read, or why none could be.
    judged: Judged,
}

/// What was said of each thing, in their order; nothing where all questions about it are missing.
fn ballots<'w>(
    experiment: &Experiment,
    jury: Jury<'_>,
    questions: &Questions<'_>,
    made: &'w [Option<(ManifestItem, Judged)>],
    things: usize,
) -> Vec<Option<Ballot<'w>>> {
    let answer = jury.answer(experiment);
    let ballot = |thing: usize| {
        let (mut all, mut verdicts, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for Asked { critic, votes, first, .. } in &questions.critics {
            let start = first + thing * votes;
            let cast: Vec<&(ManifestItem, Judged)> = made[start..start + votes].iter().flatten().collect();
            let read: Vec<&Verdict> = cast.iter().filter_map(|(_, judged)| judged.as_ref().ok()).collect();
            verdicts.extend(match *votes {
                1 => read.first().map(|verdict| (*verdict).clone()),
                _ => ballot::join(&read, experiment.sole(*critic).votes.by, answer),
            });
            unread.extend(cast.iter().filter_map(|(_, judged)| judged.as_ref().err().cloned()));
            all.extend(cast);
        }
        let judged = match jury.joined {
            Some(by) => ballot::join(&verdicts.iter().collect::<Vec<_>>(), by, answer),
            None => verdicts.pop(),
        };
        let judged = judged.ok_or_else(|| ballot::unread(&unread));
        (!all.is_empty()).then_some(Ballot { made: all, judged })
    };
    (0..things).map(ballot).collect()
}

/// Rows in, the same rows with verdicts out. A row judged before keeps the fields that this critic does not give.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, rows: &RowsFrom, jury: Jury<'_>) -> Result<Finished, StepError> {
    let mut set = bench.rows(rows)?;
    let questions = about_rows(bench.resources, bench.state, rows, &set, jury)?;
    let Worked { made, missing, counts } = ask(bench, id, &questions)?;
    let experiment = bench.resources.experiment;
    let ballots = ballots(experiment, jury, &questions, &made, set.rows.len());
    let several = questions.items.len() > set.rows.len();
    drop(questions);
    let answer = jury.answer(experiment);
    let mut manifest = Manifest::new(crate::plan::Op::Judge);
    let mut rows = Vec::with_capacity(set.rows.len());
    let mut read: Vec<Vec<&Verdict>> = Vec::new();
    // A row whose questions are all missing goes no further.
    for (mut row, ballot) in set.rows.into_iter().zip(ballots) {
        let Some(Ballot { made, judged }) = ballot else { continue };
        let mut replies = made.iter().filter_map(|(item, _)| reply_of(item));
        (row.reply, row.replies) = (replies.next(), replies.collect());
        if several {
            read.push(made.iter().filter_map(|(_, judged)| judged.as_ref().ok()).collect());
        }
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
    }
    set.rows = rows;
    let verdicts: Vec<Option<&Verdict>> = set.rows.iter().map(|row| row.verdict.as_ref()).collect();
    manifest.metrics = judge::metrics(&verdicts, answer);
    manifest.metrics.extend(ballot::agreement(&read, answer));
    manifest.items = made.into_iter().flatten().map(|(item, _)| item).collect();
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

/// Critics against labelled verdicts.
pub fn calibrate(
    bench: &mut Bench<'_, '_>,
    id: StepId,
    jury: Jury<'_>,
    dataset: DatasetId,
) -> Result<Finished, StepError> {
    let examples = labelled(bench.resources, dataset)?;
    let metric = label_metric(bench.resources, dataset)?;
    let questions = about_examples(bench.resources, bench.state, jury, &examples)?;
    // A calibration tolerates no failed item.
    let Worked { made, missing: _, counts } = ask(bench, id, &questions)?;
    let experiment = bench.resources.experiment;
    let schema = jury.answer(experiment);
    let ballots = ballots(experiment, jury, &questions, &made, examples.len());
    let pair = |(example, ballot): (&Labelled, Option<Ballot<'_>>)| {
        let judged = ballot.and_then(|ballot| ballot.judged.ok());
        (judged.and_then(|verdict| answer::passes(&verdict, schema)), labels::solved(&example.truth, metric))
    };
    let pairs: Vec<(Option<bool>, bool)> = examples.iter().zip(ballots).map(pair).collect();
    let confusion = Confusion::of(&pairs);
    let mut manifest = Manifest::new(crate::plan::Op::Calibrate);
    manifest.metrics = confusion.metrics();
    manifest.detail = serde_json::json!({ "confusion": confusion });
    manifest.items = made.into_iter().flatten().map(|(item, _)| item).collect();
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

//! Judging and calibration: critics asked about trajectories, one at a time or beside each other, each question as often as the
//! file says, and several verdicts on one trajectory made one.

use crate::base::{Canonical, Digest, Seed};
use crate::env::{Labelled, OpenTask};
use crate::experiment::{CriticId, Dataset, DatasetId, Experiment, Sole};
use crate::model::{LanguageModel, Tokens};
use crate::node::ballot;
use crate::node::calibrate::Confusion;
use crate::node::compare::{self, Judged, Layout, Said};
use crate::node::judge::{self, JudgeItem, JudgeReply};
use crate::node::key::{JudgeKey, item_seed};
use crate::node::metric::Metric;
use crate::node::reasons::{Commonest, Tally};
use crate::node::roc::Roc;
use crate::node::spec::{AnswerSchema, CriticKind, Joined, OnUnparsed, Verdict};
use crate::node::template::{Scope, token_counter};
use crate::node::trajectory::Trajectory;
use crate::node::{answer, labels};
use crate::plan::bounds::question;
use crate::plan::{Judge, RowsFrom, StepId, Work};
use crate::run::items::{Also, AtOnce, Class, Item, Made, Ready, WorkItems, Worked};
use crate::run::manifest::{Manifest, ManifestItem, RowEntry, RowSet};
use crate::run::resources::{Resources, Tasks, blame, read_json};
use crate::run::state::State;
use crate::run::steps::{Bench, Finished};
use crate::run::{ItemOutcome, StepError};
use crate::store::Store;
use rayon::prelude::*;
use std::borrow::Cow;
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

    /// What a verdict on a row holds. Of a panel, all members answer in one scale.
    fn answer(&self, experiment: &Experiment) -> AnswerSchema {
        experiment.sole(self.by[0].critic).row_answer()
    }
}

/// Questions to critics, about some rows: all questions to the first of a panel, then all to the next.
pub struct Questions<'a> {
    pub items: Vec<Item>,
    critics: Vec<Asked<'a>>,
}

/// A critic, and what it is asked.
struct Asked<'a> {
    critic: CriticId,
    /// What each of its questions shows.
    layout: Layout,
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

type Render<'a> = dyn Fn(&Layout, &[usize]) -> Result<Vec<(String, JudgeItem)>, StepError> + Sync + 'a;

/// So many questions are rendered at once to be keyed.
const RENDERED: usize = 1024;

/// What questions are about: rows, or labelled examples, by their places.
trait Topics: Send + Sync {
    /// The task of each.
    fn tasks(&self) -> Vec<&str>;
    /// The seed of a question that shows one, or shows it first.
    fn seed(&self, at: usize) -> Seed;
    /// How a question that shows these is called, and what it shows.
    fn topic(&self, kind: CriticKind, shown: &[usize]) -> Result<(String, Scope), StepError>;
}

struct Rows<'a> {
    set: &'a RowSet,
    origins: Origins,
    store: &'a Store,
    root: Seed,
}

impl Topics for Rows<'_> {
    fn tasks(&self) -> Vec<&str> {
        self.set.rows.iter().map(|row| row.task.as_str()).collect()
    }

    fn seed(&self, at: usize) -> Seed {
        let row = &self.set.rows[at];
        item_seed(self.root, "judge", row.iteration, &row.task, row.sample)
    }

    fn topic(&self, kind: CriticKind, shown: &[usize]) -> Result<(String, Scope), StepError> {
        let RowEntry { task: id, sample, .. } = &self.set.rows[shown[0]];
        let trajectories = shown.iter().map(|&at| read_json(self.store, &self.set.rows[at].trajectory));
        let trajectories: Vec<Trajectory> = trajectories.collect::<Result<_, _>>()?;
        let scope = Scope::new().task(&*self.origins.task(id)?).shown(kind, &trajectories);
        let about = match kind {
            CriticKind::Each => format!("{id}/{sample}"),
            CriticKind::Pairs => format!("{id}/{sample}-{}", self.set.rows[shown[1]].sample),
            CriticKind::Group => id.clone(),
        };
        Ok((about, scope))
    }
}

/// Labelled examples, each of a task of its own: there is nothing to compare one with.
struct Examples<'a> {
    examples: &'a [Labelled],
    root: Seed,
}

impl Topics for Examples<'_> {
    fn tasks(&self) -> Vec<&str> {
        self.examples.iter().map(|example| example.task.id.as_str()).collect()
    }

    fn seed(&self, at: usize) -> Seed {
        item_seed(self.root, "calibrate", 0, &self.examples[at].task.id, at as u32)
    }

    fn topic(&self, _: CriticKind, shown: &[usize]) -> Result<(String, Scope), StepError> {
        Ok((format!("{:05}", shown[0]), labels::scope(&self.examples[shown[0]])))
    }
}

/// The questions about some rows. Opens the critics: their tokens decide where a transcript is cut.
pub fn about_rows<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    rows: &RowsFrom,
    set: &'a RowSet,
    jury: Jury<'_>,
) -> Result<Questions<'a>, StepError> {
    let origins = Origins::of(resources, state, rows)?;
    let topics = Rows { set, origins, store: resources.store, root: Seed(resources.experiment.seed) };
    questions(resources, state, jury, Arc::new(topics))
}

/// The questions about labelled examples.
pub fn about_examples<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    jury: Jury<'_>,
    examples: &'a [Labelled],
) -> Result<Questions<'a>, StepError> {
    questions(resources, state, jury, Arc::new(Examples { examples, root: Seed(resources.experiment.seed) }))
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

/// The seed of one of several votes.
fn vote_seed(seed: Seed, vote: u32) -> Seed {
    if vote == 0 { seed } else { seed.derive("vote").derive(vote) }
}

fn questions<'a>(
    resources: &'a Resources<'_>,
    state: &State<'_>,
    jury: Jury<'_>,
    topics: Arc<dyn Topics + 'a>,
) -> Result<Questions<'a>, StepError> {
    let tasks = topics.tasks();
    let mut all = Questions { items: Vec::new(), critics: Vec::new() };
    for Judge { critic, version } in jury.by {
        let version = state.version(version);
        let Sole { model: slot, prompt, answer, on_unparsed: _, sampling, kind, votes } =
            resources.experiment.sole(*critic);
        let (model, model_digest) = (resources.model(&version)?, resources.version_digest(&version));
        let template = &resources.experiment.prompts[prompt.0].it;
        let member = jury.joined.map(|_| resources.experiment.critics[critic.0].name.as_str());
        let (kind, greedy, several) = (*kind, sampling.temperature <= 0.0, votes.count > 1);
        let order = |first: usize, vote: u32| vote_seed(topics.seed(first), vote);
        let mut layout = Layout::of(kind, &tasks, votes.count as usize, &order);
        let (asked, name) = (model.clone(), &resources.experiment.models[slot.0].name);
        let topics = topics.clone();
        let render = move |layout: &Layout, places: &[usize]| -> Result<Vec<(String, JudgeItem)>, StepError> {
            let count = token_counter(&*asked).map_err(|problem| blame(name, problem))?;
            let render = |&at: &usize| {
                let (shown, vote) = (layout.shown(at), layout.vote(at));
                let (about, scope) = topics.topic(kind, &shown)?;
                // A greedy critic draws nothing: the same question is asked once.
                let seed = match kind {
                    _ if greedy => Seed(0),
                    CriticKind::Each | CriticKind::Group => vote_seed(topics.seed(shown[0]), vote),
                    CriticKind::Pairs => vote_seed(topics.seed(shown[0]).derive(topics.seed(shown[1])), vote),
                };
                let name = question(&about, member, several.then_some(vote + 1));
                let instructions = compare::format(kind, answer, shown.len());
                Ok((name, JudgeItem { messages: judge::messages(template, instructions, scope, &count), seed }))
            };
            places.par_iter().map(render).collect()
        };
        let (first, count) = (all.items.len(), layout.questions());
        all.items.reserve(count);
        let mut said = Vec::with_capacity(count);
        for start in (0..count).step_by(RENDERED) {
            let places: Vec<usize> = (start..count.min(start + RENDERED)).collect();
            for (at, (name, JudgeItem { messages, seed })) in places.iter().zip(render(&layout, &places)?) {
                said.push(messages.digest());
                let key = JudgeKey {
                    model: model_digest,
                    sampling: sampling.clone(),
                    messages: said[*at],
                    answer: answer.clone(),
                    vote: layout.vote(*at),
                    seed,
                };
                all.items.push(Item { name, key: key.key() });
            }
        }
        layout.note_alike(&said, answer);
        all.critics.push(Asked { critic: *critic, layout, first, render: Box::new(render), model });
    }
    Ok(all)
}

/// Asks what is not in the store yet.
fn ask(bench: &mut Bench<'_, '_>, id: StepId, questions: &Questions<'_>) -> Result<Worked<Said>, StepError> {
    let experiment = bench.resources.experiment;
    let read = |at: usize, bytes: &[u8], _: &Also| {
        let asked = questions.asked(at);
        let Sole { kind, answer, on_unparsed, .. } = experiment.sole(asked.critic);
        let reply: JudgeReply = serde_json::from_slice(bytes).map_err(|problem| problem.to_string())?;
        let said = compare::read(&reply, *kind, answer, asked.layout.shown(at - asked.first).len());
        let class = match (said.unread().into_iter().flatten().next(), on_unparsed) {
            (Some(why), OnUnparsed::Fail) => Class::Failed(format!("the verdict cannot be read: {why}")),
            (Some(_), OnUnparsed::Drop) if said.is_unread() => Class::Unparsed,
            (None, _) | (Some(_), OnUnparsed::Drop) => Class::Done,
        };
        Ok((class, said))
    };
    bench.worker(id).work(&questions.items, &read, &mut |_| String::new(), &|| {
        let work: Box<WorkItems<'_>> = Box::new(move |wanted, halt, on_done| {
            let mut results = Vec::with_capacity(wanted.len());
            for wanted in wanted.chunk_by(|a, b| questions.asked(*a).first == questions.asked(*b).first) {
                let Asked { critic, layout, first, render, model } = questions.asked(wanted[0]);
                let places: Vec<usize> = wanted.iter().map(|at| at - first).collect();
                let asked: Vec<JudgeItem> = render(layout, &places)?.into_iter().map(|(_, item)| item).collect();
                let before = results.len();
                let Sole { sampling, answer, .. } = experiment.sole(*critic);
                let likely = answer.fields.iter().any(|field| field.expectation);
                results.extend(judge::run_group(&**model, sampling, likely, &asked, halt, &mut |replies| {
                    on_done(replies.into_iter().map(|reply| made_of(before, reply)).collect());
                }));
            }
            Ok(results)
        });
        let most = questions.critics.iter().filter_map(|asked| asked.model.in_flight()).max();
        Ok(Ready { work, at_once: most.map_or(AtOnce::Together(usize::MAX), AtOnce::Apart) })
    })
}

fn made_of(before: usize, (place, took, reply): (usize, Tokens, JudgeReply)) -> (usize, Made) {
    let output = serde_json::to_vec(&reply).expect("a reply is plain data");
    (before + place, Made { output, also: Also::new(), took })
}

/// What critics said of one row.
#[derive(Clone, Default)]
struct Ballot {
    /// Of each question that shows it and is not missing.
    replies: Vec<Digest>,
    /// Every verdict that could be read, before they become one.
    said: Vec<Verdict>,
    /// One of each critic.
    members: Vec<Verdict>,
    unread: Vec<String>,
}

impl Ballot {
    /// One verdict of all that could be read, or why none could be; nothing where all questions are missing.
    fn judged(&mut self, joined: Option<Joined>, answer: &AnswerSchema) -> Option<Judged> {
        if self.replies.is_empty() && self.unread.is_empty() {
            return None;
        }
        let judged = match joined {
            Some(by) => ballot::join(&self.members.iter().collect::<Vec<_>>(), by, answer),
            None => self.members.pop(),
        };
        Some(judged.ok_or_else(|| ballot::unread(&self.unread)))
    }
}

type MadeItems = [Option<(ManifestItem, Said)>];

impl Asked<'_> {
    /// What came of one of its questions.
    fn made<'w>(&self, made: &'w MadeItems, question: usize) -> Option<&'w (ManifestItem, Said)> {
        made[self.first + question].as_ref()
    }
}

/// What was said of each row, in their order.
fn ballots(experiment: &Experiment, questions: &Questions<'_>, made: &MadeItems, rows: usize) -> Vec<Ballot> {
    let mut ballots = vec![Ballot::default(); rows];
    for asked in &questions.critics {
        let layout = &asked.layout;
        for question in 0..layout.questions() {
            let reply = asked.made(made, question).and_then(|(item, _)| reply_of(item));
            layout.shown(question).iter().for_each(|row| ballots[*row].replies.extend(reply));
        }
        let sole = experiment.sole(asked.critic);
        let said = |question: usize| asked.made(made, question).map(|(_, said)| said);
        let votes: Vec<_> = (0..sole.votes.count).map(|vote| layout.verdicts(vote, &said)).collect();
        let answer = sole.row_answer();
        for (row, ballot) in ballots.iter_mut().enumerate() {
            let before = ballot.said.len();
            for judged in votes.iter().filter_map(|verdicts| verdicts[row].as_ref()) {
                match judged {
                    Ok(verdict) => ballot.said.push(verdict.clone()),
                    Err(why) => ballot.unread.push(why.clone()),
                }
            }
            ballot.members.extend(match &ballot.said[before..] {
                [only] if votes.len() == 1 => Some(only.clone()),
                read => ballot::join(&read.iter().collect::<Vec<_>>(), sole.votes.by, &answer),
            });
        }
    }
    ballots
}

/// Rows in, the same rows with verdicts out. A row judged before keeps the fields that this critic does not give.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, rows: &RowsFrom, jury: Jury<'_>) -> Result<Finished, StepError> {
    let mut set = bench.rows(rows)?;
    let questions = about_rows(bench.resources, bench.state, rows, &set, jury)?;
    let Worked { mut made, missing, counts } = ask(bench, id, &questions)?;
    let experiment = bench.resources.experiment;
    let mut ballots = ballots(experiment, &questions, &made, set.rows.len());
    let mut metrics = Vec::new();
    let mut compared = Vec::new();
    for asked in &questions.critics {
        compared.extend(asked.layout.in_both_orders(&|question| asked.made(&made, question).map(|(_, said)| said)));
    }
    metrics.extend(compare::flips(&experiment.sole(jury.by[0].critic).answer, &compared));
    drop(compared);
    note_shown(&questions, &set, &mut made);
    drop(questions);
    let pairwise = jury.by.iter().any(|judge| experiment.sole(judge.critic).kind == CriticKind::Pairs);
    let answer = jury.answer(experiment);
    metrics.extend(steadiness(experiment, jury, &ballots, &made));
    let mut manifest = Manifest::new(crate::plan::Op::Judge);
    manifest.detail = detail(unread(&made));
    let mut rows = Vec::with_capacity(set.rows.len());
    // A row whose questions are all missing goes no further.
    for (mut row, ballot) in set.rows.into_iter().zip(&mut ballots) {
        let Some(judged) = ballot.judged(jury.joined, &answer) else { continue };
        let mut replies = std::mem::take(&mut ballot.replies).into_iter();
        (row.reply, row.replies) = (replies.next(), replies.collect());
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
    manifest.metrics = judge::metrics(&verdicts, &answer);
    if pairwise {
        // A share of comparisons is a half on the average, whatever was compared.
        manifest.metrics.retain(|metric| !metric.name.ends_with(".mean"));
    }
    manifest.metrics.extend(metrics);
    manifest.items = made.into_iter().flatten().map(|(item, _)| item).collect();
    manifest.missing = missing;
    manifest.output = Some(bench.put_json(&set)?);
    Ok(Finished { manifest, counts })
}

/// How far several verdicts on each row agree, and which share of them could not be read: where a row has several, it may have
/// one all the same.
fn steadiness(experiment: &Experiment, jury: Jury<'_>, ballots: &[Ballot], made: &MadeItems) -> Vec<Metric> {
    let soles = || jury.by.iter().map(|judge| experiment.sole(judge.critic));
    let joined = jury.by.len() > 1 || soles().any(|sole| sole.votes.count > 1);
    let mut metrics = Vec::new();
    if joined {
        let read: Vec<Vec<&Verdict>> = ballots.iter().map(|ballot| ballot.said.iter().collect()).collect();
        metrics.extend(ballot::agreement(&read, &jury.answer(experiment)));
    }
    if joined || soles().any(|sole| sole.kind == CriticKind::Pairs) {
        let wanted: Vec<Option<&String>> = made.iter().flatten().flat_map(|(_, said)| said.unread()).collect();
        metrics.extend(Metric::share("unread", wanted.iter().flatten().count(), wanted.len()));
    }
    metrics
}

/// Why verdicts could not be read; those that the same reply gives on other rows are not counted.
fn unread(made: &MadeItems) -> Option<Commonest> {
    let mut tally = Tally::default();
    made.iter().flatten().flat_map(|(_, said)| said.unread()).flatten().for_each(|why| tally.add(why));
    tally.commonest()
}

fn detail(unread: Option<Commonest>) -> serde_json::Value {
    unread.map_or(serde_json::Value::Null, |unread| serde_json::json!({ "unread": unread }))
}

/// Writes down which samples a question showed, and in which order, where it showed several.
fn note_shown(questions: &Questions<'_>, set: &RowSet, made: &mut MadeItems) {
    for Asked { layout, first, .. } in &questions.critics {
        for question in 0..layout.questions() {
            if let (Some((item, _)), Cow::Borrowed(shown)) = (&mut made[first + question], layout.shown(question)) {
                item.shown = shown.iter().map(|row| set.rows[*row].sample).collect();
            }
        }
    }
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
    let ballots = ballots(experiment, &questions, &made, examples.len());
    let steadiness = steadiness(experiment, jury, &ballots, &made);
    let judge = |(example, mut ballot): (&Labelled, Ballot)| {
        let judged = ballot.judged(jury.joined, &schema).and_then(Result::ok);
        (judged, labels::solved(&example.truth, metric))
    };
    let judged: Vec<(Option<Verdict>, bool)> = examples.iter().zip(ballots).map(judge).collect();
    let passes = |(judged, solved): &(Option<Verdict>, bool)| {
        (judged.as_ref().and_then(|verdict| answer::passes(verdict, &schema)), *solved)
    };
    let confusion = Confusion::of(&judged.iter().map(passes).collect::<Vec<_>>());
    let figure = |(judged, solved): &(Option<Verdict>, bool)| {
        Some((judged.as_ref()?.get(&answer::deciding(&schema)?.name)?.figure()?, *solved))
    };
    let roc = Roc::of(&judged.iter().filter_map(figure).collect::<Vec<_>>());
    let mut manifest = Manifest::new(crate::plan::Op::Calibrate);
    manifest.metrics = confusion.metrics();
    manifest.metrics.extend(roc.as_ref().map(Roc::auc));
    manifest.metrics.extend(steadiness);
    manifest.detail = detail(unread(&made));
    manifest.detail["confusion"] = serde_json::json!(confusion);
    if let Some(roc) = roc {
        manifest.detail["roc"] = serde_json::json!(roc.points);
    }
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

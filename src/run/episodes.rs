//! Rollout and evaluation: a model let loose on tasks.

use crate::base::{Canonical, Seed};
use crate::env::benchmark::{Figure, Of};
use crate::env::{Action, Env, OpenTask, Task};
use crate::model::{LanguageModel, ToolFormat};
use crate::node::evaluate::{Behaviour, behaviour_metrics, truth_metrics};
use crate::node::key::{EvaluateKey, RolloutKey, item_seed};
use crate::node::metric::Metric;
use crate::node::rollout::{self, Rollout, RolloutItem};
use crate::node::template::{Scope, Template, render, token_counter};
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::plan::{Episodes, Op, StepId};
use crate::run::items::{Also, AtOnce, Class, Item, Made, Ready, WorkItems, Worked};
use crate::run::manifest::{Manifest, ManifestItem, RowEntry, RowSet};
use crate::run::resources::{Resources, Tasks, Version};
use crate::run::steps::{Bench, Finished};
use crate::run::verify::differ;
use crate::run::{ItemOutcome, StepError};
use rayon::prelude::*;
use std::ops::Deref;

/// The role of an episode's ground truth among its blobs.
const TRUTH: &str = "truth";

/// What is asked for: one item a task and sample, tasks in the split's order.
pub struct EpisodeItems {
    pub items: Vec<Item>,
    asked: Vec<Asked>,
    tasks: Tasks,
}

struct Asked {
    /// Its place in the split.
    task: usize,
    sample: u32,
    seed: Seed,
}

/// The items of a rollout (in its iteration) or of an evaluation (in none: equal weights share results).
pub fn prepare(
    resources: &Resources<'_>,
    episodes: &Episodes,
    version: &Version,
    op: Op,
    iteration: u32,
) -> Result<EpisodeItems, StepError> {
    let Episodes { version: _, env, split, prompt, samples, sampling, stream: _, best_by: _, tolerance: _ } = episodes;
    let experiment = resources.experiment;
    let root = Seed(experiment.seed);
    let (stream, iteration) = if op == Op::Rollout { ("rollout", iteration) } else { ("evaluate", 0) };
    let model = resources.version_digest(version);
    let prompt = experiment.prompts[prompt.0].it.digest();
    let spec = &experiment.models[version.model.0].it;
    let (tool_format, tool_calls) = (spec.tool_format, spec.tool_calls);
    let max_steps = experiment.envs[env.0].it.max_steps;
    let env_digest = resources.identities.envs[env.0];
    let tasks = resources.tasks(*env, split)?;
    // A greedy evaluation draws nothing, so experiments with other seeds share it.
    let drawn = op == Op::Rollout || sampling.temperature > 0.0;
    let of_task = |place: usize, task: &Task| {
        let task_digest = task.digest();
        let of_sample = |sample: u32| {
            let seed = if drawn { item_seed(root, stream, iteration, &task.id, sample) } else { Seed(0) };
            let key = match op {
                Op::Rollout => RolloutKey {
                    env: env_digest,
                    task: task_digest,
                    prompt,
                    model,
                    tool_format,
                    tool_calls,
                    sampling: sampling.clone(),
                    max_steps,
                    stream: stream.to_owned(),
                    iteration,
                    sample,
                    seed,
                }
                .key(),
                _ => EvaluateKey {
                    env: env_digest,
                    task: task_digest,
                    prompt,
                    model,
                    tool_format,
                    tool_calls,
                    sampling: sampling.clone(),
                    max_steps,
                    sample,
                    seed,
                }
                .key(),
            };
            (Item { name: format!("{}/{sample}", task.id), key }, Asked { task: place, sample, seed })
        };
        (0..*samples).map(of_sample).collect::<Vec<_>>()
    };
    let (items, asked) = tasks.all.flat_map(of_task).into_iter().unzip();
    Ok(EpisodeItems { items, asked, tasks })
}

/// Works a rollout or an evaluation.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, episodes: &Episodes) -> Result<Finished, StepError> {
    let step = bench.state.plan.step(id);
    let Worked { made, missing, counts } = play(bench, id, episodes)?;
    let mut manifest = Manifest::new(step.op);
    manifest.missing = missing;
    let (items, played): (Vec<ManifestItem>, Vec<Played>) = made.into_iter().flatten().unzip();
    let behaviour: Vec<Behaviour> = played.iter().map(|played| played.behaviour).collect();
    if step.op == Op::Rollout {
        let rows = items.iter().zip(played).map(|(item, played)| row(item, played, step.iteration));
        let set = RowSet { rows: rows.collect::<Result<_, _>>()?, dropped: Vec::new() };
        manifest.output = Some(bench.put_json(&set)?);
    } else {
        let said: Vec<(String, String)> = played.iter().filter_map(Played::said_first).collect();
        let truths: Vec<TruthRecord> = played.into_iter().filter_map(|played| played.truth).collect();
        manifest.metrics = truth_metrics(&truths);
        if let Some((figures, published)) = bench.resources.env(episodes.env)?.benchmark(&said) {
            manifest.metrics.extend(figures.iter().filter_map(of_figure));
            manifest.detail = serde_json::json!({ "published": published });
        }
    }
    manifest.metrics.extend(behaviour_metrics(&behaviour));
    manifest.items = items;
    Ok(Finished { manifest, counts })
}

fn of_figure(Figure { name, of }: &Figure) -> Option<Metric> {
    match of {
        Of::Share(hits, n) => Metric::share(name, *hits, *n),
        Of::Values(values) => Metric::mean(name, values),
    }
}

/// Works the episodes; what is asked for is let go before anything is made of them.
fn play(bench: &mut Bench<'_, '_>, id: StepId, episodes: &Episodes) -> Result<Worked<Played>, StepError> {
    let step = bench.state.plan.step(id);
    let resources = bench.resources;
    let version = bench.state.version(&episodes.version);
    let EpisodeItems { items, asked, tasks } = prepare(resources, episodes, &version, step.op, step.iteration)?;
    let env = resources.env(episodes.env)?;
    let spec = &resources.experiment.models[version.model.0].it;
    let (mut seen, mut solved) = (0u32, 0.0);
    let first_metric = crate::env::schema(&resources.experiment.envs[episodes.env.0].it.kind).success();
    let mut note = |played: &Played| {
        // Ground truth is for metrics: a rollout under way says nothing of it.
        if step.op == Op::Rollout {
            return String::new();
        }
        if let Some(figure) = played.truth.as_ref().and_then(|it| it.truth.get(first_metric)) {
            seen += 1;
            solved += figure;
        }
        format!("{first_metric} {:.2}", solved / f64::from(seen.max(1)))
    };
    let replay = bench.replay;
    let again = Again {
        env: &env,
        prompt: &resources.experiment.prompts[episodes.prompt.0].it,
        format: spec.tool_format,
        max_steps: resources.experiment.envs[episodes.env.0].it.max_steps,
    };
    // A prompt that counts no tokens is rendered without its model, which may be large.
    let counts = replay.is_some() && again.prompt.counts_tokens();
    let counter = counts.then(|| resources.model(&version)).transpose()?;
    let read = |at: usize, output: &[u8], also: &Also| {
        let recorded = recorded(output, also)?;
        if let Some(replay) = replay {
            let task = tasks.all.get(asked[at].task);
            if let Some(what) = again.untrue(&task, asked[at].seed, &recorded, counter.as_deref())? {
                replay.note_untrue(&step.id, &items[at].name, what);
            }
        }
        Ok(kept(&env, spec.tool_format, step.op, recorded))
    };
    bench.worker(id).work(&items, &read, &mut note, &|| {
        let model = resources.model(&version)?;
        // Each waits for whatever takes fewer.
        let most = again.env.in_flight().unwrap_or(usize::MAX);
        let at_once = model.in_flight().map_or(AtOnce::Together(most), |least| AtOnce::Apart(least.min(most)));
        let (again, tasks, asked) = (&again, &tasks, &asked);
        let work: Box<WorkItems<'_>> = Box::new(move |wanted, halt, on_done| {
            let rollout = Rollout {
                model: &*model,
                env: again.env,
                prompt: again.prompt,
                tool_format: again.format,
                tool_calls: spec.tool_calls,
                max_steps: again.max_steps,
                sampling: episodes.sampling.clone(),
            };
            let held: Vec<OpenTask> = wanted.iter().map(|&at| tasks.all.get(asked[at].task)).collect();
            let item = |(&at, task)| {
                let Asked { task: _, sample, seed } = asked[at];
                RolloutItem { task, sample, seed }
            };
            let group: Vec<RolloutItem<'_>> = wanted.iter().zip(held.iter().map(Deref::deref)).map(item).collect();
            let mut on_done = |done: Vec<rollout::Played>| on_done(done.into_par_iter().map(made_of).collect());
            Ok(rollout.run(&group, halt, &mut on_done))
        });
        Ok(Ready { work, at_once })
    })
}

/// What a step keeps of an episode.
#[derive(Clone)]
struct Played {
    task: String,
    sample: u32,
    behaviour: Behaviour,
    /// Of an evaluation.
    truth: Option<TruthRecord>,
    /// Of an evaluation of a benchmark, the last reply as its evaluators read it.
    said: Option<String>,
}

impl Played {
    /// Of several samples of a task the first counts.
    fn said_first(&self) -> Option<(String, String)> {
        self.said.clone().filter(|_| self.sample == 0).map(|said| (self.task.clone(), said))
    }
}

fn made_of(rollout::Played { index: place, trajectory, truth, took }: rollout::Played) -> (usize, Made) {
    let output = serde_json::to_vec(&trajectory).expect("a trajectory is plain data");
    let truth = serde_json::to_vec(&truth).expect("truth is plain data");
    (place, Made { output, also: Also::from([(TRUTH.to_owned(), truth)]), took })
}

fn recorded(output: &[u8], also: &Also) -> Result<(Trajectory, TruthRecord), String> {
    let trajectory = serde_json::from_slice(output).map_err(|problem| problem.to_string())?;
    let truth = also.get(TRUTH).ok_or("its record names no ground truth")?;
    Ok((trajectory, serde_json::from_slice(truth).map_err(|problem| format!("its ground truth: {problem}"))?))
}

/// What an episode is played with, the first time and again.
struct Again<'a> {
    env: &'a Env,
    prompt: &'a Template,
    format: ToolFormat,
    max_steps: u32,
}

impl Again<'_> {
    /// What in an episode does not follow from what the model said in it.
    fn untrue(
        &self,
        task: &Task,
        seed: Seed,
        (trajectory, truth): &(Trajectory, TruthRecord),
        counter: Option<&dyn LanguageModel>,
    ) -> Result<Option<String>, String> {
        let Self { env, prompt, format, max_steps } = *self;
        let counter = counter.map(token_counter).transpose().map_err(|problem| problem.to_string())?;
        let count = |text: &str| counter.as_ref().map_or(0, |count| count(text));
        let prompt = render(prompt, &Scope::new().task(task), &count);
        let said = trajectory.messages.get(trajectory.prompt_len..).unwrap_or_default();
        let begun = env.again(task, seed, (said, trajectory.ended), &truth.truth);
        let played = begun.and_then(|begun| rollout::replay(env, begun, prompt, (format, max_steps), task, trajectory));
        let (now, truth_now) = match played {
            Ok(played) => played,
            Err(problem) => return Ok(Some(problem.to_string())),
        };
        if now == *trajectory && truth_now == *truth {
            return Ok(None);
        }
        let value = |trajectory: &Trajectory, truth: &TruthRecord| {
            let mut told = serde_json::json!(trajectory);
            told["row"].take();
            told[TRUTH] = serde_json::json!(truth);
            told
        };
        Ok(differ::values(&value(trajectory, truth), &value(&now, &truth_now)))
    }
}

fn kept(env: &Env, format: ToolFormat, op: Op, (trajectory, truth): (Trajectory, TruthRecord)) -> (Class, Played) {
    let behaviour = Behaviour::from(&trajectory);
    // A reply that was cut is none, as in the episode.
    let last = || trajectory.messages.last().filter(|_| !trajectory.truncated).map_or("", |last| &last.content);
    let said = (op == Op::Evaluate && env.is_benchmark()).then(last).and_then(|last| match env.action(last, format) {
        Action::Answer(text) => Some(text),
        Action::Call(_) | Action::Unreadable(_) => None,
    });
    let Trajectory { task, sample, .. } = trajectory;
    let truth = (op == Op::Evaluate).then_some(truth);
    (Class::Done, Played { task, sample, behaviour, truth, said })
}

fn row(item: &ManifestItem, played: Played, iteration: u32) -> Result<RowEntry, StepError> {
    let ItemOutcome::Done { blob: trajectory } = item.outcome else { unreachable!("an episode is done or failed") };
    let truth = item.also.get(TRUTH).copied().ok_or_else(|| {
        let problem = "its record names no ground truth".to_owned();
        StepError::Blob { blob: trajectory, problem }
    })?;
    Ok(RowEntry {
        task: played.task,
        sample: played.sample,
        iteration,
        trajectory,
        truth,
        reply: None,
        replies: Vec::new(),
        verdict: None,
        unparsed: None,
        dropped_by: None,
    })
}

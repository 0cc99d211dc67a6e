//! Rollout and evaluation: a model let loose on tasks.

use crate::base::{Canonical, Seed};
use crate::model::LanguageModel;
use crate::node::evaluate::{behaviour_metrics, truth_metrics};
use crate::node::key::{EvaluateKey, RolloutKey, item_seed};
use crate::node::lost::Lost;
use crate::node::rollout::{Rollout, RolloutItem};
use crate::node::trajectory::{Trajectory, TruthRecord};
use crate::plan::{Episodes, Op, StepId};
use crate::run::items::{Class, Item, Made, Worked};
use crate::run::manifest::{Manifest, RowEntry, RowSet};
use crate::run::resources::{Resources, Version, read_json};
use crate::run::steps::{Bench, Finished};
use crate::run::{ItemOutcome, StepError};
use rayon::prelude::*;
use std::sync::Arc;

/// What is asked for: one item a task and sample, tasks in the split's order.
pub struct EpisodeItems {
    pub items: Vec<Item>,
    pub asked: Vec<RolloutItem>,
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
    let tool_format = experiment.models[version.model.0].it.tool_format;
    let max_steps = experiment.envs[env.0].it.max_steps;
    let env_digest = resources.identities.envs[env.0];
    let (mut items, mut asked) = (Vec::new(), Vec::new());
    for task in resources.tasks(*env, split)?.iter() {
        let task_digest = task.digest();
        for sample in 0..*samples {
            // A greedy evaluation draws nothing, so experiments with other seeds share it.
            let drawn = op == Op::Rollout || sampling.temperature > 0.0;
            let seed = if drawn { item_seed(root, stream, iteration, task, sample) } else { Seed(0) };
            let key = match op {
                Op::Rollout => RolloutKey {
                    env: env_digest,
                    task: task_digest,
                    prompt,
                    model,
                    tool_format,
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
                    sampling: sampling.clone(),
                    max_steps,
                    sample,
                    seed,
                }
                .key(),
            };
            items.push(Item { name: format!("{}/{sample}", task.id), key });
            asked.push(RolloutItem { task: task.clone(), sample, seed });
        }
    }
    Ok(EpisodeItems { items, asked })
}

/// Works a rollout or an evaluation.
pub fn run(bench: &mut Bench<'_, '_>, id: StepId, episodes: &Episodes) -> Result<Finished, StepError> {
    let step = bench.state.plan.step(id);
    let resources = bench.resources;
    let version = bench.state.version(&episodes.version);
    let EpisodeItems { items, asked } = prepare(resources, episodes, &version, step.op, step.iteration)?;
    let env = resources.env(episodes.env)?;
    let spec = &resources.experiment.models[version.model.0].it;
    let mut model: Option<Arc<dyn LanguageModel>> = None;
    let (mut seen, mut solved) = (0u32, 0.0);
    let truth_seen = step.op == Op::Evaluate;
    let first_metric = crate::env::schema(&resources.experiment.envs[episodes.env.0].it.kind).success();
    let mut note = |made: &Made| {
        // Ground truth is for metrics: a rollout under way says nothing of it.
        let truth = made.also.iter().find(|(role, _)| truth_seen && *role == "truth");
        let Some(record) = truth.and_then(|(_, bytes)| serde_json::from_slice::<TruthRecord>(bytes).ok()) else {
            return String::new();
        };
        seen += 1;
        solved += record.truth.get(first_metric).copied().unwrap_or(0.0);
        format!("{first_metric} {:.2}", solved / f64::from(seen))
    };
    let Worked { made, missing, counts } =
        bench.worker(id).work(&items, &|_| Class::Done, &mut note, &mut |wanted, halt, on_done| {
            let open = match &model {
                Some(open) => open.clone(),
                None => model.insert(resources.model(&version)?).clone(),
            };
            let rollout = Rollout {
                model: &*open,
                env: &env,
                prompt: &resources.experiment.prompts[episodes.prompt.0].it,
                tool_format: spec.tool_format,
                max_steps: resources.experiment.envs[episodes.env.0].it.max_steps,
                sampling: episodes.sampling.clone(),
            };
            let group: Vec<RolloutItem> = wanted.iter().map(|&at| asked[at].clone()).collect();
            let results: Vec<Result<(), Lost>> = rollout.run(&group, halt, &mut |place, trajectory, truth| {
                let took = trajectory.tokens();
                let output = serde_json::to_vec(&trajectory).expect("a trajectory is plain data");
                let truth = serde_json::to_vec(&truth).expect("truth is plain data");
                on_done(place, Made { output, also: vec![("truth", truth)], took });
            });
            Ok(results)
        })?;

    let store = resources.store;
    let parse = |(item, bytes): (&crate::run::manifest::ManifestItem, &Vec<u8>)| {
        let ItemOutcome::Done { blob } = item.outcome else { unreachable!("an episode is done or failed") };
        let trajectory: Trajectory =
            serde_json::from_slice(bytes).map_err(|problem| StepError::Blob { blob, problem: problem.to_string() })?;
        let truth = item
            .also
            .get("truth")
            .copied()
            .ok_or_else(|| StepError::Blob { blob, problem: "its record names no ground truth".to_owned() })?;
        Ok((blob, trajectory, truth, read_json::<TruthRecord>(store, &truth)?))
    };
    let (items, outputs): (Vec<_>, Vec<_>) = made.into_iter().flatten().unzip();
    let parsed: Vec<_> = items.par_iter().zip(&outputs).map(parse).collect::<Result<_, StepError>>()?;
    let mut manifest = Manifest::new(step.op);
    manifest.missing = missing;
    let rows = |(blob, trajectory, truth, _): &(_, Trajectory, _, TruthRecord)| RowEntry {
        task: trajectory.task.clone(),
        sample: trajectory.sample,
        iteration: step.iteration,
        trajectory: *blob,
        truth: *truth,
        reply: None,
        verdict: None,
        unparsed: None,
        dropped_by: None,
    };
    if step.op == Op::Rollout {
        let set = RowSet { rows: parsed.iter().map(rows).collect(), dropped: Vec::new() };
        manifest.output = Some(bench.put_json(&set)?);
    } else {
        let truths: Vec<TruthRecord> = parsed.iter().map(|(_, _, _, truth)| truth.clone()).collect();
        manifest.metrics = truth_metrics(&truths);
    }
    manifest.metrics.extend(behaviour_metrics(parsed.iter().map(|(_, trajectory, _, _)| trajectory)));
    manifest.items = items;
    Ok(Finished { manifest, counts })
}

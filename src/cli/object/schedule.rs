//! Turns an experiment into an outline: each statement on a line, with what it leaves out and how much it does.

use super::facts::Facts;
use super::{Subject, words};
use crate::experiment::{EnvId, Experiment, ModelRef, Statement, TrainData, Version};
use crate::model::Sampling;
use crate::node::spec::PerIteration;
use crate::report::text::{Cell, Table, count};
use crate::syntax::ast::ItemKind;

pub fn experiment(subject: &Subject) -> Facts {
    let experiment = &subject.experiment;
    let mut facts = subject.facts("experiment", &experiment.name);
    facts.doc(&experiment.doc);
    facts.fact("seed", experiment.seed.to_string());
    if !experiment.unstable.is_empty() {
        facts.fact("unstable", experiment.unstable.join(", "));
    }
    let params = subject.own_items().filter_map(|item| match &item.kind {
        ItemKind::Param { name, .. } => Some(name.value.as_str()),
        _ => None,
    });
    let params: Vec<&str> = params.collect();
    if !params.is_empty() {
        facts.fact("params", params.join(", "));
    }
    let mut lines = Vec::new();
    outline(experiment, &experiment.schedule, 1, &mut lines);
    facts.text(format!("Schedule\n{}", lines.join("\n")));
    facts.data("typed", experiment);
    facts
}

/// A sweep's cells, each with the values that it gives.
pub fn matrix(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("matrix", name);
    let Some(matrix) = subject.matrices.iter().find(|matrix| matrix.name == name) else { return facts };
    facts.fact("of", &*matrix.of);
    facts.fact("cells", count(matrix.cells.len() as u64));
    let axes = matrix.cells.first().map(|cell| cell.settings.iter().map(|it| it.axis.clone()).collect::<Vec<_>>());
    let axes = axes.unwrap_or_default();
    let mut table = Table::with_head(std::iter::once("cell").chain(axes.iter().map(String::as_str)).map(Cell::right));
    for (at, cell) in matrix.cells.iter().enumerate() {
        let number = count(at as u64 + 1);
        let values = cell.settings.iter().map(|setting| setting.value.as_str());
        table.push(std::iter::once(number.as_str()).chain(values).map(Cell::right));
    }
    facts.table("Cells", table);
    facts.data("cells", matrix.cells.iter().map(|cell| &cell.settings).collect::<Vec<_>>());
    facts
}

fn outline(experiment: &Experiment, statements: &[Statement], depth: usize, lines: &mut Vec<String>) {
    let gap = "  ".repeat(depth);
    for statement in statements {
        let Statement::Repeat { times, index, body, until } = statement else {
            lines.push(format!("{gap}{}", line(experiment, statement)));
            continue;
        };
        lines.push(format!("{gap}repeat {times} times as {index}"));
        outline(experiment, body, depth + 1, lines);
        if let Some(until) = until {
            lines.push(format!("{gap}until {}", until));
        }
    }
}

fn line(experiment: &Experiment, statement: &Statement) -> String {
    let model = |reference: &ModelRef| reference.version.written(&experiment.models[reference.model.0].name);
    match statement {
        Statement::Rollout { name, model: of, env, split, prompt, samples, sampling, stream, tolerance } => {
            let stream = if *stream == 0 { String::new() } else { format!(", stream {stream}") };
            let how = episodes(experiment, *env, split, prompt.0, *samples, sampling);
            format!("{name} = rollout {} in {how}{stream}{}", model(of), words::tolerance(tolerance))
        }
        Statement::Judge { name, rows, critic, tolerance } => {
            let (critic, tolerance) = (&experiment.critics[critic.0].name, words::tolerance(tolerance));
            format!("{name} = judge {rows} with {critic}{tolerance}")
        }
        Statement::Select { name, rows, rule } => {
            format!("{name} = select {} by {}", rows, experiment.rules[rule.otherwise.0].name)
        }
        Statement::Audit { rows, metric } => format!("audit {} against {metric}", rows),
        Statement::Calibrate { critic, dataset } => {
            format!("calibrate {} on {}", experiment.critics[critic.0].name, experiment.datasets[dataset.0].name)
        }
        Statement::Train { model, on, mixed, trainer, from, reference } => {
            let name = &experiment.models[model.0].name;
            let dataset = |id: usize| experiment.datasets[id].name.as_str();
            let on = match on {
                TrainData::Rows(rows) => rows.to_string(),
                TrainData::Dataset(id) => dataset(id.0).to_owned(),
                TrainData::Through { dataset: id, critic } => {
                    format!("{} through {}", dataset(id.0), experiment.critics[critic.0].name)
                }
            };
            let mixed = mixed
                .iter()
                .map(|mixed| format!(" mixed with {} {}", words::percent(mixed.share), dataset(mixed.dataset.0)));
            let mixed: String = mixed.collect();
            let version = |version: &Version| match version {
                Version::Newest => format!("{name}@prev"),
                other => other.written(name),
            };
            let reference = reference.as_ref().map_or_else(String::new, |it| format!(" reference {}", version(it)));
            let trainer = &experiment.trainers[trainer.0].name;
            format!("train {name} on {on}{mixed} with {trainer} from {}{reference}", version(from))
        }
        Statement::Evaluate { name, model: of, env, split, prompt, samples, sampling, best_by, tolerance } => {
            let name = name.as_ref().map_or_else(String::new, |name| format!("{name} = "));
            let how = episodes(experiment, *env, split, prompt.0, *samples, &PerIteration::always(sampling.clone()));
            let best = best_by.map_or_else(String::new, |id| format!(", best by {}", experiment.critics[id.0].name));
            format!("{name}evaluate {} on {how}{best}{}", model(of), words::tolerance(tolerance))
        }
        Statement::Pick { name, model, by, including } => {
            let including =
                if including.is_empty() { String::new() } else { format!(" including {}", including.join(", ")) };
            format!("{name} = pick {} best by {by}{including}", experiment.models[model.0].name)
        }
        Statement::Repeat { .. } => unreachable!("a loop is an outline of its own"),
    }
}

/// `desk.train: 768 tasks × 4 = 3,072 episodes, prompt act, greedy, at most 128 tokens a turn`
fn episodes(
    experiment: &Experiment,
    env: EnvId,
    split: &str,
    prompt: usize,
    samples: u32,
    sampling: &PerIteration<Sampling>,
) -> String {
    let env = &experiment.envs[env.0];
    let tasks = env.it.splits.iter().find(|known| known.name == split).map_or(0, |split| split.size);
    let episodes = u64::from(tasks) * u64::from(samples);
    let times = if samples == 1 { String::new() } else { format!(" × {samples} = {} episodes", count(episodes)) };
    format!(
        "{}.{split}: {} tasks{times}, prompt {}, {}, at most {} a turn",
        env.name,
        count(tasks.into()),
        experiment.prompts[prompt].name,
        words::per_iteration(sampling, words::sampling),
        words::tokens(sampling.otherwise.max_tokens),
    )
}

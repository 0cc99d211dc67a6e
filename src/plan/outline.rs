//! Turns an experiment into its declarations and statements, each with its fields as an author names them: what two
//! experiments are compared by, and what [`keyed`](super::keyed) says of each field.
//!
//! # Invariants
//! Everything that a file can say is in it: each type is taken apart, so a new field does not compile until it has a name
//! here. Declarations are called by their names, never by their places.

use crate::env::api_bank::Declared;
use crate::env::outside::Word;
use crate::env::{EnvKind, EnvSpec, Outside, Reach, Schema, Split};
use crate::experiment::{
    Budget, Critic, CriticId, Dataset, EnvId, Experiment, Mixed, ModelRef, Named, Panel, PromptId, ReportItem, RuleId,
    Sole, Statement, TrainData, Version,
};
use crate::model::{ModelSpec, Sampling, Source};
use crate::node::spec::{AnswerField, AnswerSchema, PerIteration, TrainerSpec, Votes};
use crate::node::tolerance::Tolerance;
use crate::plan::build::{flatten, words};
use crate::select::{Rule, Stage};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// One declaration, or one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// `trainer`, `rollout`, …: what `keyed` knows its fields by.
    pub kind: &'static str,
    /// `sft`; of a statement the word of its nodes: `evaluate:dev`. Empty for the experiment itself.
    pub name: String,
    pub fields: Value,
}

/// In the order of a file: the experiment itself, its declarations, its statements.
pub fn outline(experiment: &Experiment) -> Vec<Part> {
    let Experiment {
        name,
        doc,
        seed,
        budget,
        unstable,
        envs,
        datasets,
        models,
        prompts,
        critics,
        rules,
        trainers,
        schedule,
        report,
    } = experiment;
    let own = json!({
        "name": name,
        "doc": doc,
        "seed": seed,
        "budget": budget.as_ref().map(self::budget),
        "unstable": unstable,
        "report": report.iter().map(shown).collect::<Vec<_>>(),
    });
    let mut parts = vec![Part { kind: "experiment", name: String::new(), fields: own }];
    parts.extend(envs.iter().map(|it| part("env", it, env)));
    parts.extend(datasets.iter().map(|it| part("dataset", it, |it| dataset(experiment, it))));
    parts.extend(models.iter().map(|it| part("model", it, model)));
    parts.extend(prompts.iter().map(|it| part("prompt", it, |it| it.written().into())));
    parts.extend(critics.iter().map(|it| part("critic", it, |it| critic(experiment, it))));
    parts.extend(rules.iter().map(|it| part("rule", it, |it| rule(experiment, it))));
    parts.extend(trainers.iter().map(|it| part("trainer", it, trainer)));
    let mut statements = Vec::new();
    flatten(schedule, &mut statements);
    for (statement, word) in statements.iter().zip(words(experiment, &statements)) {
        let (kind, fields) = self::statement(experiment, statement);
        // A loop's nodes are its gates.
        let name = if kind == "repeat" { word.replacen("gate", "repeat", 1) } else { word };
        parts.push(Part { kind, name, fields });
    }
    // A rule that is used with other arguments is another rule.
    for at in 0..parts.len() {
        let (before, rest) = parts.split_at_mut(at);
        let taken = before.iter().filter(|part| part.kind == "rule" && part.name == rest[0].name).count();
        if rest[0].kind == "rule" && taken > 0 {
            rest[0].name.push_str(&format!("-{}", taken + 1));
        }
    }
    parts
}

fn part<T>(kind: &'static str, Named { name, it }: &Named<T>, fields: impl FnOnce(&T) -> Value) -> Part {
    Part { kind, name: name.clone(), fields: fields(it) }
}

fn value(it: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(it).expect("plain data")
}

fn path(it: &Path) -> Value {
    it.display().to_string().into()
}

/// With its units, whose places in the file are left out.
fn budget(Budget { spend, wall, tokens }: &Budget) -> Value {
    json!({
        "spend": spend.as_ref().map(|it| format!("{} USD", it.value.0 as f64 / 1e6)),
        "wall": wall.as_ref().map(|it| format!("{} s", it.value.0 as f64 / 1e3)),
        "tokens": tokens.as_ref().map(|it| format!("{} tokens", it.value.0)),
    })
}

fn shown(item: &ReportItem) -> String {
    let (word, metrics) = match item {
        ReportItem::Plot { metrics } => ("plot", metrics),
        ReportItem::Table { metrics } => ("table", metrics),
    };
    format!("{word} {}", metrics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn env(EnvSpec { kind, splits, max_steps }: &EnvSpec) -> Value {
    let size = |Split { name, size, held_out }: &Split| {
        (name.clone(), if *held_out { json!(format!("{size} held_out")) } else { json!(size) })
    };
    let splits: Map<String, Value> = splits.iter().map(size).collect();
    let mut fields = json!({ "splits": splits, "max_steps": max_steps });
    fields["use"] = match kind {
        EnvKind::Desk => json!("desk"),
        EnvKind::ApiBank(Declared { data, from, to, mode, tasks }) => {
            json!({ "api-bank": { "data": path(data), "level": format!("{from}..{to}"), "mode": mode, "tasks": tasks } })
        }
        EnvKind::Outside(outside) => {
            let Outside { reach, tasks, schema, bounds } = &**outside;
            let Schema { name: _, task, metrics, offers: _, doc: _ } = schema;
            fields["tasks"] = json!(tasks.as_deref().map(path));
            fields["task"] = json!(task);
            fields["metrics"] = json!(metrics);
            fields["limits"] = json!(bounds);
            let words = |command: &[Word]| {
                let word = |word: &Word| match word {
                    Word::Text(text) => json!(text),
                    Word::File(path) => self::path(path),
                };
                Value::Array(command.iter().map(word).collect())
            };
            let at = match reach {
                Reach::Process(command) => words(command),
                Reach::McpCommand(command) => json!({ "command": words(command) }),
                Reach::McpAddress(address) => json!({ "address": address }),
                Reach::OpenEnv(address) | Reach::AgentGym(address) => json!(address),
            };
            json!({ (reach.word()): at })
        }
    };
    fields
}

fn dataset(experiment: &Experiment, dataset: &Dataset) -> Value {
    let from = match dataset {
        Dataset::Offered { env, offer, count } => {
            json!({ "env": experiment.envs[env.0].name, "offer": offer, "count": count })
        }
        Dataset::Jsonl { path } => json!({ "jsonl": self::path(path) }),
        Dataset::Hub { repo, revision, split } => {
            json!({ "hub": { "repo": repo, "revision": revision, "split": split } })
        }
    };
    json!({ "from": from })
}

fn model(ModelSpec { source, adapter, context, dtype, device, lora, tool_format, tool_calls }: &ModelSpec) -> Value {
    let (field, source) = match source {
        Source::Path(directory) => ("weights", json!({ "path": path(directory) })),
        Source::Gguf(file) => ("weights", json!({ "gguf": path(file) })),
        Source::Fresh(fresh) => ("weights", json!({ "fresh": fresh })),
        Source::Hub { repo, revision } => ("weights", json!({ "hub": { "repo": repo, "revision": revision } })),
        Source::Remote(remote) => ("remote", value(remote)),
        Source::Scripted(script) => ("scripted", path(script)),
    };
    json!({
        (field): source,
        "adapter": adapter.as_deref().map(|directory| json!({ "path": path(directory) })),
        "context": context,
        "dtype": dtype,
        "device": device,
        "lora": lora,
        "tool_format": tool_format,
        "tool_calls": tool_calls,
    })
}

fn critic(experiment: &Experiment, critic: &Critic) -> Value {
    match critic {
        Critic::Panel(Panel { members, by }) => {
            let members: Vec<Value> = members.iter().map(|&id| critic_name(experiment, id)).collect();
            json!({ "panel": members, "by": by })
        }
        Critic::Sole(Sole { model, prompt, answer, on_unparsed, sampling, kind, votes }) => {
            let AnswerSchema { fields } = answer;
            let answer: Vec<String> = fields.iter().map(AnswerField::to_string).collect();
            let Votes { count, by } = votes;
            let mut fields = json!({
                "model": experiment.models[model.0].name,
                "prompt": prompt_name(experiment, *prompt),
                "answer": answer,
                "on_unparsed": on_unparsed,
                "kind": kind,
                "votes": { "count": count, "by": if *count > 1 { json!(by) } else { Value::Null } },
            });
            insert_sampling(&mut fields, &PerIteration::always(sampling.clone()));
            fields
        }
    }
}

fn rule(experiment: &Experiment, Rule { stages }: &Rule) -> Value {
    let stage = |stage: &Stage| match stage {
        Stage::Add { dataset, .. } => {
            let name = &experiment.datasets[*dataset].name;
            stage.describe().replacen(&format!("#{}", dataset + 1), name, 1)
        }
        _ => stage.describe(),
    };
    stages.iter().map(stage).collect()
}

fn trainer(trainer: &TrainerSpec) -> Value {
    let TrainerSpec {
        method,
        lr,
        decay,
        epochs,
        batch,
        accumulate,
        recompute,
        command,
        max_len,
        clip,
        weight_decay,
        lora,
    } = trainer;
    json!({
        "method": per_iteration(method),
        "lr": per_iteration(lr),
        "decay": per_iteration(decay),
        "epochs": per_iteration(epochs),
        "batch": per_iteration(batch),
        "accumulate": accumulate,
        "recompute": recompute,
        "command": command,
        "max_len": max_len,
        "clip": clip,
        "weight_decay": weight_decay,
        "lora": lora,
    })
}

fn statement(experiment: &Experiment, statement: &Statement) -> (&'static str, Value) {
    let it = experiment;
    let model = |of: &ModelRef| of.version.written(&it.models[of.model.0].name);
    match statement {
        Statement::Rollout { name, model: of, env, split, prompt, samples, sampling, stream, tolerance } => {
            let mut fields = episodes(it, *env, split, *prompt, *samples, sampling);
            fields["let"] = json!(name);
            fields["model"] = json!(model(of));
            fields["stream"] = json!(stream);
            insert_tolerance(&mut fields, tolerance);
            ("rollout", fields)
        }
        Statement::Judge { name, rows, critic, tolerance } => {
            let mut fields = json!({ "let": name, "rows": rows.to_string(), "with": critic_name(it, *critic) });
            insert_tolerance(&mut fields, tolerance);
            ("judge", fields)
        }
        Statement::Select { name, rows, rule } => {
            let rule = rule.clone().map(|RuleId(id)| it.rules[id].name.clone());
            ("select", json!({ "let": name, "rows": rows.to_string(), "by": per_iteration(&rule) }))
        }
        Statement::Audit { rows, metric } => ("audit", json!({ "rows": rows.to_string(), "against": metric })),
        Statement::Calibrate { critic, dataset } => {
            ("calibrate", json!({ "critic": critic_name(it, *critic), "on": it.datasets[dataset.0].name }))
        }
        Statement::Train { model, on, mixed, trainer, from, reference } => {
            let name = &it.models[model.0].name;
            let dataset = |id: usize| it.datasets[id].name.as_str();
            let on = match on {
                TrainData::Rows(rows) => json!(rows.to_string()),
                TrainData::Dataset(id) => json!(dataset(id.0)),
                TrainData::Through { dataset: id, critic } => {
                    json!({ "dataset": dataset(id.0), "through": critic_name(it, *critic) })
                }
            };
            let mixed: Map<String, Value> =
                mixed.iter().map(|Mixed { share, dataset: id }| (dataset(id.0).to_owned(), json!(share))).collect();
            let version = |it: &Version| it.written(name);
            let fields = json!({
                "model": name,
                "on": on,
                "mixed": mixed,
                "with": it.trainers[trainer.0].name,
                "from": version(from),
                "reference": reference.as_ref().map(version),
            });
            ("train", fields)
        }
        Statement::Evaluate { name, model: of, env, split, prompt, samples, sampling, best_by, tolerance } => {
            let mut fields = episodes(it, *env, split, *prompt, *samples, &PerIteration::always(sampling.clone()));
            fields["let"] = json!(name);
            fields["model"] = json!(model(of));
            fields["best_by"] = best_by.map_or(Value::Null, |critic| critic_name(it, critic));
            insert_tolerance(&mut fields, tolerance);
            ("evaluate", fields)
        }
        Statement::Repeat { times, index, body: _, until } => {
            let until = until.as_ref().map(ToString::to_string);
            ("repeat", json!({ "times": times, "as": index, "until": until }))
        }
        Statement::Pick { name, model, by, including } => {
            let model = &it.models[model.0].name;
            ("pick", json!({ "let": name, "model": model, "by": by.to_string(), "including": including }))
        }
    }
}

fn episodes(
    experiment: &Experiment,
    env: EnvId,
    split: &str,
    prompt: PromptId,
    samples: u32,
    sampling: &PerIteration<Sampling>,
) -> Value {
    let mut fields = json!({
        "in": format!("{}.{split}", experiment.envs[env.0].name),
        "prompt": prompt_name(experiment, prompt),
        "samples": samples,
    });
    insert_sampling(&mut fields, sampling);
    fields
}

fn insert_tolerance(fields: &mut Value, Tolerance { max_failed, timeout, retries }: &Tolerance) {
    fields["max_failed"] = json!(max_failed.to_string());
    fields["timeout"] = json!(timeout.map(|it| format!("{} s", it.0 as f64 / 1e3)));
    fields["retries"] = json!(retries);
}

fn insert_sampling(fields: &mut Value, sampling: &PerIteration<Sampling>) {
    let each = sampling.clone().map(|Sampling { temperature, top_p, top_k, min_p, repetition_penalty, max_tokens }| {
        [
            ("temperature", json!(temperature)),
            ("top_p", json!(top_p)),
            ("top_k", json!(top_k)),
            ("min_p", json!(min_p)),
            ("repetition_penalty", json!(repetition_penalty)),
            ("max_tokens", json!(max_tokens)),
        ]
    });
    for at in 0..each.otherwise.len() {
        fields[each.otherwise[at].0] = per_iteration(&each.clone().map(|each| each[at].1.clone()));
    }
}

/// The value alone where it is the same in each iteration.
fn per_iteration<T: Serialize + PartialEq>(it: &PerIteration<T>) -> Value {
    let PerIteration { cases, otherwise } = it;
    if cases.iter().all(|(_, case)| case == otherwise) {
        return value(otherwise);
    }
    let cases = cases.iter().map(|(at, case)| (at.to_string(), value(case)));
    Value::Object(cases.chain([("_".to_owned(), value(otherwise))]).collect())
}

fn critic_name(experiment: &Experiment, CriticId(id): CriticId) -> Value {
    experiment.critics[id].name.as_str().into()
}

fn prompt_name(experiment: &Experiment, PromptId(id): PromptId) -> Value {
    experiment.prompts[id].name.as_str().into()
}

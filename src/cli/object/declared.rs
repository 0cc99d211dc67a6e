//! Turns params, environments, datasets, models, critics and trainers into facts.

use super::facts::Facts;
use super::{Subject, words};
use crate::base::Span;
use crate::env::api_bank::Declared;
use crate::env::{EnvKind, Field, FieldType, Reach, Schema, schema, tools};
use crate::experiment::{Critic, Dataset, Named, Statement};
use crate::model::Source;
use crate::node::spec::{AnswerKind, CriticKind, OnUnparsed, Votes};
use crate::node::{answer, compare};
use crate::report::text::{Cell, Table, count, counted};
use crate::syntax::ast::{Item, ItemKind};

fn find<'a, T>(list: &'a [Named<T>], name: &str) -> &'a T {
    &list.iter().find(|named| named.name == name).expect("the name is one of those listed").it
}

pub fn param(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("param", name);
    let Some((text, Item { kind: ItemKind::Param { ty, default, .. }, .. })) = subject.said("param", name) else {
        return facts;
    };
    let said = |span: Span| text.get(span.start as usize..span.end as usize).unwrap_or_default().trim();
    let given = subject.given.iter().rev().find(|given| given.name == name).map(|given| given.value.as_str());
    facts.fact("type", said(ty.span));
    facts.fact("default", said(default.span));
    facts.fact("value", given.unwrap_or_else(|| said(default.span)));
    facts.fact("set it", format!("--set {name}=…"));
    facts
}

pub fn env(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("env", name);
    let spec = find(&subject.experiment.envs, name);
    let schema = schema(&spec.kind);
    facts.field(
        "use",
        match &spec.kind {
            EnvKind::Desk => "builtin(\"desk\")".to_owned(),
            EnvKind::ApiBank(Declared { data, from, to, mode, tasks }) => {
                let (data, mode, tasks) = (words::path(data), mode.as_str(), tasks.as_str());
                format!(
                    "builtin(\"api-bank\") {{ data = {data}, level = {from}..{to}, tasks = {tasks}, mode = {mode} }}"
                )
            }
            EnvKind::Outside(outside) => reach(&outside.reach),
        },
    );
    facts.field("max_steps", format!("{} turns of the agent", spec.max_steps));
    if !schema.doc.is_empty() {
        facts.fact("what", &*schema.doc);
    }
    let mut splits = Table::with_head([Cell::left("split"), Cell::right("tasks"), Cell::left("")]);
    for split in &spec.splits {
        let mark = if split.held_out { "held out: may be evaluated, and nothing else" } else { "" };
        splits.push([Cell::left(&split.name), Cell::right(count(split.size.into())), Cell::left(mark)]);
    }
    facts.table("Splits", splits);
    facts.table("A task's fields", fields(schema));
    let mut list = Table::default();
    for tool in tools(&spec.kind) {
        list.push([Cell::left(tool.signature), Cell::left(if tool.changes { "changes something" } else { "looks" })]);
    }
    if !list.is_empty() {
        facts.table("Tools; a task grants some of them", list);
    }
    let mut metrics = Table::default();
    for (place, metric) in schema.metrics.iter().enumerate() {
        let what = if place == 0 { "says whether a task is solved: 1 is yes" } else { "a share" };
        metrics.push([Cell::left(metric), Cell::left(what)]);
    }
    facts.table("Metrics: ground truth, for `evaluate`, `audit` and `calibrate`", metrics);
    let mut offers = Table::default();
    for offer in &schema.offers {
        let mark = if offer.labelled { "labelled" } else { "" };
        offers.push([Cell::left(format!("{name}.{}(n)", offer.name)), Cell::left(mark), Cell::left(&offer.doc)]);
    }
    if !offers.is_empty() {
        facts.table("Datasets it offers", offers);
    }
    facts.data("typed", spec);
    facts.data("schema", schema);
    facts.data("tools", tools(&spec.kind));
    facts
}

fn fields(schema: &Schema) -> Table {
    let mut table = Table::with_head(["field", "type", "who may see it", ""].map(Cell::left));
    push_fields(&mut table, "task", &schema.task);
    table
}

fn push_fields(table: &mut Table, of: &str, fields: &[Field]) {
    for field in fields {
        let optional = if field.optional { "?" } else { "" };
        let limit = field.max_tokens.map_or_else(String::new, |most| format!(" <= {}", words::tokens(most)));
        let ty = format!("{}{optional}{limit}", field.ty);
        let path = format!("{of}.{}", field.name);
        table.push([path.as_str(), &ty, &field.visible.to_string(), &field.doc].map(Cell::left));
        if let FieldType::Record(inner) = &field.ty {
            push_fields(table, &path, inner);
        }
    }
}

fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Process(command) | Reach::McpCommand(command) => format!("{}({command:?})", reach.word()),
        Reach::OpenEnv(address) | Reach::McpAddress(address) | Reach::AgentGym(address) => {
            format!("{}({address:?})", reach.word())
        }
    }
}

pub fn dataset(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("dataset", name);
    let spec = find(&subject.experiment.datasets, name);
    match spec {
        Dataset::Offered { env, offer, count: rows } => {
            let env = &subject.experiment.envs[env.0];
            facts.field("from", format!("{}.{offer}({rows})", env.name));
            facts.fact("rows", count((*rows).into()));
            if let Some(offer) = schema(&env.it.kind).offers.iter().find(|known| known.name == *offer) {
                facts.fact("what", &*offer.doc);
                let labelled = "ground truth: may calibrate a critic; training on it needs `unstable(oracle)`";
                facts.fact("labels", if offer.labelled { labelled } else { "none" });
            }
        }
        Dataset::Hub { repo, revision, split } => {
            facts.field("from", format!("hub({repo:?}, revision = {revision:?}, split = {split:?})"));
        }
        Dataset::Jsonl { path } => facts.field("from", words::path(path).replacen("path", "jsonl", 1)),
    }
    facts.data("typed", spec);
    facts
}

pub fn model(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("model", name);
    let spec = find(&subject.experiment.models, name);
    match &spec.source {
        Source::Scripted(_) => facts.field("scripted", words::source(&spec.source)),
        Source::Remote(remote) => {
            facts.field("remote", words::source(&spec.source));
            facts.fact("base_url", &*remote.base_url);
            facts.fact("key", remote.key.as_ref().map_or_else(|| "none".to_owned(), |key| format!("secret({key:?})")));
            facts.fact("in_flight", remote.limits.in_flight.to_string());
            facts.fact("timeout", format!("{} s", remote.limits.timeout as f64 / 1000.0));
            facts.fact("connect", format!("{} s", remote.limits.connect as f64 / 1000.0));
            facts.fact("first_byte", format!("{} s", remote.limits.first_byte as f64 / 1000.0));
            facts.fact("retries", remote.limits.retries.to_string());
        }
        Source::Path(_) | Source::Fresh(_) | Source::Hub { .. } | Source::Gguf(_) => {
            facts.field("weights", words::source(&spec.source));
        }
    }
    if let Some(adapter) = &spec.adapter {
        facts.field("adapter", words::path(adapter));
    }
    facts.field("context", words::tokens(spec.context));
    facts.field("dtype", spec.dtype.as_str());
    facts.field("device", spec.device.as_str());
    facts.field("lora", words::lora(spec.lora.as_ref()));
    facts.field("tool_format", spec.tool_format.as_str());
    facts.field("tool_calls", spec.tool_calls.as_str());
    let trained = trainings(&subject.experiment.schedule, &|statement| match statement {
        Statement::Train { model, .. } => subject.experiment.models[model.0].name == name,
        _ => false,
    });
    let versions = match trained {
        0 => format!("{name}@0, which nothing trains"),
        1 => format!("{name}@0 as declared, {name}@1 trained"),
        newest => format!("{name}@0 as declared, {name}@1 to {name}@{newest} trained"),
    };
    facts.fact("versions", versions);
    facts.data("typed", spec);
    facts.data("trained_versions", trained);
    facts
}

/// How often a schedule comes to such a statement.
fn trainings(statements: &[Statement], is_wanted: &dyn Fn(&Statement) -> bool) -> u32 {
    let times = |statement: &Statement| match statement {
        Statement::Repeat { times, body, .. } => times.saturating_mul(trainings(body, is_wanted)),
        other => u32::from(is_wanted(other)),
    };
    statements.iter().map(times).fold(0, u32::saturating_add)
}

pub fn critic(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("critic", name);
    let experiment = &subject.experiment;
    let spec = match find(&experiment.critics, name) {
        Critic::Sole(sole) => sole,
        Critic::Panel(panel) => {
            let members: Vec<&str> = panel.members.iter().map(|id| experiment.critics[id.0].name.as_str()).collect();
            facts.field("panel", format!("[{}] by {}", members.join(", "), panel.by.as_str()));
            facts.data("typed", panel);
            return facts;
        }
    };
    facts.field(
        "kind",
        match spec.kind {
            CriticKind::Each => "each: one trajectory at a time",
            CriticKind::Pairs => "pairs: two trajectories of a task, in both orders",
            CriticKind::Group => "group: all samples of a task at once",
        },
    );
    facts.field(
        "votes",
        match spec.votes {
            Votes { count: 1, .. } => "1".to_owned(),
            Votes { count, by } => format!("{count} by {}", by.as_str()),
        },
    );
    facts.field("model", &*experiment.models[spec.model.0].name);
    facts.field("prompt", &*experiment.prompts[spec.prompt.0].name);
    let answers: Vec<String> = spec.answer.fields.iter().map(ToString::to_string).collect();
    facts.field("answer", format!("{{ {} }}", answers.join(", ")));
    facts.field(
        "on_unparsed",
        match spec.on_unparsed {
            OnUnparsed::Drop => "drop: the row has no verdict and reaches no rule",
            OnUnparsed::Fail => "fail: the node fails",
        },
    );
    facts.field("decode", words::sampling(&spec.sampling));
    facts.field("max_tokens", words::tokens(spec.sampling.max_tokens));
    if let Some(field) = answer::deciding(&spec.row_answer()) {
        let reads = match field.kind {
            AnswerKind::Int { .. } => format!("{} >= {}", field.name, answer::positive_from(field)),
            AnswerKind::Bool | AnswerKind::Text => field.name.clone(),
        };
        facts.fact("says solved", format!("{reads}, to `audit` and `calibrate`"));
    }
    let instructions = compare::format(spec.kind, &spec.answer, 2);
    let of = if spec.kind == CriticKind::Group { " of two samples" } else { "" };
    facts.text(format!("`{{{{ answer.format }}}}`{of} in its prompt becomes:\n\n{instructions}"));
    facts.data("typed", spec);
    facts
}

pub fn trainer(subject: &Subject, name: &str) -> Facts {
    let mut facts = subject.facts("trainer", name);
    let spec = find(&subject.experiment.trainers, name);
    facts.field("method", words::per_iteration(&spec.method, words::method));
    facts.field("lr", words::per_iteration(&spec.lr, |lr| words::real(*lr)));
    facts.field("decay", words::per_iteration(&spec.decay, words::decay));
    facts.field("epochs", words::per_iteration(&spec.epochs, ToString::to_string));
    facts.field("batch", words::per_iteration(&spec.batch, |rows| format!("{} rows a step", count((*rows).into()))));
    facts.field("accumulate", format!("a step in {}", counted(spec.accumulate as usize, "part")));
    facts.field("recompute", spec.recompute.to_string());
    facts.field("max_len", spec.max_len.map_or_else(|| "the model's context".to_owned(), words::tokens));
    facts.field("clip", if spec.clip == 0.0 { "never".to_owned() } else { format!("gradient norm {}", spec.clip) });
    facts.field("weight_decay", words::real(spec.weight_decay));
    facts.field("lora", spec.lora.as_ref().map_or_else(|| "the model's".to_owned(), |lora| words::lora(Some(lora))));
    if let Some(command) = &spec.command {
        facts.field("command", format!("{command:?}"));
    }
    facts.data("typed", spec);
    facts
}

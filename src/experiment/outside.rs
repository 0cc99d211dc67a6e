//! Turns what a file declares of an environment outside the program into how it is reached and what its tasks look like.
//!
//! # Invariants
//! Every field says who may see it, or is for both: what is `visible to none` is ground truth from here on.

use super::error::CheckError;
use super::fields::{Fields, HTTP, WEB};
use super::vocabulary::{self, Word};
use super::{Checker, EnvInfo};
use crate::env::outside::{Bounds, MCP_METRICS, NUMBERS, Word as Command};
use crate::env::{EnvKind, Field, FieldType, Outside, Reach, Schema, Visibility};
use crate::syntax::ast::{Apply, Argument, Block, Entry, EntryKind, Expr, ExprKind, Name, Type, TypeName};
use crate::syntax::similar::{join, similar};
use std::path::PathBuf;
use std::sync::Arc;

/// What a field of a task may be.
const TYPES: &[&str] = &["text", "int", "ratio", "bool", "call", "json", "list<…>"];

impl Checker<'_> {
    /// Of an environment that comes with the program: the fields of the others are not for it.
    pub(super) fn not_outside(&mut self, fields: &Fields) {
        for name in ["task", "metrics", "tasks", "limits"] {
            if let Some(span) = fields.key(name) {
                self.error(CheckError::OtherKind { span, name });
            }
        }
    }

    pub(super) fn outside(&mut self, body: &Block, fields: &Fields, apply: &Apply, word: &Word) -> Option<EnvKind> {
        let reach = self.reach(apply, word);
        let tasks = match (word.name, fields.key("tasks")) {
            (_, Some(_)) => self.task_file(fields).map(Some),
            ("mcp", None) => {
                self.due_field(body, fields, "tasks");
                None
            }
            (_, None) => Some(None),
        };
        let bounds = match fields.block("limits") {
            Some(block) => self.bounds(block),
            None => Some(Bounds { timeout: Bounds::TIMEOUT, in_flight: Bounds::IN_FLIGHT, memory: None, cpu: None }),
        };
        for name in ["task", "metrics"] {
            self.due_field(body, fields, name);
        }
        let task = fields.block("task").and_then(|block| self.record(block, Visibility::ALL));
        let tasks = match (tasks, &task) {
            (Some(Some(path)), Some(task)) => {
                let span = fields.key("tasks").unwrap_or(body.span);
                self.tasks(&path, span, task).map(|_| Some(path))
            }
            (tasks, _) => tasks,
        };
        let metrics = fields.block("metrics").and_then(|block| self.metrics(block));
        if let (Some(reach), Some(task), Some(metrics)) = (&reach, &task, &metrics) {
            self.given(fields, reach, task, metrics);
        }
        let schema = Schema {
            name: word.name.to_owned(),
            task: task?,
            metrics: metrics?,
            offers: Vec::new(),
            doc: "As the file declares it.".to_owned(),
        };
        Some(EnvKind::Outside(Box::new(Outside { reach: reach?, tasks: tasks?, schema, bounds: bounds? })))
    }

    /// Holds what is declared against what there can be.
    fn given(&mut self, fields: &Fields, reach: &Reach, task: &[Field], metrics: &[String]) {
        let is_int = |ty: &FieldType| matches!(ty, FieldType::Int);
        let is_known = |field: &Field| match field.name.as_str() {
            "id" => matches!(field.ty, FieldType::Text),
            name => NUMBERS.contains(&name) && is_int(&field.ty),
        };
        let strange = task.iter().find(|field| !field.optional && !is_known(field));
        if let (true, None, Some(Field { name, .. })) = (reach.numbers_tasks(), fields.key("tasks"), strange) {
            let span = fields.key("task").expect("it was read");
            let message = format!("nothing gives `{name}` to the tasks of `{}`", reach.word());
            let help = "`tasks = jsonl(…)` gives tasks with fields; without it a task has `id: text`, `index: int` and \
                        `seed: int`, and what the environment says first stands in the conversation";
            self.error(CheckError::NothingGives { span, message, help: help.to_owned() });
        }
        if reach.word() != "mcp" {
            return;
        }
        let has = |wanted: &str| task.iter().any(|field| field.name == wanted && field.visible == Visibility::NONE);
        let comes_of = |metric: &str| match metric {
            "called" => has("gold"),
            "answered" => has("answer"),
            "success" => has("gold") || has("answer"),
            _ => false,
        };
        if let Some(metric) = metrics.iter().find(|metric| !comes_of(metric)) {
            let span = fields.key("metrics").expect("it was read");
            let message = format!("nothing measures `{metric}`: an MCP server has only tools");
            let help = format!(
                "metrics are {}, of what a task has `visible to none`: `gold: list<call>`, `answer: text`",
                join(&MCP_METRICS, "and")
            );
            self.error(CheckError::NothingGives { span, message, help });
        }
    }

    fn bounds(&mut self, block: &Block) -> Option<Bounds> {
        let fields = self.fields(block, &vocabulary::ENV_LIMITS);
        let timeout = self.time_of(&fields, "timeout").unwrap_or(Some(Bounds::TIMEOUT));
        let in_flight = self.small_of(&fields, "in_flight").unwrap_or(Some(Bounds::IN_FLIGHT));
        let memory = self.amount_of(&fields, "memory").map_or(Some(None), |it| it.map(Some));
        let cpu = self.time_of(&fields, "cpu").map_or(Some(None), |it| it.map(Some));
        Some(Bounds { timeout: timeout?, in_flight: in_flight?, memory: memory?, cpu: cpu? })
    }

    /// Texts, and files by `path("…")`.
    fn command(&mut self, value: &Expr, of: &str) -> Option<Vec<Command>> {
        let ExprKind::List(items) = &value.kind else {
            self.texts(value, of)?;
            return None;
        };
        let word = |item: &Expr| match &item.kind {
            ExprKind::Apply(apply) if apply.arguments.is_some() => {
                let (apply, _) = self.choice(item, of, vocabulary::PATH)?;
                self.file_argument(apply).map(Command::File)
            }
            _ => {
                let text = self.text(item, of)?;
                let beside = self.world.root.join(self.symbols.directory(item.span)).join(&text);
                // The program itself may be looked up elsewhere.
                if item.span != items[0].span && (self.world.read)(&beside).is_ok() {
                    self.error(CheckError::UnnamedFile { span: item.span, name: text.clone() });
                }
                Some(Command::Text(text))
            }
        };
        let words: Vec<Option<Command>> = items.iter().map(word).collect();
        if words.is_empty() {
            self.error(CheckError::EmptyList { span: value.span, of: of.to_owned() });
            return None;
        }
        words.into_iter().collect()
    }

    fn task_file(&mut self, fields: &Fields) -> Option<PathBuf> {
        let (apply, _) = self.choice_of(fields, "tasks")??;
        self.file_argument(apply)
    }

    fn reach(&mut self, apply: &Apply, word: &Word) -> Option<Reach> {
        let Some([argument @ Argument { name: None, .. }]) = apply.arguments.as_deref() else {
            let (name, wanted) = (word.name.to_owned(), word.form.to_owned());
            self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
            return None;
        };
        let of = format!("`{}`", word.name);
        let is_list = matches!(argument.value.kind, ExprKind::List(_));
        match word.name {
            "process" => self.command(&argument.value, &of).map(Reach::Process),
            "mcp" if is_list => self.command(&argument.value, &of).map(Reach::McpCommand),
            "mcp" => self.address(&argument.value, &of, HTTP, (WEB, "https://host/mcp")).map(Reach::McpAddress),
            "openenv" => {
                let schemes = ["ws://", "wss://"];
                self.address(&argument.value, &of, schemes, ("the address of a web socket", "ws://host:8000/ws"))
                    .map(Reach::OpenEnv)
            }
            _ => self.address(&argument.value, &of, HTTP, (WEB, "http://host:8000")).map(Reach::AgentGym),
        }
    }

    /// The named fields of a task, or of a record within it.
    fn record(&mut self, block: &Block, around: Visibility) -> Option<Vec<Field>> {
        let mut fields: Vec<Field> = Vec::new();
        let mut fits = !block.broken;
        for entry in &block.entries {
            let name = entry.key.text();
            if fields.iter().any(|field| field.name == name) {
                self.twice(entry, block);
                fits = false;
                continue;
            }
            let typed = match &entry.kind {
                EntryKind::Broken => None,
                EntryKind::Type(ty) => self.task_field(&name, ty, around),
                EntryKind::Block(inner) => self.record(inner, around).map(|inner| {
                    let ty = FieldType::Record(inner);
                    Field { name, ty, optional: false, max_tokens: None, visible: around, doc: String::new() }
                }),
                EntryKind::Value(_) => {
                    let wanted = format!("{name}: text");
                    self.error(CheckError::WrongForm { span: entry.span, name, wanted });
                    None
                }
            };
            fits &= typed.is_some();
            fields.extend(typed);
        }
        fits.then_some(fields)
    }

    fn twice(&mut self, entry: &Entry, block: &Block) {
        let name = entry.key.text();
        let first = block.entries.iter().find(|other| other.key.text() == name).expect("it was just found");
        self.error(CheckError::FieldTwice { span: entry.key.span, name, first: first.key.span });
    }

    fn task_field(&mut self, name: &str, ty: &Type, around: Visibility) -> Option<Field> {
        let kind = self.task_type(&ty.name);
        if let Some(within) = &ty.within {
            self.error(CheckError::NoClause { span: within.span, clause: "a range", of: "an answer" });
            return None;
        }
        let is_text = matches!(kind, Some(FieldType::Text));
        let max_tokens = match &ty.limit {
            Some(limit) if is_text => Some(self.tokens(limit, &format!("the length of `{name}`"))?),
            Some(limit) => {
                // What an unknown type has is not known.
                if kind.is_some() {
                    self.error(CheckError::NoClause { span: limit.span, clause: "a length", of: "text" });
                }
                return None;
            }
            None => None,
        };
        let visible = match &ty.visible {
            None => around,
            Some(readers) => self.visibility(readers)?,
        };
        let (name, optional) = (name.to_owned(), ty.name.optional);
        Some(Field { name, ty: kind?, optional, max_tokens, visible, doc: String::new() })
    }

    fn task_type(&mut self, ty: &TypeName) -> Option<FieldType> {
        let text = ty.path.text();
        match (text.as_str(), &ty.of) {
            ("list", Some(of)) => self.task_type(of).map(|of| FieldType::List(Box::new(of))),
            ("text", None) => Some(FieldType::Text),
            ("int", None) => Some(FieldType::Int),
            ("ratio", None) => Some(FieldType::Ratio),
            ("bool", None) => Some(FieldType::Bool),
            ("call" | "json", None) => Some(FieldType::Opaque),
            _ => {
                let near = similar(&text, ["text", "int", "ratio", "bool", "call", "json", "list"]);
                self.error(CheckError::UnknownType { span: ty.span, name: text, near, known: TYPES.to_vec() });
                None
            }
        }
    }

    /// `visible to agent, critic`, or `to none`, which stands alone.
    fn visibility(&mut self, readers: &[Name]) -> Option<Visibility> {
        let mut visible = Visibility::NONE;
        let mut fits = true;
        for reader in readers {
            match reader.value.as_str() {
                "agent" => visible.agent = true,
                "critic" => visible.critic = true,
                "none" if readers.len() == 1 => {}
                other => {
                    let known = ["agent", "critic", "none"];
                    let (span, near) = (reader.span, similar(other, known));
                    let (of, found) = ("a reader".to_owned(), Some(other.to_owned()));
                    let known = known.map(str::to_owned).into();
                    self.error(CheckError::UnknownWord { span, of, found, near, known });
                    fits = false;
                }
            }
        }
        fits.then_some(visible)
    }

    fn metrics(&mut self, block: &Block) -> Option<Vec<String>> {
        let mut metrics: Vec<String> = Vec::new();
        let mut fits = !block.broken;
        for entry in &block.entries {
            let name = entry.key.text();
            match &entry.kind {
                EntryKind::Broken => fits = false,
                _ if metrics.contains(&name) => {
                    self.twice(entry, block);
                    fits = false;
                }
                EntryKind::Type(ty) if ty.name.path.text() == "ratio" && ty.name.of.is_none() => metrics.push(name),
                EntryKind::Type(ty) => {
                    let (span, name) = (ty.name.span, ty.name.path.text());
                    let near = similar(&name, ["ratio"]);
                    self.error(CheckError::UnknownType { span, name, near, known: vec!["ratio"] });
                    fits = false;
                }
                EntryKind::Value(_) | EntryKind::Block(_) => {
                    let wanted = format!("{name}: ratio");
                    self.error(CheckError::WrongForm { span: entry.span, name, wanted });
                    fits = false;
                }
            }
        }
        if fits && metrics.is_empty() {
            let (span, name) = (block.span, "success");
            self.error(CheckError::MissingField { span, name, owner: &vocabulary::METRICS });
            return None;
        }
        fits.then_some(metrics)
    }

    /// What the checker knows of an environment, once its block is read.
    pub(super) fn env_info(&self, spec: crate::env::EnvSpec) -> EnvInfo {
        let schema = Arc::new(crate::env::schema(&spec.kind).clone());
        EnvInfo { spec, schema }
    }
}

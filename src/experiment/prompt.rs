//! Turns a prompt into a typed template: every path exists, every filter fits, and it is known who may read it.
//!
//! # Invariants
//! A field that is `visible to none` never gets through. A path that may be absent is used only where it is known.

use super::Checker;
use super::error::CheckError;
use super::index::Sort;
use super::model::EnvId;
use super::scope::Kind;
use super::vocabulary;
use crate::base::Span;
use crate::env::{Field, FieldType, Schema};
use crate::model::Role;
use crate::node::spec::CriticKind;
use crate::node::template::{Filter, Piece, Template, TemplateMessage};
use crate::select::TRAJ_COLUMNS;
use crate::syntax::ast::{self, Name};
use crate::syntax::similar::similar;
use crate::syntax::words::Class;
use std::sync::Arc;

pub struct PromptInfo {
    pub template: Template,
    /// Whose tasks it shows.
    pub env: Option<EnvId>,
    /// The trajectories that it is given, by the names that its template has for them.
    pub given: Vec<&'static str>,
    /// Where it first names `answer`.
    pub answer: Option<Span>,
    /// Fields that only one of agent and critic may see.
    pub seen: Vec<Seen>,
}

pub struct Seen {
    pub span: Span,
    pub field: String,
    pub agent: bool,
    pub critic: bool,
}

/// What a parameter is.
#[derive(Clone)]
enum Root {
    Task(Arc<Schema>),
    /// By the name that a template has for it.
    Trajectory(&'static str),
    Trajectories,
    /// Its type is broken: nothing that names it is blamed.
    Poisoned,
}

/// The type of a path in a template.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Text,
    Scalar,
    List(Box<Shape>),
    Trajectory,
    Record,
}

struct Reading<'p> {
    prompt: &'p ast::Prompt,
    roots: Vec<(String, Root)>,
    variables: Vec<(Name, Shape)>,
    /// Paths that an `if` around says are known.
    known: Vec<String>,
    env: Option<EnvId>,
    answer: Option<Span>,
    seen: Vec<Seen>,
    broken: bool,
    /// Part of this message could not be read.
    lost: bool,
}

const ANSWER_FORMAT: &str = "How to answer, in words: made from the fields of the critic's `answer`.";

impl Checker<'_> {
    pub(super) fn prompt(&mut self, prompt: &ast::Prompt) -> Option<PromptInfo> {
        let mut reading = Reading {
            prompt,
            roots: Vec::new(),
            variables: Vec::new(),
            known: Vec::new(),
            env: None,
            answer: None,
            seen: Vec::new(),
            broken: prompt.broken,
            lost: false,
        };
        self.index.enter(prompt.name.span);
        let several = prompt.parameters.iter().filter(|parameter| is_trajectory(&parameter.ty.name)).count() > 1;
        for parameter in &prompt.parameters {
            let before = reading.roots.iter().filter(|(_, root)| matches!(root, Root::Trajectory(_))).count();
            let name = if several { CriticKind::Pairs.shows().get(before).copied() } else { Some("traj") };
            let root = self.parameter(&parameter.ty, name.unwrap_or("more"), &mut reading.env);
            reading.broken |= matches!(root, Root::Poisoned);
            reading.roots.push((parameter.name.value.clone(), root));
        }
        for twice in self.parameters_twice(&prompt.parameters) {
            reading.broken = true;
            // Which of the two is meant is not known.
            reading.roots.iter_mut().filter(|(name, _)| name == twice).for_each(|(_, root)| *root = Root::Poisoned);
        }
        let mut messages = Vec::new();
        for message in &prompt.messages {
            let role = match message.role.value.as_str() {
                "system" => Role::System,
                "user" => Role::User,
                "assistant" => Role::Assistant,
                other => {
                    let near = similar(other, Class::Role.names());
                    let (span, found) = (message.role.span, Some(other.to_owned()));
                    let of = "a message's role".to_owned();
                    let known = Class::Role.names().map(str::to_owned).collect();
                    self.error(CheckError::UnknownWord { span, of, found, near, known });
                    reading.broken = true;
                    Role::User
                }
            };
            if role == Role::System && !messages.is_empty() {
                self.error(CheckError::SystemLate { span: message.role.span });
            }
            reading.broken |= message.template.broken;
            reading.lost = message.template.broken;
            let pieces = self.pieces(&message.template.pieces, &mut reading);
            messages.push(TemplateMessage { role, pieces });
        }
        if messages.is_empty() && !prompt.broken {
            self.error(CheckError::EmptyPrompt { span: prompt.name.span, name: prompt.name.value.clone() });
            return None;
        }
        let given = |(_, root): &(String, Root)| match root {
            Root::Trajectory(name) => Some(*name),
            Root::Trajectories => Some(CriticKind::Group.shows()[0]),
            Root::Task(_) | Root::Poisoned => None,
        };
        let given = reading.roots.iter().filter_map(given).collect();
        let Reading { env, answer, seen, broken, .. } = reading;
        (!broken).then_some(PromptInfo { template: Template { messages }, env, given, answer, seen })
    }

    fn parameter(&mut self, ty: &ast::Type, name: &'static str, env: &mut Option<EnvId>) -> Root {
        if let ([list], Some(of)) = (ty.name.path.parts.as_slice(), &ty.name.of)
            && list.value == "list"
            && is_trajectory(of)
        {
            self.index.brought(of.span, Sort::Type, &of.path.text(), "", "what the agent did on the task each time");
            return Root::Trajectories;
        }
        match ty.name.path.parts.as_slice() {
            [word] if is_trajectory(&ty.name) => {
                self.index.brought(word.span, Sort::Type, &word.value, "", "what the agent did on the task");
                Root::Trajectory(name)
            }
            [owner, name] if name.value == "Task" => {
                let Some(id) = self.reference(owner, Kind::Env) else { return Root::Poisoned };
                let Some(info) = &self.envs[id].it else { return Root::Poisoned };
                self.index.brought(name.span, Sort::Type, &ty.name.path.text(), "", &*info.schema.doc);
                *env = Some(EnvId(id));
                Root::Task(info.schema.clone())
            }
            _ => {
                let (span, name) = (ty.name.span, ty.name.path.text());
                let task = ty.name.path.parts.first().map(|owner| format!("{}.Task", owner.value));
                let near = similar(&name, ["Trajectory"].into_iter().chain(task.as_deref()));
                let known = vec!["ENV.Task", "Trajectory", "list<Trajectory>"];
                self.error(CheckError::UnknownType { span, name, near, known });
                Root::Poisoned
            }
        }
    }

    fn pieces(&mut self, pieces: &[ast::Piece], reading: &mut Reading) -> Vec<Piece> {
        pieces.iter().filter_map(|piece| self.piece(piece, reading)).collect()
    }

    fn piece(&mut self, piece: &ast::Piece, reading: &mut Reading) -> Option<Piece> {
        match piece {
            ast::Piece::Text(text) => Some(Piece::Text(text.clone())),
            ast::Piece::Value { path, filters, .. } => {
                let value = self.hole(path, filters, reading);
                reading.broken |= value.is_none();
                value
            }
            ast::Piece::For { name, list, body, .. } => {
                let found = self.place(list, reading, true);
                let item = match found {
                    Some((_, Shape::List(ref item))) => (**item).clone(),
                    Some((_, other)) => {
                        self.error(CheckError::NotIterable {
                            span: list.span,
                            path: list.text(),
                            found: words(&other),
                        });
                        reading.broken = true;
                        return None;
                    }
                    None => {
                        reading.broken = true;
                        return None;
                    }
                };
                let parameters = reading.prompt.parameters.iter().map(|parameter| &parameter.name);
                let outer = reading.variables.iter().map(|(outer, _)| outer);
                if let Some(first) = parameters.chain(outer).find(|first| first.value == name.value) {
                    let first = first.span;
                    self.error(CheckError::Duplicate { span: name.span, name: name.value.clone(), first });
                    reading.broken = true;
                }
                self.index.declare(name, Sort::Variable, words(&item).to_owned());
                reading.variables.push((name.clone(), item));
                let body = self.pieces(body, reading);
                reading.variables.pop();
                Some(Piece::For { variable: name.value.clone(), path: found?.0, body })
            }
            ast::Piece::If { path, negated, body, .. } => {
                let Some((optional, _)) = self.optional(path, reading) else {
                    reading.broken = true;
                    return None;
                };
                if !optional {
                    self.error(CheckError::AlwaysKnown { span: path.span, path: path.text() });
                }
                if *negated {
                    let body = self.pieces(body, reading);
                    let path = self.place(path, reading, false)?.0;
                    return Some(Piece::IfUnknown { path, body });
                }
                reading.known.push(path.text());
                let body = self.pieces(body, reading);
                reading.known.pop();
                let path = self.place(path, reading, false)?.0;
                Some(Piece::IfKnown { path, body })
            }
        }
    }

    fn hole(&mut self, path: &ast::Path, filters: &[ast::Filter], reading: &mut Reading) -> Option<Piece> {
        let (place, mut shape) = self.place(path, reading, true)?;
        let mut typed = Vec::new();
        for filter in filters {
            let (filter, result) = self.filter(filter, &shape, path)?;
            typed.push(filter);
            shape = result;
        }
        match shape {
            Shape::Text | Shape::Scalar => Some(Piece::Value { path: place, filters: typed }),
            other => {
                let suggestion = match other {
                    Shape::List(item) if *item == Shape::Trajectory => {
                        let (span, name) = (path.span, path.text());
                        self.error(CheckError::NotOne { span, name });
                        return None;
                    }
                    Shape::List(_) => "lines",
                    Shape::Trajectory => "transcript",
                    _ => "json",
                };
                let (span, path) = (path.span, path.text());
                self.error(CheckError::NotText { span, path, found: words(&other), suggestion });
                None
            }
        }
    }

    fn filter(&mut self, filter: &ast::Filter, on: &Shape, path: &ast::Path) -> Option<(Filter, Shape)> {
        let name = filter.name.value.as_str();
        if !Class::Filter.has(name) {
            let near = similar(name, Class::Filter.names());
            self.error(CheckError::UnknownFilter { span: filter.name.span, name: name.to_owned(), near });
            return None;
        }
        let doc = Class::Filter.words().iter().find(|word| word.text == name).map_or("", |word| word.doc);
        self.index.brought(filter.name.span, Sort::Filter, name, "", doc);
        let is_texts = matches!(on, Shape::List(item) if matches!(**item, Shape::Text | Shape::Scalar));
        let fits = match name {
            "transcript" => *on == Shape::Trajectory,
            "lines" | "bullets" => is_texts,
            "truncate" => *on == Shape::Text,
            _ => !matches!(on, Shape::Trajectory) && !matches!(on, Shape::List(item) if **item == Shape::Trajectory),
        };
        if !fits {
            let (span, name) = (filter.name.span, name.to_owned());
            let wanted = match name.as_str() {
                "transcript" => "a trajectory",
                "lines" | "bullets" => "a list of texts",
                "truncate" => "text",
                _ => "plain data",
            };
            let found = words(on);
            self.error(CheckError::FilterMisfit { span, name, wanted, path: path.text(), found });
            return None;
        }
        let takes_max = matches!(name, "transcript" | "truncate");
        let mut max = None;
        for argument in &filter.arguments {
            let named = argument.name.as_ref().map(|name| name.value.as_str());
            if !takes_max || named != Some("max") || max.is_some() {
                let wanted = if takes_max { format!("{name}(max = 400 tokens)") } else { name.to_owned() };
                self.error(CheckError::Arguments { span: argument.value.span, wanted, name: name.to_owned() });
                return None;
            }
            max = Some(self.tokens(&argument.value, "`max`")?);
        }
        let filter = match (name, max) {
            ("transcript", max_tokens) => Filter::Transcript { max_tokens },
            ("truncate", Some(max_tokens)) => Filter::Truncate { max_tokens },
            ("truncate", None) => {
                let wanted = "truncate(max = 100 tokens)".to_owned();
                self.error(CheckError::Arguments { span: filter.name.span, wanted, name: name.to_owned() });
                return None;
            }
            ("json", _) => Filter::Json,
            ("lines", _) => Filter::Lines,
            _ => Filter::Bullets,
        };
        Some((filter, Shape::Text))
    }

    /// Whether a path may be absent, and its shape.
    fn optional(&mut self, path: &ast::Path, reading: &mut Reading) -> Option<(bool, Shape)> {
        let (_, shape) = self.place(path, reading, false)?;
        let optional = match (path.parts.as_slice(), self.root(path, reading)) {
            ([_, fields @ ..], Some(Root::Task(schema))) => {
                found(&schema.task, fields).is_some_and(|path| path.iter().any(|field| field.optional))
            }
            _ => false,
        };
        Some((optional, shape))
    }

    fn root(&self, path: &ast::Path, reading: &Reading) -> Option<Root> {
        let first = &path.parts[0].value;
        reading.roots.iter().find(|(name, _)| name == first).map(|(_, root)| root.clone())
    }

    /// Where a path leads, in the template's own names, and what is there. `must_be_known`: it is about to be printed.
    fn place(&mut self, path: &ast::Path, reading: &mut Reading, must_be_known: bool) -> Option<(Vec<String>, Shape)> {
        let (first, rest) = path.parts.split_first().expect("a path has a first part");
        if let Some((name, shape)) = reading.variables.iter().rev().find(|(name, _)| name.value == first.value) {
            let shape = shape.clone();
            self.index.name(first.span, name.span);
            return match rest {
                [] => Some((vec![first.value.clone()], shape)),
                [field] if shape == Shape::Trajectory => {
                    self.trajectory_place(&first.value, field, path, &[("id", "its number in the question, from 1")])
                }
                [field, ..] => {
                    self.no_field(field, path, &[]);
                    None
                }
            };
        }
        if first.value == "answer" {
            reading.answer.get_or_insert(path.span);
            self.index.brought(first.span, Sort::Column, "answer", "", "what the critic is to answer");
            return match rest {
                [field] if field.value == "format" => {
                    self.index.brought(field.span, Sort::Column, "answer.format", "text", ANSWER_FORMAT);
                    Some((vec!["answer".to_owned(), "format".to_owned()], Shape::Text))
                }
                _ => {
                    self.no_field(rest.first().unwrap_or(first), path, &["format"]);
                    None
                }
            };
        }
        let Some(root) = self.root(path, reading) else {
            // A loop that could not be read may have named it.
            if reading.lost {
                return None;
            }
            let names = reading.roots.iter().map(|(name, _)| name.as_str()).chain(["answer"]);
            let near = similar(&first.value, names.clone());
            let known = names.map(str::to_owned).collect();
            let (span, name, prompt) = (first.span, first.value.clone(), reading.prompt.name.value.clone());
            self.error(CheckError::NotProvided { span, name, prompt, near, known });
            return None;
        };
        self.index.member_here(first.span, &first.value);
        match (root, rest) {
            (Root::Poisoned, _) => None,
            (Root::Trajectory(root), []) => Some((vec![root.to_owned()], Shape::Trajectory)),
            (Root::Trajectory(root), [field]) => self.trajectory_place(root, field, path, &[]),
            (Root::Task(schema), fields) => self.task_place(&schema, path, fields, reading, must_be_known),
            (Root::Trajectory(_), [_, deeper, ..]) => {
                self.no_field(deeper, path, &[]);
                None
            }
            (Root::Trajectories, []) => {
                Some((vec![CriticKind::Group.shows()[0].to_owned()], Shape::List(Box::new(Shape::Trajectory))))
            }
            (Root::Trajectories, [field, ..]) => {
                self.no_field(field, path, &[]);
                None
            }
        }
    }

    /// A field of a trajectory, of those that all have or of some `more`.
    fn trajectory_place(
        &mut self,
        root: &str,
        field: &ast::Name,
        path: &ast::Path,
        more: &[(&'static str, &'static str)],
    ) -> Option<(Vec<String>, Shape)> {
        let columns = TRAJ_COLUMNS.iter().map(|(name, _)| (*name, vocabulary::column(name)));
        let known: Vec<(&str, &str)> = more.iter().copied().chain(columns).collect();
        if let Some((_, doc)) = known.iter().find(|(name, _)| *name == field.value) {
            self.index.brought(field.span, Sort::Column, &path.text(), "", *doc);
            return Some((vec![root.to_owned(), field.value.clone()], Shape::Scalar));
        }
        self.no_field(field, path, &known.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        None
    }

    /// A field of a task, or of a record within it.
    fn task_place(
        &mut self,
        schema: &Schema,
        path: &ast::Path,
        fields: &[ast::Name],
        reading: &mut Reading,
        must_be_known: bool,
    ) -> Option<(Vec<String>, Shape)> {
        let mut list = schema.task.as_slice();
        let mut way = vec!["task".to_owned()];
        let mut at = path.parts[0].value.clone();
        let mut shape_here = Shape::Record;
        for field in fields {
            let Some(known) = list.iter().find(|known| known.name == field.value) else {
                let visible = list.iter().filter(|field| field.visible.agent || field.visible.critic);
                let visible: Vec<&str> = visible.map(|field| field.name.as_str()).collect();
                self.no_field(field, path, &visible);
                return None;
            };
            at = format!("{at}.{}", field.value);
            self.index.brought(field.span, Sort::Column, &at, words(&shape(&known.ty)), &*known.doc);
            if !known.visible.agent && !known.visible.critic {
                self.error(CheckError::Hidden { span: path.span, path: at, env: schema.name.clone() });
                return None;
            }
            if known.optional && must_be_known && !reading.known.contains(&at) {
                self.error(CheckError::MayBeAbsent { span: path.span, path: at });
                return None;
            }
            let (agent, critic) = (known.visible.agent, known.visible.critic);
            if !(agent && critic) {
                reading.seen.push(Seen { span: path.span, field: at.clone(), agent, critic });
            }
            way.push(field.value.clone());
            shape_here = shape(&known.ty);
            list = match &known.ty {
                FieldType::Record(inner) => inner,
                _ => &[],
            };
        }
        // A whole record shows each of its fields.
        for field in list {
            let (agent, critic) = (field.visible.agent, field.visible.critic);
            // What nobody may see is in no record.
            if agent != critic {
                reading.seen.push(Seen { span: path.span, field: format!("{at}.{}", field.name), agent, critic });
            }
        }
        Some((way, shape_here))
    }

    fn no_field(&mut self, field: &ast::Name, path: &ast::Path, known: &[&str]) {
        let near = similar(&field.value, known.iter().copied());
        let known = known.iter().map(|name| (*name).to_owned()).collect();
        let (span, name) = (field.span, field.value.clone());
        self.error(CheckError::NoPath { span, name, path: path.text(), near, known });
    }
}

fn is_trajectory(ty: &ast::TypeName) -> bool {
    ty.of.is_none() && ty.path.text() == "Trajectory"
}

/// The fields along a path.
fn found<'f>(task: &'f [Field], path: &[ast::Name]) -> Option<Vec<&'f Field>> {
    let mut list = task;
    let mut found = Vec::new();
    for name in path {
        let field = list.iter().find(|field| field.name == name.value)?;
        found.push(field);
        list = match &field.ty {
            FieldType::Record(inner) => inner,
            _ => &[],
        };
    }
    Some(found)
}

fn shape(ty: &FieldType) -> Shape {
    match ty {
        FieldType::Text => Shape::Text,
        FieldType::Int | FieldType::Ratio | FieldType::Bool => Shape::Scalar,
        FieldType::List(item) => Shape::List(Box::new(shape(item))),
        FieldType::Opaque | FieldType::Record(_) => Shape::Record,
    }
}

fn words(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Scalar => "a single value",
        Shape::List(_) => "a list",
        Shape::Trajectory => "a trajectory",
        Shape::Record => "a record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Diagnostic;
    use crate::env::Visibility;
    use crate::experiment::link::link;
    use crate::experiment::{Unreadable, World};
    use crate::syntax::{self, Source};
    use std::path::Path;

    /// An environment with what the built-in ones lack: optional fields, and fields for one reader only.
    fn schema() -> Arc<Schema> {
        let field = |name: &str, optional, agent, critic| {
            let (name, visible, doc) = (name.to_owned(), Visibility { agent, critic }, String::new());
            Field { name, ty: FieldType::Text, optional, max_tokens: None, visible, doc }
        };
        let task = vec![field("note", true, true, true), field("rubric", false, false, true)];
        let (name, metrics) = ("test".to_owned(), vec!["success".to_owned()]);
        Arc::new(Schema { name, task, metrics, offers: Vec::new(), doc: String::new() })
    }

    /// The codes of a prompt with this text, read by an agent.
    fn codes(text: &str) -> Vec<&'static str> {
        let file = format!("prompt p(task: test.Task) {{ user \"\"\"{text}\"\"\" }}\nenv test {{}}\n");
        let (tree, diagnostics) = syntax::parse(&file);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let read = |_: &Path| Err(Unreadable::Missing);
        let world = World { root: Path::new(""), exists: &|_| true, read: &read };
        let linked = link(Source { name: "a.agx".to_owned(), text: file }, tree, world);
        let file = &linked.file;
        let mut checker = Checker::new(&linked, world);
        let spec = crate::env::EnvSpec { kind: crate::env::EnvKind::Desk, splits: Vec::new(), max_steps: 1 };
        let info = crate::experiment::EnvInfo { spec, schema: schema() };
        checker.envs.push(crate::experiment::Named { name: "test".to_owned(), it: Some(info) });
        let ast::ItemKind::Prompt(prompt) = &file.items[0].kind else { unreachable!() };
        let it = checker.prompt(prompt);
        checker.prompts.push(crate::experiment::Named { name: "p".to_owned(), it });
        checker.agent_prompt(0, EnvId(0), prompt.body, true);
        checker.errors.into_iter().map(|error| Diagnostic::from(error).code).collect()
    }

    #[test]
    fn what_may_be_absent_is_used_where_it_is_known() {
        assert_eq!(codes("{{ task.note }}"), ["E0409"]);
        assert!(codes("{% if task.note is known %}{{ task.note }}{% end %}").is_empty());
        assert_eq!(codes("{% if task.note is known %}x{% end %}{{ task.note }}"), ["E0409"]);
    }

    #[test]
    fn a_field_reaches_only_the_reader_it_is_for() {
        assert_eq!(codes("{{ task.rubric }}"), ["E0405"]);
        assert_eq!(codes("{{ task | json }}"), ["E0405"], "a whole record shows each of its fields");
    }
}

//! Turns a place into what may be written there: words of the language, fields, values, names, in the order of likelihood.
//!
//! [`context`] finds out where in a file a place is, by its tokens alone: what is being written is not yet readable.
//! [`fields`] knows blocks, [`statements`] the schedule and the report, [`rules`] the stages, [`templates`] the holes of
//! prompts.

mod context;
mod fields;
mod rules;
mod statements;
mod templates;

use super::Document;
use crate::base::Span;
use crate::experiment::Kind;
use crate::experiment::index::{Brought, Declaration, Sort};
use crate::syntax::tokens::TokenKind;
use crate::syntax::words::{Class, Word};
use context::{Context, Inside};

/// What sort of thing is proposed: an editor draws it by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Icon {
    Keyword,
    Field,
    /// One of a few words, or a unit.
    Word,
    Function,
    Type,
    Name(Sort),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub label: String,
    pub icon: Icon,
    pub detail: String,
    pub doc: String,
    /// With `$1` and `${1:text}` where the user goes on writing.
    pub snippet: String,
}

impl Proposal {
    fn new(label: &str, icon: Icon, detail: impl Into<String>, doc: impl Into<String>) -> Self {
        let snippet = label.replace('$', "\\$");
        Self { label: label.to_owned(), icon, detail: detail.into(), doc: doc.into(), snippet }
    }

    fn snippet(mut self, snippet: impl Into<String>) -> Self {
        self.snippet = snippet.into();
        self
    }
}

/// What may stand at a place instead of the part of a word that is there.
#[derive(Clone, Debug, Default)]
pub struct Proposals {
    /// The part of a word before the place.
    pub replace: Span,
    pub list: Vec<Proposal>,
}

pub fn complete(document: &Document, at: usize) -> Proposals {
    let at = at.min(document.text.len());
    let context = Context::of(document, at);
    let mut list = if context.silent { Vec::new() } else { propose(&context) };
    // Two critics may have the same field.
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|proposal| seen.insert(proposal.label.clone()));
    Proposals { replace: context.prefix, list }
}

fn propose(context: &Context) -> Vec<Proposal> {
    if let Some(hole) = &context.hole {
        return templates::propose(context, hole);
    }
    if context.after("@") {
        return versions(context);
    }
    if let [module] = context.path().as_slice()
        && let Some(list) = of_module(context, module)
    {
        return list;
    }
    if context.last_kind() == Some(TokenKind::Number) {
        return units(context);
    }
    match &context.inside {
        Inside::Top if context.item.is_none() => items(context),
        Inside::Top => top(context),
        Inside::Fields(owner) => fields::propose(context, owner),
        Inside::Own(owner) => fields::own(context, owner),
        Inside::Value(field) => fields::values(context, field),
        Inside::Schedule => statements::propose(context),
        Inside::Report => statements::report(context),
        Inside::Metric => statements::metrics(context, &[Sort::Evaluation]),
        Inside::Parameters => parameters(context),
        Inside::Prompt if context.entry.is_empty() => {
            words(Class::Role, Icon::Keyword, |word| format!("{} \"\"\"\n    $0\n    \"\"\"", word.text))
        }
        Inside::Rule => rules::propose(context),
        Inside::Prompt | Inside::Arguments | Inside::Unknown => Vec::new(),
    }
}

/// All words of a class.
fn words(class: Class, icon: Icon, snippet: impl Fn(&Word) -> String) -> Vec<Proposal> {
    let one = |word: &Word| Proposal::new(word.text, icon, "", word.doc).snippet(snippet(word));
    class.words().iter().map(one).collect()
}

fn keyword(class: Class, text: &str) -> Proposal {
    let doc = class.words().iter().find(|word| word.text == text).map_or("", |word| word.doc);
    Proposal::new(text, Icon::Keyword, "", doc)
}

/// Every name of the file that fits.
fn names(context: &Context, fits: impl Fn(&Declaration) -> bool) -> Vec<Proposal> {
    let index = &context.document.index;
    let declared = index.declarations().filter(|(_, declared)| fits(declared));
    declared
        .filter_map(|(span, it)| {
            let detail = if it.ty.is_empty() { it.sort.words().to_owned() } else { it.ty.clone() };
            Some(Proposal::new(index.written(span)?, Icon::Name(it.sort), detail, &*it.doc))
        })
        .collect()
}

/// What an imported file declares, behind the name that the import gave it.
fn of_module(context: &Context, module: &str) -> Option<Vec<Proposal>> {
    let index = &context.document.index;
    index.declarations().find(|(_, it)| it.sort == Sort::Item(Kind::Module) && it.name == module)?;
    let list = names(context, |it| matches!(it.sort, Sort::Item(_))).into_iter().filter_map(|mut it| {
        let own = it.label.strip_prefix(module)?.strip_prefix('.')?.to_owned();
        (it.snippet, it.label) = (own.clone(), own);
        Some(it)
    });
    Some(list.collect())
}

fn items_of(context: &Context, kind: Kind) -> Vec<Proposal> {
    names(context, |declared| declared.sort == Sort::Item(kind))
}

fn constants(context: &Context) -> Vec<Proposal> {
    names(context, |declared| matches!(declared.sort, Sort::Item(Kind::Param | Kind::Constant)))
}

fn brought(brought: &Brought) -> Proposal {
    Proposal::new(&brought.name, Icon::Name(brought.sort), &*brought.ty, &*brought.doc)
}

fn items(context: &Context) -> Vec<Proposal> {
    let shape = |word: &Word| match word.text {
        "agx" => "agx 2026",
        "import" => "import \"$1\" as ${2:name}",
        "param" => "param ${1:name} : ${2:int} = $0",
        "let" => "let ${1:name} = $0",
        "env" => {
            "env ${1:desk} {\n  use       = builtin(\"desk\")\n  splits    { train = ${2:64}, dev = ${3:32} }\n  max_steps = ${4:6}\n}"
        }
        "dataset" => "dataset ${1:name} { from = $0 }",
        "model" => "model ${1:policy} { weights = path(\"$2\"), context = ${3:512} tokens }",
        "prompt" => "prompt ${1:act}(task: ${2:desk}.Task) {\n  user \"\"\"\n    {{ task.request }}$0\n    \"\"\"\n}",
        "critic" => {
            "critic ${1:grader} {\n  model       = $2\n  prompt      = $3\n  answer      { score: int in 0..4 }\n  on_unparsed = drop\n}"
        }
        "rule" => "rule ${1:good} = where $2 | require at least ${3:16}",
        "trainer" => {
            "trainer ${1:sft} { method = sft { loss_on = agent }, lr = ${2:5e-4}, epochs = ${3:3}, batch = ${4:32} }"
        }
        "experiment" => "experiment ${1:name} {\n  seed = ${2:7}\n\n  schedule {\n    $0\n  }\n}",
        "matrix" => "matrix ${1:name} of ${2:experiment} {\n  $0\n}",
        other => other,
    };
    let mut list = words(Class::Item, Icon::Keyword, |word| shape(word).to_owned());
    // The first item, and only that.
    let has_edition = context
        .document
        .file
        .items
        .iter()
        .any(|item| matches!(item.kind, crate::syntax::ast::ItemKind::Edition { .. }));
    list.retain(|proposal| proposal.label != "agx" || !has_edition);
    list
}

/// Within an item that has no block: `param x : …`, `rule r = …`, `let x = …`.
fn top(context: &Context) -> Vec<Proposal> {
    let words: Vec<&str> = context.entry_words().collect();
    match (words.first().copied(), context.last()) {
        (Some("param"), ":") => words_of(Class::Type),
        (Some("param" | "let"), "=" | "+" | "-" | "*" | "/" | "(") => constants(context),
        (Some("agx"), _) => vec![keyword(Class::Part, "unstable").snippet("unstable(oracle)")],
        (Some("matrix"), "of") => items_of(context, Kind::Experiment),
        _ => Vec::new(),
    }
}

fn words_of(class: Class) -> Vec<Proposal> {
    words(class, Icon::Type, |word| word.text.to_owned())
}

fn parameters(context: &Context) -> Vec<Proposal> {
    match context.last() {
        ":" => {
            let task = |it: Proposal| {
                let label = format!("{}.Task", it.label);
                Proposal::new(&label, Icon::Type, "a task of the environment", it.doc)
            };
            let tasks = items_of(context, Kind::Env).into_iter().map(task);
            let trajectory = Proposal::new("Trajectory", Icon::Type, "", "what the agent did on the task");
            let several = Proposal::new("list<Trajectory>", Icon::Type, "", "what the agent did on the task each time");
            tasks.chain([trajectory, several]).chain(words_of(Class::Type)).collect()
        }
        "." => vec![Proposal::new("Task", Icon::Type, "", "a task of the environment")],
        _ => Vec::new(),
    }
}

/// What may stand behind `@`.
fn versions(context: &Context) -> Vec<Proposal> {
    let declared = Proposal::new("0", Icon::Word, "", "the version that is declared, before any training");
    let list = words(Class::Version, Icon::Word, |word| match word.text {
        "best" => "best($1)".to_owned(),
        other => other.to_owned(),
    });
    let of_rows = context.path_before_at().is_some_and(|declared| declared.sort == Sort::Rows);
    let fits = |proposal: &Proposal| (proposal.label == "all") == of_rows;
    list.into_iter().chain([declared]).filter(fits).collect()
}

/// Units behind a number; where a field says which, only those.
fn units(context: &Context) -> Vec<Proposal> {
    let wanted = context.field().map(fields::units);
    let mut list: Vec<Proposal> = words(Class::Unit, Icon::Word, |word| word.text.to_owned());
    if let Some(wanted) = wanted {
        list.retain(|proposal| wanted.contains(&proposal.label.as_str()));
        let more = wanted.iter().filter(|unit| unit.contains(' '));
        list.extend(more.map(|unit| Proposal::new(unit, Icon::Word, "", "for each task")));
    }
    list
}

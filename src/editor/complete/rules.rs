//! Turns a place in a rule into stages, clauses and columns.

use super::context::Context;
use super::{Icon, Proposal, constants, keyword, names, words};
use crate::editor::complete::context::path;
use crate::experiment::Kind;
use crate::experiment::index::Sort;
use crate::select::TRAJ_COLUMNS;
use crate::syntax::words::Class;

pub fn propose(context: &Context) -> Vec<Proposal> {
    if context.after(".") {
        return members(context);
    }
    let stage: Vec<&str> = context.entry_texts().collect();
    match stage.as_slice() {
        [] => stages(),
        [.., "by"] => columns(context),
        ["dedup", ..] | ["majority", ..] | ["balance", ..] | ["weight", ..] if stage.len() == 1 => {
            vec![keyword(Class::Clause, "by")]
        }
        ["require"] => vec![keyword(Class::Clause, "at").snippet("at least ")],
        ["require", .., "else"] => words(Class::Outcome, Icon::Word, |word| word.text.to_owned()),
        ["require", ..] => vec![keyword(Class::Clause, "else")],
        ["where", .., last] if is_value(last) => {
            ["and", "or", "in"].map(|text| keyword(Class::Operator, text)).to_vec()
        }
        ["where", ..] => columns(context),
        ["top" | "best" | "worst", ..] if !stage.contains(&"by") && stage.len() > 1 => {
            let task = keyword(Class::Clause, "per").snippet("per task ");
            vec![task, keyword(Class::Clause, "by")]
        }
        _ => constants(context),
    }
}

/// Whether a word ends a value, so that an operator may follow.
fn is_value(text: &str) -> bool {
    let operator = matches!(text, "and" | "or" | "not" | "in" | "is");
    !operator && text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ')' || c == '"')
}

fn stages() -> Vec<Proposal> {
    words(Class::Stage, Icon::Keyword, |word| match word.text {
        "where" => "where $0".to_owned(),
        "top" => "top ${1:40}% by $0".to_owned(),
        "best" | "worst" => format!("{} ${{1:16}} by $0", word.text),
        "sample" => "sample ${1:16}".to_owned(),
        "dedup" | "majority" => format!("{} by $0", word.text),
        "cap" => "cap ${1:64}".to_owned(),
        "balance" => "balance by $1 max ${2:4}".to_owned(),
        "require" => "require at least ${1:16}".to_owned(),
        other => format!("{other} $0"),
    })
}

/// What a row has: the critics' fields, the trajectory, the task.
fn columns(context: &Context) -> Vec<Proposal> {
    let mut list = names(context, |it| it.sort == Sort::Answer);
    let own = context.item.map(|item| item.span);
    list.extend(names(context, |it| it.sort == Sort::Parameter && it.owner == own));
    let roots = [("traj", "what the agent did"), ("task", "the task it worked on")];
    list.extend(
        roots.map(|(name, doc)| Proposal::new(name, Icon::Name(Sort::Column), "", doc).snippet(format!("{name}."))),
    );
    list.push(Proposal::new(
        "iteration",
        Icon::Name(Sort::Column),
        "a whole number",
        "the iteration it was rolled out in, from 1",
    ));
    list.extend(constants(context));
    list
}

fn members(context: &Context) -> Vec<Proposal> {
    let path = path(&context.entry, &context.document.text);
    let column = |name: &str, ty: &str, doc: &str| Proposal::new(name, Icon::Name(Sort::Column), ty, doc);
    let index = &context.document.index;
    let envs = index.declarations().filter(|(_, it)| it.sort == Sort::Item(Kind::Env));
    let schemas = envs.filter_map(|(span, _)| index.schema_of(span));
    match path.as_slice() {
        ["traj"] => TRAJ_COLUMNS.iter().map(|(name, ty)| column(name, &format!("{ty:?}").to_lowercase(), "")).collect(),
        ["task"] => {
            let fields =
                schemas.flat_map(|schema| &schema.task).filter(|field| field.visible.agent || field.visible.critic);
            fields.map(|field| column(&field.name, "", &field.doc)).collect()
        }
        ["truth"] => {
            schemas.flat_map(|schema| &schema.metrics).map(|name| column(name, "a ratio", "ground truth")).collect()
        }
        _ => Vec::new(),
    }
}

//! Turns a place in a hole of a prompt into variables, their fields, filters and directives.

use super::context::{Context, path};
use super::{Icon, Proposal, keyword, words};
use crate::base::Span;
use crate::env::Schema;
use crate::experiment::Kind;
use crate::experiment::index::Sort;
use crate::select::TRAJ_COLUMNS;
use crate::syntax::tokens::Token;
use crate::syntax::words::Class;

/// `hole` begins with its `{{` or `{%`.
pub fn propose(context: &Context, hole: &[Token]) -> Vec<Proposal> {
    let text = context.document.text.as_str();
    let signs: Vec<&str> = hole.iter().map(|token| token.text(text).trim_start_matches('#')).collect();
    match signs.as_slice() {
        ["{%"] => words(Class::Directive, Icon::Keyword, |word| match word.text {
            "for" => "for ${1:item} in $2 %}$0{% end".to_owned(),
            "if" => "if $1 is known %}$0{% end".to_owned(),
            other => other.to_owned(),
        }),
        [.., "|"] => words(Class::Filter, Icon::Function, |word| match word.text {
            "transcript" | "truncate" => format!("{}(max = ${{1:400}} tokens)", word.text),
            other => other.to_owned(),
        }),
        [.., "."] => fields(context, &path(hole, text)),
        [.., "("] => {
            vec![Proposal::new("max", Icon::Field, "", "at most so many tokens").snippet("max = ${1:400} tokens")]
        }
        ["{{"] | ["{%", "for", _, "in"] | ["{%", "if"] => variables(context),
        ["{%", "for", _] => vec![keyword(Class::Clause, "in")],
        ["{%", "if", ..] => vec![keyword(Class::Operator, "is").snippet("is known")],
        _ => Vec::new(),
    }
}

/// The arguments of the prompt, what loops around have named, and the critic's answer.
fn variables(context: &Context) -> Vec<Proposal> {
    let argument = |(name, ty): &(&str, String)| Proposal::new(name, Icon::Name(Sort::Variable), &**ty, "");
    let mut list: Vec<Proposal> = arguments(context).iter().map(argument).collect();
    let looped = |name: &&str| Proposal::new(name, Icon::Name(Sort::Variable), "what the loop is at", "");
    list.extend(loops(context).iter().map(looped));
    list.push(
        Proposal::new("answer", Icon::Name(Sort::Variable), "", "what the critic is to answer")
            .snippet("answer.format"),
    );
    list
}

/// The names of the `for`s that are open at the place.
fn loops<'d>(context: &Context<'d>) -> Vec<&'d str> {
    let text = context.document.text.as_str();
    let start = context.item.map_or(0, |item| item.span.end);
    let within = |token: &&Token| token.span.start >= start && token.span.end <= context.prefix.start;
    let tokens: Vec<&str> = context.document.tokens.iter().filter(within).map(|token| token.text(text)).collect();
    let mut open: Vec<Option<&'d str>> = Vec::new();
    for window in tokens.windows(3).filter(|window| window[0].trim_start_matches('#') == "{%") {
        match window[1] {
            "for" => open.push(Some(window[2])),
            "if" => open.push(None),
            "end" => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().flatten().collect()
}

fn fields(context: &Context, path: &[&str]) -> Vec<Proposal> {
    let column = |name: &str, ty: &str, doc: &str| Proposal::new(name, Icon::Name(Sort::Column), ty, doc);
    match path {
        ["answer"] => vec![column("format", "text", "how to answer, in words: made from the critic's `answer`")],
        [name] => match root(context, name) {
            Some(Root::Task(schema)) => {
                let visible = schema.task.iter().filter(|field| field.visible.agent || field.visible.critic);
                visible.map(|field| column(&field.name, "", &field.doc)).collect()
            }
            Some(Root::Trajectory) => {
                TRAJ_COLUMNS.iter().map(|(name, ty)| column(name, &format!("{ty:?}").to_lowercase(), "")).collect()
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

enum Root<'d> {
    Task(&'d Schema),
    Trajectory,
}

/// What an argument of the prompt around is, by its written type.
fn root<'d>(context: &Context<'d>, name: &str) -> Option<Root<'d>> {
    let (_, ty) = arguments(context).into_iter().find(|(argument, _)| *argument == name)?;
    if ty == "Trajectory" {
        return Some(Root::Trajectory);
    }
    let env = ty.strip_suffix(".Task")?;
    let index = &context.document.index;
    let named = |span: Span| index.written(span) == Some(env);
    let declared = index.declarations().find(|(span, it)| it.sort == Sort::Item(Kind::Env) && named(*span));
    declared.and_then(|(span, _)| index.schema_of(span)).map(Root::Task)
}

/// The arguments of the prompt around with their types, as they are written: the prompt may not be readable yet.
fn arguments<'d>(context: &Context<'d>) -> Vec<(&'d str, String)> {
    let (text, tokens) = (context.document.text.as_str(), &context.document.tokens);
    let Some(name) = context.item else { return Vec::new() };
    let head = tokens.iter().skip_while(|token| token.span.start < name.span.end).skip(1);
    let head: Vec<&'d str> =
        head.map(|token| token.text(text)).take_while(|sign| !matches!(*sign, ")" | "{")).collect();
    let written = head.split(|sign| *sign == ",");
    written
        .filter_map(|argument| match argument {
            [name, ":", ty @ ..] => Some((*name, ty.concat())),
            _ => None,
        })
        .collect()
}

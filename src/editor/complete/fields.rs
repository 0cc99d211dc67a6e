//! Turns the table of blocks into proposals: fields that are not there yet, and values by what a field takes.

use super::context::Context;
use super::{Icon, Proposal, constants, items_of, names, words_of};
use crate::experiment::Kind;
use crate::experiment::index::Sort;
use crate::experiment::vocabulary::{self, Field, Form, Need, Owner, Takes, Unit, Word};
use crate::syntax::tokens::TokenKind;
use crate::syntax::words::Class;

pub fn propose(context: &Context, owner: &'static Owner) -> Vec<Proposal> {
    let texts: Vec<&str> = context.entry_texts().collect();
    match texts.as_slice() {
        [] => missing(context, owner),
        [name, "=", ..] => owner.field(name).map_or_else(Vec::new, |field| values(context, field)),
        _ => Vec::new(),
    }
}

/// Fields that the block does not have yet, those that are due first.
fn missing(context: &Context, owner: &'static Owner) -> Vec<Proposal> {
    let written = written(context);
    let left = |due: bool| {
        let fields = owner.fields.iter().filter(move |field| (field.need == Need::Required) == due);
        fields.filter(|field| !written.contains(&field.name)).map(one)
    };
    left(true).chain(left(false)).collect()
}

fn one(field: &'static Field) -> Proposal {
    let need = match (field.need, field.default) {
        (Need::Required, _) => "required".to_owned(),
        (Need::OneOf, _) => "one of these is due".to_owned(),
        (Need::Optional, Some(default)) => format!("default: {default}"),
        (Need::Optional, None) => "optional".to_owned(),
    };
    let snippet = match (field.form(), &field.takes) {
        (Form::Block, Takes::Statements) => format!("{} {{\n  $0\n}}", field.name),
        (Form::Block, _) => format!("{} {{ $0 }}", field.name),
        (Form::Value, _) => format!("{} = $0", field.name),
    };
    Proposal::new(field.name, Icon::Field, need, format!("{}\n\nTakes {}.", field.doc, field.takes.words()))
        .snippet(snippet)
}

/// The fields that stand in the block around the place, before and behind it.
fn written<'d>(context: &Context<'d>) -> Vec<&'d str> {
    let (text, tokens) = (context.document.text.as_str(), &context.document.tokens);
    let here = tokens.partition_point(|token| token.span.end <= context.prefix.start);
    let behind = tokens.partition_point(|token| token.span.start < context.prefix.end);
    let mut names = Vec::new();
    let mut note = |range: &mut dyn Iterator<Item = usize>, opens: &str, closes: &str| {
        let mut depth = 0_usize;
        for place in range {
            let sign = tokens[place].text(text);
            match sign {
                _ if sign == closes && depth == 0 => return,
                _ if sign == closes => depth -= 1,
                _ if sign == opens => depth += 1,
                "=" | ":" => {}
                _ => {}
            }
            let next = tokens.get(place + 1).map_or("", |token| token.text(text));
            if depth == 0 && tokens[place].kind == TokenKind::Word && matches!(next, "=" | "{") {
                names.push(sign);
            }
        }
    };
    note(&mut (0..here).rev(), "}", "{");
    note(&mut (behind..tokens.len()), "{", "}");
    names
}

/// What a field can be.
pub fn values(context: &Context, field: &'static Field) -> Vec<Proposal> {
    if context.after(".") {
        return members(context);
    }
    let example = |text: &str| vec![Proposal::new(text, Icon::Word, "", field.doc).snippet(format!("${{1:{text}}}"))];
    let mut list = match &field.takes {
        Takes::Words(words) | Takes::WordList(words) => {
            let known = words
                .iter()
                .filter(|word| word.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            known.map(word).collect()
        }
        Takes::Name(kind) | Takes::Panel(kind, _) => return items_of(context, *kind),
        Takes::Bool => ["true", "false"].map(|text| Proposal::new(text, Icon::Word, "", "")).to_vec(),
        Takes::Quantity(unit) => example(unit.words().1),
        Takes::PerTask => example("4 per task"),
        Takes::Share => example("40%"),
        Takes::Some => example("1%"),
        Takes::Text => return vec![Proposal::new("\"…\"", Icon::Word, "text", field.doc).snippet("\"$0\"")],
        Takes::Whole { .. } | Takes::Real { .. } => {
            field.default.filter(|it| !it.contains(' ')).map_or_else(Vec::new, example)
        }
        Takes::Texts | Takes::Votes(_) | Takes::Block(_) | Takes::Own(_) | Takes::Statements => Vec::new(),
    };
    // A dataset may come from an environment by its name.
    if vocabulary::DATASET.field(field.name).is_some_and(|own| std::ptr::eq(own, field)) {
        list.extend(items_of(context, Kind::Env));
    }
    if matches!(
        field.takes,
        Takes::Quantity(_) | Takes::PerTask | Takes::Share | Takes::Some | Takes::Whole { .. } | Takes::Real { .. }
    ) {
        list.extend(constants(context));
    }
    list
}

/// A word with what belongs to it, as it is written.
fn word(word: &Word) -> Proposal {
    let snippet = match word.form {
        form if form.ends_with("{ … }") => form.replace('…', "$0"),
        form => form.to_owned(),
    };
    let detail = if word.built { word.form.to_owned() } else { format!("{} (not built yet)", word.form) };
    Proposal::new(word.name, Icon::Word, detail, word.doc).snippet(snippet)
}

/// `desk.…`: what the environment offers.
fn members(context: &Context) -> Vec<Proposal> {
    let path = context.path();
    let [env] = path.as_slice() else { return Vec::new() };
    let index = &context.document.index;
    let named = |span| index.written(span) == Some(env);
    let declared = index.declarations().find(|(span, it)| it.sort == Sort::Item(Kind::Env) && named(*span));
    let Some(schema) = declared.and_then(|(span, _)| index.schema_of(span)) else { return Vec::new() };
    let offers = schema.offers.iter();
    offers
        .map(|offer| {
            Proposal::new(&offer.name, Icon::Name(Sort::Offer), "", &*offer.doc).snippet(format!("{}($0)", offer.name))
        })
        .collect()
}

/// Blocks whose names are the file's own: what may stand behind a name.
pub fn own(context: &Context, owner: &'static Owner) -> Vec<Proposal> {
    match context.last() {
        ":" if owner.words == vocabulary::ANSWER.words => {
            let types = words_of(Class::Type).into_iter();
            let fits = |it: &Proposal| ["int", "bool", "text"].contains(&it.label.as_str());
            let ranged = |it: Proposal| if it.label == "int" { it.snippet("int in ${1:0}..${2:4}") } else { it };
            types.filter(fits).map(ranged).collect()
        }
        ":" => words_of(Class::Type),
        "=" => names(context, |it| matches!(it.sort, Sort::Item(Kind::Param | Kind::Constant))),
        _ => Vec::new(),
    }
}

/// The units that a field's numbers may have.
pub fn units(field: &'static Field) -> &'static [&'static str] {
    match &field.takes {
        Takes::Quantity(Unit::Tokens) => &["tokens"],
        Takes::Quantity(Unit::Time) => &["ms", "s", "min", "h", "days"],
        Takes::Quantity(Unit::Money) => &["USD"],
        Takes::Quantity(Unit::Price) => &["USD per Mtok"],
        Takes::Quantity(Unit::Rate) => &["per min", "per s"],
        Takes::Quantity(Unit::Memory) => &["MiB", "GiB"],
        Takes::PerTask => &["per task"],
        _ => &[],
    }
}

//! Turns a place into where it is: which brackets are open around it, and what has been written of the entry it is in.

use crate::base::Span;
use crate::editor::Document;
use crate::experiment::index::{Declaration, Meaning};
use crate::experiment::vocabulary::{self, Field, Owner, Takes};
use crate::syntax::tokens::{Token, TokenKind};
use crate::syntax::words::Class;

/// What the innermost open bracket holds.
#[derive(Clone, Copy, Debug)]
pub enum Inside {
    /// No bracket: between items, or in one without a block.
    Top,
    Fields(&'static Owner),
    /// A block whose names are the file's own.
    Own(&'static Owner),
    /// The list or the cases of a field.
    Value(&'static Field),
    Schedule,
    Report,
    /// `@best(…)`
    Metric,
    /// `prompt name(…)`
    Parameters,
    Prompt,
    /// The stages of a rule.
    Rule,
    Arguments,
    Unknown,
}

pub struct Context<'d> {
    pub document: &'d Document,
    /// The part of a word before the place.
    pub prefix: Span,
    pub inside: Inside,
    /// Of the entry that is being written, what stands before `prefix`.
    pub entry: Vec<Token>,
    /// In a hole of a prompt: what stands before `prefix` in it.
    pub hole: Option<Vec<Token>>,
    /// In a comment, a string or the prose of a prompt.
    pub silent: bool,
    /// The name of the item around.
    pub item: Option<Token>,
    /// A comma stands before the entry.
    pub listed: bool,
}

struct Open {
    inside: Inside,
    /// Where the entry begins that the bracket belongs to.
    start: usize,
}

impl<'d> Context<'d> {
    pub fn of(document: &'d Document, at: usize) -> Self {
        let text = document.text.as_str();
        let behind = document.tokens.partition_point(|token| (token.span.start as usize) < at);
        let (mut before, mut prefix) = (&document.tokens[..behind], Span::new(at, at));
        let mut silent = false;
        if let Some(last) = before.last().filter(|token| token.span.end as usize >= at) {
            let within = (last.span.end as usize) > at;
            match last.kind {
                TokenKind::Word => {
                    prefix = Span { start: last.span.start, end: at as u32 };
                    before = &before[..behind - 1];
                }
                // Behind a comment one is still in it; behind a string or a text block no more.
                TokenKind::Comment => silent = true,
                TokenKind::Text => silent = within || !closed(last.text(text)),
                TokenKind::Prose => silent = within || !last.text(text).trim_end_matches('#').ends_with("\"\"\""),
                TokenKind::Number | TokenKind::Mark => {}
            }
        }
        let tokens: Vec<Token> = before.iter().copied().filter(|token| token.kind != TokenKind::Comment).collect();
        let Walked { stack, start, item, in_rule } = walk(document, &tokens, at);
        let outermost = if in_rule { Inside::Rule } else { Inside::Top };
        let inside = stack.last().map_or(outermost, |open| open.inside);
        let listed = start > 0 && tokens[start - 1].text(text) == ",";
        let hole = hole(&tokens, text);
        silent &= hole.is_none();
        Self { document, prefix, inside, entry: tokens[start..].to_vec(), hole, silent, item, listed }
    }

    fn text(&self, token: &Token) -> &'d str {
        token.text(&self.document.text)
    }

    /// The last token of the entry before the place, or nothing.
    pub fn last(&self) -> &'d str {
        self.entry.last().map_or("", |token| self.text(token))
    }

    pub fn last_kind(&self) -> Option<TokenKind> {
        self.entry.last().map(|token| token.kind)
    }

    pub fn after(&self, sign: &str) -> bool {
        self.last() == sign
    }

    pub fn entry_texts(&self) -> impl Iterator<Item = &'d str> {
        self.entry.iter().map(|token| self.text(token))
    }

    pub fn entry_words(&self) -> impl Iterator<Item = &'d str> {
        self.entry.iter().filter(|token| token.kind == TokenKind::Word).map(|token| self.text(token))
    }

    /// The words of the path that ends with a dot before the place.
    pub fn path(&self) -> Vec<&'d str> {
        path(&self.entry, &self.document.text)
    }

    /// The declaration that the path before `@` names.
    pub fn path_before_at(&self) -> Option<&'d Declaration> {
        let (_, before) = self.entry.split_last()?;
        let word = before.last()?;
        match self.document.index.meaning(word.span)? {
            Meaning::Name(declared) => self.document.index.declaration(*declared),
            _ => None,
        }
    }

    /// The field whose value is being written.
    pub fn field(&self) -> Option<&'static Field> {
        match self.inside {
            Inside::Fields(owner) => owner.field(self.entry_words().next()?),
            Inside::Value(field) => Some(field),
            _ => None,
        }
    }
}

fn closed(string: &str) -> bool {
    string.len() > 1 && string.ends_with('"')
}

/// The words of the path before a dot that ends `tokens`: `desk` of `desk.`.
pub fn path<'t>(tokens: &[Token], text: &'t str) -> Vec<&'t str> {
    let mut words = Vec::new();
    let mut rest = tokens;
    while let [before @ .., word, dot] = rest
        && dot.text(text) == "."
        && word.kind == TokenKind::Word
    {
        words.push(word.text(text));
        rest = before;
    }
    words.reverse();
    words
}

/// What stands in the hole that is open at the end.
fn hole(tokens: &[Token], text: &str) -> Option<Vec<Token>> {
    let opens = |token: &Token| token.kind == TokenKind::Mark && token.text(text).trim_start_matches('#').len() == 2;
    let last = tokens.iter().rposition(|token| {
        token.kind == TokenKind::Prose
            || opens(token) && matches!(token.text(text).trim_start_matches('#'), "{{" | "{%" | "}}" | "%}")
    })?;
    let open = tokens[last].text(text).trim_start_matches('#');
    matches!(open, "{{" | "{%").then(|| tokens[last..].to_vec())
}

/// Words that go on with a statement on a new line.
const GO_ON: [&str; 14] = [
    "with",
    "from",
    "mixed",
    "through",
    "reference",
    "until",
    "including",
    "against",
    "in",
    "on",
    "by",
    "and",
    "or",
    "else",
];

struct Walked {
    /// The open brackets.
    stack: Vec<Open>,
    /// Where the entry begins that is being written.
    start: usize,
    /// The name of the item around.
    item: Option<Token>,
    /// Behind the `=` of a rule.
    in_rule: bool,
}

fn walk(document: &Document, tokens: &[Token], at: usize) -> Walked {
    let text = document.text.as_str();
    let line = |at: u32| document.lines.line(at as usize);
    let mut stack: Vec<Open> = Vec::new();
    let mut start = 0;
    let (mut item, mut in_rule) = (None, false);
    let mut last: Option<&Token> = None;
    for (place, token) in tokens.iter().enumerate() {
        let sign = token.text(text);
        let fresh = last.is_none_or(|last| line(last.span.end) < line(token.span.start));
        let first_column = document.lines.start(line(token.span.start), text) == token.span.start as usize;
        if first_column && token.kind == TokenKind::Word && Class::Item.has(sign) && fresh {
            // An item begins, whatever was left open.
            stack.clear();
            start = place;
            item = tokens.get(place + 1).copied();
            in_rule = false;
        } else if fresh && !goes_on(&stack, last.map_or("", |last| last.text(text)), sign) {
            start = place;
        }
        last = Some(token);
        if token.kind != TokenKind::Mark {
            continue;
        }
        match sign {
            "{" | "(" | "[" => {
                let around = stack.last().map_or(Inside::Top, |open| open.inside);
                let head: Vec<&str> = tokens[start..place].iter().map(|token| token.text(text)).collect();
                stack.push(Open { inside: inside(around, &head, sign), start });
                start = place + 1;
            }
            "}" | ")" | "]" => start = stack.pop().map_or(place + 1, |open| open.start),
            "," | "|" => start = place + 1,
            "=" if stack.is_empty() && tokens[start].text(text) == "rule" => (start, in_rule) = (place + 1, true),
            _ => {}
        }
    }
    let fresh = last.is_some_and(|last| line(last.span.end) < line(at as u32));
    if fresh && !goes_on(&stack, last.map_or("", |last| last.text(text)), "") {
        start = tokens.len();
        if stack.is_empty() {
            (item, in_rule) = (None, false);
        }
    }
    Walked { stack, start, item, in_rule }
}

/// What an entry does not end with.
const UNFINISHED: [&str; 15] = [",", "|", "+", "-", "*", "/", "and", "or", "not", ">=", "<=", "==", "!=", "<", ">"];

/// Whether what stands on a new line belongs to the entry of the line before.
fn goes_on(stack: &[Open], last: &str, next: &str) -> bool {
    let fields = matches!(stack.last().map(|open| open.inside), Some(Inside::Fields(_) | Inside::Own(_)));
    // A field's value begins on its line.
    let unfinished = last == "=" && !fields || UNFINISHED.contains(&last);
    let listed =
        matches!(stack.last().map(|open| open.inside), Some(Inside::Arguments | Inside::Parameters | Inside::Rule));
    unfinished || listed || next == "|" || GO_ON.contains(&next)
}

/// What a bracket holds, by what holds it and what stands before it in its entry.
fn inside(around: Inside, head: &[&str], bracket: &str) -> Inside {
    match around {
        Inside::Top => item(head, bracket),
        Inside::Rule => Inside::Rule,
        Inside::Fields(owner) => {
            let Some(field) = head.first().and_then(|name| owner.field(name)) else { return Inside::Unknown };
            match (&field.takes, bracket) {
                (Takes::Block(inner), "{") => Inside::Fields(inner),
                (Takes::Own(inner), "{") => Inside::Own(inner),
                (Takes::Statements, "{") if field.name == "schedule" => Inside::Schedule,
                (Takes::Statements, "{") => Inside::Report,
                (Takes::Words(words), "{") if head.len() > 2 => {
                    let word = words.iter().find(|word| head[2..].contains(&word.name));
                    word.and_then(|word| word.block).map_or(Inside::Unknown, Inside::Fields)
                }
                (_, "(") => Inside::Arguments,
                _ => Inside::Value(field),
            }
        }
        Inside::Value(field) => match bracket {
            "(" => Inside::Arguments,
            _ => Inside::Value(field),
        },
        Inside::Schedule => {
            let verb = if head.first() == Some(&"let") { head.get(3) } else { head.first() };
            match (verb.copied(), bracket) {
                (_, "(") if head.last() == Some(&"best") => Inside::Metric,
                (_, "(") => Inside::Arguments,
                (Some("rollout"), "{") => Inside::Fields(&vocabulary::ROLLOUT),
                (Some("evaluate"), "{") => Inside::Fields(&vocabulary::EVALUATE),
                (Some("judge"), "{") => Inside::Fields(&vocabulary::JUDGE),
                (Some("repeat"), "{") => Inside::Schedule,
                _ => Inside::Unknown,
            }
        }
        _ => Inside::Unknown,
    }
}

fn item(head: &[&str], bracket: &str) -> Inside {
    match (head.first().copied(), bracket) {
        (Some("env"), "{") => Inside::Fields(&vocabulary::ENV),
        (Some("dataset"), "{") => Inside::Fields(&vocabulary::DATASET),
        (Some("model"), "{") => Inside::Fields(&vocabulary::MODEL),
        (Some("critic"), "{") => Inside::Fields(&vocabulary::CRITIC),
        (Some("trainer"), "{") => Inside::Fields(&vocabulary::TRAINER),
        (Some("experiment"), "{") => Inside::Fields(&vocabulary::EXPERIMENT),
        (Some("prompt"), "(") => Inside::Parameters,
        (Some("prompt"), "{") => Inside::Prompt,
        (Some("rule"), "(") if head.len() == 2 => Inside::Parameters,
        (_, "(") if head.contains(&"where") => Inside::Rule,
        (Some("top"), "{") => Inside::Fields(&vocabulary::TOP),
        _ => Inside::Unknown,
    }
}

//! Turns pairs into the tree, and what the grammar could only skip into diagnostics.
//!
//! [`file`] is the entry. A skipped piece is parsed once more alone, so that it is known where it broke and what was due.
//!
//! # Invariants
//! A place that [`scan`](super::scan) has blamed is not blamed again. `expect` here only says what the grammar promises.

mod advice;
mod block;
mod items;
mod schedule;
mod template;

use crate::base::{Span, Spanned};
use crate::syntax::ast::{self, File, Item, ItemKind, ItemWord, Name, Path, Slot, Version, VersionKind};
use crate::syntax::error::SyntaxError;
use crate::syntax::foreign::called_here;
use crate::syntax::grammar::{self, Grammar, Rule};
use crate::syntax::layout;
use crate::syntax::scan::{MOST_ERRORS, Scan};
use crate::syntax::similar::similar;
use crate::syntax::words::Class;
use pest::Parser;
use pest::iterators::{Pair, Pairs};
use std::iter::Peekable;

pub fn file(text: &str, scan: Scan) -> (File, Vec<SyntaxError>) {
    let blamed = scan.errors.iter().map(SyntaxError::span).chain(scan.unpaired.iter().copied()).collect();
    let mended = scan.mend(text);
    let mut builder =
        Builder { text, errors: scan.errors, blamed, unpaired: scan.unpaired, visible: Vec::new(), full: false };
    let items = match Grammar::parse(Rule::file, &mended) {
        Ok(mut pairs) => builder.items(pairs.next().expect("the grammar gives a file")),
        Err(error) => {
            let at = match error.location {
                pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
            };
            builder.unexpected(grammar::Miss { at, expected: Vec::new() });
            Vec::new()
        }
    };
    let mut file = File { items, comments: scan.comments, cut: scan.cut || builder.full, ..File::default() };
    builder.attach_docs(&mut file);
    (file, builder.errors)
}

/// An expression and nothing else; `None` if the text is not one.
pub fn value(text: &str) -> Option<ast::Expr> {
    let scan = crate::syntax::scan::scan(text, false);
    if !scan.errors.is_empty() {
        return None;
    }
    let pair = Grammar::parse(Rule::only_value, text).ok()?.next()?;
    let mut builder = Builder {
        text,
        errors: Vec::new(),
        blamed: Vec::new(),
        unpaired: Vec::new(),
        visible: Vec::new(),
        full: false,
    };
    let value = builder.expr(pair.into_inner().next()?);
    builder.errors.is_empty().then_some(value)
}

struct Builder<'t> {
    text: &'t str,
    errors: Vec<SyntaxError>,
    /// What the scan has told of.
    blamed: Vec<Span>,
    unpaired: Vec<Span>,
    /// What the holes of the prompt at hand may name.
    visible: Vec<String>,
    full: bool,
}

/// The parts of one pair, taken in the order the grammar gives them.
struct Parts<'t>(Peekable<Pairs<'t, Rule>>);

impl<'t> Parts<'t> {
    fn of(pair: Pair<'t, Rule>) -> Self {
        Self(pair.into_inner().peekable())
    }

    fn next(&mut self) -> Option<Pair<'t, Rule>> {
        self.0.next()
    }

    /// The next part, which the grammar promises.
    fn due(&mut self) -> Pair<'t, Rule> {
        self.0.next().expect("the grammar gives this part")
    }

    fn take(&mut self, rule: Rule) -> Option<Pair<'t, Rule>> {
        self.0.next_if(|pair| pair.as_rule() == rule)
    }

    fn has(&mut self, rule: Rule) -> bool {
        self.take(rule).is_some()
    }
}

/// What stands between two brackets.
fn inside(pair: Pair<Rule>) -> impl Iterator<Item = Pair<Rule>> {
    let closes = |rule| matches!(rule, Rule::close_round | Rule::close_square | Rule::close_brace);
    pair.into_inner().filter(move |part| !closes(part.as_rule()))
}

fn span(pair: &Pair<Rule>) -> Span {
    let place = pair.as_span();
    Span::new(place.start(), place.end())
}

/// The span without the white space at its ends.
fn trimmed(pair: &Pair<Rule>) -> Span {
    let (place, text) = (pair.as_span(), pair.as_str());
    let start = place.start() + (text.len() - text.trim_start().len());
    Span::new(start, (start + text.trim().len()).max(start))
}

impl Builder<'_> {
    fn error(&mut self, error: SyntaxError) {
        if self.full {
            return;
        }
        if self.errors.len() >= MOST_ERRORS {
            self.full = true;
            self.errors.push(SyntaxError::TooMany { span: error.span(), most: MOST_ERRORS });
            return;
        }
        self.errors.push(error);
    }

    /// Where the text begins.
    fn start(&self) -> u32 {
        if self.text.starts_with('\u{feff}') { 3 } else { 0 }
    }

    fn is_blamed(&self, region: Span) -> bool {
        self.blamed.iter().any(|place| place.start >= region.start && place.start <= region.end)
    }

    fn is_unpaired(&self, region: Span) -> bool {
        self.unpaired.iter().any(|place| place.start >= region.start && place.start < region.end)
    }

    fn unexpected(&mut self, miss: grammar::Miss) {
        let (found, span) = grammar::found(self.text, miss.at);
        self.error(SyntaxError::Unexpected { span, found, expected: miss.expected });
    }

    /// Tells why the text at `region` is no `rule`; once, and not if the scan has.
    fn broken(&mut self, rule: Rule, region: Span) {
        if self.is_blamed(region) || self.full {
            return;
        }
        let text = &self.text[region.range()];
        let start = region.start as usize;
        let miss = grammar::miss(rule, text, start);
        self.tell(rule, region, miss.unwrap_or(grammar::Miss { at: start, expected: Vec::new() }));
    }

    /// What was meant at a place where the text at `region` stops being a `rule`, or at least what was due there.
    fn tell(&mut self, rule: Rule, region: Span, miss: grammar::Miss) {
        let (text, start) = (&self.text[region.range()], region.start as usize);
        let at = miss.at.min(region.end as usize) - start;
        let stop = advice::Stop { rule, text, start, at, expected: &miss.expected };
        match stop.advice() {
            Some(error) => self.error(error),
            None => self.unexpected(miss),
        }
    }

    /// As [`Self::broken`], where something complete is followed by `tail`: unless a part of the tail would have been right,
    /// none of it belongs there.
    fn broken_tail(&mut self, rule: Rule, region: Span, tail: Span) {
        if self.is_blamed(region) || self.full {
            return;
        }
        let miss = grammar::miss(rule, &self.text[region.range()], region.start as usize);
        let inside = miss.filter(|miss| miss.at > tail.start as usize);
        let miss = inside.unwrap_or(grammar::Miss { at: tail.start as usize, expected: Vec::new() });
        self.tell(rule, region, miss);
    }

    fn name(&mut self, pair: Pair<Rule>) -> Name {
        Spanned::new(pair.as_str().to_owned(), span(&pair))
    }

    /// A name that is being declared: lower case.
    fn declared(&mut self, pair: Pair<Rule>) -> Name {
        let name = self.name(pair);
        if name.value.contains(|c: char| c.is_ascii_uppercase()) {
            self.error(SyntaxError::NameCase { span: name.span, name: name.value.clone() });
        }
        name
    }

    fn path(&mut self, pair: Pair<Rule>) -> Path {
        let place = span(&pair);
        let parts = pair.into_inner().map(|part| self.name(part)).collect();
        Path { span: place, parts }
    }

    fn paths(&mut self, pair: Pair<Rule>) -> Vec<Path> {
        pair.into_inner().map(|path| self.path(path)).collect()
    }

    fn version(&mut self, pair: Pair<Rule>) -> Version {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let first = parts.due();
        let kind = if first.as_rule() == Rule::digits {
            VersionKind::Number(self.count(first))
        } else {
            let word = self.name(first);
            VersionKind::Word { word, argument: parts.next().map(|path| self.path(path)) }
        };
        Version { span: place, kind }
    }

    fn count(&mut self, digits: Pair<Rule>) -> u32 {
        digits.as_str().replace('_', "").parse().unwrap_or_else(|_| {
            let (why, help) = ("too large", "at most 4294967295 fits here".to_owned());
            self.error(SyntaxError::BadNumber { span: span(&digits), why, help, edit: None });
            0
        })
    }

    fn slot(&mut self, pair: Pair<Rule>) -> Slot {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let path = parts.due();
        Slot { span: place, path: self.path(path), version: parts.next().map(|version| self.version(version)) }
    }

    fn attach_docs(&self, file: &mut File) {
        let line = |comment: &ast::Comment| {
            let text = &self.text[comment.span.range()][3..];
            text.strip_prefix(' ').unwrap_or(text).to_owned()
        };
        let of_kind = |kind| file.comments.iter().filter(move |comment| comment.kind == kind);
        file.doc = of_kind(ast::CommentKind::File).map(line).collect::<Vec<_>>().join("\n");
        let docs: Vec<(u32, String)> =
            of_kind(ast::CommentKind::Doc).map(|comment| (comment.span.start, line(comment))).collect();
        let mut docs = docs.into_iter().peekable();
        for item in &mut file.items {
            let mut own: Vec<String> = Vec::new();
            while let Some((_, text)) = docs.next_if(|(at, _)| *at < item.span.end) {
                own.push(text);
            }
            item.doc = own.join("\n");
        }
    }

    fn items(&mut self, file: Pair<Rule>) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        for pair in file.into_inner() {
            let place = trimmed(&pair);
            let kind = match pair.as_rule() {
                Rule::item => self.item(pair.into_inner().next().expect("an item has a kind")),
                Rule::broken_item => {
                    // A `}` that closes nothing: what stands before it was closed too early.
                    if self.is_unpaired(place)
                        && let Some(before) = items.last_mut()
                    {
                        before.unreliable = true;
                    }
                    self.broken_item(place)
                }
                _ => continue,
            };
            let unreliable = self.is_unpaired(place);
            items.push(Item { span: place, doc: String::new(), unreliable, kind });
        }
        items
    }

    fn broken_item(&mut self, region: Span) -> ItemKind {
        let text = &self.text[region.range()];
        let first = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or("");
        let word = ItemWord::from_word(first);
        if region.start == self.start() && !first.is_empty() && is_year(text) {
            self.error(SyntaxError::EditionWord {
                span: Span::new(region.start as usize, region.start as usize + first.len()),
            });
            return ItemKind::Broken { declares: Vec::new(), word: Some(ItemWord::Agx) };
        }
        if word.is_none() && !first.is_empty() && !self.is_blamed(region) {
            let near = near(Class::Item, first);
            let span = Span::new(region.start as usize, region.start as usize + first.len());
            self.error(SyntaxError::UnknownItem { span, word: first.to_owned(), near });
        } else {
            self.broken(Rule::only_item, region);
        }
        // `model = grader` is a field of an item whose head is lost.
        let field = text[first.len()..].trim_start_matches([' ', '\t']).starts_with(['=', '{', ':']);
        let meant = word.or_else(|| match near(Class::Item, first).as_slice() {
            [only] => ItemWord::from_word(only),
            _ => None,
        });
        // What is left of a file's head is no declaration.
        let head = (first == "unstable").then_some(ItemWord::Agx);
        let meant = head.or(meant.filter(|word| !field || *word == ItemWord::Agx));
        let mut declares: Vec<(Option<ItemWord>, Name)> = Vec::new();
        let words = words(self.text, region);
        if let [first, name, ..] = words.as_slice()
            && self.text[first.span.end as usize..name.span.start as usize].trim_matches([' ', '\t']).is_empty()
        {
            declares.push((meant, name.clone()));
            // Elsewhere it may go by a part of its name.
            let parts = words[2..].iter().take_while(|part| self.text[..part.span.start as usize].ends_with('-'));
            declares.extend(parts.map(|part| (meant, part.clone())));
            declares.extend(dashed(self.text, &words[1..]).into_iter().map(|name| (meant, name)));
        }
        declares.extend(let_names(self.text, &words).into_iter().map(|name| (None, name)));
        ItemKind::Broken { declares, word: meant }
    }
}

/// Digits alone: an edition whose word is missing.
fn is_year(text: &str) -> bool {
    layout::code(text).bytes().all(|byte| byte.is_ascii_digit())
}

/// The words of a class that `word` may have meant: what another tool calls so, or those written alike.
fn near(class: Class, word: &str) -> Vec<String> {
    match called_here(class, word) {
        Some(here) => vec![here.to_owned()],
        None => similar(word, class.names()),
    }
}

/// The words in a part of the text that could not be read.
fn words(text: &str, region: Span) -> Vec<Name> {
    let mut words: Vec<Name> = Vec::new();
    let mut start = None;
    let end = region.end as usize;
    let rest = text[region.range()].char_indices().map(|(at, c)| (region.start as usize + at, c));
    for (at, c) in rest.chain([(end, ' ')]) {
        let inside = c.is_ascii_alphanumeric() || c == '_';
        match (start, inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push(Spanned::new(text[from..at].to_owned(), Span::new(from, at)));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// Every name that `let` or `as` would have given, or the words of other languages for them.
fn let_names(text: &str, words: &[Name]) -> Vec<Name> {
    let mut names = Vec::new();
    for (at, pair) in words.windows(2).enumerate() {
        let is_name = !pair[1].value.starts_with(|c: char| c.is_ascii_digit()) && pair[1].value != "mut";
        if is_name && matches!(pair[0].value.as_str(), "let" | "as" | "mut" | "var" | "const") {
            names.push(pair[1].clone());
            names.extend(dashed(text, &words[at + 1..]));
        }
    }
    names
}

/// What `small-talk` may be called elsewhere: `small_talk`.
fn dashed(text: &str, words: &[Name]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    let Some(first) = words.first() else { return names };
    let mut whole = first.clone();
    for pair in words.windows(2) {
        if &text[pair[0].span.end as usize..pair[1].span.start as usize] != "-" {
            break;
        }
        whole = Spanned::new(format!("{}_{}", whole.value, pair[1].value), whole.span.to(pair[1].span));
    }
    names.extend((whole.value != first.value).then_some(whole));
    names
}

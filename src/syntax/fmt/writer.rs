//! Takes a text's tokens in their order and says how each may stand: what every part of the tree is written with.

use super::layout::{Break, Op};
use super::token::Token;
use crate::base::Span;
use crate::syntax::ast::{CommentKind, Item, ItemWord};

pub const INDENT: usize = 2;

pub struct Writer<'t> {
    tokens: Vec<Token<'t>>,
    /// The next one.
    at: usize,
    /// Of each bracket its partner.
    pairs: Vec<usize>,
    /// Of each token how many up to it do not stand on the line of the one before.
    lines: Vec<usize>,
    pub ops: Vec<Op<'t>>,
    /// The rows that are aligned with one another now, and how many such runs there have been.
    run: usize,
    runs: usize,
    /// The tokens are not what the tree says. Nothing but a bug does this.
    pub lost: bool,
}

/// What stands between two brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[a, b]`
    List,
    /// `{ 1 => a, _ => b }`
    Cases,
    /// `{ a = 1, b = 2 }`; without commas where each has its line.
    Block,
}

impl<'t> Writer<'t> {
    pub fn new(tokens: Vec<Token<'t>>) -> Self {
        let mut pairs = vec![0; tokens.len()];
        let mut open = Vec::new();
        let mut lines = Vec::with_capacity(tokens.len());
        let mut count = 0;
        for (at, token) in tokens.iter().enumerate() {
            count += usize::from(token.own_line);
            lines.push(count);
            match token.text {
                "(" | "[" | "{" => open.push(at),
                ")" | "]" | "}" => pairs[open.pop().unwrap_or(at)] = at,
                _ => {}
            }
        }
        Self { tokens, at: 0, pairs, lines, ops: Vec::new(), run: 0, runs: 0, lost: false }
    }

    /// The text of the next token.
    pub fn next(&self) -> &'t str {
        self.tokens[self.at].text
    }

    /// Whether the next token and the last of `span` are partners.
    pub fn brackets(&self, last: usize) -> bool {
        self.next() == "(" && self.pairs[self.at] == last
    }

    /// The last token of `span`.
    pub fn last_of(&self, span: Span) -> usize {
        self.tokens.partition_point(|token| token.span.end < span.end).min(self.tokens.len() - 1)
    }

    /// Whether the author put a line's end somewhere between the next token and `last`, inclusively.
    pub fn is_broken_before(&self, last: usize) -> bool {
        self.lines[last] > self.lines[self.at] || self.tokens[self.at].own_line
    }

    /// Writes the next token, whatever it is.
    pub fn token(&mut self) {
        self.comments();
        self.ops.push(Op::Text(self.tokens[self.at].text));
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        } else {
            self.lost = true;
        }
    }

    /// Writes the next token, which is known.
    pub fn due(&mut self, text: &'static str) {
        let token = &mut self.tokens[self.at];
        if let Some(rest) = token.text.strip_prefix(text).filter(|rest| *rest == "=") {
            // `list<text>= …`: the sign belongs to two.
            self.comments();
            self.ops.push(Op::Text(text));
            self.tokens[self.at].text = rest;
            return;
        }
        self.lost |= token.text != text;
        self.token();
    }

    pub fn space(&mut self) {
        self.ops.push(Op::Space);
    }

    /// Known words, a space before each.
    pub fn words(&mut self, words: &[&'static str]) {
        for word in words {
            self.space();
            self.due(word);
        }
    }

    /// A comma that the layout needs.
    pub fn comma(&mut self) {
        self.ops.push(Op::Text(","));
    }

    pub fn begin(&mut self, broken: bool) {
        // A comment before a group does not break it.
        self.comments();
        self.ops.push(Op::Begin { broken });
    }

    pub fn end(&mut self) {
        self.ops.push(Op::End);
    }

    pub fn indent(&mut self, columns: usize) {
        self.ops.push(Op::Indent(columns));
    }

    pub fn dedent(&mut self, columns: usize) {
        self.ops.push(Op::Dedent(columns));
    }

    /// Where a line may end and the author's empty line stays.
    pub fn line(&mut self, place: Break) {
        let token = &self.tokens[self.at];
        let blank = match token.comments.first() {
            Some(comment) => comment.blank && !comment.trailing,
            None => token.blank,
        };
        self.ops.push(Op::Break(Break { blank, ..place }));
    }

    /// Where a line may end and none is left empty.
    pub fn close_line(&mut self, space: bool) {
        self.ops.push(Op::Break(Break { space, ..Break::default() }));
    }

    /// Writes the comments that stand before the next token.
    pub fn comments(&mut self) {
        let token = &mut self.tokens[self.at];
        let comments = std::mem::take(&mut token.comments);
        if comments.is_empty() {
            return;
        }
        let blank = token.blank;
        for (at, comment) in comments.iter().enumerate() {
            self.comment(comment, at);
        }
        self.ops.push(Op::AfterComments { blank });
    }

    fn comment(&mut self, comment: &super::token::Comment<'t>, at: usize) {
        let super::token::Comment { text, trailing, blank, .. } = *comment;
        self.ops.push(Op::Comment { text, trailing, blank: blank && at > 0 });
    }

    /// The author left an empty line before the next token or a comment of it.
    fn is_apart(&self) -> bool {
        let token = &self.tokens[self.at];
        token.blank || token.comments.iter().any(|comment| comment.blank)
    }

    /// What follows is aligned with nothing before.
    pub fn new_run(&mut self) {
        self.runs += 1;
        self.run = self.runs;
    }

    /// What follows begins in one column with the others of its run; up to [`Self::row`].
    pub fn cell(&mut self) {
        self.ops.push(Op::Cell { run: self.run });
    }

    pub fn row(&mut self) {
        self.ops.push(Op::Row);
    }

    /// Everything between the next token, a bracket, and its partner. It stays on one line if the author wrote it there.
    pub fn bracketed<T>(&mut self, form: Form, parts: &[T], part: impl FnMut(&mut Self, &T)) {
        let broken = self.lines[self.pairs[self.at]] > self.lines[self.at];
        self.bracketed_in(form, parts, broken, part);
    }

    /// As [`Self::bracketed`], on several lines for sure if it is `broken`.
    pub fn bracketed_in<T>(&mut self, form: Form, parts: &[T], broken: bool, mut part: impl FnMut(&mut Self, &T)) {
        self.comments();
        let close = self.pairs[self.at];
        let outer = self.run;
        self.new_run();
        self.begin(broken);
        self.token();
        self.indent(INDENT);
        let padded = form != Form::List && !parts.is_empty();
        for (at, each) in parts.iter().enumerate() {
            if at == 0 {
                self.close_line(padded);
            } else {
                if self.is_apart() {
                    self.new_run();
                }
                self.line(Break { space: true, ..Break::default() });
            }
            part(self, each);
            match form {
                _ if at + 1 == parts.len() => {}
                Form::Block => self.ops.push(Op::IfFlat(",")),
                Form::List | Form::Cases => self.comma(),
            }
        }
        if form != Form::Block && !parts.is_empty() {
            self.ops.push(Op::IfBroken(","));
        }
        if !self.tokens[self.at].comments.is_empty() {
            match parts.is_empty() {
                true => self.close_line(false),
                false => self.line(Break::default()),
            }
            self.comments();
        }
        self.dedent(INDENT);
        self.close_line(padded);
        self.lost |= self.at != close;
        self.token();
        self.end();
        self.run = outer;
    }

    /// Parentheses around one thing.
    pub fn parenthesised(&mut self, inside: impl FnOnce(&mut Self)) {
        self.begin(false);
        self.token();
        self.indent(INDENT);
        self.close_line(false);
        inside(self);
        if !self.tokens[self.at].comments.is_empty() {
            self.close_line(false);
            self.comments();
        }
        self.dedent(INDENT);
        self.close_line(false);
        self.due(")");
        self.end();
    }

    pub fn items(&mut self, items: &[Item], mut write: impl FnMut(&mut Self, &Item)) {
        let mut word = None;
        for (index, item) in items.iter().enumerate() {
            let apart = self.is_apart();
            let own = ItemWord::from_word(self.next());
            if apart || own != word {
                self.new_run();
            }
            word = own;
            self.line(Break::default());
            let token = &mut self.tokens[self.at];
            let (comments, blank) = (std::mem::take(&mut token.comments), token.blank);
            let is_before = |comment: &super::token::Comment| comment.trailing || comment.kind == CommentKind::File;
            let lead = comments.iter().take_while(|comment| is_before(comment)).count();
            for (at, comment) in comments.iter().enumerate() {
                if at == lead {
                    self.ops.push(Op::Lead { blank: apart || index == 0 });
                }
                self.comment(comment, at);
            }
            if !comments.is_empty() {
                self.ops.push(Op::AfterComments { blank });
            }
            if lead == comments.len() {
                self.ops.push(Op::Lead { blank: apart || index == 0 });
            }
            self.ops.push(Op::Item);
            write(self, item);
            self.ops.push(Op::ItemEnd);
        }
        self.line(Break::default());
        self.comments();
        self.lost |= self.at + 1 != self.tokens.len();
    }
}

//! Turns text into tokens, whether or not the whole can be read: what an editor colours, and where a word begins and ends.
//!
//! # Invariants
//! Tokens stand in source order and do not overlap; between them is only white space. Nothing here says what is wrong.

use crate::base::Span;
use crate::syntax::layout::swallowed_item;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or a word of the language: which, only its place tells.
    Word,
    Number,
    /// `"…"` on one line.
    Text,
    /// A part of a text block, with the quotes at its ends; holes stand between parts.
    Prose,
    Comment,
    /// Punctuation: one sign, or two that belong together, as `=>` and `{{`.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

impl Token {
    pub fn text(self, of: &str) -> &str {
        &of[self.span.range()]
    }
}

/// All tokens of a text.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, unclosed: 0, tokens: Vec::new() };
    lexer.run(text.len());
    lexer.tokens
}

/// After so many text blocks without an end the rest is one: the text is something else.
const MOST_UNCLOSED: usize = 300;

/// Signs of two characters; the longer reading wins.
const PAIRS: [&str; 10] = ["=>", "==", "!=", "<=", ">=", "..", "{{", "}}", "{%", "%}"];

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Text blocks without an end so far: each was looked for in all that follows.
    unclosed: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: TokenKind, end: usize) {
        if end > self.at {
            self.tokens.push(Token { kind, span: Span::new(self.at, end) });
        }
        self.at = end;
    }

    fn run(&mut self, end: usize) {
        while self.at < end {
            self.step();
        }
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        let length_of = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
        if first.is_whitespace() || first == '\u{feff}' {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            let length = length_of(|c| c != '\n' && c != '\r');
            self.push(TokenKind::Comment, self.at + length);
        } else if first == '#' || rest.starts_with("\"\"\"") {
            let hashes = length_of(|c| c == '#');
            if rest[hashes..].starts_with("\"\"\"") {
                self.template(hashes);
            } else {
                self.push(TokenKind::Mark, self.at + hashes);
            }
        } else if first == '"' {
            self.push(TokenKind::Text, self.at + string_length(rest));
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = length_of(|c| c.is_ascii_alphanumeric() || c == '_');
            self.push(TokenKind::Word, self.at + length);
        } else if first.is_ascii_digit() {
            self.push(TokenKind::Number, self.at + number_length(rest));
        } else {
            let pair = PAIRS.iter().any(|pair| rest.starts_with(pair));
            // Outside a text block `{{` are two blocks that open at once.
            let pair = pair && !rest.starts_with("{{") && !rest.starts_with("}}");
            let length = if pair { 2 } else { first.len_utf8() };
            self.push(TokenKind::Mark, self.at + length);
        }
    }

    /// A text block with its holes, at its hashes.
    fn template(&mut self, hashes: usize) {
        if self.unclosed == MOST_UNCLOSED {
            self.push(TokenKind::Prose, self.text.len());
            return;
        }
        let fence = "#".repeat(hashes);
        let body = self.at + hashes + 3;
        let closing = format!("\"\"\"{fence}");
        let inside = &self.text[body..];
        let length = inside.find(&closing).map(|length| (length, length + closing.len()));
        self.unclosed += usize::from(length.is_none());
        let cut = swallowed_item(&inside[..length.map_or(inside.len(), |(length, _)| length)]);
        let (length, whole) = cut.map(|cut| (cut - 1, cut - 1)).or(length).unwrap_or((inside.len(), inside.len()));
        let (end, after) = (body + length, body + whole);
        let mut from = body;
        while let Some(open) = hole(&self.text[from..end], &fence) {
            let open = from + open;
            self.push(TokenKind::Prose, open);
            let marks = open + hashes + 2;
            self.push(TokenKind::Mark, marks);
            let close = hole_length(&self.text[marks..end]);
            self.run(marks + close);
            let line = &self.text[self.at..end];
            if line.starts_with("}}") || line.starts_with("%}") {
                self.push(TokenKind::Mark, self.at + 2);
            }
            from = self.at;
        }
        self.push(TokenKind::Prose, after);
    }
}

/// Where the next `{{` or `{%` with its hashes stands.
fn hole(text: &str, fence: &str) -> Option<usize> {
    text.match_indices('{').map(|(at, _)| at).find_map(|at| {
        let opens = text[at..].starts_with("{{") || text[at..].starts_with("{%");
        (opens && text[..at].ends_with(fence)).then(|| at - fence.len())
    })
}

/// Up to the end of the hole; where it has none, up to the end of the line.
fn hole_length(text: &str) -> usize {
    let stop = text.as_bytes().windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"}}" | b"%}"));
    let stop = stop.unwrap_or(text.len());
    let closed = text[stop..].starts_with("}}") || text[stop..].starts_with("%}");
    if closed { stop } else { text[..stop].find(['\n', '\r']).unwrap_or(stop) }
}

/// Up to the closing quote, or the end of the line.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return at,
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// `1_000`, `0.7`, `1e-5`; not the dots of `1..5`.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| {
        let rest = &text[from..];
        from + rest.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(rest.len())
    };
    let starts_digit = |from: usize| text[from..].starts_with(|c: char| c.is_ascii_digit());
    let mut end = digits(0);
    if text[end..].starts_with('.') && starts_digit(end + 1) {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        if starts_digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| format!("{:?} {}", token.kind, token.text(text))).collect()
    }

    #[test]
    fn words_numbers_and_signs_stand_apart() {
        let found = seen("score in 1..5, lr = 1e-5 => \"a \\\" b\" // c\n@prev 30%");
        let expected = [
            "Word score",
            "Word in",
            "Number 1",
            "Mark ..",
            "Number 5",
            "Mark ,",
            "Word lr",
            "Mark =",
            "Number 1e-5",
            "Mark =>",
            "Text \"a \\\" b\"",
            "Comment // c",
            "Mark @",
            "Word prev",
            "Number 30",
            "Mark %",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_text_block_is_prose_with_holes() {
        let found = seen("user #\"\"\"\n a {{ b }} #{{ task.x | lines }} c\n\"\"\"# }");
        let expected = [
            "Word user",
            "Prose #\"\"\"\n a {{ b }} ",
            "Mark #{{",
            "Word task",
            "Mark .",
            "Word x",
            "Mark |",
            "Word lines",
            "Mark }}",
            "Prose  c\n\"\"\"#",
            "Mark }",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_no_end_ends_with_its_line() {
        let found = seen("\"\"\"a {{ task.\nb\"\"\" \"open\nx");
        let expected = ["Prose \"\"\"a ", "Mark {{", "Word task", "Mark .", "Prose \nb\"\"\"", "Text \"open", "Word x"];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_forgotten_end_of_a_text_block_leaves_the_next_item() {
        let found = seen("prompt p() { user \"\"\"\n  a\nmodel m { }");
        assert!(found.contains(&"Word model".to_owned()), "{found:?}");
    }

    #[test]
    fn tokens_cover_all_but_white_space_in_order() {
        for text in ["é{{}}#\"\"\"", "\"\"\"{{", "\u{feff}a\u{85}\u{2028}b\0", "{%%}%{", "1.e5 1e 1_.2", "\"\\"] {
            let mut end = 0;
            for token in tokens(text) {
                assert!(token.span.start as usize >= end && !token.span.is_empty(), "{text:?}");
                assert!(
                    text[end..token.span.start as usize].trim_start_matches('\u{feff}').trim().is_empty(),
                    "{text:?}"
                );
                end = token.span.end as usize;
            }
            assert!(text[end..].trim().is_empty(), "{text:?}");
        }
    }
}

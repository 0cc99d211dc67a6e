//! Turns a text into its tokens, each with the comments that stand before it.
//!
//! Commas, and the `|` that may open a rule, are left out: the layout puts them where they are due.

use crate::base::Span;
use crate::syntax::ast;

#[derive(Clone, Debug)]
pub struct Token<'t> {
    pub text: &'t str,
    pub span: Span,
    pub comments: Vec<Comment<'t>>,
    /// An empty line stands before it, and after its comments.
    pub blank: bool,
    /// It does not stand on the line of the token before.
    pub own_line: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comment<'t> {
    pub text: &'t str,
    pub kind: ast::CommentKind,
    /// It follows a token on its line.
    pub trailing: bool,
    pub blank: bool,
}

/// The tokens of a sound text. The last one is empty and holds the comments at the end.
pub fn tokens<'t>(text: &'t str, comments: &[ast::Comment]) -> Vec<Token<'t>> {
    let mut comments = comments.iter().peekable();
    let mut tokens: Vec<Token> = Vec::new();
    let mut before: Vec<Comment> = Vec::new();
    // Where the last token that is kept, and the last token or comment, ended.
    let (mut kept_end, mut end) = (0, 0);
    let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let blank = text[end..at].matches('\n').count() > 1;
        let own_line = tokens.is_empty() || text[kept_end..at].contains('\n');
        if let Some(comment) = comments.next_if(|comment| comment.span.start as usize <= at) {
            let trailing = !own_line && before.is_empty();
            before.push(Comment { text: &text[comment.span.range()], kind: comment.kind, trailing, blank });
            at = comment.span.end as usize;
            end = at;
            continue;
        }
        let length = length(&text[at..]);
        let token = &text[at..at + length];
        let after_assign = tokens.last().is_some_and(|last| last.text == "=");
        let left_out = token == "," || (token == "|" && after_assign);
        if !left_out {
            let comments = std::mem::take(&mut before);
            tokens.push(Token { text: token, span: Span::new(at, at + length), comments, blank, own_line });
            kept_end = at + length;
        }
        if length == 0 {
            return tokens;
        }
        at += length;
        end = at;
    }
}

/// Of the token that `rest` begins with; 0 at the end.
fn length(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let run = |from: usize| rest[from..].find(|c| !word(c)).map_or(rest.len(), |length| from + length);
    match first {
        '#' | '"' => template_length(rest).unwrap_or_else(|| string_length(rest)),
        '0'..='9' => number_length(rest),
        '@' => run(1),
        first if word(first) => {
            let mut end = run(0);
            while rest[end..].starts_with('.')
                && rest[end + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            {
                end = run(end + 1);
            }
            end
        }
        _ if ["=>", "==", "!=", "<=", ">=", ".."].iter().any(|sign| rest.starts_with(sign)) => 2,
        first => first.len_utf8(),
    }
}

fn template_length(rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix("\"\"\"")?;
    let closing = format!("\"\"\"{}", &rest[..hashes]);
    Some(hashes + 3 + inside.find(&closing)? + closing.len())
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\n' => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// `1_000`, `0.5`, `1e-5`, `30%`; in `1..5` the number ends before the dots.
fn number_length(rest: &str) -> usize {
    let digits = |from: usize| {
        let run = rest[from..].find(|c: char| !(c.is_ascii_digit() || c == '_'));
        run.map_or(rest.len(), |length| from + length)
    };
    let is_digit = |at: usize| rest[at..].starts_with(|c: char| c.is_ascii_digit());
    let mut end = digits(0);
    if rest[end..].starts_with('.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        if is_digit(end + 1 + sign) {
            let from = end + 1 + sign;
            end = rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |length| from + length);
        }
    }
    end + usize::from(rest[end..].starts_with('%'))
}

//! Turns a template's source into one that minijinja reads as Jinja2 would: where it lacks something, or binds and prints in
//! another way, that is written in what it has.
//!
//! # Invariants
//! Nothing outside a tag, in a comment or in a string is changed, and no line becomes another.

/// - `{% generation %}`, with which trainers find what an assistant said, is a plain scope: it prints nothing, and nothing set in
///   it is known outside.
/// - What `~` joins is a text first, as Python has it: `(a)|string ~ (b)|string`.
/// - `'%s' % value` is `'%s' |format(value)`, and `'one' 'two'` is `'one' ~ 'two'`.
/// - A string's `\\/`, `\\a`, `\\v` and `\\U0001F600` are what Python reads.
/// - What a loop goes through is `(value)|looped`, which refuses none.
pub fn adapted(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map_or(rest.len(), |end| end + 2),
            Some(b'{') => close(rest, "}}"),
            Some(b'%') => close(rest, "%}"),
            _ => 1,
        };
        let (tag, after) = rest.split_at(end);
        rest = after;
        let inner = tag.get(2..tag.len().saturating_sub(2)).unwrap_or_default();
        let is_whole = tag.len() >= 4 && (tag.ends_with("}}") || tag.ends_with("%}"));
        match inner.trim_matches(['-', '+']).trim() {
            _ if !is_whole || tag.starts_with("{#") => out.push_str(tag),
            "generation" => out.push_str(&tag.replace("generation", "with")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endwith")),
            "raw" => {
                let end = rest.find("endraw").unwrap_or(rest.len());
                out.push_str(tag);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            _ => {
                // The signs that trim white space belong to the braces.
                let left = 2 + usize::from(inner.starts_with(['-', '+']));
                let right = tag.len() - 2 - usize::from(inner.len() > 1 && inner.ends_with(['-', '+']));
                out.push_str(&tag[..left]);
                joined(&mut out, &replaced(tokens(&tag[left..right]), tag.starts_with("{%")), tag.starts_with("{%"));
                out.push_str(&tag[right..]);
            }
        }
    }
    out.push_str(rest);
    out
}

/// Where a tag is over: after the first `end` that stands in no string and in no brackets.
fn close(tag: &str, end: &str) -> usize {
    let (mut at, mut braces) = (2, 0_usize);
    while let Some(c) = tag[at..].chars().next() {
        match c {
            _ if braces == 0 && tag[at..].starts_with(end) => return at + end.len(),
            '"' | '\'' => {
                at += string(&tag[at..]);
                continue;
            }
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        at += c.len_utf8();
    }
    tag.len()
}

/// The bytes of the string that a text begins with.
fn string(text: &str) -> usize {
    let quote = text.chars().next();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if Some(c) == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The words, numbers, strings, signs and gaps of an expression, with nothing left out.
fn tokens(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let run = |inside: fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let end = match c {
            '"' | '\'' => string(rest),
            c if c.is_whitespace() => run(char::is_whitespace),
            c if c.is_ascii_digit() => number(rest),
            c if is_word(c) => run(is_word),
            _ if ["==", "!=", "<=", ">=", "//", "**"].iter().any(|sign| rest.starts_with(sign)) => 2,
            c => c.len_utf8(),
        };
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The bytes of a number, whose exponent may have a sign of its own.
fn number(text: &str) -> usize {
    let mut last = ' ';
    let mut inside = |c: char| {
        let part = is_word(c) || c == '.' || (matches!(c, '+' | '-') && matches!(last, 'e' | 'E'));
        last = c;
        part
    };
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

fn is_gap(token: &str) -> bool {
    token.starts_with(char::is_whitespace)
}

fn is_string(token: &str) -> bool {
    token.starts_with(['"', '\''])
}

/// What follows the value that a loop goes through.
const LOOPED: [&str; 4] = [")", "|", "looped", " "];

/// What stands for something else: `%` after a string, strings side by side, what a loop goes through.
fn replaced(tokens: Vec<&str>, is_block: bool) -> Vec<&str> {
    let words = |from: usize| tokens.iter().enumerate().skip(from).filter(|(_, token)| !is_gap(token));
    let is_loop = is_block && words(0).next().is_some_and(|(_, first)| *first == "for");
    let (mut out, mut last, mut depth, mut ends) = (Vec::new(), "", 0_usize, Vec::new());
    let mut in_loop = None;
    for (index, token) in tokens.iter().copied().enumerate() {
        match token {
            _ if is_gap(token) => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "if" | "recursive" if in_loop == Some(true) && depth == 0 => {
                out.extend(LOOPED);
                in_loop = Some(false);
            }
            "%" if is_string(last) && words(index + 1).next().is_some() => {
                out.push("|format");
                if let Some((at, _)) = words(index + 1).next().filter(|(_, first)| **first != "(") {
                    out.push("(");
                    ends.push(operand(&tokens, at));
                }
                last = token;
                continue;
            }
            _ if is_string(token) && is_string(last) => out.extend(["~", " "]),
            _ => {}
        }
        out.push(token);
        let goes_on = || words(index + 1).next().is_some_and(|(_, next)| !matches!(*next, "if" | "recursive"));
        if is_loop && token == "in" && in_loop.is_none() && depth == 0 && goes_on() {
            out.extend([" ", "("]);
            in_loop = Some(true);
        }
        while ends.pop_if(|end| *end == index + 1).is_some() {
            out.push(")");
        }
        if !is_gap(token) {
            last = token;
        }
    }
    if in_loop == Some(true) {
        out.extend(LOOPED);
    }
    out
}

/// Where the value that begins at a token is over: a name, a number or a string, with what is asked of it.
fn operand(tokens: &[&str], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match *token {
            "(" | "[" => depth += 1,
            "{" if index == from => depth += 1,
            ")" | "]" | "}" if depth > 0 => depth -= 1,
            "." => {}
            _ if depth > 0 || index == from || tokens[index - 1] == "." => {}
            _ => return index,
        }
    }
    tokens.len()
}

/// A string, with the escapes that Python has written in those that minijinja has.
fn literal(out: &mut String, token: &str) {
    let mut rest = token;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escaped = rest[at + 1..].chars().next();
        let code =
            rest.get(at + 2..at + 10).and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        let mut end = at + 1 + escaped.map_or(0, char::len_utf8);
        match (escaped, code) {
            (Some('/'), _) => out.push_str("\\\\/"),
            (Some('a'), _) => out.push_str("\\x07"),
            (Some('v'), _) => out.push_str("\\x0b"),
            (Some('U'), Some(c)) if !c.is_ascii() => {
                out.push(c);
                end = at + 10;
            }
            _ => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
}

/// An operand that is being written: where it began, and whether `~` stands before it.
#[derive(Default)]
struct Operand {
    start: Option<usize>,
    joined: bool,
}

impl Operand {
    /// Makes a text of it where it is joined with another.
    fn end(&mut self, out: &mut String, joins: bool) {
        if let Some(start) = self.start.take()
            && (joins || self.joined)
        {
            let end = out.trim_end().len();
            if !(is_string(&out[start..end]) && string(&out[start..end]) == end - start) {
                out.insert_str(end, ")|string");
                out.insert(start, '(');
            }
        }
        self.joined = joins;
    }
}

/// Writes tokens, with what `~` joins made a text. It binds as in Jinja2: looser than `*`, tighter than `+`.
fn joined(out: &mut String, tokens: &[&str], is_block: bool) {
    let (mut operand, mut outer) = (Operand::default(), Vec::new());
    let mut last = if is_block { "" } else { "(" };
    for token in tokens.iter().copied().filter(|token| !token.is_empty()) {
        if is_gap(token) {
            out.push_str(token);
            continue;
        }
        match token {
            "~" => operand.end(out, true),
            "and" | "or" | "in" | "if" | "else" | "," | ":" | "=" | "==" | "!=" | "<" | ">" | "<=" | ">=" => {
                operand.end(out, false);
            }
            "not" if last != "is" => operand.end(out, false),
            "+" | "-" if operand.start.is_some() => operand.end(out, false),
            _ if last.is_empty() => {}
            ")" | "]" | "}" => {
                operand.end(out, false);
                operand = outer.pop().unwrap_or_default();
            }
            _ => {
                operand.start.get_or_insert(out.len());
                if matches!(token, "(" | "[" | "{") {
                    outer.push(std::mem::take(&mut operand));
                }
            }
        }
        if is_string(token) {
            literal(out, token)
        } else {
            out.push_str(token)
        }
        last = token;
    }
    operand.end(out, false);
}

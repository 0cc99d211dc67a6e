//! Turns lines and their indentation into what was probably meant where a bracket or a quote is missing.
//!
//! # Invariants
//! Each question reads a bounded part of the text: a line, or the lines of one block.

use crate::syntax::words::Class;

/// As far as a line or a text block is looked through again.
const MOST_BYTES: usize = 16 << 10;

/// Where in a text block a line begins that opens an item, when the block's own lines are further in: its end was forgotten.
pub fn swallowed_item(inside: &str) -> Option<usize> {
    let mut lines = inside.match_indices('\n').map(|(at, _)| at + 1);
    let first = lines.next()?;
    if !inside[first..].starts_with([' ', '\t']) {
        return None;
    }
    lines.find(|at| opens_item(&inside[*at..]))
}

/// Where the line of the next message begins, when its opening quotes were taken for the end of a text block that begins
/// on a line `indent` in: `user """` and nothing else.
pub fn swallowed_message(inside: &str, indent: usize, after: &str) -> Option<usize> {
    let line = inside.rfind('\n')? + 1;
    let role = inside[line..].trim_start_matches([' ', '\t']);
    let own = inside.len() - line - role.len();
    let word = role.trim_end_matches([' ', '\t']);
    let alone = first_line(after).trim().is_empty() || code(first_line(after)).trim().is_empty();
    (own <= indent && is_name(word) && alone).then_some(line)
}

/// A line that can only be the head of an item: `model name {`, `rule name =`, `import "`.
pub fn opens_item(text: &str) -> bool {
    let mut words = first_line(text).splitn(3, [' ', '\t']);
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let named = second.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match first {
        "import" => second.starts_with('"'),
        "agx" => second.starts_with(|c: char| c.is_ascii_digit()),
        // A schedule has lets of its own.
        "let" => false,
        first => Class::Item.has(first) && named,
    }
}

pub fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or("").trim_end_matches('\r')
}

pub fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// A line without its comment.
pub fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("").trim_end()
}

pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A text block that begins on the first line of `text` with its quotes lost or short of one: `user` or `user ""`, then
/// lines further in, then `"""` alone. Where its quotes were due, and where the closing ones end.
pub fn unopened_block(text: &str) -> Option<(usize, usize)> {
    let head = first_line(text);
    let own = indent(head);
    let written = code(head);
    let word = written.trim_start_matches([' ', '\t']).trim_end_matches('"').trim_end();
    let quotes = written.len() - written.trim_end_matches('"').len();
    if !is_name(word) || quotes > 2 {
        return None;
    }
    let mut at = head.len() + 1;
    let mut lines = 0;
    while let Some(rest) = text.get(at.min(text.len())..).filter(|rest| !rest.is_empty() && at < MOST_BYTES) {
        let line = first_line(rest);
        let inner = line.trim();
        if !inner.is_empty() && indent(line) <= own {
            return None;
        }
        if inner == "\"\"\"" {
            return (lines > 0).then(|| (written.len() - quotes, at + indent(line) + 3));
        }
        if inner.contains("\"\"\"") {
            return None;
        }
        lines += usize::from(!inner.is_empty());
        at += rest.find('\n').map_or(rest.len(), |end| end + 1);
    }
    None
}

/// Where on a line a `{` was lost: the space before `name =` behind a word, before `1 =>` behind `=`, before `plot` behind
/// `report`.
pub fn lost_brace(line: &str) -> Option<usize> {
    if line.len() > MOST_BYTES {
        return None;
    }
    let words = words(line);
    words.windows(2).find_map(|pair| {
        let ((before, from, to), (word, next, end)) = (pair[0], pair[1]);
        let gap = &line[to..next];
        let behind = line[end..].trim_start();
        if gap.is_empty() || !gap.trim().is_empty() || from == next {
            return None;
        }
        let gives = (behind.starts_with('=') && !behind.starts_with("==") && !behind.starts_with("=>"))
            || (behind.starts_with(':') && !matches!(before, "prompt" | "rule"));
        let opens = before == ")" || before.starts_with(|c: char| c.is_ascii_alphabetic());
        let field = is_name(word) && gives && !matches!(before, "let" | "param" | "rule");
        let line_of_report = before == "report" && matches!(word, "plot" | "table");
        let case = before == "=" && behind.starts_with("=>");
        let statement = before == "schedule" && Class::Statement.has(word);
        ((field && opens) || line_of_report || case || statement).then_some(next - 1)
    })
}

/// Names, numbers and `=` on a line, outside strings: what each is, where it begins and where it ends.
fn words(line: &str) -> Vec<(&str, usize, usize)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(next) = line[at..].chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '@';
        let length = if word(next) {
            line[at..].find(|c| !word(c)).unwrap_or(line.len() - at)
        } else if next == '"' {
            line[at + 1..].find('"').map_or(line.len() - at, |end| end + 2)
        } else {
            next.len_utf8()
        };
        if !next.is_whitespace() {
            words.push((&line[at..at + length], at, at + length));
        }
        at += length;
    }
    words
}

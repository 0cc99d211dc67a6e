//! Turns two texts into the reason why one must not stand for the other, if there is one.

use super::canonical;
use crate::syntax::ast::{Comment, CommentKind, File};
use crate::syntax::parse;
use serde::Serialize;

/// Whether `new` may be written where `old` stood, whose tree is `file`: same meaning, text blocks included; same comments at
/// the same places; and formatted once more it stays as it is.
pub fn compare(old: &str, file: &File, new: &str) -> Result<(), &'static str> {
    let (again, diagnostics) = parse(new);
    if !diagnostics.is_empty() {
        return Err("the result would not be readable");
    }
    if !same_meaning(file, &again) {
        return Err("the result would mean something else");
    }
    if comments(old, &file.comments) != comments(new, &again.comments) {
        return Err("a comment would not stand where it stood");
    }
    if canonical(new, &again).as_deref() != Some(new) {
        return Err("formatting the result would change it");
    }
    Ok(())
}

fn same_meaning(old: &File, new: &File) -> bool {
    let same = |(old, new)| written(old) == written(new);
    old.doc == new.doc && old.items.len() == new.items.len() && old.items.iter().zip(&new.items).all(same)
}

/// A part of the tree without its places.
fn written(part: &impl Serialize) -> String {
    let all = serde_json::to_string(part).expect("a tree is plain data");
    let mut text = String::with_capacity(all.len());
    let mut rest = all.as_str();
    // Nothing else is written like this: in a string the quotes would be escaped.
    while let Some((before, place)) = rest.split_once("{\"start\":") {
        text.push_str(before);
        rest = place.split_once('}').map_or("", |(_, after)| after);
    }
    text + rest
}

/// Where a comment stands: its text, whether it follows something on its line, and how much of the text stands before it,
/// space, separators and other comments aside.
#[derive(Debug, PartialEq, Eq)]
struct Place<'t> {
    text: &'t str,
    kind: CommentKind,
    trailing: bool,
    before: usize,
}

fn comments<'t>(text: &'t str, comments: &[Comment]) -> Vec<Place<'t>> {
    let mut places = Vec::with_capacity(comments.len());
    let (mut at, mut before, mut last, mut line_is_empty) = (0, 0, ' ', true);
    for comment in comments {
        let between = &text[at..comment.span.start as usize];
        for c in between.chars() {
            match c {
                '\n' => line_is_empty = true,
                ',' | '\u{feff}' => {}
                // What may open a rule.
                '|' if last == '=' => {}
                c if c.is_whitespace() => {}
                _ => {
                    before += 1;
                    last = c;
                    line_is_empty = false;
                }
            }
        }
        let trailing = !line_is_empty;
        places.push(Place { text: &text[comment.span.range()], kind: comment.kind, trailing, before });
        at = comment.span.end as usize;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::syntax::parse;

    fn told(old: &str, new: &str) -> Result<(), &'static str> {
        compare(old, &parse(old).0, new)
    }

    const OLD: &str = "agx 2026\n\nlet a = 1  // one\n\nprompt p(t: text) {\n  user \"\"\"\n    x\n    \"\"\"\n}\n";

    #[test]
    fn what_is_its_own_canonical_form_passes() {
        assert_eq!(told(OLD, OLD), Ok(()));
        assert_eq!(told("agx   2026\n//x", "agx 2026\n//x\n"), Ok(()));
    }

    #[test]
    fn every_guarantee_can_fail() {
        assert_eq!(told(OLD, "agx 2026 let"), Err("the result would not be readable"));
        let meaning = Err("the result would mean something else");
        assert_eq!(told(OLD, &OLD.replace("= 1", "= 2")), meaning);
        assert_eq!(told(OLD, &OLD.replace("    x\n", "     x\n")), meaning, "a text block is meaning");
        let comment = Err("a comment would not stand where it stood");
        assert_eq!(told(OLD, &OLD.replace("// one", "// on")), comment);
        assert_eq!(told(OLD, &OLD.replace("  // one", "\n// one")), comment);
        assert_eq!(told(OLD, &OLD.replace("let a = 1  // one", "// one\nlet a = 1")), comment);
        let twice = Err("formatting the result would change it");
        assert_eq!(told(OLD, &OLD.replace("let a = 1", "let a  =  1")), twice);
    }
}

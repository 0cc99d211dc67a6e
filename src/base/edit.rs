//! Turns a text and the edits of its diagnostics into the mended text.

use crate::base::{Diagnostic, Edit};
use std::collections::BTreeMap;

/// Makes the edits of each diagnostic, all or none of them: those that would touch a place that an earlier one has mended are
/// left for another round. Gives the text and which diagnostics were mended, or nothing when none was.
pub fn mend<'d>(text: &str, diagnostics: &'d [Diagnostic]) -> Option<(String, Vec<&'d Diagnostic>)> {
    let mut edits: BTreeMap<u32, &Edit> = BTreeMap::new();
    let mut mended = Vec::new();
    for diagnostic in diagnostics {
        let mut own = Vec::new();
        for edit in &diagnostic.edits {
            let changes = text.get(edit.span.range()).is_some_and(|now| now != edit.text);
            if !changes || !is_free(&edits, edit) {
                break;
            }
            edits.insert(edit.span.start, edit);
            own.push(edit.span.start);
        }
        if own.len() < diagnostic.edits.len() {
            for start in own {
                edits.remove(&start);
            }
        } else if !own.is_empty() {
            mended.push(diagnostic);
        }
    }
    if mended.is_empty() {
        return None;
    }
    let new = apply(text, edits.into_values());
    Some((new, mended))
}

/// The text with edits that do not touch each other, in the order of their places.
pub fn apply<'e>(text: &str, edits: impl IntoIterator<Item = &'e Edit>) -> String {
    let mut new = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        new.push_str(&text[at..edit.span.start as usize]);
        new.push_str(&edit.text);
        at = edit.span.end as usize;
    }
    new.push_str(&text[at..]);
    new
}

/// Whether an edit touches none of those before. Two insertions at one place do: nothing says which comes first.
fn is_free(edits: &BTreeMap<u32, &Edit>, edit: &Edit) -> bool {
    let before = edits.range(..=edit.span.start).next_back();
    let after = edits.range(edit.span.start..).next();
    before.is_none_or(|(start, other)| *start < edit.span.start && other.span.end <= edit.span.start)
        && after.is_none_or(|(start, _)| *start >= edit.span.end && *start > edit.span.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;

    fn diagnostic(code: &'static str, edits: &[(usize, usize, &str)]) -> Diagnostic {
        let start = Diagnostic::error(code, "wrong", Span::default(), "");
        edits.iter().fold(start, |it, (from, to, text)| it.edit(Span::new(*from, *to), *text))
    }

    #[test]
    fn what_overlaps_waits() {
        let all = [
            diagnostic("E1", &[(0, 1, "A"), (4, 4, "!")]),
            diagnostic("E2", &[(2, 3, "C"), (0, 2, "?")]),
            diagnostic("E3", &[(2, 2, "-")]),
        ];
        let (text, mended) = mend("abcd", &all).expect("two can be mended");
        assert_eq!(text, "Ab-cd!");
        assert_eq!(mended.iter().map(|it| it.code).collect::<Vec<_>>(), ["E1", "E3"]);
        assert!(mend("abcd", &all[..0]).is_none());
    }

    #[test]
    fn edits_that_change_nothing_or_lie_outside_are_none() {
        assert!(mend("ab", &[diagnostic("E1", &[(0, 1, "a")])]).is_none());
        assert!(mend("é", &[diagnostic("E1", &[(1, 2, "a")])]).is_none());
        assert!(mend("ab", &[diagnostic("E1", &[(2, 9, "a")])]).is_none());
    }
}

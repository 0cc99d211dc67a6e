//! Turns the edits of diagnostics into fixes to choose from, and into one text with all of them.

use super::Document;
use crate::base::{Diagnostic, Edit, Span, edit};

/// One diagnostic's way out.
#[derive(Clone, Debug)]
pub struct Fix<'d> {
    pub title: String,
    pub of: &'d Diagnostic,
}

/// The fixes of what is wrong within a range.
pub fn fixes(document: &Document, range: Span) -> Vec<Fix<'_>> {
    let touches = |span: Span| span.start <= range.end && range.start <= span.end;
    let here = document.diagnostics.iter().filter(|it| it.labels.iter().any(|label| touches(label.span)));
    let mendable = here.filter(|diagnostic| mends_here(document, diagnostic));
    mendable.map(|diagnostic| Fix { title: title(document, diagnostic), of: diagnostic }).collect()
}

/// Whether its edits are of this file.
fn mends_here(document: &Document, diagnostic: &Diagnostic) -> bool {
    !diagnostic.edits.is_empty() && diagnostic.edits.iter().all(|edit| document.is_own(edit.span))
}

/// What a fix does, in a few words.
fn title(document: &Document, diagnostic: &Diagnostic) -> String {
    let short = |text: &str| {
        let line: String = text.trim().lines().next().unwrap_or("").chars().take(40).collect();
        if line.len() < text.trim().len() { format!("{line}…") } else { line }
    };
    match diagnostic.edits.as_slice() {
        [Edit { span, text }] => {
            let old = document.slice(*span);
            match (old.trim().is_empty(), text.trim().is_empty()) {
                (_, true) => format!("Remove `{}`", short(old)),
                (true, false) => format!("Insert `{}`", short(text)),
                (false, false) => format!("Replace `{}` by `{}`", short(old), short(text)),
            }
        }
        edits => format!("Mend all {} places", edits.len()),
    }
}

/// The edits of all diagnostics that can be made at once, in source order.
pub fn all(document: &Document) -> Vec<Edit> {
    let own: Vec<Diagnostic> = document.diagnostics.iter().filter(|it| mends_here(document, it)).cloned().collect();
    let mended = edit::mend(&document.text, &own).map_or_else(Vec::new, |(_, mended)| mended);
    let mut edits: Vec<Edit> = mended.into_iter().flat_map(|diagnostic| diagnostic.edits.iter().cloned()).collect();
    edits.sort_by_key(|edit| edit.span);
    edits
}

/// The lines that make one text another, from the first that differs to the last; nothing if none does.
pub fn difference(old: &str, new: &str) -> Option<Edit> {
    let same = |(a, b): &(&str, &str)| a == b;
    let lines = |text| str::split_inclusive(text, '\n');
    let before: usize = lines(old).zip(lines(new)).take_while(same).map(|(line, _)| line.len()).sum();
    let (old_left, new_left) = (&old[before..], &new[before..]);
    let after: usize =
        lines(old_left).rev().zip(lines(new_left).rev()).take_while(same).map(|(line, _)| line.len()).sum();
    let span = Span::new(before, old.len() - after);
    let text = new_left[..new_left.len() - after].to_owned();
    (old != new).then_some(Edit { span, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_lines_between() {
        for (old, new, changed) in [
            ("a\nb\nc\n", "a\nB\nc\n", "B\n"),
            ("a\nc\n", "a\nb\nc\n", "b\n"),
            ("a\na\na\n", "a\n", ""),
            ("a", "a\n", "a\n"),
            ("", "x", "x"),
        ] {
            let found = difference(old, new).expect("they differ");
            assert_eq!((edit::apply(old, [&found]).as_str(), found.text.as_str()), (new, changed), "{old:?}");
        }
        assert_eq!(difference("a\n", "a\n"), None);
    }
}

//! Questions to texts that are cut off, and to every place of one.

use super::*;
use crate::base::edit;
use crate::experiment::Unreadable;
use std::path::Path;

const TEXT: &str = include_str!("../../experiments/quickstart.agx");

fn world() -> World<'static> {
    World { root: Path::new("experiments"), exists: &|_| true, read: &|_| Err(Unreadable::Missing) }
}

fn read(text: &str) -> Document {
    Document::read("experiments/a.agx".to_owned(), text.to_owned(), world())
}

fn labels(document: &Document, at: usize) -> Vec<String> {
    complete::complete(document, at).list.into_iter().map(|proposal| proposal.label).collect()
}

/// Whoever types has every beginning of a file for a moment.
#[test]
fn every_beginning_of_a_file_has_answers() {
    let places: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).step_by(23).collect();
    for at in places {
        let document = read(&TEXT[..at]);
        labels(&document, at);
        hover::hover(&document, at);
        for named in navigate::references(&document, at) {
            assert!(!document.slice(named.span).is_empty());
        }
        let _ = rename::prepare(&document, at);
        let whole = select::around(&document, at);
        assert!(whole.windows(2).all(|pair| pair[1].start <= pair[0].start && pair[0].end <= pair[1].end), "{at}");
        for painted in paint::paint(&document) {
            assert!(!document.slice(painted.span).contains('\n'), "{at}");
        }
        fold::folds(&document);
        outline::outline(&document.text, &document.file);
    }
}

#[test]
fn a_whole_file_is_understood() {
    let document = read(TEXT);
    assert!(document.diagnostics.is_empty(), "{:?}", document.diagnostics);
    for (place, token) in document.tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Word) {
        let known = document.index.at(token.span.start).is_some_and(|(span, _)| token.span.end <= span.end);
        let word = token.text(TEXT);
        assert!(known || paint::unresolved(&document, place) != paint::Paint::Variable, "`{word}` means nothing");
    }
}

/// What is renamed, and renamed back, is as it was.
#[test]
fn every_name_can_be_renamed_and_back() {
    let document = read(TEXT);
    let names: Vec<Span> = document.index.declarations().map(|(span, _)| span).collect();
    assert!(names.len() >= 30, "{}", names.len());
    for span in names {
        let from = document.slice(span).to_owned();
        let there = to(&document, span.start as usize, "something_else").expect("it is free");
        assert_ne!(there.text, TEXT, "{from}");
        assert!(there.diagnostics.is_empty(), "{from}: {:?}", there.diagnostics);
        assert_eq!(to(&there, span.start as usize, &from).expect("it was so before").text, TEXT, "{from}");
    }
}

fn to(document: &Document, at: usize, name: &str) -> Result<Document, String> {
    let reread = |file: &Document, texts: &rename::Texts| read(texts.get("experiments/a.agx").unwrap_or(&file.text));
    let edits = rename::rename(document, at, name, &[document], &reread)?;
    Ok(read(&edit::apply(&document.text, &edits["experiments/a.agx"])))
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let document = read(TEXT);
    let at = TEXT.find("policy").expect("the model");
    for taken in ["grader_lm", "desk", "trajs", "by", "Policy", "7", ""] {
        assert!(to(&document, at, taken).is_err(), "{taken}");
    }
}

#[test]
fn all_fixes_at_once_mend_a_file() {
    let document = read("agx 2026\nmodel a { weigths = path(\"x\"), context = 512 }\n");
    let mended = edit::apply(&document.text, &fix::all(&document));
    assert_eq!(mended, "agx 2026\nmodel a { weights = path(\"x\"), context = 512 tokens }\n");
}

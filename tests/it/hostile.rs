//! Any text is answered: with a tree, with places that lie in it, without a panic.

use agx::base::Diagnostic;
use agx::experiment::{self, World};
use agx::syntax;
use proptest::prelude::*;
use std::path::Path;

const WHOLE: &str = include_str!("samples/whole.agx");

/// What a text means, if it means anything.
pub fn experiment(text: &str) -> Option<String> {
    let (file, diagnostics) = syntax::parse(text);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}\n{text}");
    let world = World { root: Path::new("project"), exists: &|_| true };
    experiment::check(&file, &[], world).0.map(|experiment| serde_json::to_string(&experiment).unwrap())
}

/// What is said about a text; that it can be said, and that what is sound can be formatted.
pub fn answer(text: &str) -> Vec<Diagnostic> {
    let (file, mut diagnostics) = syntax::parse(text);
    if diagnostics.is_empty() {
        let formatted = syntax::fmt::format(text);
        assert!(formatted.is_ok(), "{formatted:#?}\n{text}");
    }
    let world = World { root: Path::new("project"), exists: &|_| true };
    let (experiment, found) = experiment::check(&file, &[("rounds".to_owned(), "2".to_owned())], world);
    diagnostics.extend(found);
    assert_eq!(experiment.is_some(), !diagnostics.iter().any(Diagnostic::is_error));
    for diagnostic in &diagnostics {
        let places =
            diagnostic.labels.iter().map(|label| label.span).chain(diagnostic.edits.iter().map(|edit| edit.span));
        for place in places {
            assert!(
                text.get(place.range()).is_some(),
                "{} points at {place:?} of {} bytes",
                diagnostic.code,
                text.len()
            );
        }
        assert!(agx::experiment::codes::explain(diagnostic.code).is_some(), "{} is not explained", diagnostic.code);
    }
    diagnostics
}

/// What a text may be spoiled with: pieces of the language, and what it is not made of.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "\"\"\"",
        "#\"\"\"",
        "{{",
        "}}",
        "{%",
        "%}",
        "|",
        "=",
        "==",
        "=>",
        "@",
        "@all",
        "..",
        ",",
        "\n",
        "\r\n",
        "\t",
        " ",
        "//",
        "///",
        "//!",
        "0",
        "1e999",
        "99999999999999999999",
        "40%",
        "4k",
        "512 tokens",
        "s",
        "é",
        "🦀",
        "\u{feff}",
        "\u{202e}",
        "model",
        "rule",
        "experiment",
        "let x =",
        "until",
        "as i",
        "in",
        "not not not not",
        "-",
        "and",
        "train policy on kept",
        "{% end %}",
        "{% for x in task.tools %}",
        "_",
        "\\u{",
        "\\",
        "agx 2026",
        "import \"a\" as b",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoiled_files_are_answered(spoils in prop::collection::vec((0.0..1.0f64, 0usize..40, piece()), 1..6)) {
        let mut text = WHOLE.to_owned();
        for (place, length, piece) in spoils {
            let mut from = (place * text.len() as f64) as usize;
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + length).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            text.replace_range(from..to, piece);
        }
        answer(&text);
    }

    #[test]
    fn salads_are_answered(pieces in prop::collection::vec(piece(), 0..60)) {
        answer(&pieces.join(" "));
    }

    #[test]
    fn any_characters_are_answered(text in "\\PC*") {
        answer(&text);
    }
}

#[test]
fn every_beginning_and_every_end_is_answered() {
    let lines: Vec<usize> = WHOLE.match_indices('\n').map(|(at, _)| at).collect();
    for at in lines {
        answer(&WHOLE[..at]);
        answer(&WHOLE[at..]);
    }
}

#[test]
fn deep_and_long_texts_are_answered() {
    for bracket in ["{", "(", "[", "a {", "x = (", "{ 1 => ", "f(", "\"\"\"", "{%", "not ", "-", "a.", "|", "1 + "] {
        answer(&format!("agx 2026\n\nlet a = {}", bracket.repeat(10_000)));
        answer(&format!("rule a = where {}", bracket.repeat(10_000)));
        answer(&format!("experiment a {{ schedule {{ {}", bracket.repeat(10_000)));
    }
    let open = "{% for x in task.tools %}".repeat(5_000);
    answer(&format!("prompt a(task: desk.Task) {{\n  user \"\"\"\n  {open}\n  \"\"\"\n}}\n"));
    answer(&"let a = 1\n".repeat(20_000));
}

//! Any text is answered: with a tree, with places that lie in it, without a panic.

use agx::base::Diagnostic;
use agx::experiment::{self, Checked, Given, Origin, Unreadable, World};
use agx::syntax::{self, Source};
use proptest::prelude::*;
use std::path::Path;

const WHOLE: &str = include_str!("samples/whole.agx");

fn check(text: &str, given: &[Given]) -> Checked {
    // Whatever it imports is the same text again, and what that imports in turn is missing; as are rows and programs.
    let read = |path: &Path| match path.components().count() {
        0..4 if path.extension().is_some_and(|it| it == "agx") => Ok(text.as_bytes().to_vec()),
        _ => Err(Unreadable::Missing),
    };
    let world = World { root: Path::new("project"), exists: &|_| true, read: &read };
    experiment::check(Source { name: "a.agx".to_owned(), text: text.to_owned() }, given, world)
}

/// What a sound text means, wherever it stands.
pub fn meaning(text: &str) -> String {
    let Checked { experiments, diagnostics, .. } = check(text, &[]);
    assert!(!diagnostics.iter().any(Diagnostic::is_error), "{diagnostics:#?}\n{text}");
    let mut meant = serde_json::to_value(&experiments).unwrap();
    forget_places(&mut meant);
    meant.to_string()
}

/// A budget knows its place in the file, which formatting changes.
fn forget_places(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove("span");
            fields.values_mut().for_each(forget_places);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget_places),
        _ => {}
    }
}

/// What is said about a text; that it can be said, and that what can be read can be formatted.
pub fn answer(text: &str) -> Vec<Diagnostic> {
    if syntax::parse(text).1.is_empty() {
        let formatted = syntax::fmt::format(text);
        assert!(formatted.is_ok(), "{formatted:#?}\n{text}");
    }
    let given = Given { name: "rounds".to_owned(), value: "2".to_owned(), origin: Origin::Set };
    let checked = check(text, &[given]);
    let (sources, diagnostics) = (checked.sources, checked.diagnostics);
    let sound = !diagnostics.iter().any(Diagnostic::is_error);
    assert!(sound || checked.experiments.is_empty());
    for diagnostic in &diagnostics {
        let places =
            diagnostic.labels.iter().map(|label| label.span).chain(diagnostic.edits.iter().map(|edit| edit.span));
        for place in places {
            let (source, own) = sources.locate(place);
            let length = source.text.len();
            assert!(source.text.get(own.range()).is_some(), "{} points at {own:?} of {length} bytes", diagnostic.code);
        }
        assert!(agx::experiment::codes::explain(diagnostic.code).is_some(), "{} is not explained", diagnostic.code);
    }
    diagnostics
}

/// What a text may be spoiled with: pieces of the language, and what it is not made of.
pub const PIECES: &[&str] = &[
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
    "#",
    ":",
    "<",
    ">",
    "?",
    "/",
    "\r",
    "\u{1}",
    "not ",
    "model m {",
    "rule r =",
    "schedule {",
    "visible to",
    "including",
];

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PIECES)
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
fn bad_files_are_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/diagnostics");
    for folder in [folder.join("blind"), folder] {
        for entry in std::fs::read_dir(folder).expect("the folder of bad files") {
            let path = entry.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "agx") {
                answer(&std::fs::read_to_string(path).expect("text"));
            }
        }
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

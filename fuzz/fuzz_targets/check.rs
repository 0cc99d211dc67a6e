//! Any text gives experiments or errors, whose places lie in their files, and the mends of its diagnostics can be made.
#![no_main]

use agx::base::{Diagnostic, edit};
use agx::experiment::{Unreadable, World, check};
use agx::syntax::Source;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    // Whatever it imports is the same text again, and what that imports in turn is missing.
    let read = |path: &Path| match path.components().count() {
        0..4 => Ok(text.as_bytes().to_vec()),
        _ => Err(Unreadable::Missing),
    };
    let world = World { root: Path::new("project"), exists: &|_| true, read: &read };
    let checked = check(Source { name: "fuzz.agx".to_owned(), text: text.to_owned() }, &[], world);
    let sound = !checked.diagnostics.iter().any(Diagnostic::is_error);
    assert!(sound || checked.experiments.is_empty());
    for diagnostic in &checked.diagnostics {
        let labels = diagnostic.labels.iter().map(|label| label.span);
        for place in labels.chain(diagnostic.edits.iter().map(|edit| edit.span)) {
            let (source, own) = checked.sources.locate(place);
            assert!(source.text.get(own.range()).is_some(), "{} points outside", diagnostic.code);
        }
    }
    edit::mend(text, &checked.diagnostics);
});

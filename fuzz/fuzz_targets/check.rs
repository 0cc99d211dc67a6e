//! Any text gives an experiment or errors, and the mends of its diagnostics can be made.
#![no_main]

use agx::base::{Diagnostic, edit};
use agx::experiment::{World, check};
use agx::syntax::parse;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    let (file, mut diagnostics) = parse(text);
    let world = World { root: Path::new("project"), exists: &|_| true };
    let (experiment, found) = check(&file, &[], world);
    diagnostics.extend(found);
    assert_eq!(experiment.is_some(), !diagnostics.iter().any(Diagnostic::is_error));
    for diagnostic in &diagnostics {
        let labels = diagnostic.labels.iter().map(|label| label.span);
        for place in labels.chain(diagnostic.edits.iter().map(|edit| edit.span)) {
            assert!(text.get(place.range()).is_some(), "{} points outside", diagnostic.code);
        }
    }
    edit::mend(text, &diagnostics);
});

//! Any bytes give a tree and diagnostics whose places lie in the text.
#![no_main]

use agx::syntax::{Source, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (source, problem) = Source::from_bytes("fuzz.agx", bytes.to_vec());
    let (_, diagnostics) = parse(&source.text);
    for diagnostic in problem.iter().chain(&diagnostics) {
        let labels = diagnostic.labels.iter().map(|label| label.span);
        for place in labels.chain(diagnostic.edits.iter().map(|edit| edit.span)) {
            assert!(source.text.get(place.range()).is_some(), "{} points outside", diagnostic.code);
        }
    }
});

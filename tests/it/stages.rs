//! Every sample gives a snapshot a floor.

use agx::base::Diagnostic;
use agx::experiment::{self, Experiment, World};
use agx::syntax;
use std::path::Path;

#[test]
fn the_whole_example_gives_a_tree() {
    let (file, diagnostics) = syntax::parse(include_str!("samples/whole.agx"));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"Span \{\s+start: (\d+),\s+end: (\d+),\s+\}", "$1..$2");
    settings.add_filter(r"Spanned \{\s+value: ([^\n]+),\s+span: (\d+\.\.\d+),\s+\}", "$1 @ $2");
    settings.bind(|| insta::assert_debug_snapshot!("ast_whole", file));
}

/// A world in which every file exists.
fn check(text: &str, overrides: &[(&str, &str)]) -> (Option<Experiment>, Vec<Diagnostic>) {
    let (file, diagnostics) = syntax::parse(text);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    experiment::check(&file, &overrides, World { root: Path::new("project"), exists: &|_| true })
}

#[test]
fn the_quickstart_gives_an_experiment() {
    let (experiment, diagnostics) = check(include_str!("samples/quickstart.agx"), &[]);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    insta::assert_json_snapshot!("experiment_quickstart", experiment.expect("no diagnostic"));
}

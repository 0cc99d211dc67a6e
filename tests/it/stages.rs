//! Every sample gives a snapshot a floor.

use agx::syntax;

#[test]
fn the_whole_example_gives_a_tree() {
    let (file, diagnostics) = syntax::parse(include_str!("samples/whole.agx"));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"Span \{\s+start: (\d+),\s+end: (\d+),\s+\}", "$1..$2");
    settings.add_filter(r"Spanned \{\s+value: ([^\n]+),\s+span: (\d+\.\.\d+),\s+\}", "$1 @ $2");
    settings.bind(|| insta::assert_debug_snapshot!("ast_whole", file));
}

//! Every sample gives a snapshot a floor.

use agx::base::Diagnostic;
use agx::experiment::{self, Experiment, World};
use agx::syntax;
use std::path::{Path, PathBuf};

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

fn sound(text: &str, overrides: &[(&str, &str)]) -> Experiment {
    let (experiment, diagnostics) = check(text, overrides);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    experiment.expect("nothing is wrong")
}

const QUICKSTART: &str = include_str!("samples/quickstart.agx");

#[test]
fn samples_give_experiments() {
    for path in samples(Path::new("tests/it/samples")) {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        // `import` is the next edition's work: this sample is there for its tree.
        if name != "whole" {
            insta::assert_json_snapshot!(format!("experiment_{name}"), sound(&text, &[]));
        }
    }
}

#[test]
fn the_repositorys_experiments_are_sound() {
    for path in samples(Path::new("experiments")) {
        let text = std::fs::read_to_string(&path).expect("text");
        let (experiment, diagnostics) = check(&text, &[]);
        assert!(diagnostics.is_empty(), "{}: {diagnostics:#?}", path.display());
        assert!(experiment.is_some());
    }
}

fn samples(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(samples(&path));
        } else if path.extension().is_some_and(|extension| extension == "agx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn params_are_set_from_outside() {
    let text = QUICKSTART
        .replace("  seed = 7\n", "  seed = seed\n")
        .replace("score >= 3", "score >= threshold")
        .replace("rule good", "param seed : int = 7\nparam threshold : int in 0..4 = 3\nrule good");
    let plain = sound(&text, &[]);
    assert_eq!(plain, sound(QUICKSTART, &[]), "a param with its default is its default");
    let set = sound(&text, &[("seed", "8"), ("threshold", "4"), ("rounds", "4")]);
    assert_eq!(set.seed, 8);
    assert_ne!(set.rules, plain.rules);
    assert_ne!(set.schedule, plain.schedule);
    assert_eq!(Experiment { seed: 7, rules: plain.rules.clone(), schedule: plain.schedule.clone(), ..set }, plain);
}

#[test]
fn names_order_and_layout_change_only_themselves() {
    let plain = sound(QUICKSTART, &[]);
    let spread = QUICKSTART.replace(" = ", "   =  ").replace(" | ", "\n  | ").replace('\n', "\r\n");
    assert_eq!(sound(&spread, &[]), plain, "layout");
    let numbers = QUICKSTART.replace("1e-3", "0.001").replace("512", "5_12").replace("40%", "(80% - 40%)");
    assert_eq!(sound(&numbers, &[]), plain, "how a number is written");
}

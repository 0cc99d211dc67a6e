//! Bad files: every planted mistake is one diagnostic with its code on its line, and nothing else is told.
//!
//! A mistake is planted by `//~ CODE` behind its line, or `//~^ CODE` below it, with a `^` for each line between. A first
//! line `//~ --set name=value` is the command line's part.

use agx::base::{Diagnostic, Severity};
use agx::experiment::{self, Checked, Given, Origin, Unreadable, World, codes};
use agx::syntax::{self, Source, SourceMap};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Codes that only a file's bytes, its length or the file system can give; tests here, of `syntax::source` and of `cli` have
/// them.
const OF_BYTES: [&str; 7] = ["E0001", "E0002", "E0003", "E0004", "E0005", "E0017", "E0116"];

/// What only running a file gives: a test of `cli` has it.
const OF_RUNS: [&str; 1] = ["E0009"];

/// Codes that only a bug gives; the formatter's own tests have it.
const OF_BUGS: [&str; 1] = ["E0117"];

const FOLDER: &str = "tests/it/diagnostics";

/// Bad files by somebody who knew the language and not the checker.
const BLIND: &str = "tests/it/diagnostics/blind";

fn files() -> Vec<PathBuf> {
    files_in(FOLDER)
}

fn files_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder of bad files");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "agx"));
    files.sort();
    files
}

/// What files import lies in `lib`, in their folder.
fn check(folder: &str, name: &str, text: &str) -> Checked {
    let set = text.lines().next().and_then(|line| line.strip_prefix("//~ --set "));
    let given: Vec<Given> = set
        .into_iter()
        .flat_map(|sets| sets.split(" --set "))
        .filter_map(|set| set.split_once('='))
        .map(|(name, value)| Given { name: name.to_owned(), value: value.to_owned(), origin: Origin::Set })
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let read = |path: &Path| {
        let path = folder.join(path.strip_prefix("project").expect("below the root"));
        std::fs::read(path).map_err(|_| Unreadable::Missing)
    };
    let exists = |path: &Path| !path.to_string_lossy().contains("missing");
    let world = World { root: Path::new("project"), exists: &exists, read: &read };
    let source = Source { name: format!("{name}.agx"), text: text.to_owned() };
    let checked = agx::plan::afford(experiment::check(source, &given, world));
    let broken = checked.diagnostics.iter().any(Diagnostic::is_error);
    assert!(!broken || checked.experiments.is_empty(), "no experiment of a file with an error");
    checked
}

fn diagnose(text: &str) -> Vec<Diagnostic> {
    check(FOLDER, "a", text).diagnostics
}

/// (line, code) of what a file says it has.
fn planted(text: &str) -> Vec<(usize, String)> {
    let mut planted = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, mark)) = line.split_once("//~") else { continue };
        let above = mark.len() - mark.trim_start_matches('^').len();
        let codes = mark.split_whitespace().filter(|word| word.len() == 5 && word.starts_with(['E', 'W']));
        planted.extend(codes.map(|code| (at + 1 - above, code.to_owned())));
    }
    planted.sort();
    planted
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

#[test]
fn every_planted_mistake_is_one_diagnostic() {
    hold(FOLDER, |_| true);
}

#[test]
fn every_mistake_that_a_stranger_planted_is_one_diagnostic() {
    // Its author did not know which features are not run yet: that note is no answer to a mistake.
    hold(BLIND, |diagnostic| diagnostic.code != "W0009");
}

/// Holds what is told of the files of a folder, as far as it counts, against what they plant.
fn hold(folder: &str, counts: impl Fn(&Diagnostic) -> bool) {
    let mut wrong = String::new();
    for path in files_in(folder) {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.file_stem().expect("a name").to_string_lossy();
        let Checked { sources, mut diagnostics, .. } = check(folder, &name, &text);
        diagnostics.retain(&counts);
        let place = |diagnostic: &Diagnostic| {
            let (source, span) = sources.locate(diagnostic.primary());
            (source.name.clone(), line_of(&source.text, span.start as usize), diagnostic.code.to_owned())
        };
        let mut found: Vec<_> = diagnostics.iter().map(place).collect();
        found.sort();
        let of = |source: &Source| {
            planted(&source.text).into_iter().map(|(line, code)| (source.name.clone(), line, code)).collect::<Vec<_>>()
        };
        let mut planted: Vec<_> = sources.iter().flat_map(of).collect();
        planted.sort();
        assert!(!planted.is_empty() || name.starts_with("good_"), "{name} plants nothing");
        if found != planted {
            let drawn: String = diagnostics.iter().map(|diagnostic| draw(&sources, diagnostic)).collect();
            wrong += &format!("── {name}\nplanted {planted:?}\nfound   {found:?}\n{drawn}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_message_reads_well() {
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let Checked { sources, diagnostics, .. } = check(FOLDER, &name, &text);
        let drawn: String = diagnostics.iter().map(|diagnostic| draw(&sources, diagnostic)).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("diagnostics/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, drawn));
    }
}

#[test]
fn every_code_is_planted_somewhere_and_explained() {
    let planted: BTreeSet<String> = files()
        .iter()
        .chain(&files_in(&format!("{FOLDER}/lib")))
        .flat_map(|path| planted(&String::from_utf8_lossy(&std::fs::read(path).expect("a file"))))
        .map(|(_, code)| code)
        .collect();
    let known: BTreeSet<String> = codes::all().map(|explanation| explanation.code.to_owned()).collect();
    let missing: Vec<&String> = known
        .iter()
        .filter(|code| {
            let code = code.as_str();
            let elsewhere = OF_BYTES.iter().chain(&OF_RUNS).chain(&OF_BUGS).any(|other| *other == code);
            !planted.contains(code) && !elsewhere
        })
        .collect();
    assert!(missing.is_empty(), "no bad file has {missing:?}");
    let unexplained: Vec<&String> = planted.iter().filter(|code| !known.contains(*code)).collect();
    assert!(unexplained.is_empty(), "not explained: {unexplained:?}");
}

#[test]
fn edits_mend_what_they_promise() {
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("text");
        let is_here = |diagnostic: &&Diagnostic| (diagnostic.primary().start as usize) <= text.len();
        for diagnostic in diagnose(&text).iter().filter(is_here).filter(|it| !it.edits.is_empty()) {
            let mut mended = text.clone();
            let mut edits = diagnostic.edits.clone();
            edits.sort_by_key(|edit| std::cmp::Reverse(edit.span));
            for edit in edits {
                mended.replace_range(edit.span.range(), &edit.text);
            }
            let before = diagnose(&text).iter().filter(|other| other.code == diagnostic.code).count();
            let after = diagnose(&mended).iter().filter(|other| other.code == diagnostic.code).count();
            assert!(after < before, "{}: {} is not mended:\n{mended}", path.display(), diagnostic.message);
        }
    }
}

fn draw(sources: &SourceMap, diagnostic: &Diagnostic) -> String {
    let (source, _) = sources.locate(diagnostic.primary());
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        diagnostic.labels.iter().partition(|label| sources.locate(label.span).0 == source);
    let labels = here.iter().enumerate().map(|(index, label)| {
        let span = sources.locate(label.span).1;
        let (place, words) = ((span.start as usize, span.len()), Some(label.text.clone()));
        if index == 0 {
            LabeledSpan::new_primary_with_span(words, place)
        } else {
            LabeledSpan::new_with_span(words, place)
        }
    });
    let mut shown = MietteDiagnostic::new(diagnostic.message.clone())
        .with_code(diagnostic.code)
        .with_severity(match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
        .with_labels(labels.collect::<Vec<_>>());
    if let Some(help) = &diagnostic.help {
        shown = shown.with_help(help.clone());
    }
    let named = NamedSource::new(&source.name, source.text.clone());
    let report = miette::Report::from(shown).with_source_code(named);
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false)
        .render_report(&mut out, report.as_ref())
        .expect("drawing into a string");
    for label in elsewhere {
        let (source, span) = sources.locate(label.span);
        let line = line_of(&source.text, span.start as usize);
        out += &format!("  {}, line {line}: {:?}: {}\n", source.name, &source.text[span.range()], label.text);
    }
    for edit in &diagnostic.edits {
        let (source, span) = sources.locate(edit.span);
        let line = line_of(&source.text, span.start as usize);
        out += &format!("  edit: line {line}: {:?} → {:?}\n", &source.text[span.range()], edit.text);
    }
    out + "\n"
}

#[test]
fn hostile_bytes_are_one_clear_message() {
    let code = |bytes: Vec<u8>| {
        let (source, problem) = Source::from_bytes("a.agx", bytes);
        let found = problem.into_iter().chain(syntax::parse(&source.text).1).next();
        found.map(|diagnostic| diagnostic.code)
    };
    assert_eq!(code(vec![0; 1000]), Some("E0004"));
    assert_eq!(code(b"agx 2026\n\x1b[31m".to_vec()), Some("E0004"));
    assert_eq!(code(vec![b'{'; 50 << 20]), Some("E0005"));
    assert_eq!(code(vec![b'{'; 10_000]), Some("E0106"));
    assert_eq!(code(b"env x { a = ".iter().copied().chain(vec![b'('; 10_000]).collect()), Some("E0106"));
    assert_eq!(code(b"\xef\xbb\xbfagx 2026\r\n".to_vec()), None, "a byte order mark and CRLF are fine");
}

#[test]
fn a_flood_of_mistakes_is_cut_short() {
    let flood: String = (0..1000).map(|line| format!("oops {line}\n")).collect();
    let (_, diagnostics) = syntax::parse(&flood);
    assert_eq!(diagnostics.len(), 301);
    assert_eq!(diagnostics.last().map(|diagnostic| diagnostic.code), Some("E0116"));
}

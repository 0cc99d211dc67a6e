//! The formatter: samples are in its style, awkward files come out as their snapshots say, what is refused stays.

use agx::syntax::fmt::format;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.agx` file under a folder.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "agx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn samples_are_in_the_canonical_style() {
    let mut samples = files("experiments");
    samples.extend(files("tests/it/samples"));
    samples.extend(files("tests/it/cli"));
    assert!(samples.len() > 8, "the samples are found");
    for path in samples {
        let text = std::fs::read_to_string(&path).unwrap();
        match format(&text) {
            Err(diagnostics) => panic!("{}: {diagnostics:#?}", shown(&path)),
            Ok(formatted) if formatted != text => panic!("{}: run `agx fmt`\n{formatted}", shown(&path)),
            Ok(_) => {}
        }
    }
}

#[test]
fn awkward_files_come_out_as_they_should() {
    let text = include_str!("awkward.txt");
    let formatted = format(text).unwrap();
    assert_eq!(format(&formatted).as_ref(), Ok(&formatted));
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("fmt_awkward", formatted));
}

#[test]
fn a_file_keeps_the_ends_of_its_lines() {
    assert_eq!(format("agx 2026\r\nlet a  = 1\r\n").unwrap(), "agx 2026\r\nlet a = 1\r\n");
    assert_eq!(format("agx 2026\nlet a  = 1\r\n").unwrap(), "agx 2026\nlet a = 1\n");
    assert_eq!(format("\u{feff}agx 2026").unwrap(), "agx 2026\n");
    assert_eq!(format("").unwrap(), "");
    assert_eq!(format("\n\n// only this\n\n\n").unwrap(), "// only this\n");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_diagnostics() {
    let codes = |text| format(text).unwrap_err().into_iter().map(|it| it.code).collect::<Vec<_>>();
    assert_eq!(codes("agx 2026\nenv desk {\n"), ["E0104"]);
    assert_eq!(codes("agx 2026\nlet a = 4k\n"), ["E0110"]);
    assert_eq!(codes("agx 2026\nexperiment e {\n  shedule {\n    train m on k\n  }\n}\n"), ["E0204"]);
}

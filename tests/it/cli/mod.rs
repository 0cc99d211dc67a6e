//! The program from outside: an empty directory, an empty environment; stdout, stderr and exit code in one snapshot.

mod archive;
mod cache;
mod compare;
mod endpoint;
mod export;
mod failing;
mod faults;
mod files;
#[cfg(all(feature = "local", not(feature = "cuda")))]
mod gpu;
#[cfg(feature = "local")]
mod hub;
mod lineage;
mod lock;
mod outside;
mod rewrite;
mod runs;
mod serve;
mod start;
mod troubled;
mod verify;

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A directory of its own for one test.
pub struct Desk {
    directory: TempDir,
}

/// One for a test of another folder.
pub fn desk() -> Desk {
    Desk::new()
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path().join(name), bytes).unwrap();
        self
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agx"));
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// What a person or a program sees of `agx ARGS`.
    pub fn agx(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let mut text = format!("$ agx {}\n", args.join(" "));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                let shown = String::from_utf8_lossy(bytes).replace(&self.path().display().to_string(), "[DIR]");
                write!(text, "-- {name}\n{}\n", shown.trim_end()).unwrap();
            }
        }
        writeln!(text, "-- exit {}", output.status.code().unwrap_or(-1)).unwrap();
        text
    }

    fn code(&self, args: &[&str]) -> Option<i32> {
        self.command(args).output().unwrap().status.code()
    }
}

#[test]
fn a_file_that_is_none_is_one_clear_message() {
    let desk = Desk::new();
    desk.write("binary.agx", b"\x7fELF\x02\x01\x01\x00\x00").write("latin.agx", b"agx 2026\n// caf\xe9\n");
    std::fs::create_dir(desk.path().join("folder.agx")).unwrap();
    assert!(Command::new("mkfifo").arg(desk.path().join("pipe.agx")).status().unwrap().success());
    for name in ["missing.agx", "folder.agx", "pipe.agx", "binary.agx", "latin.agx"] {
        insta::assert_snapshot!(format!("cli_check_{name}"), desk.agx(&["check", name]));
    }
}

#[test]
fn fifty_megabytes_are_refused_at_once() {
    let desk = Desk::new();
    desk.write("huge.agx", vec![b'\n'; 50 << 20]);
    insta::assert_snapshot!("cli_check_huge", desk.agx(&["check", "huge.agx"]));
    assert_eq!(desk.code(&["check", "/dev/zero"]), Some(1), "an endless file ends");
}

#[test]
fn no_verb_takes_a_bad_file() {
    let desk = Desk::new();
    desk.write("bad.agx", "agx 2026\nenv desk {\n").write("empty.agx", "");
    for verb in ["check", "plan", "graph", "run"] {
        assert_eq!(desk.code(&[verb, "bad.agx"]), Some(1), "{verb}");
        assert_eq!(desk.code(&[verb, "empty.agx"]), Some(1), "{verb}");
        assert_eq!(desk.code(&[verb, "missing.agx"]), Some(1), "{verb}");
    }
    assert!(!desk.path().join(".agx").exists(), "nothing was started, so nothing was made");
}

#[test]
fn diagnostics_come_as_drawings_sentences_or_lines_of_json() {
    let desk = Desk::new();
    desk.write("bad.agx", "agx 2026\n\nenv desk {\n\tuse = builtin(\"desk\")\n");
    insta::assert_snapshot!("cli_diagnostics_drawn", desk.agx(&["check", "bad.agx"]));
    insta::assert_snapshot!("cli_diagnostics_narrated", desk.agx(&["check", "bad.agx", "--narrate"]));
    let json = desk.command(&["check", "bad.agx", "--format", "json"]).output().unwrap();
    let text = String::from_utf8(json.stdout).unwrap();
    assert!(!text.is_empty());
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["code", "severity", "message", "labels", "help", "edits", "file", "line", "column"] {
            assert!(value.get(key).is_some(), "{key} is missing in {line}");
        }
    }
}

#[test]
fn bad_usage_is_told_with_a_way_out() {
    let desk = Desk::new();
    let cases: [(&str, &[&str]); 6] = [
        ("none", &[]),
        ("unknown_verb", &["chek", "a.agx"]),
        ("no_file", &["run"]),
        ("bad_set", &["check", "a.agx", "--set", "seed"]),
        ("twice_set", &["check", "a.agx", "--set", "seed=1", "--set", "seed=2"]),
        ("two_forms", &["report", "--md", "--json"]),
    ];
    for (name, args) in cases {
        assert_eq!(desk.code(args), Some(2), "{name}");
        if name != "none" {
            insta::assert_snapshot!(format!("cli_usage_{name}"), desk.agx(args));
        }
    }
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let desk = Desk::new();
    insta::assert_snapshot!("cli_help", desk.agx(&["--help"]));
    for verb in [
        "init", "check", "fmt", "fix", "plan", "graph", "run", "fetch", "resume", "status", "report", "diff", "show",
        "explain", "export", "import", "lsp", "serve",
    ] {
        let help = desk.agx(&[verb, "--help"]);
        assert!(help.contains("Examples:\n  agx "), "{verb} has no example");
        assert!(help.ends_with("-- exit 0\n"), "{verb}");
    }
}

#[test]
fn without_a_run_the_reading_verbs_say_so_and_make_nothing() {
    let desk = Desk::new();
    let verbs: [&[&str]; 6] = [
        &["status"],
        &["report"],
        &["resume"],
        &["show", "rollout@1"],
        &["export", "--as", "hf", "--to", "out"],
        &["status", "--all"],
    ];
    for args in verbs {
        let said = desk.agx(args);
        assert!(said.contains("there is no run here yet"), "{said}");
        assert!(said.ends_with("-- exit 2\n"), "{said}");
    }
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_cannot_be_used_is_one_clear_message() {
    let desk = Desk::new();
    desk.write("store", "a file");
    insta::assert_snapshot!("cli_store_is_a_file", desk.agx(&["status", "--store", "store"]));
}

/// The language is ahead of the program: such a file checks and plans, and is refused where it would be run, place by place,
/// before anything is made.
#[test]
fn what_is_not_built_is_planned_and_not_run() {
    let lab = runs::lab(8);
    let text = include_str!("lab.agx")
        .replace("temperature = 1.0 }", "temperature = 1.0, stream = 2 }")
        .replace("epochs = 3", "epochs = 3, command = [\"./train\"]");
    assert_ne!(text, include_str!("lab.agx"));
    lab.write("ahead.agx", text);
    assert_eq!(lab.code(&["check", "ahead.agx"]), Some(0));
    assert_eq!(lab.code(&["plan", "ahead.agx"]), Some(0));
    insta::assert_snapshot!("cli_not_built", lab.agx(&["run", "ahead.agx"]));
    assert!(!lab.path().join(".agx").exists(), "nothing was started, so nothing was made");
}

/// A program that asks for JSON gets JSON, also of its own mistakes.
#[test]
fn mistakes_are_json_where_json_is_asked_for() {
    let desk = Desk::new();
    desk.write("empty.agx", "agx 2026\n");
    let cases: [&[&str]; 5] = [
        &["chek", "a.agx", "--format", "json"],
        &["run", "--format=json"],
        &["status", "--format", "json"],
        &["graph", "a.agx", "--dot", "--format", "json"],
        &["report", "--md", "--format", "json"],
    ];
    for args in cases {
        let output = desk.command(args).output().unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert_eq!((output.status.code(), &value["exit"]), (Some(2), &serde_json::json!(2)), "{args:?}");
        assert!(!value["error"].as_str().unwrap().is_empty() && output.stdout.is_empty(), "{value}");
    }
}

#[test]
fn hidden_characters_are_told_by_their_code_points() {
    let desk = Desk::new();
    desk.write("bidi.agx", "agx 2026\nlet a\u{202e}b = \u{1b}1\u{200b}\n");
    let said = desk.agx(&["check", "bidi.agx"]);
    assert!(said.contains("U+202E") && said.contains("U+200B") && said.contains("U+001B"), "{said}");
    assert!(!said.contains(['\u{202e}', '\u{200b}', '\u{1b}']), "{said}");
}

/// One line of 800 kB is not printed for one mistake in it.
#[test]
fn a_very_long_line_is_cut_around_its_mistake() {
    let desk = Desk::new();
    desk.write("long.agx", format!("agx 2026\nlet a = {} nonsense\n", "1 + ".repeat(200_000)));
    let said = desk.agx(&["check", "long.agx"]);
    assert!(said.len() < 20_000, "{} bytes", said.len());
    assert!(said.contains("-- exit 1"), "{}", said.len());
}

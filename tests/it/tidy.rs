//! The rules of the house as tests: what may import what, what stays behind which wall, what a file may be called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module imports only what stands before it.
const LAYERS: [&str; 14] = [
    "base",
    "model",
    "store",
    "env",
    "select",
    "node",
    "syntax",
    "experiment",
    "plan",
    "editor",
    "run",
    "report",
    "serve",
    "cli",
];

const MAX_LINES: usize = 600;

/// (what, as written in code; where it may appear).
const WALLS: [(&str, &[&str]); 45] = [
    ("pest", &["src/syntax/"]),
    ("pest_derive", &["src/syntax/"]),
    ("candle_core", &["src/model/local/"]),
    ("candle_nn", &["src/model/local/tests/candle.rs"]),
    ("candle_transformers", &["src/model/local/tests/candle.rs"]),
    ("tokenizers", &["src/model/local/"]),
    ("derivre", &["src/model/local/constrain.rs"]),
    ("toktrie", &["src/model/local/constrain.rs"]),
    ("safetensors", &["src/model/local/"]),
    ("sysinfo", &["src/cli/machine.rs"]),
    ("minijinja", &["src/model/template/"]),
    ("minijinja_contrib", &["src/model/template/"]),
    ("stacker", &["src/model/template/"]),
    ("ureq", &["src/model/remote/", "src/model/hub/", "src/env/outside/http.rs"]),
    ("sha1", &["src/model/hub/sum.rs"]),
    ("sha2", &["src/model/hub/sum.rs"]),
    ("tungstenite", &["src/env/outside/openenv.rs"]),
    ("rmcp", &["src/env/outside/mcp.rs"]),
    ("reqwest", &["src/env/outside/mcp.rs"]),
    ("rustls", &["src/env/outside/mcp.rs"]),
    ("tokio", &["src/env/outside/mcp.rs", "src/serve/"]),
    ("process_wrap", &["src/env/outside/program.rs"]),
    ("rustix", &["src/env/outside/program.rs"]),
    ("httpdate", &["src/model/remote/"]),
    ("tar", &["src/run/archive/"]),
    ("zstd", &["src/env/packed.rs", "src/store/entry.rs", "src/run/archive/"]),
    ("tokio_io_timeout", &["src/serve/mod.rs"]),
    ("axum", &["src/serve/"]),
    ("hyper", &["src/serve/"]),
    ("hyper_util", &["src/serve/"]),
    ("futures_core", &["src/serve/"]),
    ("clap", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("lsp_server", &["src/cli/lsp/"]),
    ("lsp_types", &["src/cli/lsp/"]),
    ("miette", &["src/cli/"]),
    ("ctrlc", &["src/cli/"]),
    ("signal_hook", &["src/cli/mod.rs"]),
    ("data_encoding", &["src/base/hash.rs"]),
    ("mimalloc", &["src/main.rs"]),
    ("println!", &["src/cli/"]),
    ("eprintln!", &["src/cli/"]),
    ("print!", &["src/cli/"]),
    ("eprint!", &["src/cli/"]),
    ("env::var", &["src/cli/"]),
];

const VAGUE_NAMES: [&str; 9] = ["utils", "util", "helpers", "helper", "common", "imp", "manager", "misc", "shared"];

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Code without comments, with the bodies of strings blanked; line numbers stay.
    fn code(&self) -> String {
        blank_comments_and_strings(&self.text)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for top in ["src", "tests"] {
        walk(&root().join(top), &mut |path| {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path: name, text: fs::read_to_string(path).unwrap() });
            }
        });
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "the walk found the sources");
    sources
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// Good enough for rustfmt-formatted code: line and block comments, plain, raw and byte strings, character literals.
fn blank_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skipped, keep) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |at| at + 2), false)
        } else if first == '"' {
            (string_end(rest), false)
        } else if first == 'r' && (rest.starts_with("r\"") || rest.starts_with("r#")) && !ends_in_word(&out) {
            match raw_string_end(rest) {
                Some(end) => (end, false),
                None => (1, true),
            }
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\''") || rest.starts_with("'\\\"'") {
            (rest[1..].find('\'').map_or(3, |at| at + 2).max(3), false)
        } else {
            (first.len_utf8(), true)
        };
        let (taken, left) = rest.split_at(skipped);
        if keep {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().filter(|c| *c == '\n'));
            out.push(' ');
        }
        rest = left;
    }
    out
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`; `None` for a raw identifier (`r#type`).
fn raw_string_end(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(text[body..].find(&close).map_or(text.len(), |at| body + at + close.len()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_word)
}

/// The floor a source belongs to: `plan` for `src/plan/key.rs`.
fn floor(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    inside.split_once('/').map(|(floor, _)| floor)
}

/// `tests.rs` and what is under `tests/`: unit tests in a file of their own.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

/// Every name that follows `crate::`, through one level of braces.
fn imported_floors(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if ends_in_word(&code[..at]) {
            continue;
        }
        let after = &code[at + "crate::".len()..];
        if let Some(list) = after.strip_prefix('{') {
            // The first word of each entry at the list's own depth.
            let (mut depth, mut starts, mut word) = (0, true, String::new());
            for c in list.chars() {
                match c {
                    c if depth == 0 && starts && is_word(c) => word.push(c),
                    ',' if depth == 0 => starts = true,
                    c if c.is_whitespace() && word.is_empty() => {}
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => starts = false,
                }
                if !is_word(c) && !word.is_empty() {
                    found.insert(std::mem::take(&mut word));
                }
            }
            found.insert(word);
        } else {
            found.insert(after.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    found
}

#[track_caller]
fn none(problems: Vec<String>, rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

#[test]
fn a_floor_imports_only_what_stands_before_it() {
    let rank: BTreeMap<&str, usize> = LAYERS.iter().enumerate().map(|(rank, name)| (*name, rank)).collect();
    let mut problems = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.path) else { continue };
        let Some(own_rank) = rank.get(own) else {
            problems.push(format!("{}: `{own}` is not a floor", source.path));
            continue;
        };
        for other in imported_floors(&source.code()) {
            let Some(other_rank) = rank.get(other.as_str()) else { continue };
            if other_rank > own_rank {
                problems.push(format!("{}: `{own}` imports `{other}`, which stands above it", source.path));
            }
            if own == "syntax" && !["syntax", "base"].contains(&other.as_str()) {
                problems.push(format!("{}: `syntax` imports `{other}`; it knows only `base`", source.path));
            }
        }
    }
    none(problems, "architecture: base < model < … < cli");
}

#[test]
fn what_has_a_wall_stays_behind_it() {
    let mut problems = Vec::new();
    for source in sources().into_iter().filter(|source| !is_test(&source.path)) {
        let code = source.code();
        for (what, places) in WALLS {
            let used = code.match_indices(what).any(|(at, _)| {
                let before = &code[..at];
                let after = &code[at + what.len()..];
                // As a path (`clap::…`, `use clap;`) or a macro; a longer word is another thing.
                let whole = !ends_in_word(before) && !after.starts_with(is_word);
                whole && (what.contains(['!', ':']) || after.starts_with("::"))
            });
            if used && !places.iter().any(|place| source.path.starts_with(place)) {
                problems.push(format!("{}: `{what}` belongs under {}", source.path, places.join(", ")));
            }
        }
    }
    none(problems, "one wall for each outside crate and each effect");
}

#[test]
fn unsafe_code_is_in_the_kernels_only() {
    let problems = sources()
        .iter()
        .filter(|source| !source.path.starts_with("src/model/local/kernels"))
        .filter(|source| source.code().split(|c: char| !is_word(c)).any(|word| word == "unsafe"))
        .map(|source| source.path.clone())
        .collect();
    none(problems, "`unsafe` outside src/model/local/kernels");
}

#[test]
fn files_are_short_and_plainly_named() {
    let mut problems = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            problems.push(format!("{}: {lines} lines; {MAX_LINES} is the ceiling", source.path));
        }
        let vague = source.path.split(['/', '.']).find(|part| VAGUE_NAMES.contains(part));
        if let Some(part) = vague {
            problems.push(format!("{}: `{part}` says nothing about what is inside", source.path));
        }
    }
    none(problems, "files");
}

#[test]
fn every_module_says_what_it_is() {
    let mut problems = Vec::new();
    for source in sources() {
        let opening = source.text.lines().next().unwrap_or_default();
        let says = source.path != "src/main.rs" && !source.path.ends_with("/tests.rs");
        if says && !(opening.starts_with("//! ") && opening.len() > 12) {
            problems.push(format!("{}: opens without a `//!` sentence", source.path));
        }
        if opening.contains("(to be written") {
            problems.push(format!("{}: is still to be written", source.path));
        }
        let is_floor = source.path.matches('/').count() == 2 && source.path.ends_with("/mod.rs");
        if is_floor && source.path.starts_with("src/") && !source.text.contains("//! # Invariants") {
            problems.push(format!("{}: a floor states its invariants, at least one as an absence", source.path));
        }
    }
    none(problems, "module docs");
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let mut problems = Vec::new();
    for source in sources().into_iter().filter(|source| source.path.starts_with("src/")) {
        let code = source.code();
        for what in ["todo!", "unimplemented!", "dbg!"] {
            if code.contains(what) {
                problems.push(format!("{}: `{what}`", source.path));
            }
        }
    }
    none(problems, "unfinished code");
}

/// The scanner itself: a rule that cannot see cannot hold.
#[test]
fn the_scanner_sees_through_comments_and_strings() {
    let code = blank_comments_and_strings(concat!(
        "use crate::{base::Span, run::{a, b}, cli};\n",
        "// crate::report in a comment\n",
        "let s = \"crate::plan \\\" unsafe\"; let r = r#\"crate::node\"#;\n",
        "let c = '\"'; use crate::model::Role; let x = y.or(1);\n",
    ));
    let found: Vec<String> = imported_floors(&code).into_iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(found, ["base", "cli", "model", "run"]);
    assert!(!code.contains("unsafe"));
}

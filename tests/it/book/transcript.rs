//! Turns a page's blocks into what a reader who follows it sees: files are written, commands run, their words compared.

use super::{Block, Page};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// `agx check a.agx` as arguments; `None` when the line runs something else. What a shell would do after it is left out.
pub fn words(line: &str) -> Option<Vec<&str>> {
    let command = line.split(" #").next()?.split(" | ").next()?.split(" > ").next()?.split(" >> ").next()?;
    let words: Vec<&str> = command.split_whitespace().collect();
    (words.first() == Some(&"agx")).then_some(words)
}

/// The pages that have a directory, with every transcript as the program says it now.
pub fn play(pages: &[Page]) -> Vec<Page> {
    // What each page leaves, and where in it its reader stands.
    let mut played: BTreeMap<&str, (TempDir, PathBuf)> = BTreeMap::new();
    let mut written = Vec::new();
    // A page that begins as another comes after it.
    let (first, second): (Vec<&Page>, Vec<&Page>) = pages.iter().partition(|page| begins_as(page).is_none());
    for page in first.into_iter().chain(second) {
        if !page.blocks().iter().any(has_part) {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut here = directory.path().to_owned();
        if let Some(other) = begins_as(page) {
            let other = format!("book/src/{other}");
            if !with_models() && is_local(pages.iter().find(|page| page.file == other)) {
                continue;
            }
            let (left, stands) =
                played.get(other.as_str()).unwrap_or_else(|| panic!("{}: {other} leaves nothing", page.file));
            copy(left.path(), directory.path());
            here.push(stands.strip_prefix(left.path()).unwrap());
        }
        written.push(Page { file: page.file.clone(), text: play_page(page, &mut here) });
        played.insert(&page.file, (directory, here));
    }
    assert!(!written.is_empty(), "the transcripts are found");
    written
}

fn has_part(block: &Block) -> bool {
    match block.info[0].as_str() {
        "agx" => ["file", "into", "shows"].iter().any(|name| block.value(name).is_some()),
        "json" => block.value("file").is_some(),
        "console" => {
            // What is shown as output was said.
            let shows_output = block.text.lines().any(|line| !line.starts_with("$ ") && !line.is_empty());
            assert!(!shows_output || block.says("run"), "{}: output that nothing checks: say `run`", block.place());
            block.says("run")
        }
        _ => false,
    }
}

/// Transcripts in which real models work take minutes: they are played where `AGX_BOOK_MODELS` is set, best with `--release`.
fn with_models() -> bool {
    cfg!(feature = "local") && std::env::var_os("AGX_BOOK_MODELS").is_some()
}

/// Whether a part of the page needs local models: where they are not played it ends there, and no other page can begin as it.
fn is_local(page: Option<&Page>) -> bool {
    page.is_some_and(|page| page.blocks().iter().any(|block| block.says("local")))
}

fn begins_as(page: &Page) -> Option<&str> {
    page.text.lines().find_map(|line| line.strip_prefix("<!-- begins as ")?.strip_suffix(" -->"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// The page, its transcripts replaced by what was said where that differs in more than figures of time and digests.
fn play_page(page: &Page, here: &mut PathBuf) -> String {
    let mut lines: Vec<String> = page.text.lines().map(str::to_owned).collect();
    let mut moved = 0_isize;
    for block in page.blocks().iter().filter(|block| has_part(block)) {
        if block.says("local") && !with_models() {
            break;
        }
        if block.info[0] != "console" {
            file(block, here);
            continue;
        }
        let said = run(block, here);
        if !is_as_shown(&block.text, &said) {
            let start = usize::try_from(block.line as isize + moved).unwrap();
            let shown = block.text.lines().count();
            let said: Vec<String> = said.lines().map(str::to_owned).collect();
            moved += said.len() as isize - shown as isize;
            lines.splice(start..start + shown, said);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Writes what the block holds, and checks it where it stands.
fn file(block: &Block, here: &Path) {
    let read = |name: &str| {
        let path = here.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}: there is no {name} yet", block.place()))
    };
    if let Some(name) = block.value("shows") {
        let there = read(name);
        assert!(there.contains(&block.text), "{}: {name} holds other text:\n{there}", block.place());
        return;
    }
    let (name, text) = match (block.value("file"), block.value("into")) {
        (Some(name), _) => (name, block.text.clone()),
        (_, Some(name)) => (name, spliced(&read(name), &block.text)),
        _ => unreachable!("the block has a part in the page's directory"),
    };
    let path = here.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    if block.info[0] != "agx" || block.says("library") {
        return;
    }
    let output = agx(here).args(["check", name, "--format", "json"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let diagnostics: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<&str> = diagnostics.iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(block.claims(), codes, "{}: {said}", block.place());
}

/// `text` with the items of `new`: in place of those of the same kind and name, else before the experiment.
fn spliced(text: &str, new: &str) -> String {
    let mut items = items(text);
    for item in self::items(new) {
        let place = items.iter().position(|(head, _)| *head == item.0);
        match place {
            Some(place) => items[place] = item,
            None => {
                let last = items.iter().position(|(head, _)| head.starts_with("experiment ")).unwrap_or(items.len());
                items.insert(last, item);
            }
        }
    }
    let texts: Vec<&str> = items.iter().map(|(_, text)| text.trim_end()).collect();
    texts.join("\n\n") + "\n"
}

/// Each item's first two words, and its text with the comments before it.
fn items(text: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    let mut comments = String::new();
    for line in text.lines() {
        if line.starts_with("//") && !line.starts_with("//!") {
            comments.push_str(&format!("{line}\n"));
        } else if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
            let head = words.take(2).collect::<Vec<_>>().join(" ");
            items.push((head, format!("{}{line}\n", std::mem::take(&mut comments))));
        } else if let Some((_, text)) = items.last_mut() {
            text.push_str(&format!("{}{line}\n", std::mem::take(&mut comments)));
        }
    }
    items
}

fn agx(here: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agx"));
    command.env_clear().current_dir(here).stdin(Stdio::null());
    command
}

/// The block's commands, each with what it says to a reader: both streams as they come.
fn run(block: &Block, here: &mut PathBuf) -> String {
    let mut said = String::new();
    let commands: Vec<&str> = block.text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    for (at, line) in commands.iter().enumerate() {
        said.push_str(&format!("$ {line}\n"));
        if let Some(directory) = line.strip_prefix("cd ") {
            here.push(directory);
            continue;
        }
        let words = words(line).unwrap_or_else(|| panic!("{}: `{line}` is not run here", block.place()));
        let words: Vec<&str> = words.into_iter().map(|word| word.trim_matches('\'')).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let stream = || Stdio::from(File::options().append(true).open(file.path()).unwrap());
        let status = agx(here).args(&words[1..]).stdout(stream()).stderr(stream()).status().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let last = at + 1 == commands.len();
        let exit: i32 = block.value("exit").filter(|_| last).map_or(0, |code| code.parse().unwrap());
        assert_eq!(status.code(), Some(exit), "{}: `{line}` says:\n{text}", block.place());
        let text: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        said.push_str(&text.join("\n"));
        said.push_str(if text.is_empty() { "" } else { "\n" });
    }
    said
}

/// Line by line, digests and times aside; `…` stands for any lines, and commands alone claim nothing.
fn is_as_shown(shown: &str, said: &str) -> bool {
    fn fits(shown: &[String], said: &[String]) -> bool {
        match (shown.split_first(), said.split_first()) {
            (None, None) => true,
            (Some((line, rest)), _) if line == "…" => (0..=said.len()).any(|skip| fits(rest, &said[skip..])),
            (Some((line, shown)), Some((other, said))) => line == other && fits(shown, said),
            _ => false,
        }
    }
    if shown.lines().all(|line| line.starts_with("$ ")) {
        return true;
    }
    let quiet = |text: &str| text.lines().map(steady).collect::<Vec<_>>();
    fits(&quiet(shown), &quiet(said))
}

/// What another machine, or a changed recipe, does not change: without digests and times.
fn steady(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    for at in 0..words.len() {
        let word = words[at].trim_matches('`');
        let digest = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let unit = |at: usize| words.get(at + 1).is_some_and(|next| matches!(next.as_str(), "s" | "min" | "h"));
        if digest || (is_number(&words[at]) && unit(at)) {
            words[at] = "#".to_owned();
        }
    }
    words.join(" ")
}

/// The engine of the test itself: what cannot see a difference cannot hold one.
#[test]
fn a_transcript_differs_when_it_does() {
    assert!(is_as_shown(
        "$ agx plan\n  a@1  run  64  e0c324543f95\n…\nend\n",
        "$ agx plan\n  a@1 run 64  aac324543f95\nx\nend\n"
    ));
    assert!(is_as_shown("$ agx run\n a · 0.2 s · x 1\n", "$ agx run\n a · 14 s · x 1\n"));
    assert!(!is_as_shown("$ agx run\n a · 0.2 s · x 1\n", "$ agx run\n a · 0.2 s · x 2\n"));
    assert!(!is_as_shown("$ agx run\nend\n", "$ agx run\n"));
    let text = "agx 2026\n\n/// Old.\nrule good = a\n\nexperiment e {\n}\n";
    let new = "rule good =\n    b\n\nrule other = c\n";
    assert_eq!(spliced(text, new), "agx 2026\n\nrule good =\n    b\n\nrule other = c\n\nexperiment e {\n}\n");
}

//! The book and the README: every `agx` block is checked and gives exactly the diagnostics it claims, every command parses.
//!
//! ```` ```agx ```` is a whole file; ```` ```agx,items ```` some items and ```` ```agx,schedule ```` some statements of one, the rest being
//! [`REST`]; `fails=E0202` names the codes that the block's own lines give, in order, joined by `+`.

use agx::cli::args::Cli;
use agx::experiment::{NOT_BUILT, Unreadable, World, check};
use agx::syntax::Source;
use clap::Parser;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What stands around a block that is no whole file: an item each, left out when the block declares its name.
const REST: [(&str, &str); 10] = [
    (
        "desk",
        "env desk {\n  use = builtin(\"desk\")\n  splits { train = 64, dev = 32, test = 32 held_out }\n  max_steps = 6\n}\n",
    ),
    ("policy", "model policy { weights = path(\"base/policy\"), context = 512 tokens }\n"),
    ("grader_lm", "model grader_lm { weights = path(\"base/critic\"), context = 512 tokens }\n"),
    ("general", "dataset general { from = desk.dialogues(64) }\n"),
    ("verdicts", "dataset verdicts { from = desk.verdicts(64) }\n"),
    (
        "act",
        "prompt act(task: desk.Task) {\n  system \"\"\"\n    Work.\n    {{ task.tools | lines }}\n    \"\"\"\n  user \"\"\"\n    {{ task.request }}\n    \"\"\"\n}\n",
    ),
    (
        "grade",
        "prompt grade(task: desk.Task, traj: Trajectory) {\n  user \"\"\"\n    {{ task.request }}\n    {{ traj | transcript(max = 400 tokens) }}\n    {{ answer.format }}\n    \"\"\"\n}\n",
    ),
    (
        "grader",
        "critic grader {\n  model = grader_lm\n  prompt = grade\n  answer { score: int in 0..4 }\n  on_unparsed = drop\n}\n",
    ),
    ("good", "rule good = where score >= 3 and traj.ended | top 40% by score | require at least 16\n"),
    ("sft", "trainer sft { method = sft { loss_on = agent }, lr = 5e-4, epochs = 3, batch = 32 }\n"),
];

const SCHEDULE: &str = "\
calibrate grader on verdicts
let base = evaluate policy on desk.dev { prompt = act, decode = greedy }
repeat 2 times as i {
  let trajs  = rollout policy in desk.train { prompt = act, samples = 4 per task, temperature = 1.0 }
  let graded = judge trajs with grader
  let kept   = select graded by good
  audit kept
  train policy on kept mixed with 25% general with sft from @prev
  let dev    = evaluate policy on desk.dev { prompt = act, decode = greedy }
}
let winner = pick policy best by dev.success including base
let after  = evaluate winner on desk.test { prompt = act, decode = greedy }
";

struct Block {
    file: String,
    line: usize,
    /// `agx,items,fails=E0303`
    info: Vec<String>,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("book/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(language: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for page in pages() {
        let file = page.strip_prefix(root()).unwrap().display().to_string();
        let mut open: Option<Block> = None;
        for (index, line) in std::fs::read_to_string(&page).unwrap().lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take().filter(|block| block.info[0] == language)),
                (Some(info), None) => {
                    let info = info.split(',').map(|part| part.trim().to_owned()).collect();
                    open = Some(Block { file: file.clone(), line: index + 1, info, text: String::new() });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{file}: a block has no end");
    }
    blocks
}

impl Block {
    fn says(&self, word: &str) -> bool {
        self.info.iter().any(|info| info == word)
    }

    fn claims(&self) -> Vec<&str> {
        let codes = self.info.iter().find_map(|info| info.strip_prefix("fails="));
        codes.map(|codes| codes.split('+').collect()).unwrap_or_default()
    }

    fn declares(&self, name: &str) -> bool {
        self.text.lines().any(|line| {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
            !line.starts_with(' ') && words.next().is_some() && words.next() == Some(name)
        })
    }

    /// The whole file, and where in it the block stands.
    fn file_text(&self) -> (String, Range<usize>) {
        let (before, after) = if self.says("items") {
            let rest: String =
                REST.iter().filter(|(name, _)| !self.declares(name)).map(|(_, text)| format!("{text}\n")).collect();
            let experiment = format!("\nexperiment rest {{\n  seed = 1\n  schedule {{\n{SCHEDULE}  }}\n}}\n");
            ("agx 2026\n\n".to_owned(), format!("{rest}{experiment}"))
        } else if self.says("schedule") {
            let rest: String = REST.iter().map(|(_, text)| format!("{text}\n")).collect();
            (format!("agx 2026\n\n{rest}\nexperiment rest {{\n  seed = 1\n  schedule {{\n"), "  }\n}\n".to_owned())
        } else {
            (String::new(), String::new())
        };
        let range = before.len()..before.len() + self.text.len();
        (format!("{before}{}{after}", self.text), range)
    }
}

#[test]
fn every_block_gives_the_diagnostics_it_claims() {
    let blocks = blocks("agx");
    assert!(blocks.len() > 10, "the blocks are found");
    let mut problems = Vec::new();
    for block in &blocks {
        let (text, own) = block.file_text();
        // What a block imports is one of the samples.
        let read = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            std::fs::read(root().join("tests/it/samples/lib").join(name)).map_err(|_| Unreadable::Missing)
        };
        let world = World { root: Path::new("experiments"), exists: &|_| true, read: &read };
        let mut diagnostics = check(Source { name: "book.agx".to_owned(), text }, &[], world).diagnostics;
        // What is planned and not yet run is part of the language.
        diagnostics.retain(|it| it.code != NOT_BUILT);
        let inside = |at: usize| own.contains(&at);
        let codes: Vec<&str> =
            diagnostics.iter().filter(|it| inside(it.primary().start as usize)).map(|it| it.code).collect();
        let outside = diagnostics.iter().find(|it| it.is_error() && !inside(it.primary().start as usize));
        if codes != block.claims() {
            let messages: Vec<&str> = diagnostics.iter().map(|it| it.message.as_str()).collect();
            let claims = block.claims();
            problems.push(format!("{}:{}: claims {claims:?}, gives {codes:?}: {messages:#?}", block.file, block.line));
        } else if let Some(it) = outside {
            problems.push(format!("{}:{}: breaks the rest: {} {}", block.file, block.line, it.code, it.message));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_command_parses() {
    let mut seen = 0;
    for block in blocks("console") {
        for line in block.text.lines() {
            let Some(command) = line.strip_prefix("$ agx ") else { continue };
            let command = command.split(" #").next().unwrap().split(" | ").next().unwrap();
            seen += 1;
            let words = std::iter::once("agx").chain(command.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{}:{}: `agx {command}`: {error}", block.file, block.line);
            }
        }
    }
    assert!(seen > 5, "the commands are found");
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = std::fs::read_to_string(root().join("book/src/SUMMARY.md")).unwrap();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        if let Ok(name) = page.strip_prefix(root().join("book/src")) {
            let name = name.display().to_string();
            assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is not in the summary");
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.contains("://") || target.is_empty() {
                continue;
            }
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{}: `{link}` leads nowhere", page.display());
        }
    }
}

#[test]
fn the_page_of_diagnostics_is_what_explain_says() {
    let path = root().join("book/src/diagnostics.md");
    let page = agx::cli::explain::page();
    if std::env::var("AGX_BOOK").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == page,
        "run `AGX_BOOK=write cargo test book` and look at the change"
    );
}

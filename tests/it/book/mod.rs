//! The book and the README: every `agx` block is checked and gives exactly the diagnostics it claims, every command
//! parses, every transcript is what the program says, every table of what the program knows is made by it.
//!
//! What a block's opening line says, separated by commas:
//!
//! | | |
//! |---|---|
//! | `agx` | a whole file |
//! | `agx,items` · `agx,schedule` · `agx,report` | part of one, the rest being [`rest::REST`] |
//! | `select=good(3)` | how the rest uses the block's rule |
//! | `fails=E0202+W0201` | the codes that the block's own lines give, in order |
//! | `agx,file=first.agx` · `json,file=a.jsonl` | a whole file, written into the page's directory |
//! | `library` | which is not an experiment, and so not checked alone |
//! | `agx,into=first.agx` | items put into that file: in place of those of the same name, else before the experiment |
//! | `agx,shows=first.agx` | what is in that file |
//! | `console,run` | what these commands say, in the page's directory; `…` alone on a line stands for any lines |
//! | `exit=1` | how the last of them ends |
//! | `local` | needs the local models; without them the page's directory is left here |
//!
//! A page's directory is empty, or a copy of what another page left: `<!-- begins as tutorial.md -->`.
//! `<!-- made: NAME -->` to `<!-- end -->` is written by [`made`]. `AGX_BOOK=write` writes all that is made.

mod made;
mod rest;
mod transcript;

use agx::cli::args::Cli;
use agx::experiment::{NOT_BUILT, Unreadable, World, check};
use agx::syntax::Source;
use clap::Parser;
use std::ops::Range;
use std::path::{Path, PathBuf};

struct Page {
    /// Relative to the repository.
    file: String,
    text: String,
}

struct Block {
    file: String,
    /// Of the opening fence, from 1.
    line: usize,
    /// `agx`, `items`, `fails=E0303`
    info: Vec<String>,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn writes() -> bool {
    std::env::var("AGX_BOOK").is_ok_and(|value| value == "write")
}

fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("book/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let page = |path: PathBuf| Page {
        file: path.strip_prefix(root()).unwrap().display().to_string(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(info), None) => {
                    let info = info.split(',').map(|part| part.trim().to_owned()).collect();
                    open = Some(Block { file: self.file.clone(), line: index + 1, info, text: String::new() });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.file);
        blocks
    }
}

fn blocks(language: &str) -> Vec<Block> {
    pages().iter().flat_map(Page::blocks).filter(|block| block.info[0] == language).collect()
}

impl Block {
    fn says(&self, word: &str) -> bool {
        self.info.iter().any(|info| info == word)
    }

    /// `first.agx` of `file=first.agx`.
    fn value(&self, name: &str) -> Option<&str> {
        self.info.iter().find_map(|info| info.strip_prefix(name)?.strip_prefix('='))
    }

    fn claims(&self) -> Vec<&str> {
        self.value("fails").map(|codes| codes.split('+').collect()).unwrap_or_default()
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
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
            let rest: String = rest::REST
                .iter()
                .filter(|(name, _)| !self.declares(name))
                .map(|(_, text)| format!("{text}\n"))
                .collect();
            let schedule =
                rest::SCHEDULE.replace("by good\n", &format!("by {}\n", self.value("select").unwrap_or("good")));
            let experiment = format!("\nexperiment rest {{\n  seed = 1\n  schedule {{\n{schedule}  }}\n}}\n");
            ("agx 2026\n\n".to_owned(), format!("{rest}{experiment}"))
        } else if self.says("schedule") {
            let rest: String = rest::REST.iter().map(|(_, text)| format!("{text}\n")).collect();
            (format!("agx 2026\n\n{rest}\nexperiment rest {{\n  seed = 1\n  schedule {{\n"), "  }\n}\n".to_owned())
        } else if self.says("report") {
            let rest: String = rest::REST.iter().map(|(_, text)| format!("{text}\n")).collect();
            let schedule = rest::SCHEDULE;
            let head = format!("agx 2026\n\n{rest}\nexperiment rest {{\n  seed = 1\n  schedule {{\n{schedule}  }}\n");
            (head, "}\n".to_owned())
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
    // Those of a page's directory are checked there, by `transcript`.
    let alone = |block: &&Block| !["file", "into", "shows"].iter().any(|name| block.value(name).is_some());
    for block in blocks.iter().filter(alone) {
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
            problems.push(format!("{}: claims {claims:?}, gives {codes:?}: {messages:#?}", block.place()));
        } else if let Some(it) = outside {
            problems.push(format!("{}: breaks the rest: {} {}", block.place(), it.code, it.message));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_block_is_in_the_canonical_style() {
    let mut formatted = 0;
    let mut problems = Vec::new();
    for block in blocks("agx") {
        let in_schedule = block.says("schedule");
        let text = if in_schedule {
            let indented: String =
                block.text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
            format!("experiment rest {{\n  schedule {{\n{indented}  }}\n}}\n")
        } else {
            block.text.clone()
        };
        // What cannot be read shows a mistake.
        let Ok(canonical) = agx::syntax::fmt::format(&text) else { continue };
        formatted += 1;
        if canonical != text {
            problems.push(format!("{}:\n{canonical}", block.place()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(formatted > 10, "the blocks are found");
}

#[test]
fn every_command_parses() {
    let mut seen = 0;
    for block in blocks("console") {
        for line in block.text.lines() {
            let commands = line.strip_prefix("$ ").into_iter().flat_map(|line| line.split(" && "));
            for words in commands.filter_map(transcript::words) {
                seen += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{}: `{line}`: {error}", block.place());
                }
            }
        }
    }
    assert!(seen > 5, "the commands are found");
}

#[test]
fn every_transcript_is_what_the_program_says() {
    let written = transcript::play(&pages());
    if writes() {
        for page in written.iter() {
            std::fs::write(root().join(&page.file), &page.text).unwrap();
        }
    }
    let now = pages();
    for page in written {
        let there = now.iter().find(|there| there.file == page.file).unwrap();
        let differ = there.text.lines().zip(page.text.lines()).enumerate().find(|(_, (there, said))| there != said);
        if let Some((at, (there, said))) = differ {
            panic!("{}:{}: says `{there}`, the program `{said}`; {REWRITE}", page.file, at + 1);
        }
        assert!(there.text == page.text, "{}: {REWRITE}", page.file);
    }
}

const REWRITE: &str = "`AGX_BOOK=write cargo test book` writes it; look at the change";

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = std::fs::read_to_string(root().join("book/src/SUMMARY.md")).unwrap();
    for page in pages() {
        if let Some(name) = page.file.strip_prefix("book/src/") {
            assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is not in the summary");
        }
        let path = root().join(&page.file);
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.contains("://") || target.is_empty() {
                continue;
            }
            assert!(path.parent().unwrap().join(target).exists(), "{}: `{link}` leads nowhere", page.file);
        }
    }
}

#[test]
fn what_the_program_knows_is_written_by_it() {
    let diagnostics = root().join("book/src/diagnostics.md");
    let mut made: Vec<(PathBuf, String)> = vec![(diagnostics, agx::cli::explain::page())];
    made.extend(pages().iter().filter_map(|page| Some((root().join(&page.file), made::page(page)?))));
    assert!(made.len() > 1, "the places are found");
    for verb in made::verbs() {
        let place = format!("<!-- made: command {verb} -->");
        assert!(made.iter().any(|(_, text)| text.contains(&place)), "the book says nothing of `agx {verb}`");
    }
    for owner in made::owners() {
        let place = format!("<!-- made: fields {owner} -->");
        assert!(made.iter().any(|(_, text)| text.contains(&place)), "the book says nothing of the fields of {owner}");
    }
    for (path, text) in made {
        if writes() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap() == text, "{}: {REWRITE}", path.display());
    }
}

/// What mdbook needs: a readable `book.toml` that leads to the summary.
#[test]
fn the_book_can_be_built() {
    let text = std::fs::read_to_string(root().join("book/book.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    let source = config["book"]["src"].as_str().unwrap();
    let summary = std::fs::read_to_string(root().join("book").join(source).join("SUMMARY.md")).unwrap();
    assert!(summary.starts_with("# Summary\n") && config["book"]["title"].is_str());
}

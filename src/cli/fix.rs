//! `agx fix`: what diagnostics know how to mend, mended.

use crate::base::{Diagnostic, edit};
use crate::cli::args::FixArgs;
use crate::cli::excerpt::Lines;
use crate::cli::exit::{Exit, Failure};
use crate::cli::rewrite::{self, Rewritten};
use crate::cli::terminal::Terminal;
use crate::cli::{explain, load};
use crate::experiment::Checked;
use crate::syntax::Source;
use serde_json::{Value, json};
use std::path::Path;

/// One mend may uncover the next; no file needs this many.
const MOST_ROUNDS: usize = 20;

pub fn fix(args: &FixArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let codes = args.codes.iter().map(|code| explain::known(code).map(|known| known.code));
    let codes = codes.collect::<Result<Vec<&str>, Failure>>()?;
    let mut exit = Exit::Ok;
    for place in rewrite::places(&args.rewriting)? {
        let (source, problem) = place.read();
        let mended = match problem {
            Some(problem) => Mended { checked: load::unread(source.clone(), problem), mended: Vec::new() },
            None => mend(place.path(), &source, &codes),
        };
        let names: Vec<Value> = mended.mended.iter().map(Mend::json).collect();
        if !terminal.json() {
            for Mend { code, message, line } in &mended.mended {
                terminal.say(&format!("{}:{line}: mends {code}: {message}", source.name));
            }
        }
        let Checked { sources, diagnostics: left, .. } = mended.checked;
        let new = Some(sources.root().text.clone());
        let rewritten = Rewritten { new, left, sources, details: vec![("mended", json!(names))] };
        let own = rewrite::conclude(&place, &source, &rewritten, &args.rewriting, terminal, "mended")?;
        exit = if own == Exit::Ok { exit } else { own };
    }
    Ok(exit)
}

/// A diagnostic that was, and where it was in the text it was found in.
struct Mend {
    code: &'static str,
    message: String,
    line: usize,
}

impl Mend {
    fn json(&self) -> Value {
        let Self { code, message, line } = self;
        json!({ "code": code, "message": message, "line": line })
    }
}

struct Mended {
    /// The text, and what is wrong with it.
    checked: Checked,
    mended: Vec<Mend>,
}

/// Mends round by round; edits in imported files are not this file's. A mend may uncover mistakes that were hidden behind it:
/// of all the texts on the way, the last one that has no more errors than the first is taken.
fn mend(path: &Path, source: &Source, codes: &[&str]) -> Mended {
    let errors = |checked: &Checked| checked.diagnostics.iter().filter(|it| it.is_error()).count();
    let check = |text: String| load::examine(path, Source { name: source.name.clone(), text }, &[]);
    let mut checked = check(source.text.clone());
    let most = errors(&checked);
    let mut text = source.text.clone();
    let mut best = None;
    let (mut mended, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..MOST_ROUNDS {
        let wanted = |it: &&Diagnostic| codes.is_empty() || codes.contains(&it.code);
        let wanted: Vec<Diagnostic> = checked.diagnostics.iter().filter(wanted).cloned().collect();
        let Some((new, mends)) = edit::mend(&text, &wanted) else { break };
        waiting.extend(mends.iter().map(|it| Mend {
            code: it.code,
            message: it.message.clone(),
            line: Lines::new(&text).place(it.primary().start as usize).0,
        }));
        let next = check(new.clone());
        text = new;
        let before = std::mem::replace(&mut checked, next);
        if errors(&checked) <= most {
            mended.append(&mut waiting);
            best = None;
        } else {
            best.get_or_insert(before);
        }
    }
    Mended { checked: best.unwrap_or(checked), mended }
}

//! `agx fix`: what diagnostics know how to mend, mended.

use crate::base::{Diagnostic, edit};
use crate::cli::args::{FixArgs, Sets};
use crate::cli::exit::{Exit, Failure};
use crate::cli::rewrite::{self, Rewritten};
use crate::cli::terminal::Terminal;
use crate::cli::{draw, explain, load};
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
            Some(problem) => Mended { text: source.text.clone(), left: vec![problem], mended: Vec::new() },
            None => mend(place.path(), &source.text, &codes),
        };
        let names: Vec<Value> = mended.mended.iter().map(Mend::json).collect();
        if !terminal.json() {
            for Mend { code, message, line } in &mended.mended {
                terminal.say(&format!("{}:{line}: mends {code}: {message}", source.name));
            }
        }
        let rewritten =
            Rewritten { new: Some(mended.text), left: mended.left, details: vec![("mended", json!(names))] };
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
    text: String,
    /// What is wrong with it.
    left: Vec<Diagnostic>,
    mended: Vec<Mend>,
}

/// Mends round by round. A mend may uncover mistakes that were hidden behind it: of all the texts on the way, the last one
/// that has no more errors than the first is taken.
fn mend(path: &Path, text: &str, codes: &[&str]) -> Mended {
    let errors = |diagnostics: &[Diagnostic]| diagnostics.iter().filter(|it| it.is_error()).count();
    let check = |text: &str| load::examine(path, text, &Sets::default()).1;
    let mut found = check(text);
    let most = errors(&found);
    let mut best = Mended { text: text.to_owned(), left: found.clone(), mended: Vec::new() };
    let (mut text, mut mends) = (text.to_owned(), Vec::new());
    for _ in 0..MOST_ROUNDS {
        let wanted = |it: &&Diagnostic| codes.is_empty() || codes.contains(&it.code);
        let wanted: Vec<Diagnostic> = found.iter().filter(wanted).cloned().collect();
        let Some((new, mended)) = edit::mend(&text, &wanted) else { break };
        mends.extend(mended.iter().map(|it| Mend {
            code: it.code,
            message: it.message.clone(),
            line: draw::place(&text, it.primary().start as usize).0,
        }));
        found = check(&new);
        text = new;
        if errors(&found) <= most {
            best.mended.append(&mut mends);
            best = Mended { text: text.clone(), left: found.clone(), ..best };
        }
    }
    best
}

//! `agx explain`: what a code means. The book's page is the same text.

use crate::cli::args::ExplainArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::experiment::codes;
use crate::report::text::{Cell, Table};
use crate::syntax::codes::Explanation;
use crate::syntax::similar::{did_you_mean, similar};
use anstyle::Style;
use serde_json::{Value, json};

pub fn explain(args: &ExplainArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let Some(code) = &args.code else {
        if terminal.json() {
            terminal.value(&codes::all().map(value).collect());
        } else {
            let mut table = Table::default();
            codes::all().for_each(|it| table.push([Cell::left(it.code), Cell::left(it.title)]));
            terminal.data(&table.text());
        }
        return Ok(Exit::Ok);
    };
    let explanation = known(code)?;
    if terminal.json() {
        terminal.value(&value(explanation));
    } else {
        let bold = Style::new().bold();
        let Explanation { code, title, text } = explanation;
        terminal.data(&format!("{bold}{code}: {title}{bold:#}\n\n{}\n", wrapped(text, terminal.width())));
    }
    Ok(Exit::Ok)
}

/// A code that somebody named.
pub fn known(code: &str) -> Result<&'static Explanation, Failure> {
    codes::explain(code).ok_or_else(|| {
        let near = similar(&code.to_ascii_uppercase(), codes::all().map(|it| it.code));
        let help = did_you_mean(&near).unwrap_or_else(|| "`agx explain --all` lists them".to_owned());
        Failure::new(Exit::Usage, format!("there is no diagnostic `{code}`")).help(help)
    })
}

fn value(explanation: &Explanation) -> Value {
    let Explanation { code, title, text } = explanation;
    json!({ "code": code, "title": title, "text": text })
}

/// Lines of at most `width`, broken between words; paragraphs, and lines that are indented, stay apart.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        if paragraph.starts_with(' ') {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// The book's page `diagnostics.md`.
pub fn page() -> String {
    let mut out = String::from(
        "# Every diagnostic\n\n<!-- Made from the same text as `agx explain CODE`; AGX_BOOK=write cargo test book writes it. -->\n\n\
         Errors begin with E and keep a file from running; warnings begin with W. `00` is about the file, `01` its writing, `02` names, \
         `03` types and units, `04` prompts, `05` rules and the schedule.\n",
    );
    for Explanation { code, title, text } in codes::all() {
        out.push_str(&format!("\n## {code}: {title}\n\n{text}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(
            wrapped("one two three\n  as it is, however long it may be\nfour", 8),
            "one two\nthree\n  as it is, however long it may be\nfour"
        );
    }
}

//! Turns diagnostics into drawings, sentences or JSON lines.

use crate::base::{Diagnostic, Label, Severity, Span};
use crate::cli::terminal::Terminal;
use crate::syntax::SourceMap;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, NarratableReportHandler,
};
use std::sync::Arc;

/// More than these are counted, not drawn: nobody reads the fiftieth before mending the first.
const MOST_DRAWN: usize = 50;

/// Shows all of them, errors and warnings in the order of their places. JSON goes to stdout, a line each; drawings to stderr.
pub fn diagnostics(terminal: &Terminal, sources: &SourceMap, diagnostics: &[Diagnostic]) {
    if terminal.json() {
        let lines: String = diagnostics.iter().map(|diagnostic| json(sources, diagnostic)).collect();
        terminal.data(&lines);
        return;
    }
    if diagnostics.is_empty() {
        return;
    }
    let drawer = Drawer {
        terminal,
        sources,
        texts: sources.iter().map(|source| Arc::new(NamedSource::new(&source.name, harmless(&source.text)))).collect(),
    };
    let drawn: String = diagnostics.iter().take(MOST_DRAWN).map(|it| drawer.drawing(it)).collect();
    terminal.say(drawn.trim_end());
    if let Some(left @ 1..) = diagnostics.len().checked_sub(MOST_DRAWN) {
        terminal.say(&format!("… and {left} more"));
    }
}

/// `2 errors and 1 warning in a.agx`, or nothing when there are none.
pub fn count(name: &str, diagnostics: &[Diagnostic]) -> Option<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let some = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let parts: Vec<String> = [some(errors, "error"), some(warnings, "warning")].into_iter().flatten().collect();
    if parts.is_empty() { None } else { Some(format!("{} in {name}", parts.join(" and "))) }
}

struct Drawer<'a> {
    terminal: &'a Terminal,
    sources: &'a SourceMap,
    /// As they can be shown, in the order of the sources.
    texts: Vec<Arc<NamedSource<String>>>,
}

impl Drawer<'_> {
    /// A diagnostic in its file; labels in other files are drawn below it, each in its own.
    fn drawing(&self, diagnostic: &Diagnostic) -> String {
        let (file, _) = self.sources.place(diagnostic.primary());
        let has_place = !self.sources.locate(diagnostic.primary()).0.text.is_empty();
        let is_here = |label: &&Label| self.sources.place(label.span).0 == file;
        let labels =
            diagnostic.labels.iter().filter(is_here).filter(|_| has_place).enumerate().map(|(index, label)| {
                let text = Some(label.text.clone()).filter(|text| !text.is_empty());
                let place = self.place(label.span);
                if index == 0 {
                    LabeledSpan::new_primary_with_span(text, place)
                } else {
                    LabeledSpan::new_with_span(text, place)
                }
            });
        let mut shown = MietteDiagnostic::new(diagnostic.message.clone())
            .with_code(diagnostic.code)
            .with_severity(match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            })
            .with_labels(labels.collect::<Vec<_>>());
        if !has_place && let Some(label) = diagnostic.labels.first().filter(|label| !label.text.is_empty()) {
            shown.message = format!("{}: {}", shown.message, label.text);
        }
        if let Some(help) = &diagnostic.help {
            shown = shown.with_help(help.clone());
        }
        let mut out = self.render(shown, has_place.then_some(file));
        for label in diagnostic.labels.iter().filter(|label| !is_here(label)) {
            let beside = MietteDiagnostic::new(label.text.clone())
                .with_severity(miette::Severity::Advice)
                .with_labels([LabeledSpan::new_primary_with_span(None, self.place(label.span))]);
            out.push_str(&self.render(beside, Some(self.sources.place(label.span).0)));
        }
        out
    }

    /// Start and length in its own file. A label at the very end still needs a character to point at.
    fn place(&self, span: Span) -> (usize, usize) {
        let (source, span) = self.sources.locate(span);
        let start = (span.start as usize).min(source.text.len());
        (start, (span.end as usize).clamp(start, source.text.len()) - start)
    }

    fn render(&self, shown: MietteDiagnostic, file: Option<usize>) -> String {
        let mut report = miette::Report::from(shown);
        if let Some(file) = file {
            report = report.with_source_code(Arc::clone(&self.texts[file]));
        }
        let mut out = String::new();
        let drawn = if self.terminal.narrate {
            NarratableReportHandler::new().render_report(&mut out, report.as_ref())
        } else {
            GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
                .with_width(self.terminal.width())
                .with_links(false)
                .render_report(&mut out, report.as_ref())
        };
        drawn.expect("drawing into a string");
        out.push('\n');
        out
    }
}

/// One object a line: code, severity, message, file, labels with byte spans and line and column, help, edits. A label or an
/// edit in another file than the primary label's names it.
fn json(sources: &SourceMap, diagnostic: &Diagnostic) -> String {
    let (source, primary) = sources.locate(diagnostic.primary());
    let mut value = serde_json::to_value(diagnostic).expect("a diagnostic is plain data");
    let mut own = |list: &str, at: usize, span: Span| {
        let (file, span) = sources.locate(span);
        value[list][at]["span"] = serde_json::json!(span);
        if file != source {
            value[list][at]["file"] = serde_json::json!(file.name);
        }
    };
    diagnostic.labels.iter().enumerate().for_each(|(at, label)| own("labels", at, label.span));
    diagnostic.edits.iter().enumerate().for_each(|(at, edit)| own("edits", at, edit.span));
    let (line, column) = place(&source.text, primary.start as usize);
    value["file"] = serde_json::json!(source.name);
    value["line"] = serde_json::json!(line);
    value["column"] = serde_json::json!(column);
    format!("{value}\n")
}

/// Line and column in characters, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The text with what would speak to the terminal replaced by as many bytes of something quiet, so that spans still fit.
fn harmless(text: &str) -> String {
    let quiet = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() && c.len_utf8() == 1 => '?',
        c if c.is_control() => '·',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(quiet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quiet_is_as_long() {
        let text = "a\u{1b}[31m\u{85}\u{202e}é\tb\r\n";
        assert_eq!(harmless(text).len(), text.len());
        assert!(!harmless(text).contains('\u{1b}'));
        assert_eq!(place("ab\ncé d", 7), (2, 4));
        assert_eq!(place("é", 1), (1, 1), "inside a character is at it");
    }
}

//! Turns diagnostics into drawings, sentences or JSON lines.

use crate::base::{Diagnostic, Label, Severity, Span};
use crate::cli::excerpt::Lines;
use crate::cli::terminal::Terminal;
use crate::report::text::{plain, plain_lines};
use crate::syntax::SourceMap;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NarratableReportHandler};
use std::ops::Range;

/// More than these are counted, not drawn: nobody reads the fiftieth before mending the first.
const MOST_DRAWN: usize = 50;

/// Shows all of them, errors and warnings in the order of their places. JSON goes to stdout, a line each; drawings to stderr.
pub fn diagnostics(terminal: &Terminal, sources: &SourceMap, diagnostics: &[Diagnostic]) {
    if terminal.json() {
        let lines: Vec<Lines<'_>> = sources.iter().map(|source| Lines::new(&source.text)).collect();
        let lines: String = diagnostics.iter().map(|it| format!("{}\n", told(sources, &lines, it))).collect();
        terminal.data(&lines);
        return;
    }
    if diagnostics.is_empty() {
        return;
    }
    let drawer = Drawer { terminal, sources, lines: sources.iter().map(|source| Lines::new(&source.text)).collect() };
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
    if parts.is_empty() { None } else { Some(format!("{} in {}", parts.join(" and "), plain(name))) }
}

struct Drawer<'a> {
    terminal: &'a Terminal,
    sources: &'a SourceMap,
    /// In the order of the sources.
    lines: Vec<Lines<'a>>,
}

impl Drawer<'_> {
    /// A diagnostic in its file; labels in other files, or far away in this one, are drawn below it, each by itself.
    fn drawing(&self, diagnostic: &Diagnostic) -> String {
        let file = self.sources.place(diagnostic.primary()).0;
        let start = |span: Span| self.sources.locate(span).1.start as usize;
        let at = start(diagnostic.primary());
        let has_place = !self.sources.locate(diagnostic.primary()).0.text.is_empty();
        let (here, elsewhere): (Vec<&Label>, Vec<&Label>) = diagnostic.labels.iter().partition(|label| {
            self.sources.place(label.span).0 == file && self.lines[file].near(at, start(label.span))
        });
        let mut shown = MietteDiagnostic::new(plain_lines(&diagnostic.message))
            .with_code(diagnostic.code)
            .with_severity(match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            });
        if !has_place && let Some(label) = diagnostic.labels.first().filter(|label| !label.text.is_empty()) {
            shown.message = format!("{}: {}", shown.message, plain(&label.text));
        }
        if let Some(help) = &diagnostic.help {
            shown = shown.with_help(plain_lines(help));
        }
        let mut out = self.render(shown, file, if has_place { &here } else { &[] });
        for label in elsewhere {
            let beside = MietteDiagnostic::new(plain(&label.text)).with_severity(miette::Severity::Advice);
            let bare = Label { text: String::new(), ..label.clone() };
            out.push_str(&self.render(beside, self.sources.place(label.span).0, &[&bare]));
        }
        out
    }

    fn render(&self, shown: MietteDiagnostic, file: usize, labels: &[&Label]) -> String {
        let report = if labels.is_empty() {
            miette::Report::from(shown)
        } else {
            let places: Vec<Range<usize>> =
                labels.iter().map(|label| self.sources.locate(label.span).1.range()).collect();
            let name = self.sources.iter().nth(file).map_or("", |source| &source.name);
            let (excerpt, spans) = self.lines[file].excerpt(name, &places);
            let labels = labels.iter().zip(spans).enumerate().map(|(index, (label, span))| {
                let text = Some(plain(&label.text)).filter(|text| !text.is_empty());
                if index == 0 {
                    LabeledSpan::new_primary_with_span(text, span)
                } else {
                    LabeledSpan::new_with_span(text, span)
                }
            });
            miette::Report::from(shown.with_labels(labels.collect::<Vec<_>>())).with_source_code(excerpt)
        };
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

/// One object: code, severity, message, file, labels with byte spans and line and column, help, edits. A label or an
/// edit in another file than the primary label's names it.
pub fn value(sources: &SourceMap, diagnostic: &Diagnostic) -> serde_json::Value {
    let lines: Vec<Lines<'_>> = sources.iter().map(|source| Lines::new(&source.text)).collect();
    told(sources, &lines, diagnostic)
}

fn told(sources: &SourceMap, lines: &[Lines<'_>], diagnostic: &Diagnostic) -> serde_json::Value {
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
    let (line, column) = lines[sources.place(diagnostic.primary()).0].place(primary.start as usize);
    value["file"] = serde_json::json!(source.name);
    value["line"] = serde_json::json!(line);
    value["column"] = serde_json::json!(column);
    value
}

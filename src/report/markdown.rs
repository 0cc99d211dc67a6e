//! Turns a [`Report`] into Markdown, for a pull request or a notebook.
//!
//! # Invariants
//! No word of the run is read as Markdown or HTML.

use crate::experiment::ReportItem;
use crate::report::text::escape_markdown;
use crate::report::{Report, human, label_word};
use std::fmt::Write;

pub fn markdown(report: &Report, items: &[ReportItem]) -> String {
    let mut out = format!(
        "# {}\n\n{}\n\nRun {} · {} · {} · plan `{}`\n",
        escape_markdown(&report.experiment),
        escape_markdown(report.title.trim()),
        escape_markdown(&report.run),
        report.state.as_str(),
        label_word(report.label),
        report.plan.short(),
    );
    if let Some(winner) = &report.winner {
        write!(out, "\n**Winner:** {}\n", escape_markdown(winner)).expect("writing to a string");
    }
    for (title, table) in human::tables(report, items) {
        write!(out, "\n## {}\n\n{}", escape_markdown(&title), table.markdown()).expect("writing to a string");
    }
    for warning in human::warnings(report) {
        write!(out, "\n> {}\n", escape_markdown(&warning)).expect("writing to a string");
    }
    if let Some(missing) = human::missing_words(report) {
        write!(out, "\n{}\n", escape_markdown(&missing)).expect("writing to a string");
    }
    for (_, stop) in human::stops(report) {
        write!(out, "\n{}\n", escape_markdown(&stop)).expect("writing to a string");
    }
    out
}

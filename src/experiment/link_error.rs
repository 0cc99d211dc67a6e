//! What can be wrong with an import.

use crate::base::{Diagnostic, Span};
use crate::syntax::similar::{did_you_mean, join, similar, with_edit};

/// Why a file's bytes cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    Missing,
    /// It is not in the project: a link leads out.
    Outside,
    /// In words, as "it is a directory".
    Other(String),
}

#[derive(Clone, Debug)]
pub enum LinkError {
    Unreadable {
        span: Span,
        path: String,
        why: String,
    },
    Outside {
        span: Span,
        path: String,
    },
    NoAgx {
        span: Span,
        path: String,
    },
    /// From the file that begins the cycle to itself.
    Cycle {
        span: Span,
        files: Vec<String>,
    },
    TooMany {
        span: Span,
        files: usize,
        mebibytes: usize,
    },
    NotDeclared {
        span: Span,
        name: String,
        path: String,
        known: Vec<String>,
    },
    Twice {
        span: Span,
        path: String,
        first: Span,
    },
    /// An experiment or a matrix in an imported file.
    NoDeclaration {
        span: Span,
        what: &'static str,
    },
    Unused {
        span: Span,
        name: String,
    },
}

impl From<LinkError> for Diagnostic {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Unreadable { span, path, why } => {
                Diagnostic::error("E0013", format!("`{path}` cannot be imported"), span, why)
                    .help("an import names an `.agx` file, from the directory of the file it stands in")
            }
            LinkError::Outside { span, path } => {
                let message = format!("`{path}` is not in the project");
                Diagnostic::error("E0014", message, span, "leads out of it").help(
                    "imports stay within the directory of the file that is run: no absolute path, no `..` above it, \
                     no link out of it",
                )
            }
            LinkError::NoAgx { span, path } => {
                Diagnostic::error("E0014", format!("`{path}` is no `.agx` file"), span, "cannot be imported")
            }
            LinkError::Cycle { span, files } => {
                let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                Diagnostic::error("E0015", "the imports go round in a circle", span, files.join(" imports "))
                    .help("put what they share into a file that imports neither")
            }
            LinkError::TooMany { span, files, mebibytes } => {
                let message = "the experiment imports too much";
                Diagnostic::error("E0017", message, span, "this file is one too many, or too large")
                    .help(format!("at most {files} files and {mebibytes} MiB together"))
            }
            LinkError::NotDeclared { span, name, path, known } => {
                let near = similar(&name, known.iter().map(String::as_str));
                let message = format!("`{path}` declares no `{name}`");
                let diagnostic = Diagnostic::error("E0018", message, span, "not declared there");
                let diagnostic = with_edit(diagnostic, span, &near);
                match did_you_mean(&near) {
                    Some(help) => diagnostic.help(help),
                    None if known.is_empty() => diagnostic,
                    None => diagnostic.help(format!("it declares {}", join(&known, "and"))),
                }
            }
            LinkError::Twice { span, path, first } => {
                Diagnostic::error("E0019", format!("`{path}` is imported twice"), span, "again here")
                    .label(first, "first here")
                    .help("one `import` brings all of a file: keep the one that says `as`")
            }
            LinkError::NoDeclaration { span, what } => {
                let message = format!("an imported file holds no {what}");
                Diagnostic::error("E0016", message, span, "only declarations can be imported")
                    .help("move what is shared into a file of its own, and import that")
            }
            LinkError::Unused { span, name } => {
                Diagnostic::warning("W0204", format!("nothing uses the import `{name}`"), span, "imported here")
                    .help("remove it")
            }
        }
    }
}

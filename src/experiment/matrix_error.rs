//! What can be wrong with a matrix; a mistake in a value is told as in the place that it is for.

use crate::base::{Diagnostic, Span};
use crate::syntax::similar::{did_you_mean, join, similar, with_edit};

#[derive(Clone, Debug)]
pub enum MatrixError {
    /// `known`: it begins with a declaration, and leads nowhere in it. `wrong` is the word that is not known.
    NoPlace {
        span: Span,
        path: String,
        known: bool,
        near: Vec<String>,
        wrong: Span,
    },
    Unequal {
        span: Span,
        lengths: (usize, usize),
        first: Span,
    },
    Empty {
        span: Span,
    },
    NoAxis {
        span: Span,
    },
    TooMany {
        span: Span,
        cells: usize,
        most: usize,
    },
    AxisTwice {
        span: Span,
        path: String,
        first: Span,
    },
    NoAxisOf {
        span: Span,
        name: String,
        known: Vec<String>,
    },
    NoValues {
        span: Span,
    },
    NoExcept {
        span: Span,
    },
    NothingExcepted {
        span: Span,
    },
    StepTwice {
        span: Span,
        first: Span,
    },
}

impl MatrixError {
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::NothingExcepted { .. } | Self::StepTwice { .. })
    }
}

impl From<MatrixError> for Diagnostic {
    fn from(error: MatrixError) -> Self {
        match error {
            MatrixError::NoPlace { span, path, known: true, .. } => Diagnostic::error(
                "E0601",
                format!("no value stands at `{path}`"),
                span,
                "leads to nothing",
            )
            .help(
                "an axis is a `param`, or a field that a declaration or the experiment has: `sft.lr`, `grader.model`",
            ),
            MatrixError::NoPlace { span, path, near, wrong, .. } => {
                let message = format!("`{path}` is no param and no field of a declaration");
                let diagnostic = Diagnostic::error("E0601", message, span, "unknown");
                let diagnostic = with_edit(diagnostic, wrong, &near);
                diagnostic.help(did_you_mean(&near).unwrap_or_else(|| {
                    "an axis begins with the name of a param, a declaration or the experiment: `rounds`, `sft.lr`"
                        .to_owned()
                }))
            }
            MatrixError::Unequal { span, lengths: (one, other), first } => {
                let message = format!("the axes of a `zip` step together, but have {one} and {other} values");
                Diagnostic::error("E0602", message, span, format!("{other} values"))
                    .label(first, format!("{one} values"))
            }
            MatrixError::Empty { span } => {
                Diagnostic::error("E0603", "the matrix has no cells", span, "every cell is excepted")
            }
            MatrixError::NoAxis { span } => {
                Diagnostic::error("E0603", "the matrix has no cells", span, "it has no axis")
                    .help("write an axis: `sft.lr in [1e-4, 3e-4]`")
            }
            MatrixError::TooMany { span, cells, most } => {
                Diagnostic::error("E0604", format!("the matrix has {cells} cells"), span, format!("more than {most}"))
                    .help("step axes together with `zip { … }`, or take values out")
            }
            MatrixError::AxisTwice { span, path, first } => {
                Diagnostic::error("E0605", format!("`{path}` is an axis twice"), span, "again here")
                    .label(first, "first here")
            }
            MatrixError::NoAxisOf { span, name, known } => {
                let near = similar(&name, known.iter().map(String::as_str));
                let diagnostic =
                    Diagnostic::error("E0606", format!("`{name}` is no axis of this matrix"), span, "no axis");
                let diagnostic = with_edit(diagnostic, span, &near);
                diagnostic.help(did_you_mean(&near).unwrap_or_else(|| format!("its axes are {}", join(&known, "and"))))
            }
            MatrixError::NoValues { span } => {
                Diagnostic::error("E0607", "an axis lists its values", span, "no list of values")
                    .help("write them in brackets: `[1e-4, 3e-4]`")
            }
            MatrixError::NoExcept { span } => {
                Diagnostic::error("E0607", "`except` lists values of axes", span, "no value")
                    .help("write `except { lr = 1e-3, rank = 64 }`")
            }
            MatrixError::NothingExcepted { span } => {
                Diagnostic::warning("W0601", "no cell has these values together", span, "excepts nothing")
            }
            MatrixError::StepTwice { span, first } => {
                Diagnostic::warning("W0602", "a value stands in an axis twice", span, "the same cells again")
                    .label(first, "first here")
            }
        }
    }
}

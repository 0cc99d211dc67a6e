//! Turns checked pieces of a file back into the text that a file would hold, for people who compare two of them.
//!
//! # Invariants
//! Nothing here is read by the program again.

use super::gate::Until;
use super::spec::{AnswerField, AnswerKind};
use super::template::{Filter, Piece, Template};
use std::fmt;

impl Template {
    /// Its messages, each behind its role.
    pub fn written(&self) -> String {
        let Self { messages } = self;
        let message = |message: &super::template::TemplateMessage| {
            format!("{}\n{}\n", message.role.as_str(), message.pieces.iter().map(Piece::to_string).collect::<String>())
        };
        messages.iter().map(message).collect()
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opening, body) = match self {
            Piece::Text(text) => return f.write_str(text),
            Piece::Value { path, filters } => {
                write!(f, "{{{{ {}", path.join("."))?;
                filters.iter().try_for_each(|filter| write!(f, " | {filter}"))?;
                return f.write_str(" }}");
            }
            Piece::For { variable, path, body } => (format!("for {variable} in {}", path.join(".")), body),
            Piece::IfKnown { path, body } => (format!("if {} is known", path.join(".")), body),
            Piece::IfUnknown { path, body } => (format!("if {} is not known", path.join(".")), body),
        };
        write!(f, "{{% {opening} %}}")?;
        body.iter().try_for_each(|piece| write!(f, "{piece}"))?;
        f.write_str("{% end %}")
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Transcript { max_tokens: None } => f.write_str("transcript"),
            Filter::Transcript { max_tokens: Some(most) } => write!(f, "transcript(max = {most} tokens)"),
            Filter::Json => f.write_str("json"),
            Filter::Lines => f.write_str("lines"),
            Filter::Bullets => f.write_str("bullets"),
            Filter::Truncate { max_tokens } => write!(f, "truncate({max_tokens} tokens)"),
        }
    }
}

/// `score: int in 0..4 by expectation`
impl fmt::Display for AnswerField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, expectation } = self;
        match kind {
            AnswerKind::Int { min, max } => write!(f, "{name}: int in {min}..{max}")?,
            AnswerKind::Bool => write!(f, "{name}: bool")?,
            AnswerKind::Text => write!(f, "{name}: text")?,
        }
        if *expectation { f.write_str(" by expectation") } else { Ok(()) }
    }
}

/// `dev.success stalls 2 by 0.01 since base`
impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |parts: &[Until], word: &str| parts.iter().map(Until::to_string).collect::<Vec<_>>().join(word);
        match self {
            Until::Stalls { metric, rounds, by, since } => {
                write!(f, "{metric} stalls {rounds} by {by}")?;
                since.as_ref().map_or(Ok(()), |since| write!(f, " since {since}"))
            }
            Until::Reaches { metric, at_least } => write!(f, "{metric} >= {at_least}"),
            Until::Falls { metric, at_most } => write!(f, "{metric} <= {at_most}"),
            Until::Any(parts) => write!(f, "({})", all(parts, " or ")),
            Until::All(parts) => write!(f, "({})", all(parts, " and ")),
        }
    }
}

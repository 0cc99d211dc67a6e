//! Turns an answer's shape into instructions, and a critic's reply into a verdict.

use super::spec::{AnswerSchema, Verdict};

/// The instructions that `{{ answer.format }}` stands for: `Answer with one line: score: 0 to 4`.
pub fn format(schema: &AnswerSchema) -> String {
    let _ = schema;
    todo!()
}

/// Reads a reply.
///
/// # Errors
/// Why it cannot be read: a field missing, given twice, out of range.
pub fn parse(text: &str, schema: &AnswerSchema) -> Result<Verdict, String> {
    let _ = (text, schema);
    todo!()
}

/// Writes a verdict as a critic should: what [`parse`] reads back.
pub fn write(verdict: &Verdict, schema: &AnswerSchema) -> String {
    let _ = (verdict, schema);
    todo!()
}

/// Whether a verdict is positive. `None` when the schema has no field that could say.
pub fn passes(verdict: &Verdict, schema: &AnswerSchema) -> Option<bool> {
    let _ = (verdict, schema);
    todo!()
}

/// The verdict's figure in 0..=1: an integer's place in its range, a boolean as 0 or 1.
pub fn level(verdict: &Verdict, schema: &AnswerSchema) -> Option<f64> {
    let _ = (verdict, schema);
    todo!()
}

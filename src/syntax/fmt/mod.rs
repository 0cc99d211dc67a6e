//! Turns a text into the same text in the canonical style: [`format`].
//!
//! [`token`] cuts the text into tokens with their comments, [`writer`] walks the tree and says how each token may stand
//! ([`expr`] and [`items`] are its two halves), [`layout`] makes lines of that, and [`guard`] holds what came out against
//! what went in.
//!
//! # Invariants
//! No token is made up and none is lost, but commas. A text that came out is only given away if it means the same, has the
//! same comments in the same places, and is its own canonical form.

mod expr;
mod guard;
mod items;
mod layout;
mod token;
mod writer;

use crate::base::Diagnostic;
use crate::syntax::ast::File;
use crate::syntax::error::SyntaxError;
use crate::syntax::{MAX_BYTES, parse};

/// The text in the canonical style.
///
/// # Errors
/// What is wrong with the writing of the text; or that what came out is not what went in, which is a bug of this floor.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let (file, diagnostics) = parse(text);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let refuse = |why| vec![SyntaxError::NotFormatted { why }.into()];
    let formatted = canonical(text, &file).ok_or_else(|| refuse("it was not read to its end"))?;
    if formatted.len() > MAX_BYTES {
        return Err(vec![SyntaxError::TooLarge { bytes: formatted.len() }.into()]);
    }
    guard::compare(text, &file, &formatted).map_err(refuse)?;
    Ok(formatted)
}

/// `None`: the tree and the tokens do not belong together.
fn canonical(text: &str, file: &File) -> Option<String> {
    let mut writer = writer::Writer::new(token::tokens(text, &file.comments));
    writer.file(file);
    if writer.lost {
        return None;
    }
    let formatted = layout::print(&writer.ops);
    // A file keeps the ends of its lines.
    let ends_in_two = text.split_once('\n').is_some_and(|(first, _)| first.ends_with('\r'));
    Some(if ends_in_two { formatted.replace('\n', "\r\n") } else { formatted })
}

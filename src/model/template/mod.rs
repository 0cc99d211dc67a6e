//! Turns a conversation into the text that a model's own chat template makes of it, as Hugging Face's Jinja2 does.
//!
//! What is Jinja is minijinja's; here is what `transformers` adds to it, and where Python shows through: how values print, what
//! methods they have.
//!
//! # Invariants
//! Nothing here asks the clock (`strftime_now` is not defined) or reads a file, no template runs or writes without end, and no
//! special token is known here.

mod filters;
mod json;
mod methods;
mod python;
mod source;

use crate::model::ModelError;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value};
use std::io::{self, Write};

const NAME: &str = "chat";
/// Bytes that a template may write, beside so many times what it is given: above every template, and far below what would take
/// long to read as tokens.
const MOST_WRITTEN: usize = 1 << 16;
const MOST_TIMES: usize = 8;

/// Steps that a template may take: a thousand messages take a tenth of it.
const FUEL: u64 = 2_000_000;
/// Bytes of stack: a template that puts a list into a list at every step makes values that are dropped as deep as that. Only
/// what is used is ever taken from the system.
const STACK: usize = 256 << 20;

/// A chat template, read.
pub struct Template {
    environment: Environment<'static>,
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Template(error.to_string())
}

impl Template {
    /// # Errors
    /// A template that does not parse.
    pub fn new(source: &str) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(python::print);
        environment.set_unknown_method_callback(methods::call);
        environment.add_function("raise_exception", |message: Value| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, python::text(&message)?))
        });
        filters::add(&mut environment);
        environment.add_template_owned(NAME, source::adapted(source)).map_err(failed)?;
        Ok(Self { environment })
    }

    /// The text for the variables of a JSON object: `messages` and `add_generation_prompt`, as a rule `tools`, `documents`,
    /// `bos_token` and `eos_token`, and whatever else the template knows. Objects keep the order in which they are written.
    ///
    /// # Errors
    /// What the template raises, in its own words; what Jinja2 raises; a template that runs or writes without end.
    pub fn render(&self, variables: &str) -> Result<String, ModelError> {
        let mut text = Bounded { bytes: Vec::new(), most: MOST_WRITTEN + MOST_TIMES * variables.len() };
        let run = || -> Result<(), ModelError> {
            let values: Value = serde_json::from_str(variables).map_err(failed)?;
            let template = self.environment.get_template(NAME).map_err(failed)?;
            template.render_captured_to(values, &mut text).map(drop).map_err(in_words)
        };
        stacker::grow(STACK, run)?;
        Ok(String::from_utf8(text.bytes).expect("a template writes text"))
    }
}

fn in_words(error: minijinja::Error) -> ModelError {
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => failed(detail),
        (ErrorKind::WriteFailure, _) => failed("it writes far more than the conversation holds"),
        (ErrorKind::UnknownFunction, Some(detail)) if detail.starts_with("strftime_now") => {
            failed("it asks for today's date (`strftime_now`), which no model is told: two runs would not be the same")
        }
        _ => failed(error),
    }
}

/// Takes no more than a template may write.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

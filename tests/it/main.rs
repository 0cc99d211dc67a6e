//! The one integration binary: tests are data, one folder a kind; the rules of the house; the program from outside.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and asks the environment what to do"
)]

mod api_bank;
mod api_bank_runs;
mod book;
mod cli;
mod diagnostics;
mod env_desk;
mod fmt;
mod generate;
mod hostile;
mod injections;
mod keys;
mod lsp;
mod report;
mod stages;
mod templates;
mod tidy;
#[cfg(feature = "local")]
mod well_formed;
mod words;

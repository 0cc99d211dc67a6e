//! The one integration binary: tests are data, one folder a kind; the rules of the house; the program from outside.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod book;
mod cli;
mod diagnostics;
mod report;
mod stages;
mod tidy;

//! The one integration binary: tests are data, one folder a kind; the rules of the house; the program from outside.

mod diagnostics;
mod report;
mod stages;
mod tidy;

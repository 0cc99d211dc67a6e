//! One integration binary: tests are data, one folder a kind.

mod diagnostics;
mod stages;

//! Plain vocabulary that every floor shares: places in text, diagnostics, digests, seeds, quantities.
//!
//! # Invariants
//! Nothing here reads a clock, the environment or a random source; only [`file`] reads files.

pub mod diagnostic;
pub mod edit;
pub mod file;
pub mod hash;
pub mod seed;
pub mod span;
pub mod units;
pub mod words;

pub use diagnostic::{Diagnostic, Edit, Label, Severity};
pub use hash::{Canonical, Digest, Hasher};
pub use seed::Seed;
pub use span::{Span, Spanned};

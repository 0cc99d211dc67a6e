//! What a model behind an endpoint is asked with: handed down from the edge of the program as values.
//!
//! # Invariants
//! A secret is never shown: it has no `Display`, no `Serialize`, and its `Debug` does not hold it.

use super::hub::Hub;
use crate::base::hash;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where secrets and the time come from, what memory there is, and whether the run is to pause.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Milliseconds since any moment.
    pub clock: fn() -> u64,
    /// The secret of a name, or in words why there is none.
    pub secret: fn(&str) -> Result<Secret, String>,
    /// All that a program which is started gets to know of the machine's environment: nothing secret.
    pub variables: fn() -> Vec<(String, String)>,
    /// Bytes of keys and values that a local model keeps between its replies.
    pub memory: Option<u64>,
    /// Where models of the hub are kept, and whom to ask for them.
    pub hub: Hub,
    paused: Arc<AtomicBool>,
}

impl Wire {
    pub fn new(clock: fn() -> u64, secret: fn(&str) -> Result<Secret, String>) -> Self {
        Self { clock, secret, variables: Vec::new, memory: None, hub: Hub::default(), paused: Arc::default() }
    }

    /// With what programs that are started get to know.
    #[must_use]
    pub fn telling(self, variables: fn() -> Vec<(String, String)>) -> Self {
        Self { variables, ..self }
    }

    /// With what a local model may keep between its replies.
    #[must_use]
    pub fn keeping(self, memory: Option<u64>) -> Self {
        Self { memory, ..self }
    }

    /// With models of the hub.
    #[must_use]
    pub fn hosting(self, hub: Hub) -> Self {
        Self { hub, ..self }
    }

    /// With a flag that somebody else raises: whoever waits to ask again then gives up.
    #[must_use]
    pub fn pausing(&self, paused: &Arc<AtomicBool>) -> Self {
        Self { paused: paused.clone(), ..self.clone() }
    }

    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }
}

/// No secret, and no time passes.
impl Default for Wire {
    fn default() -> Self {
        Self::new(|| 0, |_| Err("no secrets are given here".to_owned()))
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Nothing where the text cannot be one: empty but for blanks, or with characters that no header takes.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// For the one header that it is sent in.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether somebody else has it too; takes as long whatever they have.
    pub fn is(&self, text: &str) -> bool {
        hash::same(self.0.as_bytes(), text.as_bytes())
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }

    /// Somebody else's text without it.
    pub(super) fn blot(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_a_header_and_nothing_else() {
        let secret = Secret::new(" sk-1234\n").unwrap();
        assert_eq!((secret.bearer().as_str(), format!("{secret:?}").as_str()), ("Bearer sk-1234", "***"));
        assert_eq!((secret.blot("no sk-1234 here").as_str(), secret.is_in("sk-123")), ("no *** here", false));
        assert!(secret.is("sk-1234") && !secret.is("sk-123") && !secret.is("sk-12345") && !secret.is(""));
        for wrong in ["", "  \n", "two words", "a\r\nHost: b", "schlüssel"] {
            assert_eq!(Secret::new(wrong), None, "{wrong}");
        }
    }
}

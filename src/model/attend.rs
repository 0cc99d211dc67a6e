//! Turns requests that come at any time into replies that are heard token by token.
//!
//! # Invariants
//! Who listens, and what else is answered meanwhile, changes no reply. Nothing here waits: whoever asks decides when.

use super::{GenReply, GenRequest, ModelError};

/// One reply that somebody listens to.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub request: GenRequest,
    /// Whether to tell how probable each token is, and so many of the likeliest in its place.
    pub probable: Option<usize>,
}

/// A token as it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// What it adds to the text: nothing while a character is not whole.
    pub text: String,
    /// Where that was wanted.
    pub probable: Option<Probable>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Probable {
    pub drawn: Candidate,
    /// In its place, the likeliest first.
    pub likeliest: Vec<Candidate>,
}

/// A token by its text, with the logarithm of its probability in nats, at temperature 1 and nothing cut off.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub text: String,
    pub logprob: f64,
}

/// Whoever asks, and hears. Replies are known by their numbers, counted from 0 as they were asked for.
pub trait Listener {
    /// What is asked now; more than `room` would only wait. Nothing, where no reply is under way either, ends it.
    fn next(&mut self, room: usize) -> Vec<Wanted>;

    /// Hears a token; `false` gives the reply up, of which nothing more is heard.
    fn hear(&mut self, number: usize, drawn: Drawn) -> bool;

    /// Hears the whole reply. Its text begins with all that was heard.
    fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>);
}

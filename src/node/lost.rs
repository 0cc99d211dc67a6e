//! Turns an item that came to nothing into why, and into what it took until then.

use crate::env::EnvError;
use crate::model::{ModelError, Tokens};

/// Why work on items stops before they are done. Asked between the turns of an episode and after replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    Pause,
    /// Their time is up.
    Timeout,
}

#[derive(Debug)]
pub enum Why {
    Halt(Halt),
    Failed(Problem),
}

/// What failed: the model, or the environment that it works in.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Model(ModelError),
    #[error(transparent)]
    Environment(EnvError),
}

impl Problem {
    /// Whether every other item would end in the same way now.
    pub fn is_general(&self) -> bool {
        match self {
            Problem::Model(problem) => problem.is_general(),
            Problem::Environment(problem) => problem.is_general(),
        }
    }

    /// Whether the same may go well another time.
    pub fn is_transient(&self) -> bool {
        match self {
            Problem::Model(problem) => problem.is_transient(),
            Problem::Environment(_) => true,
        }
    }
}

#[derive(Debug)]
pub struct Lost {
    pub why: Why,
    pub took: Tokens,
}

impl From<Halt> for Why {
    fn from(halt: Halt) -> Self {
        Why::Halt(halt)
    }
}

impl From<ModelError> for Why {
    fn from(problem: ModelError) -> Self {
        match problem {
            ModelError::Paused => Why::Halt(Halt::Pause),
            problem => Why::Failed(Problem::Model(problem)),
        }
    }
}

impl From<EnvError> for Why {
    fn from(problem: EnvError) -> Self {
        Why::Failed(Problem::Environment(problem))
    }
}

impl Why {
    pub fn after(self, took: Tokens) -> Lost {
        Lost { why: self, took }
    }
}

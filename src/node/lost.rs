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
    Failed(ModelError),
    Environment(EnvError),
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
            problem => Why::Failed(problem),
        }
    }
}

impl From<EnvError> for Why {
    fn from(problem: EnvError) -> Self {
        Why::Environment(problem)
    }
}

impl Why {
    pub fn after(self, took: Tokens) -> Lost {
        Lost { why: self, took }
    }
}

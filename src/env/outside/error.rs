//! What goes wrong with an environment outside the program, told apart.

use crate::base::words::words;

/// Ends the episode that met it, and no other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("the environment cannot be started: {0}")]
    Unstarted(String),
    #[error("the environment cannot be reached: {0}")]
    Unreachable(String),
    /// It ended, or broke the connection, with the end of what it wrote to its standard error.
    #[error("the environment is gone: {how}{}", last_words(.said))]
    Gone { how: String, said: String },
    /// For so many milliseconds, with the end of what it wrote to its standard error.
    #[error("the environment hangs: no answer in {} s{}", *.millis as f64 / 1e3, last_words(.said))]
    Hangs { millis: u64, said: String },
    /// An answer is longer than so many bytes.
    #[error("the environment floods: an answer is longer than {} MiB", .0 >> 20)]
    Floods(usize),
    #[error("the environment answers garbage: {0}")]
    Garbage(String),
    /// In its own words.
    #[error("the environment refuses: {0}")]
    Refuses(String),
    /// Its answer is sound, and not what the file declares.
    #[error("the environment is not as declared: {0}")]
    Undeclared(String),
}

impl EnvError {
    /// One that is not started here breaks the connection, or an answer.
    pub fn broken(how: &str) -> Self {
        EnvError::Gone { how: words(how), said: String::new() }
    }

    /// One that is not started here is silent.
    pub fn silent(millis: u64) -> Self {
        EnvError::Hangs { millis, said: String::new() }
    }

    /// Whether every other episode would end in the same way.
    pub fn is_general(&self) -> bool {
        matches!(self, EnvError::Unstarted(_))
    }

    /// Whether what answered can serve another episode.
    pub fn leaves_it_sound(&self) -> bool {
        matches!(self, EnvError::Refuses(_) | EnvError::Undeclared(_))
    }
}

fn last_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; its last words: {said}") }
}

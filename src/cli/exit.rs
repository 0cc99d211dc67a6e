//! What the program ends with.

use crate::run::RunError;
use crate::store::StoreError;
use std::io::ErrorKind;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The file, or something it names, is wrong; or, of `agx diff`, the two differ.
    Diagnostics = 1,
    /// The command line is wrong, or there is nothing to work on: no such run, a store that cannot be used, output
    /// that cannot be written.
    Usage = 2,
    /// A node failed.
    NodeFailed = 3,
    /// Interrupted or out of budget; `agx resume` goes on.
    Paused = 4,
    /// What is verified does not hold.
    Differs = 5,
    /// A bug.
    Internal = 70,
}

/// Why a verb ended early.
#[derive(Debug)]
pub enum Failure {
    /// Said already, by diagnostics or a report.
    Told(Exit),
    Message {
        exit: Exit,
        message: String,
        help: Option<String>,
    },
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Message { exit, message: message.into(), help: None }
    }

    #[must_use]
    pub fn help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Told(exit) => Self::Told(exit),
            Self::Message { exit, message, .. } => Self::Message { exit, message, help: Some(text.into()) },
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        match error {
            RunError::NoRun => Self::new(Exit::Usage, message)
                .help("start one with `agx run FILE`, or name a store with `--store DIR`"),
            RunError::UnknownRun(_) => {
                Self::new(Exit::Usage, message).help("`agx status` without a name shows the newest")
            }
            RunError::Locked { .. } => Self::new(Exit::Usage, message).help("`agx status` follows it"),
            RunError::NeverStarted(_) => Self::new(Exit::Usage, message)
                .help("start it again with `agx run FILE`; its directory in the store holds nothing that is needed"),
            RunError::Changed { .. } | RunError::Frozen { .. } => {
                Self::new(Exit::Usage, message).help("`agx run` starts anew; what did not change is still cached")
            }
            RunError::Stopped { run, .. } => Self::new(Exit::NodeFailed, message).help(format!(
                "once it can be, `agx resume {run}` goes on (with the same `--store`, where one was given)"
            )),
            RunError::File { problem, .. } if is_no_room(&problem) => {
                Self::new(Exit::Usage, message).help("results may lie elsewhere: `--store DIR` names a place for them")
            }
            RunError::Store(StoreError::ReadOnly(_) | StoreError::DiskFull(_) | StoreError::Permission { .. }) => {
                Self::new(Exit::Usage, message).help("results may lie elsewhere: `--store DIR` names a place for them")
            }
            RunError::Below(_) => Self::new(Exit::Usage, message)
                .help("`agx cache over DIR` names where it lies now, `agx cache over --none` does without"),
            RunError::Store(StoreError::InUse(_)) => {
                Self::new(Exit::Usage, message).help("`agx status --all` lists them; try again when they are done")
            }
            RunError::Model { .. } | RunError::Plan(_) => Self::new(Exit::Diagnostics, message),
            _ => Self::new(Exit::Usage, message),
        }
    }
}

/// The place is at fault, not the file.
fn is_no_room(problem: &std::io::Error) -> bool {
    matches!(problem.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

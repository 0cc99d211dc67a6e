//! Why a model of the hub is not here, and cannot be brought, told apart.

use super::cache::is_optional;
use std::path::PathBuf;

/// `model` is the name and the beginning of the commit: `org/name at 0123456789ab`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error("`{0}` names no model of the hub: an owner and a name do, like `Qwen/Qwen2.5-0.5B`")]
    Name(String),
    #[error("`{0}` is no commit: its 40 hexadecimal digits are")]
    Revision(String),
    #[error("{}: `agx fetch FILE` fetches it", lacks(.model, .lacking))]
    Absent { model: String, lacking: Vec<String> },
    #[error("{}, and `HF_HUB_OFFLINE` forbids to ask the hub", lacks(.model, .lacking))]
    Offline { model: String, lacking: Vec<String> },
    #[error("`HF_ENDPOINT` is `{0}`: an address like `https://huggingface.co` is one")]
    Endpoint(String),
    #[error("the hub's token cannot be read: {0}")]
    Token(String),
    #[error("the hub knows no model {repo}{}", stranger(*.known))]
    NoRepo { repo: String, known: bool },
    #[error(
        "the hub has no commit {revision} of {repo}: `git ls-remote https://huggingface.co/{repo}` lists those that branches end in"
    )]
    NoRevision { repo: String, revision: String },
    #[error("{model} has no `{name}`{}", weights(.name))]
    NoFile { model: String, name: String },
    #[error("the hub shows {repo} only to those who agreed to its terms ({status}{}): {}", said(.what), gate(.repo, *.known))]
    Gated { repo: String, status: u16, what: String, known: bool },
    #[error("the hub refuses {repo} ({status}{}){}", said(.what), stranger(*.known))]
    Refused { repo: String, status: u16, what: String, known: bool },
    #[error("the hub rejects the request for `{name}` ({status}{})", said(.what))]
    Rejected { name: String, status: u16, what: String },
    #[error("the hub cannot be reached: {0}")]
    Unreachable(String),
    /// It asks for patience.
    #[error("the hub is busy ({status}{})", said(.what))]
    Busy { status: u16, what: String },
    #[error("the hub says nothing: {0}")]
    Timeout(&'static str),
    #[error("`{name}` broke off: {what}")]
    Broken { name: String, what: String },
    /// A portal, a proxy, another server.
    #[error("what answers does not speak as the hub does: {0}")]
    Foreign(String),
    #[error("`{name}` of {model} is not what the hub says that it is ({what}); it was thrown away")]
    Corrupt { model: String, name: String, what: String },
    #[error("`{name}` of {model} is {size} bytes large; a description of a model is not")]
    TooLarge { model: String, name: String, size: u64 },
    #[error("{path}: {problem}", path = .path.display())]
    Disk { path: PathBuf, problem: String },
    /// The run is to pause.
    #[error("paused")]
    Paused,
}

impl HubError {
    /// Whether the same may go well in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy { .. } | Self::Timeout(_) | Self::Broken { .. } => true,
            Self::Name(_)
            | Self::Revision(_)
            | Self::Absent { .. }
            | Self::Offline { .. }
            | Self::Endpoint(_)
            | Self::Token(_)
            | Self::NoRepo { .. }
            | Self::NoRevision { .. }
            | Self::NoFile { .. }
            | Self::Gated { .. }
            | Self::Refused { .. }
            | Self::Rejected { .. }
            | Self::Foreign(_)
            | Self::Corrupt { .. }
            | Self::TooLarge { .. }
            | Self::Disk { .. }
            | Self::Paused => false,
        }
    }
}

/// `org/name at 0123456789ab is not here: config.json, model.safetensors are missing`
fn lacks(model: &str, lacking: &[String]) -> String {
    let due: Vec<&str> = lacking.iter().map(String::as_str).filter(|name| !is_optional(name)).collect();
    match due.as_slice() {
        [] => format!("{model} may not be whole here: whether it has {} was never asked", lacking.join(" and ")),
        due => format!("{model} is not here: of its files are missing {}", due.join(", ")),
    }
}

fn stranger(known: bool) -> &'static str {
    match known {
        true => ": is the name right, and may the account of `HF_TOKEN` see it?",
        false => ": is the name right? one that only some may see wants a token in `HF_TOKEN`",
    }
}

fn gate(repo: &str, known: bool) -> String {
    let token = match known {
        true => "with the account whose token is in `HF_TOKEN`",
        false => "with your account, and put a token of it into `HF_TOKEN` (https://huggingface.co/settings/tokens)",
    };
    format!("agree to them at https://huggingface.co/{repo} {token}")
}

fn weights(name: &str) -> &'static str {
    if name.ends_with(super::cache::INDEX) { ", nor a `model.safetensors`: other weights are not read" } else { "" }
}

fn said(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(": {what}") }
}

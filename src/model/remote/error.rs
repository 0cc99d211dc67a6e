//! What can go wrong with an endpoint, told apart.

/// Why no reply came of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("the secret `{name}` is missing: {why}")]
    NoSecret { name: String, why: String },
    /// It wants no request of ours.
    #[error("the endpoint refuses ({status}{}): {hint}", said(.what))]
    Refused { status: u16, what: String, hint: String },
    /// Followed, the key would go to another place than the file says.
    #[error(
        "the endpoint redirects to {to} ({status}), which is not followed: set `base_url` to the address that is meant"
    )]
    Redirected { status: u16, to: String },
    /// It does not want this request.
    #[error("the endpoint rejects the request ({status}{})", said(.what))]
    Rejected { status: u16, what: String },
    /// It wanted none of the first requests, always for the same reason.
    #[error("the endpoint rejects every request ({status}{}); so the first {count} ended, and no more are sent", said(.what))]
    AllRejected { status: u16, what: String, count: usize },
    #[error("the endpoint cannot be reached: {0}")]
    Unreachable(String),
    /// It asks for patience.
    #[error("the endpoint is busy ({status}{})", said(.what))]
    Busy { status: u16, what: String },
    #[error("no reply in time: {0}")]
    Timeout(&'static str),
    /// Its words in place of the reply, or in the middle of it.
    #[error("the endpoint ends the reply with an error{}", said(.0))]
    Failed(String),
    #[error("the connection broke off: {0}")]
    Broken(String),
    #[error("the reply cannot be read: {0}")]
    Malformed(String),
    #[error("the reply is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the endpoint's content filter held the reply back")]
    Filtered,
}

impl RemoteError {
    /// Whether the same may go well in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::Timeout(_)
            | Self::Failed(_)
            | Self::Broken(_)
            | Self::Malformed(_) => true,
            Self::NoSecret { .. }
            | Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::Rejected { .. }
            | Self::AllRejected { .. }
            | Self::TooLarge(_)
            | Self::Filtered => false,
        }
    }

    /// Whether the same run may go on another time: once a key is set, an account is filled, a server is mended or knows the model.
    pub fn is_transient(&self) -> bool {
        self.is_passing()
            || matches!(
                self,
                Self::NoSecret { .. } | Self::Refused { .. } | Self::Rejected { .. } | Self::AllRejected { .. }
            )
    }

    /// Whether it lies in the endpoint and not in the request: any other would end in the same way.
    pub fn is_general(&self) -> bool {
        matches!(
            self,
            Self::NoSecret { .. }
                | Self::Refused { .. }
                | Self::Redirected { .. }
                | Self::AllRejected { .. }
                | Self::Unreachable(_)
        )
    }
}

fn said(what: &str) -> String {
    if what.is_empty() { String::new() } else { format!(": {what}") }
}

//! Asks the hub what a file is, and for its bytes, with patience.
//!
//! # Invariants
//! The token goes to the hub's own address and nowhere else: not to where it sends one for large files. It is in no error.
//! From `https` nobody is sent on to `http`.

use super::cache::Snapshot;
use super::sum::Sum;
use super::{Heard, HubError};
use crate::base::Seed;
use crate::base::file::reason;
use crate::base::words::words;
use crate::model::remote::{Pace, exchange, retry_after};
use crate::model::{Secret, Wire};
use std::cell::Cell;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body, Timeout};

/// How often the same is asked for again before anything of it came; from when nobody was reached at all, fewer.
const AGAIN: u32 = 8;
const AGAIN_UNREACHED: u32 = 2;
const MOST_HOPS: usize = 8;
/// Until an address is found, and until it is connected.
const CONNECT: Duration = Duration::from_secs(20);
/// In which something must come.
const SILENCE: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(45) };
/// Of somebody else's words, in bytes.
const MOST_WORDS: u64 = 1 << 12;

pub struct Client<'a> {
    agent: Agent,
    snapshot: &'a Snapshot,
    base: String,
    home: Origin,
    token: Option<Secret>,
    pace: Pace,
    /// Somebody has answered.
    reached: Cell<bool>,
}

/// What the hub says of a file.
#[derive(Clone, Debug)]
pub struct Told {
    pub sum: Sum,
    pub size: u64,
}

/// Why one attempt came to nothing.
pub struct Failure {
    pub problem: HubError,
    /// Milliseconds that the hub asks to wait.
    pub wait: Option<u64>,
    /// Something came before: patience begins anew.
    pub came: bool,
}

impl From<HubError> for Failure {
    fn from(problem: HubError) -> Self {
        Self { problem, wait: None, came: false }
    }
}

/// Whom an address belongs to.
#[derive(PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(address: &Uri) -> Option<Self> {
        let secure = match address.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host: address.host()?.to_ascii_lowercase(), port })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What it is.
    Head,
    /// Its bytes, from this one.
    Bytes(u64),
}

impl<'a> Client<'a> {
    pub fn new(snapshot: &'a Snapshot, wire: &Wire) -> Result<Self, HubError> {
        let base = wire.hub.endpoint.trim_end_matches('/').to_owned();
        // Whoever asks is told by a token, which goes nowhere else.
        let plain = |uri: &Uri| uri.query().is_none() && !base.contains('@');
        let home = base.parse().ok().filter(plain).and_then(|uri| Origin::of(&uri));
        let config = exchange()
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        Ok(Self {
            agent: config.into(),
            snapshot,
            home: home.ok_or_else(|| HubError::Endpoint(words(&wire.hub.address())))?,
            base,
            token: (wire.hub.token)().map_err(HubError::Token)?,
            pace: Pace::new(None, wire.clone()),
            reached: Cell::new(false),
        })
    }

    /// What a file is; nothing where the model has none of that name.
    pub fn told(&self, name: &str, heard: &mut dyn FnMut(Heard<'_>)) -> Result<Option<Told>, HubError> {
        let asked = self.patiently(name, heard, |_| {
            let response = self.send(name, Wanted::Head)?;
            let status = response.status();
            if status.is_success() || status.is_redirection() {
                return Ok(self.read(response.headers())?);
            }
            Err(self.refused(name, response, true))
        });
        asked.map(Some).or_else(|problem| match problem {
            HubError::NoFile { .. } => Ok(None),
            problem => Err(problem),
        })
    }

    /// The bytes of a file from one on, in one attempt; the hub may begin with the first all the same.
    pub fn bytes(&self, name: &str, from: u64) -> Result<Response<Body>, Failure> {
        self.send(name, Wanted::Bytes(from))
    }

    /// Tries until it goes well, or will not.
    pub fn patiently<T>(
        &self,
        name: &str,
        heard: &mut dyn FnMut(Heard<'_>),
        mut attempt: impl FnMut(&mut dyn FnMut(Heard<'_>)) -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let seed = Seed(0).derive(name);
        let mut again = 0;
        loop {
            let Failure { problem, wait, came } = match attempt(heard) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            again = if came { 0 } else { again };
            let most = if self.reached.get() { AGAIN } else { AGAIN_UNREACHED };
            if !problem.is_passing() || again >= most {
                return Err(problem);
            }
            heard(Heard::Again { problem: &problem });
            self.pace.back_off(seed, again, wait).map_err(|_| HubError::Paused)?;
            again += 1;
        }
    }

    /// Lets some time pass.
    pub fn rest(&self) -> Result<(), HubError> {
        self.pace.back_off(Seed(0), 0, None).map_err(|_| HubError::Paused)
    }

    /// Follows where the hub sends one; of what a file is it says itself, before it sends one elsewhere.
    fn send(&self, name: &str, wanted: Wanted) -> Result<Response<Body>, Failure> {
        let Snapshot { repo, revision, .. } = self.snapshot;
        let foreign = |what: &str| HubError::Foreign(what.to_owned());
        let address = format!("{}/{repo}/resolve/{revision}/{}", self.base, encoded(name));
        let mut at: Uri = address.parse().map_err(|_| HubError::Endpoint(words(&self.base)))?;
        for _ in 0..MOST_HOPS {
            let own = self.is_home(&at);
            let mut request = if wanted == Wanted::Head { self.agent.head(&at) } else { self.agent.get(&at) };
            // Packed, it would have another size.
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if let (true, Some(token)) = (own, &self.token) {
                request = request.header(header::AUTHORIZATION, token.bearer());
            }
            if let Wanted::Bytes(from @ 1..) = wanted {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(|problem| self.unsent(name, &problem))?;
            self.reached.set(true);
            let status = response.status();
            if wanted != Wanted::Head
                && !status.is_redirection()
                && status != StatusCode::RANGE_NOT_SATISFIABLE
                && !status.is_success()
            {
                return Err(self.refused(name, response, own));
            }
            if !status.is_redirection() || (wanted == Wanted::Head && response.headers().contains_key("x-linked-etag"))
            {
                return Ok(response);
            }
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = to.and_then(|to| joined(&at, to)).ok_or_else(|| foreign("it sends one on to no address"))?;
            let origin = Origin::of(&next).ok_or_else(|| foreign("it sends one on to no address of the web"))?;
            if at.scheme_str() == Some("https") && !origin.secure {
                return Err(foreign("it sends one on to `http`, where anybody could answer").into());
            }
            if wanted == Wanted::Head && origin != self.home {
                return Ok(response);
            }
            at = next;
        }
        Err(foreign("it sends one on without end").into())
    }

    fn is_home(&self, address: &Uri) -> bool {
        Origin::of(address).is_some_and(|origin| origin == self.home)
    }

    fn read(&self, headers: &HeaderMap) -> Result<Told, HubError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let foreign = |what: &str| HubError::Foreign(what.to_owned());
        let commit = text("x-repo-commit").ok_or_else(|| foreign("it names no commit (`X-Repo-Commit`)"))?;
        if commit != self.snapshot.revision {
            return Err(foreign(&format!("it was asked for another commit than {}", self.words(commit))));
        }
        let sum = text("x-linked-etag").or_else(|| text("etag")).and_then(Sum::of_etag);
        let size = text("x-linked-size").or_else(|| text("content-length")).and_then(|size| size.parse().ok());
        match (sum, size) {
            (Some(sum), Some(size)) => Ok(Told { sum, size }),
            (None, _) => Err(foreign("it says by no sum what a file holds (`ETag`)")),
            (_, None) => Err(foreign("it does not say how large a file is (`X-Linked-Size`)")),
        }
    }

    /// Somebody else's words, without the token.
    fn words(&self, text: &str) -> String {
        words(&self.token.as_ref().map_or_else(|| text.to_owned(), |token| token.blot(text)))
    }

    fn refused(&self, name: &str, mut response: Response<Body>, own: bool) -> Failure {
        let headers = response.headers().clone();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let body = || response.body_mut().with_config().limit(MOST_WORDS).read_to_string().unwrap_or_default();
        let what = text("x-error-message").map_or_else(body, str::to_owned);
        let (status, what) = (response.status().as_u16(), self.words(first_line(&what)));
        let Snapshot { repo, revision, .. } = self.snapshot;
        let (repo, known) = (repo.clone(), self.token.is_some());
        let problem = match (status, text("x-error-code")) {
            (408 | 425 | 429 | 500..=599, _) => HubError::Busy { status, what },
            // Addresses of large files hold for some minutes; the hub gives another.
            _ if !own => HubError::Broken { name: name.to_owned(), what: format!("it is refused ({status})") },
            (_, Some("EntryNotFound")) => HubError::NoFile { model: self.snapshot.words(), name: name.to_owned() },
            (_, Some("RevisionNotFound")) => HubError::NoRevision { repo, revision: revision.clone() },
            (_, Some("RepoNotFound")) => HubError::NoRepo { repo, known },
            (_, Some("GatedRepo")) => HubError::Gated { repo, status, what, known },
            (401 | 403, _) => HubError::Refused { repo, status, what, known },
            _ => HubError::Rejected { name: name.to_owned(), status, what },
        };
        Failure { wait: retry_after(&headers), ..problem.into() }
    }

    fn unsent(&self, name: &str, problem: &ureq::Error) -> HubError {
        let problem = self.unanswered(name, problem);
        self.reached.set(self.reached.get() || !matches!(problem, HubError::Unreachable(_)));
        problem
    }

    fn unanswered(&self, name: &str, problem: &ureq::Error) -> HubError {
        match problem {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                HubError::Unreachable("connecting took too long".to_owned())
            }
            ureq::Error::Timeout(_) => HubError::Timeout("no answer came"),
            ureq::Error::Io(problem) => HubError::Unreachable(self.words(&reason(problem))),
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::BodyStalled => {
                HubError::Broken { name: name.to_owned(), what: self.words(&problem.to_string()) }
            }
            problem => HubError::Unreachable(self.words(&problem.to_string())),
        }
    }
}

/// Of a page or an essay, where it begins.
fn first_line(text: &str) -> &str {
    let text = text.trim_start();
    // A page says nothing to a person here.
    if text.starts_with('<') { "" } else { text.lines().next().unwrap_or_default() }
}

/// A file's name as a part of an address.
fn encoded(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// Where one is sent from an address.
fn joined(from: &Uri, to: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let to = match to {
        _ if to.starts_with("//") => format!("{scheme}:{to}"),
        _ if to.starts_with('/') => format!("{scheme}://{authority}{to}"),
        _ => to.to_owned(),
    };
    to.parse().ok().filter(|uri: &Uri| uri.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_on_to_addresses_of_the_web() {
        let from: Uri = "https://hub.example/org/name".parse().unwrap();
        let to = |to: &str| joined(&from, to).map(|uri| uri.to_string());
        assert_eq!(to("/api/x?a=1").as_deref(), Some("https://hub.example/api/x?a=1"));
        assert_eq!(to("//cdn.example/x").as_deref(), Some("https://cdn.example/x"));
        assert_eq!(to("http://cdn.example/x").as_deref(), Some("http://cdn.example/x"));
        assert_eq!((to(""), to("x/y"), to("http://")), (None, None, None));
        let origin = |text: &str| Origin::of(&text.parse().unwrap());
        assert!(origin("https://Hub.example/a") == origin("https://hub.example:443"));
        assert!(origin("http://hub.example") != origin("https://hub.example"));
        assert!(origin("https://hub.example@evil.example/") != origin("https://hub.example/"));
        assert!(origin("ftp://hub.example/").is_none());
        assert_eq!(encoded("a b/%?ü.json"), "a%20b%2F%25%3F%C3%BC.json");
    }
}

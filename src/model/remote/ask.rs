//! Sends one request until a reply comes of it, or says why none does.
//!
//! # Invariants
//! The key goes to the declared address and nowhere else: redirects are not followed, and no proxy is asked. It is in no
//! error. What may have been charged for is asked at most [`CHARGED`] times again.

use super::RemoteError;
use super::body::{Body, NEWER};
use super::pace::{MOST_WAIT, Pace, Paused};
use super::reply::{self, Complained, Reply};
use super::resolve::Resolve;
use crate::base::Seed;
use crate::base::words::words;
use crate::model::{Limits, ModelError, Remote, Secret, Tokens, Wire};
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderMap, Response, StatusCode, header};
#[cfg(feature = "https")]
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, RequestBuilder, Timeout};

/// How often what broke off after it was sent is sent again, at most: each time may be charged for.
pub const CHARGED: u32 = 1;
/// Milliseconds between the last word of a reply and its end, above which an endpoint leaves its replies open.
const LINGERS: u64 = 500;

pub struct Client {
    agent: Agent,
    base: String,
    /// The secret, or why there is none although one is declared.
    key: Result<Option<Secret>, RemoteError>,
    retries: u32,
    pace: Pace,
    /// The endpoint asks for the newer name of a field.
    newer: AtomicBool,
    clock: fn() -> u64,
    /// The endpoint keeps a reply open when it is over.
    lingers: AtomicBool,
}

/// Why nothing came of one attempt.
struct Failure {
    problem: RemoteError,
    /// It may have been answered, and so be charged for.
    charged: bool,
    /// Milliseconds that the endpoint asks to wait.
    wait: Option<u64>,
}

impl Failure {
    fn free(problem: RemoteError) -> Self {
        Self { problem, charged: false, wait: None }
    }
}

impl Client {
    pub fn new(remote: &Remote, wire: &Wire) -> Self {
        let Remote { name: _, base_url, key, price: _, limits } = remote;
        let Limits { rate, in_flight, timeout, connect, first_byte, retries } = limits;
        let within = |millis: &u64| Some(Duration::from_millis((*millis).min(*timeout)));
        let config = exchange()
            .timeout_global(within(timeout))
            .timeout_resolve(within(connect))
            .timeout_connect(within(connect))
            .timeout_recv_response(within(first_byte))
            .max_idle_connections(*in_flight as usize)
            .max_idle_connections_per_host(*in_flight as usize)
            .build();
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), Resolve::new(wire.clock)),
            base: base_url.trim_end_matches('/').to_owned(),
            key: key.as_ref().map(|name| secret(name, wire)).transpose(),
            retries: *retries,
            pace: Pace::new(*rate, wire.clone()),
            newer: AtomicBool::new(false),
            clock: wire.clock,
            lingers: AtomicBool::new(false),
        }
    }

    /// The reply, and what was taken with all attempts; `most` is the most that one attempt may take.
    ///
    /// # Errors
    /// What the last attempt ended in; that the run is to pause.
    pub fn ask(&self, body: &Body<'_>, seed: Seed, most: Tokens) -> Result<(Reply, Tokens), ModelError> {
        let (mut again, mut charged) = (0, 0);
        loop {
            self.pace.turn().map_err(|Paused| ModelError::Paused)?;
            let newer = self.newer.load(Ordering::Relaxed);
            let Failure { problem, charged: may, wait } = match self.attempt(&body.to_json(newer)) {
                Ok(reply) => return Ok((reply, spent(charged, most))),
                Err(failure) => failure,
            };
            if !newer && matches!(&problem, RemoteError::Rejected { what, .. } if what.contains(NEWER)) {
                self.newer.store(true, Ordering::Relaxed);
                continue;
            }
            charged += u32::from(may);
            let took = spent(charged, most);
            if !problem.is_passing() || again >= self.retries || charged > CHARGED {
                return Err(ModelError::Remote { problem, took });
            }
            if let Some(wait) = wait {
                self.pace.hold(wait);
            }
            // What was charged for is told although the run pauses.
            if self.pace.back_off(seed, again, wait).is_err() {
                return Err(if charged == 0 { ModelError::Paused } else { ModelError::Remote { problem, took } });
            }
            again += 1;
        }
    }

    fn attempt(&self, body: &str) -> Result<Reply, Failure> {
        let address = format!("{}/chat/completions", self.base);
        let request = self.known(self.agent.post(&address).header(header::CONTENT_TYPE, "application/json"))?;
        let request = request.header(header::ACCEPT, "text/event-stream, application/json");
        let response = request.send(body).map_err(|problem| self.unsent(&problem))?;
        self.read(response, &address)
    }

    /// The names of the models that the endpoint says it has. Nothing is charged for that.
    ///
    /// # Errors
    /// It cannot be reached, refuses, or does not say.
    pub fn models(&self) -> Result<Vec<String>, RemoteError> {
        let told = |failure: Failure| failure.problem;
        let address = format!("{}/models", self.base);
        let request = self.known(self.agent.get(&address)).map_err(told)?;
        let mut response = request.call().map_err(|problem| told(self.unsent(&problem)))?;
        if !response.status().is_success() {
            return Err(told(self.refused(response.status(), response, &address)));
        }
        let named = reply::models(response.body_mut().as_reader()).map_err(|problem| self.told(problem))?;
        Ok(named.iter().map(|name| self.words(name)).collect())
    }

    /// With the key, where one is declared.
    fn known<B>(&self, request: RequestBuilder<B>) -> Result<RequestBuilder<B>, Failure> {
        let secret = self.key.as_ref().map_err(|problem| Failure::free(problem.clone()))?;
        Ok(match secret {
            Some(secret) => request.header(header::AUTHORIZATION, secret.bearer()),
            None => request,
        })
    }

    fn read(&self, mut response: Response<ureq::Body>, address: &str) -> Result<Reply, Failure> {
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response, address));
        }
        let streams = response.body().mime_type() == Some("text/event-stream");
        let mut from = response.body_mut().as_reader();
        let read = if streams { reply::events(&mut from) } else { reply::whole(&mut from) };
        let charged = |problem| Failure { problem, charged: true, wait: None };
        let reply = read.map_err(|problem| charged(self.told(problem)))?;
        self.drain(from);
        // It would be recorded.
        if self.secret().is_some_and(|secret| secret.is_in(&reply.text)) {
            return Err(charged(RemoteError::Rejected { status: 200, what: "the reply repeats the key".to_owned() }));
        }
        Ok(reply)
    }

    /// Reads a body on to its end, so that the connection can be used again; what is wrong there concerns nobody. An endpoint
    /// whose replies do not end is waited for once.
    fn drain(&self, from: impl Read) {
        if self.lingers.load(Ordering::Relaxed) {
            return;
        }
        let before = (self.clock)();
        let _ = std::io::copy(&mut from.take(reply::MOST_BYTES), &mut std::io::sink());
        if (self.clock)().saturating_sub(before) > LINGERS {
            self.lingers.store(true, Ordering::Relaxed);
        }
    }

    fn secret(&self) -> Option<&Secret> {
        self.key.as_ref().ok()?.as_ref()
    }

    /// Somebody else's words, without the key.
    fn words(&self, text: &str) -> String {
        words(&self.secret().map_or_else(|| text.to_owned(), |secret| secret.blot(text)))
    }

    fn told(&self, problem: RemoteError) -> RemoteError {
        match problem {
            RemoteError::Failed(what) => RemoteError::Failed(self.words(&what)),
            RemoteError::Broken(what) => RemoteError::Broken(self.words(&what)),
            RemoteError::Malformed(what) => RemoteError::Malformed(self.words(&what)),
            problem => problem,
        }
    }

    /// A status other than success. None of these is charged for.
    fn refused(&self, status: StatusCode, mut response: Response<ureq::Body>, address: &str) -> Failure {
        let headers = response.headers().clone();
        let Complained { message, code } = reply::complaint(response.body_mut().as_reader());
        let (status, what) = (status.as_u16(), self.words(&message));
        let hint = match status {
            _ if code == "insufficient_quota" => Some("the account has nothing left".to_owned()),
            401 => Some("is the key right?".to_owned()),
            402 => Some("the account has nothing left".to_owned()),
            403 => Some("may this key ask this model, from here?".to_owned()),
            // A run that goes on has the address that it was started with.
            404 => Some(format!(
                "is there a model of that name behind {address}? or mend `base_url`, and `agx run` it again"
            )),
            _ => None,
        };
        let free = Failure::free;
        match (status, hint) {
            (_, Some(hint)) => free(RemoteError::Refused { status, what, hint }),
            (300..=399, _) => {
                let to = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
                free(RemoteError::Redirected { status, to: self.words(to) })
            }
            (408 | 409 | 425 | 429 | 500..=599, _) => {
                Failure { wait: retry_after(&headers), ..free(RemoteError::Busy { status, what }) }
            }
            _ => free(RemoteError::Rejected { status, what }),
        }
    }

    /// No response at all: whether the request may have arrived is the question.
    fn unsent(&self, problem: &ureq::Error) -> Failure {
        let free = Failure::free;
        let charged = |problem| Failure { problem, charged: true, wait: None };
        match problem {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                free(RemoteError::Unreachable("connecting took too long".to_owned()))
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => {
                charged(RemoteError::Timeout("its first byte was not there"))
            }
            ureq::Error::Timeout(_) => charged(RemoteError::Timeout("its end was not there")),
            ureq::Error::Io(problem) if !may_have_arrived(problem.kind()) => {
                free(RemoteError::Unreachable(self.words(&crate::base::file::reason(problem))))
            }
            ureq::Error::Io(problem) => charged(RemoteError::Broken(self.words(&crate::base::file::reason(problem)))),
            // What only a response can be.
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::BodyStalled => {
                charged(RemoteError::Broken(self.words(&problem.to_string())))
            }
            problem => free(RemoteError::Unreachable(self.words(&problem.to_string()))),
        }
    }
}

/// What all exchanges have in common, with endpoints and with environments: a status is told, not an error; nobody is sent
/// elsewhere, by a redirect or by a proxy; and whom to trust is the machine's own to say, as its certificates have it.
pub fn exchange() -> ConfigBuilder<AgentScope> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("agx/", env!("CARGO_PKG_VERSION")));
    #[cfg(feature = "https")]
    let config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
    config
}

fn secret(name: &str, wire: &Wire) -> Result<Secret, RemoteError> {
    (wire.secret)(name).map_err(|why| RemoteError::NoSecret { name: name.to_owned(), why })
}

/// Attempts that may have been charged for are taken to have taken the most.
fn spent(attempts: u32, most: Tokens) -> Tokens {
    (0..attempts).fold(Tokens::default(), |sum, _| sum + most)
}

/// Whether a request that ended so had a connection. A name that is not known, a host that is not there and a certificate
/// that does not hold are none.
fn may_have_arrived(kind: ErrorKind) -> bool {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof, WouldBlock, WriteZero,
    };
    let after =
        [BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof, WouldBlock, WriteZero];
    after.contains(&kind)
}

/// Milliseconds, from seconds or from a date; a date counts from the response's own, as the clocks may differ.
pub fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse::<f64>() {
        return (seconds >= 0.0).then_some((seconds * 1000.0) as u64);
    }
    let [until, now] = [wanted, text(header::DATE)?].map(|date| httpdate::parse_http_date(date).ok());
    Some(until?.duration_since(now?).map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(MOST_WAIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_read_as_seconds_and_as_a_date() {
        let wait = |after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            date.map(|date| headers.insert(header::DATE, date.parse().unwrap()));
            retry_after(&headers)
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!((wait("2", None), wait("0.25", None), wait("0", date)), (Some(2000), Some(250), Some(0)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT", date), Some(10_000));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:27 GMT", date), Some(0), "it is over");
        for nonsense in ["soon", "-1", "NaN", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wait(nonsense, date), None, "{nonsense}");
        }
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT", None), None, "nobody knows from when");
        assert_eq!(wait("1e300", None), Some(u64::MAX), "capped by whoever waits");
    }
}

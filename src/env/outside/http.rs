//! JSON over HTTP: a question, an answer in time and of a bounded size.

use super::error::EnvError;
use super::program::LONGEST;
use crate::base::words::words;
use crate::model::remote::exchange;
use serde_json::Value;
use std::io::{ErrorKind, Read};
use std::time::Duration;
use ureq::http::{Response, header};
use ureq::{Agent, Body};

#[derive(Debug)]
pub struct Http {
    agent: Agent,
    /// Without a slash at its end.
    base: String,
    timeout: u64,
}

impl Http {
    /// `timeout` is the most that an answer may take, in milliseconds.
    pub fn new(base: &str, timeout: u64) -> Self {
        let agent = exchange().timeout_global(Some(Duration::from_millis(timeout))).build().new_agent();
        Self { agent, base: base.trim_end_matches('/').to_owned(), timeout }
    }

    /// # Errors
    /// No answer, an answer that is no JSON, or a status other than success.
    pub fn get(&self, path: &str) -> Result<Value, EnvError> {
        let address = format!("{}{path}", self.base);
        self.read(&address, self.agent.get(&address).call())
    }

    /// # Errors
    /// As [`Http::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, EnvError> {
        let address = format!("{}{path}", self.base);
        let request = self.agent.post(&address);
        self.read(&address, request.header(header::CONTENT_TYPE, "application/json").send(body.to_string()))
    }

    fn read(&self, address: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, EnvError> {
        let mut answer = answer.map_err(|problem| self.failed(address, problem))?;
        let status = answer.status();
        let mut text = Vec::new();
        let read = answer.body_mut().as_reader().take(LONGEST as u64 + 1).read_to_end(&mut text);
        read.map_err(|problem| self.failed(address, problem.into()))?;
        if text.len() > LONGEST {
            return Err(EnvError::Floods(LONGEST));
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let how = words(format!("{address}: HTTP {} {text}", status.as_u16()).trim_end());
            return Err(match status.is_server_error() {
                true => EnvError::broken(&how),
                false => EnvError::Refuses(how),
            });
        }
        let answer = serde_json::from_str(&text);
        answer.map_err(|problem| EnvError::Garbage(format!("{problem}: {}", words(&text))))
    }

    /// An exchange that came to no end.
    fn failed(&self, address: &str, problem: ureq::Error) -> EnvError {
        match problem {
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                EnvError::Unreachable("connecting took too long".to_owned())
            }
            ureq::Error::Timeout(_) | ureq::Error::BodyStalled => EnvError::silent(self.timeout),
            ureq::Error::Io(problem) => match problem.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock => EnvError::silent(self.timeout),
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => EnvError::broken("it broke the connection"),
                _ => EnvError::Unreachable(words(&format!("{address}: {}", crate::base::file::reason(&problem)))),
            },
            problem @ (ureq::Error::LargeResponseHeader(..) | ureq::Error::Protocol(_) | ureq::Error::Http(_)) => {
                EnvError::Garbage(words(&problem.to_string()))
            }
            problem => EnvError::Unreachable(words(&format!("{address}: {problem}"))),
        }
    }
}

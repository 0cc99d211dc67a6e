//! JSON over HTTP: a question, an answer in time and of a bounded size.

use super::error::EnvError;
use super::program::LONGEST;
use crate::base::words::words;
use serde_json::Value;
use std::io::Read;
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
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(Duration::from_millis(timeout)))
            .user_agent(concat!("agx/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, base: base.trim_end_matches('/').to_owned(), timeout }
    }

    /// # Errors
    /// No answer, an answer that is no JSON, or a status other than success.
    pub fn get(&self, path: &str) -> Result<Value, EnvError> {
        self.read(self.agent.get(format!("{}{path}", self.base)).call())
    }

    /// # Errors
    /// As [`Http::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, EnvError> {
        let request = self.agent.post(format!("{}{path}", self.base));
        self.read(request.header(header::CONTENT_TYPE, "application/json").send(body.to_string()))
    }

    fn read(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, EnvError> {
        let mut answer = answer.map_err(|problem| match problem {
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                EnvError::Unreachable("connecting took too long".to_owned())
            }
            ureq::Error::Timeout(_) => EnvError::Hangs(self.timeout),
            ureq::Error::Io(problem) if problem.kind() == std::io::ErrorKind::ConnectionRefused => {
                EnvError::Unreachable(format!("{}: {}", self.base, crate::base::file::reason(&problem)))
            }
            problem => EnvError::Unreachable(words(&problem.to_string())),
        })?;
        let status = answer.status();
        let mut text = Vec::new();
        let read = answer.body_mut().as_reader().take(LONGEST as u64 + 1).read_to_end(&mut text);
        if let Err(problem) = read {
            return Err(match problem.kind() {
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => EnvError::Hangs(self.timeout),
                _ => EnvError::Gone { how: words(&problem.to_string()), said: String::new() },
            });
        }
        if text.len() > LONGEST {
            return Err(EnvError::Floods(LONGEST));
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let how = words(&format!("HTTP {} {text}", status.as_u16()));
            return Err(match status.is_server_error() {
                true => EnvError::Gone { how, said: String::new() },
                false => EnvError::Refuses(how),
            });
        }
        let answer = serde_json::from_str(&text);
        answer.map_err(|problem| EnvError::Garbage(format!("{problem}: {}", words(&text))))
    }
}

//! Turns the body of a response into a reply: one JSON object, or server-sent events read as they come.
//!
//! # Invariants
//! No more than [`MOST_BYTES`] of a body are read, whatever it says of its length. A body that is not what the protocol
//! says is told so, never guessed at.

use crate::model::Tokens;
use crate::model::remote::RemoteError;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};

/// A reply is text that a model wrote: far above what any writes.
pub const MOST_BYTES: u64 = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub text: String,
    /// Why it ends: `stop`, `length`, `content_filter`, or another word of the endpoint's.
    pub finish: String,
    /// What the endpoint says it took.
    pub usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Complaint>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    /// Of a whole reply.
    message: Option<Said>,
    /// Of an event: what is added.
    delta: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<Content>,
    /// What is said instead.
    refusal: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Complaint {
    Object { message: Option<String>, code: Option<serde_json::Value> },
    Text(String),
}

/// What a body of an error says, and its code.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Complained {
    pub message: String,
    pub code: String,
}

/// Reads one JSON object.
pub fn whole(body: impl Read) -> Result<Reply, RemoteError> {
    let mut reply = Reply::default();
    reply.add(&bounded(body)?)?;
    reply.ended()
}

fn bounded(body: impl Read) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    body.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|problem| broken(&problem))?;
    if bytes.len() as u64 > MOST_BYTES { Err(RemoteError::TooLarge(MOST_BYTES)) } else { Ok(bytes) }
}

/// The names in a list of models.
///
/// # Errors
/// A body that is none.
pub fn models(body: impl Read) -> Result<Vec<String>, RemoteError> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
    }
    let List { data } =
        serde_json::from_slice(&bounded(body)?).map_err(|problem| RemoteError::Malformed(problem.to_string()))?;
    Ok(data.into_iter().map(|Model { id }| id).collect())
}

/// Reads server-sent events until the one that says `[DONE]`, or to the end where the reply was whole before.
pub fn events(body: impl Read) -> Result<Reply, RemoteError> {
    let mut lines = BufReader::new(body.take(MOST_BYTES + 1));
    let (mut reply, mut line, mut read) = (Reply::default(), Vec::new(), 0);
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(count) => read += count as u64,
            Err(problem) => return Err(broken(&problem)),
        }
        if read > MOST_BYTES {
            return Err(RemoteError::TooLarge(MOST_BYTES));
        }
        // Comments, names and numbers of events say nothing here.
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            // To the end, so that the connection can be used again; what is wrong there concerns nobody.
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
            break;
        }
        reply.add(data)?;
    }
    reply.ended()
}

impl Reply {
    fn add(&mut self, json: &[u8]) -> Result<(), RemoteError> {
        let malformed = |problem: serde_json::Error| RemoteError::Malformed(problem.to_string());
        let Chunk { choices, usage, error } = serde_json::from_slice(json).map_err(malformed)?;
        if let Some(error) = error {
            return Err(RemoteError::Broken(error.said().message));
        }
        for Choice { index: _, message, delta, finish_reason } in choices.into_iter().filter(|it| it.index == 0) {
            if let Some(Said { content, refusal }) = message.or(delta) {
                match content {
                    Some(Content::Text(text)) => self.text.push_str(&text),
                    Some(Content::Parts(parts)) => parts.iter().for_each(|part| self.text.push_str(&part.text)),
                    None => self.text.push_str(&refusal.unwrap_or_default()),
                }
            }
            self.finish = finish_reason.unwrap_or(std::mem::take(&mut self.finish));
        }
        if let Some(Usage { prompt_tokens: prompt, completion_tokens: completion }) = usage {
            self.usage = Some(Tokens { prompt, completion });
        }
        Ok(())
    }

    /// Whatever broke off before the model said that it ends is no reply.
    fn ended(self) -> Result<Self, RemoteError> {
        match self.finish.as_str() {
            "" => Err(RemoteError::Malformed("it ends without a `finish_reason`".to_owned())),
            _ => Ok(self),
        }
    }
}

impl Complaint {
    fn said(self) -> Complained {
        match self {
            Self::Text(message) => Complained { message, code: String::new() },
            Self::Object { message, code } => {
                let code = code.map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned));
                Complained { message: message.unwrap_or_default(), code: code.unwrap_or_default() }
            }
        }
    }
}

/// What an error's body says: its message where it has one, else its first line.
pub fn complaint(body: impl Read) -> Complained {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        OpenAi { error: Complaint },
        Plain { message: String },
        Detail { detail: String },
    }
    let mut bytes = Vec::new();
    // As much as comes: an error is told with whatever is there.
    let _ = body.take(1 << 16).read_to_end(&mut bytes);
    match serde_json::from_slice(&bytes) {
        Ok(Body::OpenAi { error }) => error.said(),
        Ok(Body::Plain { message } | Body::Detail { detail: message }) => Complained { message, code: String::new() },
        Err(_) => {
            let text = String::from_utf8_lossy(&bytes);
            let message = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
            Complained { message, code: String::new() }
        }
    }
}

/// A body that cannot be read on.
fn broken(problem: &std::io::Error) -> RemoteError {
    match problem.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        Some(ureq::Error::Timeout(_)) => RemoteError::Timeout("its end was not there"),
        _ if problem.kind() == std::io::ErrorKind::TimedOut => RemoteError::Timeout("its end was not there"),
        _ => RemoteError::Broken(crate::base::file::reason(problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(events_: &[&str]) -> Result<Reply, RemoteError> {
        let text: String = events_.iter().map(|event| format!("data: {event}\n\n")).collect();
        events(text.as_bytes())
    }

    #[test]
    fn events_add_up_to_a_reply() {
        let reply = read(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"call "}},{"index":1,"delta":{"content":"nothing"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"find"},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
            "[DONE]",
            "{ not read any more",
        ]);
        let usage = Some(Tokens { prompt: 7, completion: 2 });
        assert_eq!(reply, Ok(Reply { text: "call find".to_owned(), finish: "stop".to_owned(), usage }));
        let text = ": keep-alive\r\nevent: x\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}";
        assert_eq!(events(text.as_bytes()).unwrap().finish, "length", "the last line's end is not needed");
    }

    #[test]
    fn a_whole_reply_is_read_in_each_of_its_spellings() {
        let text = |json: &str| whole(json.as_bytes()).map(|reply| reply.text);
        let message = |content: &str| format!(r#"{{"choices":[{{"message":{{{content}}},"finish_reason":"stop"}}]}}"#);
        assert_eq!(text(&message(r#""content":"hi","tool_calls":[]"#)), Ok("hi".to_owned()));
        assert_eq!(text(&message(r#""content":[{"type":"text","text":"a"},{"text":"b"}]"#)), Ok("ab".to_owned()));
        assert_eq!(text(&message(r#""content":null,"refusal":"No.""#)), Ok("No.".to_owned()));
    }

    #[test]
    fn what_is_no_reply_says_so() {
        let malformed = |result| matches!(result, Err(RemoteError::Malformed(_)));
        assert!(malformed(read(&[])), "nothing at all");
        assert!(malformed(read(&[r#"{"choices":[{"delta":{"content":"half"}}]}"#, "[DONE]"])), "no reason to end");
        assert!(malformed(read(&[r#"{"choices":[{"delta":{"content":"ha"#])));
        assert!(malformed(whole(&b"<html>"[..])) && malformed(whole(&b"{}"[..])) && malformed(whole(&b"[]"[..])));
        let deep = "[".repeat(1 << 20);
        assert!(malformed(whole(deep.as_bytes())));
        let error = read(&[r#"{"error":{"message":"out of memory","code":500}}"#]);
        assert_eq!(error, Err(RemoteError::Broken("out of memory".to_owned())));
    }

    #[test]
    fn a_body_without_end_is_left() {
        let too_large = Err(RemoteError::TooLarge(MOST_BYTES));
        assert_eq!(events(std::io::repeat(b'x')), too_large);
        assert_eq!(events(std::io::repeat(b'\n')), too_large);
        assert_eq!(whole(std::io::repeat(b' ')), too_large);
        assert_eq!(complaint(std::io::repeat(b'x')).message.len(), 1 << 16);
    }

    #[test]
    fn a_complaint_is_found_in_each_of_its_forms() {
        let said = |text: &str| complaint(text.as_bytes()).message;
        assert_eq!(said(r#"{"error":{"message":"no","type":"t","code":"insufficient_quota"}}"#), "no");
        assert_eq!(said(r#"{"error":"no"}"#), "no");
        assert_eq!((said(r#"{"detail":"no"}"#), said(r#"{"message":"no"}"#)), ("no".to_owned(), "no".to_owned()));
        assert_eq!((said("\n  \nBad Gateway\nmore"), said("")), ("Bad Gateway".to_owned(), String::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, spoil in any::<prop::sample::Index>(), byte: u8) {
            let _ = (events(&bytes[..]), whole(&bytes[..]), complaint(&bytes[..]));
            let mut sound = br#"data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#.to_vec();
            let at = spoil.index(sound.len());
            sound[at] = byte;
            let _ = events(&sound[..]);
            let _ = events(&sound[..at]);
        }
    }
}

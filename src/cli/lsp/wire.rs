//! Turns bytes into messages of the protocol and back, whatever the bytes are.
//!
//! # Invariants
//! A message that is none is told and passed over; the next one is read. Memory is bounded: a message that says it is too
//! long is skipped unread.

use lsp_server::{ErrorCode, Message};
use serde_json::{Value, json};
use std::io::{self, BufRead, Read, Write};

/// Above the longest text that is read, with every character escaped.
const MOST_BYTES: u64 = 32 << 20;

/// Of one line of a header.
const MOST_HEADER: u64 = 8 << 10;

#[derive(Debug)]
pub enum Incoming {
    Message(Message),
    /// Not a message: what to answer.
    Bad {
        id: Value,
        code: ErrorCode,
        why: String,
    },
}

impl Incoming {
    fn bad(code: ErrorCode, why: impl Into<String>) -> Self {
        Self::Bad { id: Value::Null, code, why: why.into() }
    }
}

/// The next message; `None` at the end.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Incoming>> {
    let Some(length) = header(input)? else { return Ok(None) };
    let Some(length) = length else {
        return Ok(Some(Incoming::bad(ErrorCode::ParseError, "a message begins with `Content-Length: N`")));
    };
    if length > MOST_BYTES {
        io::copy(&mut input.by_ref().take(length), &mut io::sink())?;
        return Ok(Some(Incoming::bad(ErrorCode::InvalidRequest, format!("a message has at most {MOST_BYTES} bytes"))));
    }
    let mut body = Vec::new();
    input.by_ref().take(length).read_to_end(&mut body)?;
    Ok(Some(message(&body)))
}

/// The length that a header names; the inner `None` if it names none.
fn header(input: &mut impl BufRead) -> io::Result<Option<Option<u64>>> {
    let mut length = None;
    loop {
        let mut line = Vec::new();
        if input.by_ref().take(MOST_HEADER).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.is_empty() {
            return Ok(Some(length));
        }
        if let Some((name, value)) = text.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
}

fn message(body: &[u8]) -> Incoming {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return Incoming::bad(ErrorCode::ParseError, format!("this is no JSON: {error}")),
    };
    let id = value.get("id").cloned().unwrap_or(Value::Null);
    match serde_json::from_value(value) {
        Ok(message) => Incoming::Message(message),
        Err(_) => {
            let why = "this is no request, notification or response of JSON-RPC".to_owned();
            Incoming::Bad { id, code: ErrorCode::InvalidRequest, why }
        }
    }
}

pub fn write(output: &mut impl Write, message: &Message) -> io::Result<()> {
    message.write(output)
}

/// The answer to what is no message.
pub fn write_error(output: &mut impl Write, id: &Value, code: ErrorCode, why: &str) -> io::Result<()> {
    let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code as i32, "message": why } }).to_string();
    write!(output, "Content-Length: {}\r\n\r\n{error}", error.len())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &str) -> Vec<String> {
        let mut input = bytes.as_bytes();
        let mut seen = Vec::new();
        while let Some(incoming) = read(&mut input).expect("reading a string") {
            seen.push(match incoming {
                Incoming::Message(Message::Request(request)) => format!("request {}", request.method),
                Incoming::Message(Message::Notification(notification)) => {
                    format!("notification {}", notification.method)
                }
                Incoming::Message(Message::Response(_)) => "response".to_owned(),
                Incoming::Bad { id, code, .. } => format!("{id} {code:?}"),
            });
        }
        seen
    }

    fn framed(body: &str) -> String {
        format!("Content-Length: {}\r\nContent-Type: x\r\n\r\n{body}", body.len())
    }

    #[test]
    fn what_is_no_message_is_told_and_the_next_is_read() {
        let good = framed(r#"{"jsonrpc":"2.0","method":"initialized","params":{}}"#);
        let deep = framed(&"[".repeat(100_000));
        let bytes =
            [framed("{nonsense"), framed(r#"{"id":7,"metod":1}"#), framed("[]"), deep, "noise\n\n".to_owned(), good];
        let expected = [
            "null ParseError",
            "7 InvalidRequest",
            "null InvalidRequest",
            "null ParseError",
            "null ParseError",
            "notification initialized",
        ];
        assert_eq!(all(&bytes.concat()), expected);
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        assert_eq!(all("Content-Length: 18446744073709551615\r\n\r\n{}"), ["null InvalidRequest"]);
        assert_eq!(all("Content-Length: 100\r\n\r\n{}"), ["null InvalidRequest"], "shorter than it says");
        assert_eq!(all("Content-Length: -5\r\n\r\n"), ["null ParseError"]);
        assert!(all("Content-Len").is_empty());
    }
}

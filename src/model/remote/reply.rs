//! Turns the body of a response into a reply: one JSON object, or server-sent events read as they come.
//!
//! # Invariants
//! No more than [`MOST_BYTES`] of a body are read, whatever it says of its length. A body that is not what the protocol
//! says is told so, never guessed at.

use crate::model::remote::RemoteError;
use crate::model::{LIKELIEST, Likely, Tokens};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::io::{BufRead, BufReader, Read};

/// A reply is text that a model wrote: far above what any writes.
pub const MOST_BYTES: u64 = 16 << 20;
/// What a reply says that was cut off at its most tokens: OpenAI's word, and those of servers with words of their own.
pub const CUT: [&str; 3] = ["length", "max_tokens", "model_length"];
/// What one says that is whole, or held back. Any other word (`abort`, `error`) may be said of a reply that is neither.
const ENDED: [&str; 8] =
    ["stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "function_call", "content_filter"];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub text: String,
    /// Why it ends: a word of [`CUT`] or [`ENDED`].
    pub finish: String,
    /// Whether it calls a tool in the protocol's own form.
    pub calls: bool,
    /// What the endpoint says it took.
    pub usage: Option<Tokens>,
    /// Its tokens with the likeliest in each one's place, where that was asked for and is told.
    pub tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Token {
    token: String,
    /// How likely it was itself.
    logprob: Option<f64>,
    #[serde(default)]
    top_logprobs: Vec<Top>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Top {
    token: String,
    logprob: f64,
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
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<Content>,
    /// Calls in the protocol's own form.
    #[serde(default)]
    tool_calls: Option<Vec<IgnoredAny>>,
    function_call: Option<IgnoredAny>,
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
    let bytes = bounded(body)?;
    let List { data } = serde_json::from_slice(&bytes).map_err(|problem| malformed(&problem, &bytes))?;
    Ok(data.into_iter().map(|Model { id }| id).collect())
}

/// Reads server-sent events until the one that says `[DONE]`, or to the end where the reply was whole before.
pub fn events(body: impl Read) -> Result<Reply, RemoteError> {
    let mut lines = BufReader::new(body.take(MOST_BYTES + 1));
    let (mut reply, mut line, mut read) = (Reply::default(), Vec::new(), 0);
    // The beginning of an event that has several lines of data.
    let mut begun = Vec::new();
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
        if line.trim_ascii().is_empty() && !begun.is_empty() {
            reply.add(&std::mem::take(&mut begun))?;
        }
        // Comments, names and numbers of events say nothing here.
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            break;
        }
        // Most servers write a line an event, and some leave out the empty one between two.
        match serde_json::from_slice(data) {
            Ok(chunk) if begun.is_empty() => reply.take(chunk)?,
            Err(problem) if begun.is_empty() && !problem.is_eof() => return Err(malformed(&problem, data)),
            _ => {
                begun.extend(data);
                begun.push(b'\n');
            }
        }
    }
    if !begun.is_empty() {
        reply.add(&begun)?;
    }
    reply.ended()
}

impl Reply {
    fn add(&mut self, json: &[u8]) -> Result<(), RemoteError> {
        self.take(serde_json::from_slice(json).map_err(|problem| malformed(&problem, json))?)
    }

    fn take(&mut self, Chunk { choices, usage, error }: Chunk) -> Result<(), RemoteError> {
        if let Some(error) = error {
            return Err(RemoteError::Failed(error.said().message));
        }
        for Choice { index: _, message, delta, finish_reason, logprobs } in
            choices.into_iter().filter(|it| it.index == 0)
        {
            if let Some(Said { content, tool_calls, function_call, refusal }) = message.or(delta) {
                self.calls |= function_call.is_some() || tool_calls.is_some_and(|calls| !calls.is_empty());
                let said = match content {
                    Some(Content::Text(text)) => text,
                    Some(Content::Parts(parts)) => parts.into_iter().map(|part| part.text).collect(),
                    None => refusal.unwrap_or_default(),
                };
                if !self.finish.is_empty() && !said.is_empty() {
                    return Err(RemoteError::Malformed("it goes on after its end".to_owned()));
                }
                self.text.push_str(&said);
            }
            self.tokens.extend(logprobs.and_then(|logprobs| logprobs.content).into_iter().flatten());
            if let Some(reason) = finish_reason {
                if !self.finish.is_empty() && self.finish != reason {
                    let both = format!("it has the `finish_reason`s `{}` and `{reason}`", self.finish);
                    return Err(RemoteError::Malformed(both));
                }
                self.finish = reason;
            }
        }
        if let Some(Usage { prompt_tokens: prompt, completion_tokens: completion }) = usage {
            self.usage = Some(Tokens { prompt, completion });
        }
        Ok(())
    }

    /// Whatever broke off before the model said that it ends is no reply.
    fn ended(self) -> Result<Self, RemoteError> {
        match self.finish.as_str() {
            "" if self.text.is_empty() && !self.calls => {
                Err(RemoteError::Malformed("there is nothing in it".to_owned()))
            }
            "" => Err(RemoteError::Malformed("it ends without a `finish_reason`".to_owned())),
            known if ENDED.contains(&known) || CUT.contains(&known) => Ok(self),
            other => Err(RemoteError::Malformed(format!(
                "nobody knows whether it is whole: its `finish_reason` is `{other}`"
            ))),
        }
    }
}

/// The numbers in a reply, with those that might have stood there. Tokens that do not spell the text say nothing of what comes
/// after them.
pub fn likely(text: &str, tokens: &[Token]) -> Vec<Likely> {
    let (mut at, mut found) = (0, Vec::new());
    for Token { token, logprob, top_logprobs } in tokens {
        if !text.get(at..).is_some_and(|rest| rest.starts_with(token.as_str())) {
            break;
        }
        let likeliest = top_logprobs.iter().take(LIKELIEST).map(|top| (top.token.as_str(), top.logprob));
        // What was drawn need not be among the likeliest; alone, it would say that nothing else might have stood there.
        let drawn = logprob.filter(|_| !top_logprobs.is_empty()).map(|logprob| (token.as_str(), logprob));
        let drawn = drawn.filter(|_| top_logprobs.iter().take(LIKELIEST).all(|top| top.token != *token));
        let likeliest = likeliest.chain(drawn);
        found.extend(Likely::of(at, token, likeliest));
        at += token.len();
    }
    found
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

/// With what cannot be read, of which whoever tells it tells the beginning.
fn malformed(problem: &serde_json::Error, what: &[u8]) -> RemoteError {
    RemoteError::Malformed(format!("{problem}: {}", String::from_utf8_lossy(what)))
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
        assert_eq!(
            reply,
            Ok(Reply { text: "call find".to_owned(), finish: "stop".to_owned(), usage, ..Reply::default() })
        );
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
    fn how_likely_its_numbers_are_is_read_from_either_form() {
        let place = |token: &str, top: &str| {
            format!(r#"{{"token":"{token}","logprob":-0.1,"bytes":null,"top_logprobs":[{top}]}}"#)
        };
        let top = |token: &str, logprob: f64| format!(r#"{{"token":"{token}","logprob":{logprob}}}"#);
        let tops = [top(" 3", -0.5), top("4", -1.5), top(" high", -2.0), top("03", -3.0)].join(",");
        let tokens = [place("score", ""), place(":", ""), place(" 3", &tops)].join(",");
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"score: 3"}},"finish_reason":"stop","logprobs":{{"content":[{tokens}]}}}}]}}"#
        );
        let reply = whole(body.as_bytes()).unwrap();
        let expected = [Likely { at: 7, number: 3, numbers: vec![(3, -0.5), (4, -1.5)] }];
        assert_eq!(likely(&reply.text, &reply.tokens), expected);
        let event = |content: &str, token: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":"{content}"}},"logprobs":{{"content":[{token}]}}}}]}}"#)
        };
        let (first, second) =
            (event("score:", &[place("score", ""), place(":", "")].join(",")), event(" 3", &place(" 3", &tops)));
        let streamed =
            read(&[&first, &second, r#"{"choices":[{"delta":{},"finish_reason":"stop","logprobs":null}]}"#]).unwrap();
        assert_eq!(likely(&streamed.text, &streamed.tokens), expected);
        // Tokens that do not spell the text, as those of half a letter, say nothing of what follows.
        assert_eq!(likely("Es ist 3", &reply.tokens), []);
        assert_eq!(likely("", &reply.tokens), []);
        let token = |logprob: Option<f64>, tops: &[(&str, f64)]| {
            let top = |(token, logprob): &(&str, f64)| Top { token: (*token).to_owned(), logprob: *logprob };
            Token { token: "3".to_owned(), logprob, top_logprobs: tops.iter().map(top).collect() }
        };
        let numbers = |token: Token| likely("3", &[token])[0].numbers.clone();
        assert_eq!(numbers(token(None, &[("3", 7.0)])), [(3, 0.0)], "no probability is above one");
        // Drawn, and not among the likeliest.
        assert_eq!(numbers(token(Some(-2.5), &[("4", -0.5), ("0", -1.0)])), [(4, -0.5), (0, -1.0), (3, -2.5)]);
        assert_eq!(numbers(token(Some(-0.5), &[("3", -0.5), ("4", -1.0)])), [(3, -0.5), (4, -1.0)]);
        assert_eq!(numbers(token(None, &[("4", -0.5)])), [(4, -0.5)]);
        assert_eq!(numbers(token(Some(-0.5), &[])), [], "what else might have stood there is not told");
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
        assert_eq!(error, Err(RemoteError::Failed("out of memory".to_owned())));
        let beginning = "expected value at line 1 column 1: <html>";
        assert_eq!(whole(&b"<html>"[..]), Err(RemoteError::Malformed(beginning.to_owned())), "what it was is told");
    }

    #[test]
    fn a_call_in_the_protocols_own_form_is_seen_whatever_it_ends_with() {
        let call = r#"[{"index":0,"id":"c","type":"function","function":{"name":"find","arguments":"{}"}}]"#;
        for reason in ["stop", "length", "tool_calls"] {
            for said in [
                format!(r#""content":null,"tool_calls":{call}"#),
                format!(r#""content":"hi","tool_calls":{call}"#),
                r#""function_call":{"name":"find","arguments":"{}"}"#.to_owned(),
            ] {
                let body = |of: &str| format!(r#"{{"choices":[{{"{of}":{{{said}}},"finish_reason":"{reason}"}}]}}"#);
                assert!(whole(body("message").as_bytes()).unwrap().calls, "{said}");
                assert!(read(&[&body("delta"), "[DONE]"]).unwrap().calls, "{said}");
            }
        }
        let none = r#"{"choices":[{"message":{"content":"hi","tool_calls":null,"function_call":null},"finish_reason":"stop"}]}"#;
        assert!(!whole(none.as_bytes()).unwrap().calls);
    }

    #[test]
    fn a_reply_that_goes_on_after_its_end_is_none() {
        let event = |content: &str, reason: &str| {
            format!(r#"{{"choices":[{{"delta":{{"content":"{content}"}},"finish_reason":{reason}}}]}}"#)
        };
        let end = event("Done.", r#""stop""#);
        assert_eq!(read(&[&end, &event("", "null"), &event("", r#""stop""#), "[DONE]"]).unwrap().text, "Done.");
        for more in [&end, &event(" more", "null"), &event("", r#""length""#), &event("", r#""weird""#)] {
            assert!(matches!(read(&[&end, more, "[DONE]"]), Err(RemoteError::Malformed(_))), "{more}");
        }
    }

    #[test]
    fn an_event_may_have_several_lines() {
        let lines = "data: {\"choices\":\r\ndata: [{\"delta\":{\"content\":\"a\"},\r\nid: 7\r\ndata: \"finish_reason\":\"stop\"}]}\r\n";
        for end in ["", "\r\n", "\r\ndata: [DONE]\r\n\r\n"] {
            assert_eq!(events(format!("{lines}{end}").as_bytes()).unwrap().text, "a", "{end:?}");
        }
        let single = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n";
        assert_eq!(events(single.as_bytes()).unwrap().text, "ab", "without an empty line between two");
        let begun = format!("{}data: [DONE]\n\n", "data: [\n".repeat(100_000));
        assert!(matches!(events(begun.as_bytes()), Err(RemoteError::Malformed(_))), "and in no time");
    }

    /// What is taken as whole is recorded for good.
    #[test]
    fn a_reply_that_does_not_say_how_it_ended_is_none() {
        let ends = |reason: &str| {
            whole(format!(r#"{{"choices":[{{"message":{{"content":"hi"}},"finish_reason":"{reason}"}}]}}"#).as_bytes())
        };
        for known in CUT.into_iter().chain(ENDED) {
            assert_eq!(ends(known).map(|reply| reply.finish), Ok(known.to_owned()));
        }
        for unknown in ["abort", "error", "insufficient_system_resource", "banana", "Stop", "null"] {
            let Err(RemoteError::Malformed(why)) = ends(unknown) else { panic!("{unknown} is taken as whole") };
            assert!(why.contains(&format!("`{unknown}`")), "{why}");
        }
        let event =
            |reason: &str| format!(r#"{{"choices":[{{"delta":{{"content":"hi"}},"finish_reason":{reason}}}]}}"#);
        assert!(matches!(read(&[&event("null"), &event(r#""abort""#), "[DONE]"]), Err(RemoteError::Malformed(_))));
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

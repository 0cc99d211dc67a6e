//! The client against an endpoint that does everything wrong.

#![allow(clippy::disallowed_methods, reason = "an endpoint under test stalls, and a test looks at the clock")]

pub mod endpoint;

use super::*;
use crate::base::Seed;
use crate::model::{Likely, Limits, Rate, Role, Sampling, Secret};
use endpoint::{Endpoint, Then, chunked, say, say_for, status};
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KEY: &str = "sk-very-secret";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

pub fn wire() -> Wire {
    Wire::new(now, |name| match name {
        "TEST_KEY" => Ok(Secret::new(KEY).unwrap()),
        _ => Err(format!("`{name}` is not set")),
    })
}

fn told() -> Vec<Message> {
    vec![
        Message::new(Role::System, "Work."),
        Message::new(Role::User, "Book a room."),
        Message::new(Role::Assistant, "call find_room"),
        Message::new(Role::Tool, "room: Oak"),
    ]
}

fn ask(remote: &Remote) -> Result<GenReply, ModelError> {
    ask_by(&RemoteModel::open(remote, 4096, &wire()))
}

fn ask_by(model: &RemoteModel) -> Result<GenReply, ModelError> {
    let sampling = Sampling { temperature: 0.7, ..Sampling::drawn(64) };
    let request =
        GenRequest { prompt: model.encode_chat(&told()).unwrap(), seed: Seed(7), sampling, likely: false, form: None };
    model.generate(&[request]).remove(0)
}

/// What came of it in the end, and what may have been charged for.
fn fails(remote: &Remote) -> (RemoteError, Tokens) {
    match ask(remote) {
        Err(ModelError::Remote { problem, took }) => {
            assert!(!problem.to_string().contains(KEY), "{problem}");
            (problem, took)
        }
        other => panic!("{other:?}"),
    }
}

/// What one attempt may have been charged for, at the most.
fn attempt() -> Tokens {
    Tokens { prompt: spelled::chat(&told()).len() as u64, completion: 64 }
}

#[test]
fn a_reply_is_a_text_and_what_it_took() {
    let endpoint = Endpoint::new(|_, stream| say(stream, "call book_room\nroom: Öak", "stop"));
    let reply = ask(&endpoint.remote()).unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("call book_room\nroom: Öak", StopReason::EndOfTurn));
    assert_eq!(reply.used, Some(Tokens { prompt: 7, completion: 3 }));
    assert_eq!(spelled::decode(&reply.tokens), reply.text);
    let [asked] = &endpoint.asked()[..] else { panic!("asked once") };
    assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked.header("authorization"), Some("Bearer sk-very-secret"));
    assert_eq!((&asked.body["model"], &asked.body["max_tokens"]), (&"model-2026-01-01".into(), &64.into()));
    let roles: Vec<Role> = asked.messages().iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User], "what a tool says, the user says");
}

#[test]
fn how_likely_numbers_are_is_asked_for_and_told() {
    let whole = r#"{"choices":[{"message":{"content":"3"},"finish_reason":"stop","logprobs":{"content":[
        {"token":"3","logprob":-0.5,"top_logprobs":[{"token":"3","logprob":-0.5},{"token":"x","logprob":-1.0}]}]}}]}"#;
    let endpoint = Endpoint::new(move |_, stream| status(stream, 200, "", whole));
    let model = RemoteModel::open(&endpoint.remote(), 4096, &wire());
    let ask = |likely: bool| {
        let prompt = model.encode_chat(&told()).unwrap();
        let request = GenRequest { prompt, seed: Seed(7), sampling: Sampling::greedy(9), likely, form: None };
        model.generate(&[request]).remove(0).unwrap().likely
    };
    assert_eq!(ask(true), [Likely { at: 0, number: 3, numbers: vec![(3, -0.5)] }]);
    assert_eq!(ask(false), [], "nothing is kept that was not asked for");
    let [first, second] = &endpoint.asked()[..] else { panic!("asked twice") };
    assert_eq!((&first.body["logprobs"], &first.body["top_logprobs"]), (&true.into(), &20.into()));
    assert!(second.body.get("logprobs").is_none() && second.body.get("top_logprobs").is_none());
}

#[test]
fn a_reply_is_cut_off_held_back_or_said_in_one_piece() {
    let finishing = |finish: &'static str| ask(&Endpoint::new(move |_, stream| say(stream, "half", finish)).remote());
    let cut = finishing("length").unwrap();
    assert_eq!((cut.stop, cut.tokens.last() == Some(&spelled::END)), (StopReason::MaxTokens, false));
    let Err(ModelError::Remote { problem, took }) = finishing("content_filter") else { panic!("it was held back") };
    assert_eq!((problem, took), (RemoteError::Filtered, Tokens { prompt: 7, completion: 3 }));
    let whole = r#"{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}"#;
    let endpoint = Endpoint::new(move |_, stream| status(stream, 200, "", whole));
    let reply = ask(&endpoint.remote()).unwrap();
    let prompt = attempt().prompt;
    assert_eq!((reply.text.as_str(), reply.used), ("whole", Some(Tokens { prompt, completion: 3 })), "counted here");
    let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{}]},"finish_reason":"tool_calls"}]}"#;
    let endpoint = Endpoint::new(move |_, stream| status(stream, 200, "", calls));
    assert!(matches!(fails(&endpoint.remote()), (RemoteError::Malformed(_), _)));
}

#[test]
fn an_endpoint_that_leaves_its_replies_open_is_waited_for_once() {
    let endpoint = Endpoint::new(|_, stream| {
        let event = r#"{"choices":[{"delta":{"content":"Done."},"finish_reason":"stop"}]}"#;
        let body = format!("data: {event}\n\ndata: [DONE]\n\n");
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        write!(stream, "{:x}\r\n{body}\r\n", body.len()).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        Then::Close
    });
    let model = RemoteModel::open(&endpoint.remote(), 4096, &wire());
    let timed = || {
        let before = Instant::now();
        assert_eq!(ask_by(&model).unwrap().text, "Done.");
        before.elapsed()
    };
    let (first, second, third) = (timed(), timed(), timed());
    assert!(first > Duration::from_millis(800), "{first:?}");
    assert!(second < first / 2 && third < first / 2, "{first:?} {second:?} {third:?}");
}

#[test]
fn a_response_that_cannot_be_read_may_have_been_charged_for() {
    let endpoint = Endpoint::new(|_, stream| {
        let header = "x".repeat(1 << 20);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nx-large: {header}\r\ncontent-length: 0\r\n\r\n");
        Then::Close
    });
    let (problem, took) = fails(&endpoint.remote());
    assert!(matches!(problem, RemoteError::Broken(_)), "{problem:?}");
    assert_eq!((took, endpoint.asked().len()), (attempt() + attempt(), 2), "once more, and both count");
}

#[test]
fn whoever_asks_for_patience_is_asked_again() {
    let endpoint = Endpoint::new(|asked, stream| match asked.number {
        0 => status(stream, 429, "retry-after: 0\r\n", r#"{"error":{"message":"slow down"}}"#),
        1 => status(stream, 503, "", "upstream"),
        2 => status(stream, 409, "", ""),
        _ => say(stream, "ok", "stop"),
    });
    let reply = ask(&endpoint.remote()).unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.used, endpoint.asked().len()),
        ("ok", Some(Tokens { prompt: 7, completion: 3 }), 4)
    );
    // A date that is longer away than anybody waits.
    let late = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 09:49:37 GMT\r\n";
    let endpoint = Endpoint::new(move |asked, stream| match asked.number {
        0 => status(stream, 429, late, ""),
        _ => say(stream, "ok", "stop"),
    });
    let before = Instant::now();
    assert_eq!(ask(&endpoint.remote()).unwrap().text, "ok");
    assert!(before.elapsed() >= Duration::from_millis(pace::MOST_WAIT));

    let endpoint = Endpoint::new(|_, stream| status(stream, 500, "", r#"{"detail":"worker  died\n sorry"}"#));
    let (problem, took) = fails(&endpoint.remote());
    assert_eq!(problem, RemoteError::Busy { status: 500, what: "worker died sorry".to_owned() });
    assert!(problem.is_transient() && !problem.is_general());
    assert_eq!((took, endpoint.asked().len()), (Tokens::default(), 4), "a refusal is free, and three retries are four");
}

#[test]
fn what_is_refused_is_not_asked_again() {
    let complaint = format!(r#"{{"error":{{"message":"Incorrect API key: {KEY}","code":"invalid_api_key"}}}}"#);
    for (code, body, general) in [
        (401, complaint.as_str(), true),
        (403, "", true),
        (404, r#"{"error":{"message":"no model of that name"}}"#, true),
        (429, r#"{"error":{"message":"nothing left","code":"insufficient_quota"}}"#, true),
        (400, r#"{"error":"the prompt is too long"}"#, false),
        (422, "", false),
    ] {
        let body = body.to_owned();
        let endpoint = Endpoint::new(move |_, stream| status(stream, code, "", &body));
        let (problem, took) = fails(&endpoint.remote());
        assert_eq!((problem.is_general(), took, endpoint.asked().len()), (general, Tokens::default(), 1), "{problem}");
        assert!(problem.to_string().contains(&code.to_string()), "{problem}");
        let asked = format!("{}/chat/completions? or mend `base_url`, and `agx run` it again", endpoint.url());
        assert_eq!(problem.to_string().contains(&asked), code == 404, "{problem}");
    }
}

#[test]
fn the_key_goes_to_no_other_place() {
    let other = Endpoint::saying("I have the key");
    for code in [301, 302, 303, 307, 308] {
        let to = format!("location: {}/chat/completions\r\n", other.url());
        let endpoint = Endpoint::new(move |_, stream| status(stream, code, &to, ""));
        let (problem, _) = fails(&endpoint.remote());
        assert!(matches!(&problem, RemoteError::Redirected { to, .. } if to.starts_with(&other.url())), "{problem}");
        assert_eq!(endpoint.asked().len(), 1);
    }
    assert!(other.asked().is_empty());
    let endpoint = Endpoint::new(|_, stream| say(stream, &format!("you sent {KEY}"), "stop"));
    assert!(matches!(fails(&endpoint.remote()), (RemoteError::Rejected { .. }, _)), "a record would hold it");
    // Not even asked.
    let endpoint = Endpoint::saying("ok");
    let (problem, _) = fails(&Remote { key: Some("OTHER".to_owned()), ..endpoint.remote() });
    assert!(matches!(problem, RemoteError::NoSecret { .. }) && endpoint.asked().is_empty(), "{problem}");
    assert!(ask(&Remote { key: None, ..endpoint.remote() }).is_ok());
    assert_eq!(endpoint.asked()[0].header("authorization"), None);
}

#[test]
fn what_breaks_off_is_asked_once_more_and_may_be_charged_for() {
    type Break = fn(&mut std::net::TcpStream) -> Then;
    let half = r#"data: {"choices":[{"delta":{"content":"ha"}}]}"#;
    let breaks: [(&str, Break); 7] = [
        ("in the middle of a line", |stream| chunked(stream, &["data: {\"choices\":[{\"de"], false)),
        ("between events", |stream| chunked(stream, &["data: {\"choices\":[]}\n\n"], false)),
        ("an end without a reason", |stream| chunked(stream, &["data: {\"choices\":[]}\n\ndata: [DONE]\n\n"], true)),
        ("an error in the stream", |stream| chunked(stream, &["data: {\"error\":{\"message\":\"oom\"}}\n\n"], true)),
        ("no HTTP", |stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n");
            Then::Close
        }),
        ("a body shorter than it says", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choices\"");
            Then::Close
        }),
        ("nothing at all", |_| Then::Close),
    ];
    for (name, breaks) in breaks {
        let endpoint = Endpoint::new(move |asked, stream| match asked.number {
            0 => breaks(stream),
            _ => say(stream, "ok", "stop"),
        });
        let reply = ask(&endpoint.remote()).unwrap();
        let took = attempt() + Tokens { prompt: 7, completion: 3 };
        assert_eq!((reply.text.as_str(), reply.used, endpoint.asked().len()), ("ok", Some(took), 2), "{name}");
        let endpoint = Endpoint::new(move |_, stream| breaks(stream));
        let (problem, took) = fails(&endpoint.remote());
        assert!(
            matches!(problem, RemoteError::Broken(_) | RemoteError::Malformed(_) | RemoteError::Failed(_)),
            "{name}: {problem}"
        );
        assert_eq!((took, endpoint.asked().len()), (attempt() + attempt(), 2), "{name}");
    }
    let endpoint = Endpoint::new(move |_, stream| chunked(stream, &[half], false));
    assert_eq!(
        fails(&Remote { limits: Limits { retries: 0, ..endpoint.remote().limits }, ..endpoint.remote() }).1,
        attempt()
    );
}

#[test]
fn nobody_is_waited_for_longer_than_declared() {
    let patience = |endpoint: &Endpoint, first_byte, timeout| {
        let limits = Limits { first_byte, timeout, retries: 0, ..endpoint.remote().limits };
        let before = Instant::now();
        let failed = fails(&Remote { limits, ..endpoint.remote() });
        assert!(before.elapsed() < Duration::from_millis(1500), "{:?}", before.elapsed());
        failed
    };
    let silent = Endpoint::new(|_, _| {
        std::thread::sleep(Duration::from_millis(400));
        Then::Close
    });
    assert_eq!(patience(&silent, 50, 2000), (RemoteError::Timeout("its first byte was not there"), attempt()));
    assert!(matches!(patience(&silent, 2000, 50), (RemoteError::Timeout(_), _)));
    let dripping = Endpoint::new(|_, stream| {
        let mut then = chunked(stream, &["data: {\"choices\":[{\"delta\":{\"content\":\"ha\"}}]}\n\n"], false);
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(10));
            if stream.write_all(b"3\r\n: \n\r\n").is_err() {
                then = Then::Close;
            }
        }
        then
    });
    assert_eq!(patience(&dripping, 2000, 100), (RemoteError::Timeout("its end was not there"), attempt()));
}

#[test]
fn a_flood_is_left_behind() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    // A line of a gigabyte, as far as anybody reads it.
    let endpoint = Endpoint::new(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ");
        let block = [b'x'; 1 << 16];
        for _ in 0..1 << 14 {
            if stream.write_all(&block).is_err() {
                break;
            }
            counted.fetch_add(block.len(), Ordering::SeqCst);
        }
        Then::Close
    });
    let patient = |endpoint: &Endpoint| {
        let limits = Limits { timeout: 30_000, ..endpoint.remote().limits };
        Remote { limits, ..endpoint.remote() }
    };
    assert_eq!(fails(&patient(&endpoint)), (RemoteError::TooLarge(reply::MOST_BYTES), attempt()));
    assert!(written.load(Ordering::SeqCst) < 64 << 20, "{written:?}");
    let endpoint = Endpoint::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"x-more: and more and more and more and more and more\r\n").is_ok() {}
        Then::Close
    });
    assert!(matches!(fails(&patient(&endpoint)).0, RemoteError::Broken(_) | RemoteError::Unreachable(_)));
    let endpoint = Endpoint::new(|_, stream| say_for(stream, "ok", "stop", Some((u64::MAX, u64::MAX))));
    assert_eq!(ask(&endpoint.remote()).unwrap().used, Some(Tokens { prompt: u64::MAX, completion: u64::MAX }));
}

#[test]
fn an_endpoint_that_is_not_there_is_general() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{nobody}/v1"), "http://nobody.invalid/v1".to_owned(), "http://[::1".to_owned()] {
        let (problem, took) = fails(&endpoint::remote(&url));
        assert!(matches!(problem, RemoteError::Unreachable(_)), "{url}: {problem}");
        assert!(problem.is_general() && took.is_none(), "{url}");
    }
}

#[test]
fn a_field_that_was_renamed_is_sent_as_it_is_wanted() {
    let endpoint = Endpoint::new(|asked, stream| match asked.body.get("max_completion_tokens") {
        None => {
            let message =
                r#"{"error":{"message":"'max_tokens' is not supported: use 'max_completion_tokens' instead."}}"#;
            status(stream, 400, "", message)
        }
        Some(_) => say(stream, "ok", "stop"),
    });
    let model = RemoteModel::open(&endpoint.remote(), 4096, &wire());
    assert!((0..3).all(|_| ask_by(&model).is_ok()));
    assert_eq!(endpoint.asked().len(), 4, "told once, it is known");
}

#[test]
fn connections_are_used_again_and_the_rate_is_held() {
    let limits = |endpoint: &Endpoint, rate| Limits { rate, ..endpoint.remote().limits };
    let endpoint = Endpoint::saying("ok");
    let remote = Remote { limits: limits(&endpoint, Some(Rate { count: 100, each: 1000 })), ..endpoint.remote() };
    let model = RemoteModel::open(&remote, 4096, &wire());
    let before = Instant::now();
    assert!((0..10).all(|_| ask_by(&model).is_ok()));
    assert!(before.elapsed() >= Duration::from_millis(88), "{:?}", before.elapsed());
}

#[test]
fn a_pause_ends_the_waiting() {
    let paused = Arc::new(AtomicBool::new(false));
    let raise = paused.clone();
    let endpoint = Endpoint::new(move |_, stream| {
        raise.store(true, Ordering::SeqCst);
        status(stream, 429, "retry-after: 60\r\n", "")
    });
    let model = RemoteModel::open(&endpoint.remote(), 4096, &wire().pausing(&paused));
    assert!(matches!(ask_by(&model), Err(ModelError::Paused)));
    assert_eq!(endpoint.asked().len(), 1);
}

//! Servers at an address, in the test's own process.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// A server in a thread: answers a request for a path, and a WebSocket's messages.
fn serve(
    http: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static,
    socket: impl Fn(&mut tungstenite::WebSocket<TcpStream>, Value) -> bool + Send + Sync + 'static,
) -> String {
    listen(move |stream| talk(stream, &http, &socket))
}

/// Whoever connects is talked to, each in a thread.
pub fn listen(talk: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let talk = Arc::new(talk);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let talk = talk.clone();
            std::thread::spawn(move || talk(stream.expect("a connection")));
        }
    });
    address
}

fn talk(
    mut stream: TcpStream,
    http: &dyn Fn(&str, &Value) -> (u16, Value),
    socket: &dyn Fn(&mut tungstenite::WebSocket<TcpStream>, Value) -> bool,
) -> Option<()> {
    let mut head = [0; 7];
    while stream.peek(&mut head).ok()? < head.len() {}
    if head.starts_with(b"GET /ws") {
        let mut opened = tungstenite::accept(stream).ok()?;
        while let Ok(message) = opened.read() {
            let Ok(text) = message.to_text() else { continue };
            let Ok(asked) = serde_json::from_str(text) else { continue };
            if !socket(&mut opened, asked) {
                return None;
            }
        }
        return None;
    }
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (path, body) = requested(&mut reader)?;
        let (status, said) = http(&path, &body);
        let said = said.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", said.len());
        stream.write_all(format!("{head}{said}").as_bytes()).ok()?;
    }
}

/// A request's path and its body.
pub fn requested(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").and_then(|it| it.parse().ok()).unwrap_or(length);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), serde_json::from_slice(&body).unwrap_or_default()))
}

fn say(socket: &mut tungstenite::WebSocket<TcpStream>, what: &Value) -> bool {
    socket.send(tungstenite::Message::text(what.to_string())).is_ok()
}

/// Sends ten times a second, for as long as somebody takes it.
fn while_sent(mut send: impl FnMut() -> bool, wait: &std::sync::mpsc::Receiver<()>) -> bool {
    while send() {
        let _ = wait.recv_timeout(std::time::Duration::from_millis(100));
    }
    false
}

#[test]
fn openenv_takes_typed_actions_and_what_goes_wrong_is_told_apart() {
    let schema = json!({
        "properties": { "move": { "type": "integer" }, "metadata": { "type": "object" } }, "required": ["move"],
    });
    let address = serve(
        move |path, _| (if path == "/schema" { 200 } else { 404 }, json!({ "action": schema })),
        |socket, asked| {
            let observe = |text: &str, reward: Value, done: bool| {
                json!({ "type": "observation",
                "data": { "observation": { "text": text }, "reward": reward, "done": done } })
            };
            match (asked["type"].as_str(), asked["data"]["move"].as_i64()) {
                (Some("reset"), _) => say(socket, &observe(&asked["data"].to_string(), Value::Null, false)),
                (Some("step"), Some(0)) => {
                    say(socket, &json!({ "type": "error", "data": { "message": "stuck", "code": "E" } }))
                }
                (Some("step"), Some(1)) => say(socket, &observe("won", json!(1.0), true)),
                (Some("step"), Some(2)) => say(socket, &json!({ "type": "observation" })),
                (Some("step"), Some(3)) => true,
                (Some("step"), Some(4)) => say(socket, &json!({ "text": "x".repeat(20_000_000) })),
                (Some("step"), Some(8)) => {
                    say(socket, &observe("one", Value::Null, false)) && say(socket, &observe("two", json!(1.0), true))
                }
                (Some("step"), Some(6)) => {
                    while socket.send(tungstenite::Message::Ping("still here".into())).is_ok() {}
                    false
                }
                // A frame of a text that comes byte by byte, each in time.
                (Some("step"), Some(7)) => {
                    let mut send = |bytes: &[u8]| socket.get_mut().write_all(bytes).is_ok();
                    let (_never, wait) = std::sync::mpsc::channel::<()>();
                    send(&[0x81, 126, 0xff, 0xff]) && while_sent(|| send(b"x"), &wait)
                }
                _ => false,
            }
        },
    );
    let fields = vec![field("seed", FieldType::Int, Visibility::ALL)];
    let env = Env::open(&spec(Reach::OpenEnv(format!("ws://{address}/ws")), None, fields, &["success"]), &wire());
    let env = env.expect("nobody is asked yet");
    let begin = || env.start(&env.task("test", 0), Seed(9)).expect("it begins");
    let (mut episode, first) = begin();
    assert_eq!(first, Some(Observation::asked(r#"{"index":2,"seed":2}"#)), "the third task");
    assert_eq!(episode.step(&call("any", &[("move", "0")])), Ok(Observation::told("error: E stuck")));
    let won = episode.step(&call("any", &[("move", "1")])).expect("it answers");
    assert_eq!((won.text.as_str(), won.done, success(&*episode)), ("won", true, 1.0));
    assert_eq!(begin().0.step(&answer("I am done.")), Ok(Observation::done()), "an action takes no text");
    let failed = |number: &str| begin().0.step(&call("any", &[("move", number)])).expect_err("it fails").to_string();
    insta::assert_snapshot!(["2", "3", "4", "5", "6", "7"].map(failed).join("\n"), @r#"
    the environment answers garbage: it has no `data`: {"type":"observation"}
    the environment hangs: no answer in 2 s
    the environment floods: an answer is longer than 16 MiB
    the environment is gone: Connection reset without closing handshake
    the environment hangs: no answer in 2 s
    the environment hangs: no answer in 2 s
    "#);
    // What it said too much has to have come to be found.
    let (mut twice, _) = begin();
    assert_eq!(twice.step(&call("any", &[("move", "8")])).expect("it answers").text, "one");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let failed = twice.step(&call("any", &[("move", "1")])).expect_err("it said two things").to_string();
    assert!(failed.starts_with("the environment answers garbage: it said more than it was asked: {"), "{failed}");
    // It need not say its name; what it refuses, it refuses by an address.
    let said = env.examine("train").expect("it is sound");
    assert_eq!(said[..2], ["it has no name".to_owned(), "an action is action(metadata?, move)".to_owned()]);
    let bare = serve(|_, _| (404, json!("no")), |_, _| false);
    let bare = Env::open(&spec(Reach::OpenEnv(format!("ws://{bare}/ws")), None, Vec::new(), &["success"]), &wire());
    let failed = bare.expect("nobody is asked yet").examine("train").expect_err("it has no schema").to_string();
    assert!(
        failed.starts_with("the environment refuses: http://127.0.0.1:")
            && failed.ends_with("/schema: HTTP 404 \"no\""),
        "{failed}"
    );
    let gone = spec(Reach::OpenEnv("ws://127.0.0.1:1/ws".to_owned()), None, Vec::new(), &["success"]);
    let gone = Env::open(&gone, &wire()).expect("nobody is asked yet");
    let failed = gone.start(&gone.task("train", 0), Seed(9)).err().expect("nobody is there");
    assert!(matches!(failed, EnvError::Unreachable(_)), "{failed}");
}

#[test]
fn agentgym_reads_actions_in_words_and_servers_by_any_of_their_names() {
    let address = serve(
        |path, asked| match (path, asked["action"].as_str()) {
            ("/create", _) => (200, json!(5)),
            ("/reset", _) => (200, json!([format!("page {} of {}", asked["session_id"], asked["env_idx"]), null])),
            ("/step", Some("buy now")) => (200, json!({ "state": "bought", "reward": 1, "done": true })),
            ("/step", Some("look")) => (200, json!({ "state": "a shelf", "reward": 0.2, "done": false })),
            ("/step", Some("crash")) => (500, json!("oh")),
            ("/step", Some("nonsense")) => (200, json!({ "fine": true })),
            ("/step", _) => (200, json!({ "error": "no such action" })),
            _ => (404, json!({})),
        },
        |_, _| false,
    );
    let env = Env::open(&spec(Reach::AgentGym(format!("http://{address}")), None, Vec::new(), &["success"]), &wire());
    let env = env.expect("nobody is asked yet");
    let begin = || env.start(&env.task("test", 0), Seed(9)).expect("it begins");
    let (mut episode, first) = begin();
    assert_eq!(first, Some(Observation::asked("page 2 of 5")));
    let act = |reply: &str| env.action(reply, ToolFormat::React);
    assert_eq!(act("Thought: hm\nAction: look\nmore"), call("act", &[("action", "look")]));
    assert_eq!(episode.step(&act("look")), Ok(Observation::told("a shelf")));
    assert_eq!(episode.step(&act("jump")), Ok(Observation::told("error: no such action")));
    assert_eq!(success(&*episode), 0.0);
    let end = episode.step(&act("Action: buy now")).expect("it answers");
    assert_eq!((end.text.as_str(), end.done, success(&*episode)), ("bought", true, 1.0));
    let failed = |reply: &str| begin().0.step(&act(reply)).expect_err("it fails").to_string();
    insta::assert_snapshot!(["crash", "nonsense"].map(failed).join("\n").replace(&address, "HOST"), @r#"
    the environment is gone: http://HOST/step: HTTP 500 "oh"
    the environment answers garbage: it is no step: {"fine":true}
    "#);
}

#[test]
fn an_exchange_with_agentgym_that_comes_to_no_end_is_told_apart() {
    let address = listen(|mut stream| {
        let (path, asked) = requested(&mut BufReader::new(stream.try_clone().ok()?))?;
        let json = |body: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        };
        let said = match (path.as_str(), asked["action"].as_str()) {
            ("/create", _) => json("5"),
            ("/reset", _) => json("\"a shop\""),
            (_, Some("cut")) => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"obs".to_owned(),
            (_, Some("leave")) => String::new(),
            (_, Some("head")) => format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "x".repeat(1 << 17)),
            (_, Some("strange")) => "nothing like HTTP\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_owned(),
        };
        stream.write_all(said.as_bytes()).ok()?;
        let (_never, wait) = std::sync::mpsc::channel::<()>();
        // Byte by byte, each in time.
        while asked["action"] == "drip" && stream.write_all(b" ").is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_millis(50));
        }
        Some(())
    });
    let mut spec = spec(Reach::AgentGym(format!("http://{address}")), None, Vec::new(), &["success"]);
    if let EnvKind::Outside(outside) = &mut spec.kind {
        outside.bounds.timeout = 500;
    }
    let env = Env::open(&spec, &wire()).expect("nobody is asked yet");
    let failed = |action: &str| {
        let (mut episode, _) = env.start(&env.task("train", 0), Seed(9)).expect("it begins");
        episode.step(&env.action(action, ToolFormat::React)).expect_err("it fails").to_string()
    };
    let said = ["drip", "cut", "leave", "head", "strange"].map(failed).join("\n");
    // As much of it as had come.
    insta::with_settings!({ filters => [(r"too big: \d+", "too big: [bytes]")] }, {
        insta::assert_snapshot!(said, @"
        the environment hangs: no answer in 0.5 s
        the environment is gone: it broke the connection
        the environment is gone: it broke the connection
        the environment answers garbage: response header is too big: [bytes] > 65536
        the environment answers garbage: protocol: http parse fail: invalid HTTP version
        ");
    });
}

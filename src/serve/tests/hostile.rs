//! What no honest client sends.

use super::client::{JSON, Response, connect, get, post, request, send};
use super::{SCRIPT, Server, keyed, scripted, server, terms, wide};
use crate::model::ToolFormat;
use crate::serve::routes::MOST_BODY;
use crate::serve::{MOST_CONNECTIONS, Terms};
use proptest::prelude::*;
use serde_json::json;
use std::io::{Read, Write};
use std::time::Duration;

const HELLO: &str = r#"{"model": "policy@2", "messages": [{"role": "user", "content": "Hello"}]}"#;

fn lives(server: &Server) {
    assert_eq!(post(server.address, HELLO).status, 200);
}

#[test]
fn a_body_that_is_none_is_refused() {
    let server = server();
    let deep = format!(r#"{{"model": "policy@2", "messages": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (body, status) in [
        (&b"{"[..], 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (deep.as_bytes(), 400),
        (br#"{"model": "policy@2", "messages": [{"role": "user", "content": "\ud800"}]}"#, 400),
        (b"", 400),
    ] {
        let mut bytes = request("POST", "/v1/chat/completions", JSON, "").into_bytes();
        bytes.truncate(bytes.len() - 2);
        bytes.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        let response = Response::parse(&send(server.address, &bytes));
        assert_eq!((response.status, &response.json()["error"]["type"]), (status, &json!("invalid_request_error")));
    }
    let form = "connection: close\r\ncontent-type: text/plain\r\n";
    let sent = send(server.address, request("POST", "/v1/chat/completions", form, HELLO).as_bytes());
    assert_eq!(Response::parse(&sent).status, 415, "a page in a browser can send no JSON unasked");
    lives(&server);
}

#[test]
fn a_body_that_is_too_large_is_read_on_and_not_kept() {
    let server = server();
    let body = "x".repeat(MOST_BODY + 1);
    let response = post(server.address, &body);
    assert_eq!((response.status, response.json()["error"]["type"].as_str()), (413, Some("invalid_request_error")));
    // One that asks first is told at once.
    let head = format!("{JSON}expect: 100-continue\r\ncontent-length: {}\r\n", u64::MAX / 2);
    let response =
        Response::parse(&send(server.address, request("POST", "/v1/chat/completions", &head, "").as_bytes()));
    assert_eq!(response.status, 413);
    // Without the key not a byte of it is wanted.
    let keyed = keyed();
    let head = format!("{JSON}content-length: {}\r\n", u64::MAX / 2);
    let response = Response::parse(&send(keyed.address, request("POST", "/v1/chat/completions", &head, "").as_bytes()));
    assert_eq!(response.status, 401);
    lives(&server);
}

#[test]
fn who_is_slow_is_not_waited_for() {
    let server =
        Server::new(scripted(SCRIPT), ToolFormat::Lines, Terms { patience: Duration::from_millis(200), ..terms() });
    let mut heads: Vec<_> = (0..8).map(|_| connect(server.address)).collect();
    heads.iter_mut().for_each(|head| head.write_all(b"POST /v1/chat").unwrap());
    let mut body = connect(server.address);
    let half = request("POST", "/v1/chat/completions", JSON, HELLO);
    body.write_all(&half.as_bytes()[..half.len() - 9]).unwrap();
    lives(&server);
    let mut answer = Vec::new();
    body.read_to_end(&mut answer).unwrap();
    assert_eq!(Response::parse(&answer).status, 408);
    for mut head in heads {
        let _ = head.read_to_end(&mut answer);
    }
    lives(&server);
}

#[test]
fn who_takes_nothing_keeps_no_place() {
    let patience = Duration::from_millis(200);
    let server = Server::new(scripted(SCRIPT), ToolFormat::Lines, Terms { patience, ..terms() });
    let mut stream = connect(server.address);
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // Far more than the system holds for both of them; it waits longer than the server does.
    let asked = 200_000;
    let _ = stream.write_all(request("GET", "/v1/models", "", "").repeat(asked).as_bytes());
    let mut answer = Vec::new();
    // Cut off, or broken off.
    let _ = stream.read_to_end(&mut answer);
    let answered = String::from_utf8_lossy(&answer).matches("HTTP/1.1 200").count();
    assert!(answered > 0 && answered < asked, "{answered}");
    lives(&server);
}

/// Whoever owns a name can make it point here, and a page of theirs then asks as one of ours.
#[test]
fn another_name_than_this_machines_is_refused_where_no_key_is_wanted() {
    let status = |server: &Server, host: &str| {
        let asked = format!(
            "GET /v1/models HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer sk-right\r\n\r\n"
        );
        Response::parse(&send(server.address, asked.as_bytes())).status
    };
    for open in [server(), wide()] {
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "", "a b", "127.0.0.1.nip.io"] {
            assert_eq!(status(&open, host), 403, "{host}");
        }
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "[::1]:8080", "192.168.0.7"] {
            assert_eq!(status(&open, host), 200, "{host}");
        }
        // Which of two would be meant, proxies and servers disagree about.
        assert_eq!(status(&open, "localhost\r\nhost: localhost"), 400);
    }
    let keyed = keyed();
    assert_eq!(status(&keyed, "agents.example"), 200);
    let without = |version: &str| {
        let asked = format!("GET /health HTTP/{version}\r\nconnection: close\r\n\r\n");
        Response::parse(&send(keyed.address, asked.as_bytes())).status
    };
    assert_eq!((without("1.1"), without("1.0")), (400, 200));
}

#[test]
fn a_stop_that_is_long_is_refused() {
    let server = server();
    for (length, status) in [(1, 200), (1024, 200), (1025, 400), (1 << 20, 400)] {
        let body = HELLO.replacen('{', &format!(r#"{{"stop": ["END", "{}"], "#, "y".repeat(length)), 1);
        assert_eq!(post(server.address, &body).status, status, "{length}");
    }
}

#[test]
fn small_requests_find_room_beside_large_ones_that_stall() {
    let server = server();
    let length = 8 << 20;
    let mut stalled: Vec<_> = (0..33).map(|_| connect(server.address)).collect();
    let head = request("POST", "/v1/chat/completions", &format!("{JSON}content-length: {length}\r\n"), "");
    let part = vec![b' '; length - 9];
    for stream in &mut stalled {
        stream.write_all(head.as_bytes()).unwrap();
        // The last one may be refused already.
        let _ = stream.write_all(&part);
    }
    lives(&server);
    let mut answer = Vec::new();
    let mut last = stalled.pop().unwrap();
    let _ = last.write_all(&part[..9]);
    let _ = last.read_to_end(&mut answer);
    assert_eq!(Response::parse(&answer).status, 429, "a large one more is told so");
}

#[test]
fn requests_that_follow_at_once_are_answered_in_order() {
    let server = server();
    let kept = "content-type: application/json\r\n";
    let models = request("GET", "/v1/models", "", "");
    let hello = request("POST", "/v1/chat/completions", kept, HELLO);
    let last = request("GET", "/health", "connection: close\r\n", "");
    let answer = send(server.address, format!("{models}{hello}{models}{last}").as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    let places: Vec<usize> =
        ["\"list\"", "\"chat.completion\"", "\"status\""].map(|it| answer.find(it).unwrap()).into();
    assert!(places.is_sorted() && answer.matches("HTTP/1.1 200").count() == 4, "{answer}");
}

#[test]
fn a_head_that_is_none_ends_its_own_connection_only() {
    let server = server();
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let smuggled = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for bytes in [
        &b"\x16\x03\x01\x00\xf0"[..],
        b"\r\n\r\n\r\n",
        b"GET",
        long.as_bytes(),
        many.as_bytes(),
        smuggled.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = connect(server.address);
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    for path in ["/v1/models/%ff", "/v1/models/..%2f..%2fetc", "/v1/models/%00"] {
        let response = get(server.address, path);
        assert_eq!((response.status, &response.json()["error"]["code"]), (404, &json!("model_not_found")), "{path}");
    }
    lives(&server);
}

/// More clients, one after the other, than are served at once.
#[test]
fn a_place_is_free_again_when_its_client_has_gone() {
    let server = server();
    for _ in 0..=MOST_CONNECTIONS {
        let mut stream = connect(server.address);
        stream.write_all(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 16]).unwrap() > 0);
    }
    lives(&server);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_body_is_answered(spoil in any::<prop::sample::Index>(), byte: u8, bytes: Vec<u8>) {
        static SERVER: std::sync::LazyLock<Server> = std::sync::LazyLock::new(server);
        let mut sound = HELLO.replace("Hello", "a room for four").into_bytes();
        let at = spoil.index(sound.len());
        sound[at] = byte;
        for body in [sound, bytes] {
            let mut sent = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: {}\r\n\r\n", body.len()).into_bytes();
            sent.extend(&body);
            let response = Response::parse(&send(SERVER.address, &sent));
            prop_assert!(matches!(response.status, 200 | 400 | 404), "{}", response.status);
            response.json();
        }
    }
}

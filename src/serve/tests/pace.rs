//! Clients that come, wait and go, before a model that says a token whenever the test lets it.

use super::client::{JSON, Response, connect, post, request};
use super::{Server, terms};
use crate::model::attend::Drawn;
use crate::model::{
    GenReply, GenRequest, LanguageModel, Listener, Message, ModelError, StopReason, TokenId, ToolFormat, TrainRow,
};
use crate::serve::Terms;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Says `la` as often as `max_tokens` says, else four times; a time whenever it may, to as many at once as it has room for.
struct Singer {
    room: usize,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    may: usize,
    under_way: usize,
    most: usize,
    given_up: usize,
    done: usize,
}

const TIMES: usize = 4;

impl Singer {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self { room, inside: Mutex::default(), changed: Condvar::new() })
    }

    fn may(&self, times: usize) {
        self.inside.lock().unwrap().may += times;
        self.changed.notify_all();
    }

    /// Lets it go on until it came to that.
    fn may_until(&self, until: impl Fn(&Inside) -> bool) {
        for _ in 0..20_000 {
            let inside = self.inside.lock().unwrap();
            let (inside, _) = self.changed.wait_timeout(inside, Duration::from_millis(1)).unwrap();
            if until(&inside) {
                return;
            }
            drop(inside);
            self.may(1);
        }
        panic!("it never came to that");
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Inside) -> bool) {
        let limit = Duration::from_secs(20);
        let waited = self.changed.wait_timeout_while(self.inside.lock().unwrap(), limit, |inside| !until(inside));
        assert!(!waited.unwrap().1.timed_out(), "it never came to that");
    }
}

impl LanguageModel for Singer {
    fn context(&self) -> usize {
        100
    }

    fn longest_token(&self) -> usize {
        4
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        assert!(messages.iter().all(|message| message.content.len() < 400), "it would take long");
        Ok(vec![1; messages.len()])
    }

    fn continue_chat(&self, _: &[Message], _: &GenReply, _: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        unreachable!("nobody goes on")
    }

    fn encode_row(&self, _: &[Message]) -> Result<TrainRow, ModelError> {
        unreachable!("nobody trains")
    }

    fn generate(&self, _: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        unreachable!("it is heard")
    }

    fn attend(&self, listener: &mut dyn Listener) {
        let (mut running, mut asked) = (Vec::new(), 0);
        loop {
            let came = if running.len() < self.room { listener.next(self.room - running.len()) } else { Vec::new() };
            for wanted in came {
                let times = wanted.request.sampling.max_tokens as usize;
                assert_ne!(times, 13, "a bug of the model");
                running.push((asked, 0, if times == u32::MAX as usize { TIMES } else { times }));
                asked += 1;
            }
            self.change(|inside| {
                inside.under_way = running.len();
                inside.most = inside.most.max(running.len());
            });
            if running.is_empty() {
                break;
            }
            let inside = self.inside.lock().unwrap();
            // Not for ever, so that newcomers are seen.
            let limit = Duration::from_millis(2);
            let (mut inside, _) = self.changed.wait_timeout_while(inside, limit, |inside| inside.may == 0).unwrap();
            if inside.may == 0 {
                continue;
            }
            inside.may -= 1;
            drop(inside);
            running.retain_mut(|(number, said, times)| {
                *said += 1;
                if !listener.hear(*number, Drawn { text: "la".to_owned(), probable: None }) {
                    self.change(|inside| inside.given_up += 1);
                    return false;
                }
                if said < times {
                    return true;
                }
                let text = "la".repeat(*times);
                let reply = GenReply {
                    tokens: vec![7; *times],
                    text,
                    stop: StopReason::EndOfTurn,
                    logprob: 0.0,
                    likely: Vec::new(),
                    used: None,
                };
                listener.done(*number, Ok(reply));
                self.change(|inside| inside.done += 1);
                false
            });
        }
    }
}

fn serving(singer: &Arc<Singer>, max_waiting: usize) -> Server {
    Server::new(singer.clone(), ToolFormat::Lines, Terms { max_waiting, ..terms() })
}

const SING: &str = r#"{"model": "policy@2", "messages": [{"role": "user", "content": "Sing"}]}"#;
const STREAM: &str = r#"{"model": "policy@2", "messages": [{"role": "user", "content": "Sing"}], "stream": true}"#;

fn asking(address: SocketAddr) -> JoinHandle<Response> {
    std::thread::spawn(move || post(address, SING))
}

fn send(address: SocketAddr, body: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(request("POST", "/v1/chat/completions", JSON, body).as_bytes()).unwrap();
    stream
}

#[test]
fn tokens_are_sent_as_they_come_and_newcomers_join_in() {
    let singer = Singer::new(8);
    let server = serving(&singer, 8);
    let mut first = BufReader::new(send(server.address, STREAM));
    singer.may(1);
    let mut line = String::new();
    while !line.contains("\"la\"") {
        line.clear();
        assert!(first.read_line(&mut line).unwrap() > 0, "the first token is there before the second is drawn");
    }
    let second = asking(server.address);
    singer.wait(|inside| inside.under_way == 2);
    singer.may(TIMES);
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("[DONE]") && rest.matches("\"la\"").count() == TIMES - 1, "{rest}");
    let second = second.join().unwrap().json();
    assert_eq!(second["choices"][0]["message"]["content"], "lalalala");
    assert_eq!(singer.inside.lock().unwrap().most, 2);
}

#[test]
fn a_client_that_hangs_up_frees_its_place() {
    let singer = Singer::new(1);
    let server = serving(&singer, 8);
    // Long enough to be seen to go.
    let long = |body: &str| body.replace("\"messages\"", "\"max_tokens\": 4000000000, \"messages\"");
    for (body, waits) in [(STREAM, true), (SING, false)] {
        let mut gone = send(server.address, &long(body));
        singer.wait(|inside| inside.under_way == 1);
        if waits {
            singer.may(1);
            let mut some = [0; 64];
            assert!(gone.read(&mut some).unwrap() > 0, "in the middle of a stream");
        }
        // One that waits behind it hangs up as well.
        let behind = send(server.address, &long(SING));
        let before = singer.inside.lock().unwrap().given_up;
        drop((gone, behind));
        // How soon a server sees that a client has gone is the system's affair.
        singer.may_until(|inside| inside.given_up > before && inside.under_way == 0);
    }
    let next = asking(server.address);
    singer.may_until(|inside| inside.done == 1);
    assert_eq!(next.join().unwrap().status, 200);
}

#[test]
fn who_comes_when_too_many_wait_is_sent_away() {
    let singer = Singer::new(1);
    let server = serving(&singer, 1);
    let first = asking(server.address);
    singer.wait(|inside| inside.under_way == 1);
    // One of these waits; which, nobody knows.
    let others: Vec<_> = (0..4).map(|_| asking(server.address)).collect();
    let mut sent_away = Vec::new();
    let mut others: Vec<_> = others.into_iter().map(Some).collect();
    while sent_away.len() < 3 {
        for other in others.iter_mut().filter(|other| other.as_ref().is_some_and(JoinHandle::is_finished)) {
            sent_away.push(other.take().unwrap().join().unwrap());
        }
        std::thread::yield_now();
    }
    for response in sent_away {
        assert_eq!((response.status, response.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
        assert!(response.head.contains("retry-after: 1"), "{}", response.head);
    }
    singer.may(2 * TIMES);
    assert_eq!(first.join().unwrap().status, 200);
    assert_eq!(others.into_iter().flatten().next().unwrap().join().unwrap().status, 200);
}

#[test]
fn a_server_that_is_stopped_answers_what_was_asked() {
    let singer = Singer::new(4);
    let server = serving(&singer, 8);
    let address = server.address;
    let mut idle = connect(address);
    let (first, second) = (asking(address), send(address, STREAM));
    singer.wait(|inside| inside.under_way == 2);
    let stop = server.stop.clone();
    stop.stop();
    let ends = std::thread::spawn(move || server.end());
    // Nobody new is taken, and who asks nothing is let go.
    idle.read_to_end(&mut Vec::new()).unwrap();
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
    singer.may(TIMES);
    assert_eq!(first.join().unwrap().json()["choices"][0]["message"]["content"], "lalalala");
    let mut rest = Vec::new();
    BufReader::new(second).read_to_end(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("[DONE]"));
    assert!(matches!(ends.join().unwrap(), Ok(Ok(()))));
}

/// One that was told all and never reads it does not keep a server from ending.
#[test]
fn a_server_that_is_stopped_does_not_wait_for_who_does_not_read() {
    let singer = Singer::new(4);
    let server = serving(&singer, 8);
    let mut half = connect(server.address);
    half.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n").unwrap();
    post(server.address, "{}");
    assert!(matches!(server.end(), Ok(Ok(()))));
}

#[test]
fn a_bug_of_the_model_ends_the_server_and_keeps_nobody_waiting() {
    let singer = Singer::new(4);
    let server = serving(&singer, 8);
    let waits = asking(server.address);
    singer.wait(|inside| inside.under_way == 1);
    let bug = post(server.address, &SING.replace("\"messages\"", "\"max_tokens\": 13, \"messages\""));
    assert_eq!((bug.status, waits.join().unwrap().status), (500, 500));
    // It ends by itself.
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    assert!(server.end().is_err());
}

#[test]
fn what_cannot_fit_is_refused_before_it_is_read_as_tokens() {
    let server = Server::new(Singer::new(1), ToolFormat::Lines, terms());
    let tools = format!(
        r#", "tools": [{{"type": "function", "function": {{"name": "a", "description": "{}"}}}}]"#,
        "x".repeat(500)
    );
    for (words, more) in [("x".repeat(400), ""), ("é".repeat(1 << 20), ""), (String::new(), &tools)] {
        let body = format!(r#"{{"model": "policy@2", "messages": [{{"role": "user", "content": "{words}"}}]{more}}}"#);
        let response = post(server.address, &body);
        assert_eq!((response.status, &response.json()["error"]["code"]), (400, &"context_length_exceeded".into()));
    }
}

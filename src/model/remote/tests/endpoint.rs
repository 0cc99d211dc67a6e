//! An endpoint in the test's own process that answers as the test says, in any way that is wrong.

use crate::model::{Limits, Message, Price, Remote, Role};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<String>,
    pub body: Value,
    /// How many came before it.
    pub number: usize,
    /// How many with the very same body came before it.
    pub again: usize,
}

impl Asked {
    pub fn messages(&self) -> Vec<Message> {
        let role = |name: &str| match name {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        let text = |it: &Value| it.as_str().expect("a text").to_owned();
        let said = self.body["messages"].as_array().expect("messages").iter();
        said.map(|it| Message::new(role(&text(&it["role"])), text(&it["content"]))).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &String| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        self.headers.iter().find(|line| named(line)).map(|line| &line[name.len() + 2..])
    }
}

/// Whether the connection stays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Stay,
    Close,
}

pub type Answer = dyn Fn(&Asked, &mut TcpStream) -> Then + Send + Sync;

/// All that was asked, and how often each body was.
#[derive(Default)]
struct Heard {
    asked: Vec<Asked>,
    times: BTreeMap<String, usize>,
}

pub struct Endpoint {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    most: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
}

impl Endpoint {
    pub fn new(answer: impl Fn(&Asked, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (heard, ends, most) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default(), Arc::default());
        let endpoint = Self { address, heard: heard.clone(), most: Arc::clone(&most), ends: ends.clone() };
        let (answer, flying): (Arc<Answer>, Arc<AtomicUsize>) = (Arc::new(answer), Arc::default());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (answer, heard, flying, most) = (answer.clone(), heard.clone(), flying.clone(), most.clone());
                std::thread::spawn(move || serve(stream, &*answer, &heard, &flying, &most));
            }
        });
        endpoint
    }

    /// One that says the same to everything.
    pub fn saying(text: &'static str) -> Self {
        Self::new(move |_, stream| say(stream, text, "stop"))
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn remote(&self) -> Remote {
        remote(&self.url())
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.heard.lock().expect("no panic holds this lock").asked.clone()
    }

    /// The most that were under way at once.
    pub fn most_in_flight(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// As a file declares one, with little patience.
pub fn remote(url: &str) -> Remote {
    Remote {
        name: "model-2026-01-01".to_owned(),
        base_url: url.to_owned(),
        key: Some("TEST_KEY".to_owned()),
        price: Some(Price { input: 2_000_000, output: 8_000_000, cached: 1_000_000 }),
        limits: Limits { rate: None, in_flight: 8, timeout: 2000, connect: 1000, first_byte: 1000, retries: 3 },
    }
}

fn serve(mut stream: TcpStream, answer: &Answer, heard: &Mutex<Heard>, flying: &AtomicUsize, most: &AtomicUsize) {
    stream.set_nodelay(true).expect("a socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    while let Some((line, headers, body)) = request(&mut reader) {
        most.fetch_max(flying.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let one = {
            let mut heard = heard.lock().expect("no panic holds this lock");
            let times = heard.times.entry(body.to_string()).or_default();
            let again = *times;
            *times += 1;
            let one = Asked { line, headers, body, number: heard.asked.len(), again };
            heard.asked.push(one.clone());
            one
        };
        let then = answer(&one, &mut stream);
        flying.fetch_sub(1, Ordering::SeqCst);
        if then == Then::Close {
            break;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, Vec<String>, Value)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((lines.remove(0), lines, serde_json::from_slice(&body).unwrap_or_default()))
}

/// A text as events, with what it took.
pub fn say(stream: &mut TcpStream, text: &str, finish: &str) -> Then {
    say_for(stream, text, finish, Some((7, 3)))
}

pub fn say_for(stream: &mut TcpStream, text: &str, finish: &str, took: Option<(u64, u64)>) -> Then {
    let half = text.char_indices().map(|(at, _)| at).nth(text.chars().count() / 2).unwrap_or(0);
    let mut events = vec![
        json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": &text[..half] } }] }),
        json!({ "choices": [{ "index": 0, "delta": { "content": &text[half..] }, "finish_reason": finish }] }),
    ];
    let usage = took.map(|(prompt, completion)| {
        json!({ "choices": [], "usage": { "prompt_tokens": prompt, "completion_tokens": completion } })
    });
    events.extend(usage);
    let mut body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    chunked(stream, &[&body], true)
}

/// Pieces of a stream of events; whole, or broken off after the last.
pub fn chunked(stream: &mut TcpStream, pieces: &[&str], whole: bool) -> Then {
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    pieces.iter().for_each(|piece| text.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len())));
    if whole {
        text.push_str("0\r\n\r\n");
    }
    let _ = stream.write_all(text.as_bytes());
    if whole { Then::Stay } else { Then::Close }
}

/// A status with a body, and further headers, each with its line's end.
pub fn status(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> Then {
    let text = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
    Then::Stay
}

//! How many replies a second a run takes from an endpoint that needs 50 ms for each, 64 at once: at most 1,280 would be.
//! `cargo bench --no-default-features --bench remote`.
//!
//! A whole run: each reply is an episode of one turn, recorded, journalled and told.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement looks at the clock and prints")]

use agx::experiment::{Unreadable, World, check};
use agx::model::{Secret, Wire};
use agx::run::{self, Control, Project, RunEnd, RunOptions, Subject};
use agx::syntax::Source;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ITEMS: usize = 10_000;
const IN_FLIGHT: usize = 64;
const EACH: Duration = Duration::from_millis(50);

const EVENTS: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"I do not know.\"}}]}\n\n\
                      data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                      data: {\"choices\":[],\"usage\":{\"prompt_tokens\":80,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

fn main() {
    // The one argument that is not cargo's own: how many items.
    let items = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ITEMS);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = file(items, serve());
    let world = World { root: directory.path(), exists: &|_| true, read: &|_: &Path| Err(Unreadable::Missing) };
    let checked = check(Source { name: "remote.agx".to_owned(), text: text.clone() }, &[], world);
    let experiment = checked.experiments.first().unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
    let project = Project::open(directory.path()).expect("a project");
    let overrides = BTreeMap::new();
    let subject = Subject { file_name: "remote.agx", source: &text, imports: &[], overrides: &overrides, experiment };
    let wire = Wire::new(now, |_| Secret::new("key").ok_or_else(String::new));
    let options = RunOptions { wire, ..RunOptions::default() };
    for round in ["asked", "recorded"] {
        let before = Instant::now();
        let outcome =
            run::start(&project, &subject, &options, &Control::default(), &now, &mut |_| {}).expect("it runs");
        assert_eq!(outcome.end, RunEnd::Finished, "{:?}", outcome.failed);
        let took = before.elapsed();
        println!("{items} replies {round}: {took:.2?}, {:.0} a second", items as f64 / took.as_secs_f64());
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn file(items: usize, address: SocketAddr) -> String {
    format!(
        r#"agx 2026
//! An evaluation behind an endpoint.
env desk {{
  use       = builtin("desk")
  splits    {{ train = 1, dev = {items} }}
  max_steps = 6
}}
model policy {{
  remote  = openai("model-2026-01-01") {{
    base_url = "http://{address}/v1"
    key      = secret("KEY")
    limits   {{ in_flight = {IN_FLIGHT} }}
  }}
  context = 4096 tokens
}}
prompt act(task: desk.Task) {{
  user """
    {{{{ task.request }}}}
    """
}}
experiment remote {{
  seed = 7
  schedule {{
    let dev = evaluate policy on desk.dev {{ prompt = act, decode = greedy }}
  }}
}}
"#
    )
}

fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.expect("a connection")));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (head, end) =
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n", "0\r\n\r\n");
    let reply = format!("{head}{:x}\r\n{EVENTS}\r\n{end}", EVENTS.len());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                break;
            }
            length = line.strip_prefix("content-length: ").and_then(|it| it.trim_end().parse().ok()).unwrap_or(length);
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        std::thread::sleep(EACH);
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

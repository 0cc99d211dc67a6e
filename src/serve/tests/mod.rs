//! The server in the test's own process, over a script or a model that waits for the test, asked over real sockets.

mod client;
mod hostile;
mod pace;
mod protocol;

use super::{Served, Stop, Terms, serve};
use crate::base::{Digest, Seed};
use crate::model::{Device, Dtype, LanguageModel, ModelSpec, Secret, Source, ToolCalls, ToolFormat, Wire};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Server {
    pub address: SocketAddr,
    pub stop: Stop,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

pub fn terms() -> Terms {
    Terms { key: None, seed: Seed(1), max_waiting: 64, patience: Duration::from_secs(10), clock: || 1_700_000_000_000 }
}

impl Server {
    pub fn new(model: Arc<dyn LanguageModel>, tool_format: ToolFormat, terms: Terms) -> Self {
        Self::at("127.0.0.1", model, tool_format, terms)
    }

    /// One that listens there, and is asked from here.
    pub fn at(host: &str, model: Arc<dyn LanguageModel>, tool_format: ToolFormat, terms: Terms) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let served =
            Served { name: "policy@2".to_owned(), model, tool_format, fingerprint: Digest::of_bytes(b"x"), created: 9 };
        let stop = Stop::default();
        let stops = stop.clone();
        let thread = std::thread::spawn(move || serve(listener, served, terms, &stops));
        Self { address, stop, thread: Some(thread) }
    }

    /// Stops it, and gives what it ended in.
    pub fn end(mut self) -> std::thread::Result<std::io::Result<()>> {
        self.stop.stop();
        self.thread.take().unwrap().join()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        // A test that fails ends at once.
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let ended = thread.join();
            assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

const SCRIPT: &str = r#"{
    "replies": [
        { "when": "room for four", "say": ["call find_room\npeople: 4\nday: Monday"] },
        { "when": "Oak is free", "say": ["It is Oak."] },
        { "when": "choose", "say": ["one", "two", "three", "four", "five", "six", "seven", "eight"] },
        { "when": "long", "say": ["Sätze sind länger als Wörter. END And on it goes."] }
    ],
    "default": ["I do not know."]
}"#;

pub fn scripted(json: &str) -> Arc<dyn LanguageModel> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json.as_bytes()).unwrap();
    let spec = ModelSpec {
        source: Source::Scripted(file.path().to_owned()),
        adapter: None,
        context: 400,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    };
    crate::model::open(&spec, None, &Wire::default()).unwrap()
}

pub fn server() -> Server {
    Server::new(scripted(SCRIPT), ToolFormat::Lines, terms())
}

/// One that the whole network can ask.
pub fn wide() -> Server {
    Server::at("0.0.0.0", scripted(SCRIPT), ToolFormat::Lines, terms())
}

pub fn keyed() -> Server {
    Server::new(scripted(SCRIPT), ToolFormat::Lines, Terms { key: Secret::new("sk-right"), ..terms() })
}

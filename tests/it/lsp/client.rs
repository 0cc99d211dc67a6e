//! Speaks to `agx lsp` as an editor does: requests and notifications over its standard input and output.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Client {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: i32,
    /// Notifications of the server that nobody has looked at.
    pub told: Vec<Value>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Client {
    /// A server that nobody has spoken to.
    pub fn spawn() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agx"));
        let piped = command.args(["lsp", "--stdio"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = piped.stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (server.stdin.take(), BufReader::new(server.stdout.take().unwrap()));
        Self { server, input, output, next: 0, told: Vec::new() }
    }

    /// A session with a client that knows everything.
    pub fn start() -> Self {
        Self::start_with(json!({
            "textDocument": { "completion": { "completionItem": { "snippetSupport": true } } },
        }))
    }

    pub fn start_with(capabilities: Value) -> Self {
        let mut client = Self::spawn();
        client.request("initialize", json!({ "processId": null, "rootUri": null, "capabilities": capabilities }));
        client.notify("initialized", json!({}));
        client
    }

    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("the server still listens");
        // A server that has ended is what a test may wait for.
        let _ = input.write_all(bytes.as_ref()).and_then(|()| input.flush());
    }

    pub fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.bytes(format!("Content-Length: {}\r\n\r\n{text}", text.len()));
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request without waiting.
    pub fn ask(&mut self, method: &str, params: Value) -> i32 {
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        self.next
    }

    /// The next message of the server.
    pub fn receive(&mut self) -> Option<Value> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// The whole answer to a request, its error with it.
    pub fn answer(&mut self, id: i32) -> Value {
        loop {
            let message = self.receive().expect("the server answers");
            if message["id"] == json!(id) {
                return message;
            }
            self.told.push(message);
        }
    }

    /// The result of a request; what was refused comes as its error.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let mut answer = self.answer(id);
        if answer.get("error").is_some() { answer["error"].take() } else { answer["result"].take() }
    }

    pub fn open(&mut self, uri: &str, text: &str) {
        let item = json!({ "uri": uri, "languageId": "agx", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": item }));
    }

    pub fn change(&mut self, uri: &str, version: i32, changes: Value) {
        let id = json!({ "uri": uri, "version": version });
        self.notify("textDocument/didChange", json!({ "textDocument": id, "contentChanges": changes }));
    }

    /// Waits for the next diagnostics that are told of a text.
    pub fn diagnostics(&mut self, uri: &str) -> Value {
        loop {
            let fits = |it: &Value| it["method"] == "textDocument/publishDiagnostics" && it["params"]["uri"] == uri;
            if let Some(at) = self.told.iter().position(fits) {
                return self.told.remove(at)["params"].take();
            }
            let message = self.receive().expect("the server tells");
            self.told.push(message);
        }
    }

    /// Ends the session as the protocol wants it.
    pub fn stop(mut self) -> Option<i32> {
        self.request("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.exit_code()
    }

    /// Says nothing any more, and waits for the end.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.input = None;
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).unwrap();
        self.server.wait().unwrap().code()
    }
}

//! What a keystroke costs in an editor: a session with the program over a file of a thousand lines.
//! `cargo bench --no-default-features --bench editor`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const URI: &str = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/experiments/large.agx");
const KEYSTROKES: i32 = 200;

/// Prompts, critics and rules, and one schedule that uses them all.
fn large() -> String {
    let mut text = String::from(concat!(
        "agx 2026\n\n",
        "env desk { use = builtin(\"desk\"), splits { train = 192, dev = 64 }, max_steps = 6 }\n",
        "model policy    { weights = path(\"base/policy\"), context = 512 tokens }\n",
        "model grader_lm { weights = path(\"base/critic\"), context = 512 tokens }\n",
        "trainer sft { method = sft { loss_on = agent }, lr = 5e-4, epochs = 1, batch = 32 }\n\n",
        "prompt act(task: desk.Task) {\n  user \"\"\"\n    {{ task.request }}\n    \"\"\"\n}\n\n",
    ));
    let mut schedule = String::new();
    for at in 0..34 {
        text += &format!(
            "/// What is asked about a trajectory.\n\
             prompt grade_{at}(task: desk.Task, traj: Trajectory) {{\n  user \"\"\"\n    Request: {{{{ task.request }}}}\n    \
             {{% for tool in task.tools %}}{{{{ tool }}}}{{% end %}}\n    {{{{ traj | transcript(max = 400 tokens) }}}}\n    \
             {{{{ answer.format }}}}\n    \"\"\"\n}}\n\n\
             critic grader_{at} {{\n  model       = grader_lm\n  prompt      = grade_{at}\n  \
             answer      {{ score: int in 0..4 }}\n  on_unparsed = drop\n}}\n\n\
             let threshold_{at} = 3\n\n\
             rule good_{at} =\n    where score >= threshold_{at} and traj.ended\n  | top 40% by score\n  \
             | dedup by task.request, traj.actions\n  | require at least 16\n\n"
        );
        schedule += &format!(
            "      let graded_{at} = judge trajs with grader_{at}\n      \
             let kept_{at} = select graded_{at} by good_{at}\n      audit kept_{at}\n      \
             train policy on kept_{at} with sft from @prev\n"
        );
    }
    text + "experiment large {\n  seed = 7\n  schedule {\n    repeat 3 times as i {\n"
        + "      let trajs = rollout policy in desk.train { prompt = act, samples = 4 per task }\n"
        + &schedule
        + "      let dev = evaluate policy on desk.dev\n    } until dev.success stalls 2\n  }\n}\n"
}

struct Editor {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Editor {
    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server listens");
        self.input.flush().expect("the server listens");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("the server speaks") > 0, "the server has ended");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("a message");
        serde_json::from_slice(&body).expect("JSON")
    }

    fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.receive();
            if fits(&message) {
                return message;
            }
        }
    }

    fn request(&mut self, id: i32, method: &str, params: &Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.until(|message| message["id"] == id)
    }
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<28} median {:6.2} ms   95% {:6.2} ms   most {:6.2} ms", at(0.5), at(0.95), at(1.0));
}

fn main() {
    let text = large();
    let lines = text.lines().count();
    let mut server = Command::new(env!("CARGO_BIN_EXE_agx"))
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let (input, output) = (server.stdin.take().expect("piped"), server.stdout.take().expect("piped"));
    let mut editor = Editor { input, output: BufReader::new(output) };
    editor.request(1, "initialize", &json!({ "capabilities": {} }));
    editor.send(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }));
    let item = json!({ "uri": URI, "languageId": "agx", "version": 0, "text": text });
    editor.send(&json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": { "textDocument": item } }));
    let told = editor.until(|message| message["params"]["version"] == 0);
    println!("{lines} lines, {} diagnostics", told["params"]["diagnostics"].as_array().map_or(0, Vec::len));
    // Keystrokes in the middle of the file, one after the other.
    let line = text.lines().position(|line| line.starts_with("let threshold_17")).expect("it is there");
    let (mut keystrokes, mut completions) = (Vec::new(), Vec::new());
    for version in 1..=KEYSTROKES {
        let at = json!({ "line": line, "character": 19 });
        let change = json!([{ "range": { "start": at, "end": at }, "text": " " }]);
        let document = json!({ "uri": URI, "version": version });
        let begun = Instant::now();
        editor.send(&json!({
            "jsonrpc": "2.0", "method": "textDocument/didChange",
            "params": { "textDocument": document, "contentChanges": change },
        }));
        editor.until(|message| message["params"]["version"] == version);
        keystrokes.push(begun.elapsed());
        let begun = Instant::now();
        let place = json!({ "textDocument": { "uri": URI }, "position": at });
        editor.request(version + 10, "textDocument/completion", &place);
        completions.push(begun.elapsed());
    }
    say("keystroke to diagnostics", keystrokes);
    say("completion after it", completions);
    let document = json!({ "textDocument": { "uri": URI } });
    let mut colours = Vec::new();
    for id in 1000..1050 {
        let begun = Instant::now();
        editor.request(id, "textDocument/semanticTokens/full", &document);
        colours.push(begun.elapsed());
    }
    say("colours of the whole", colours);
    editor.request(2000, "shutdown", &Value::Null);
    editor.send(&json!({ "jsonrpc": "2.0", "method": "exit", "params": null }));
    server.wait().expect("it ends");
}

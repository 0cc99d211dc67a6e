//! `agx serve` from outside: what it can serve, who may ask, how it ends; and agx's own client that asks it.

use super::Desk;
use super::runs::lab;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

const KEY: &str = "sk-nobody-may-see-this";

struct Serving {
    child: Child,
    /// What it said once it could be asked.
    told: Value,
}

impl Serving {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|problem| {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{problem}: {line:?}, {said}")
        });
        Self { child, told }
    }

    fn of(desk: &Desk, model: &str) -> Self {
        Self::new(&mut desk.command(&["serve", model, "--port", "0", "--format", "json"]))
    }

    fn url(&self) -> &str {
        self.told["url"].as_str().unwrap()
    }

    fn ask(&self, text: &str, more: Value) -> Value {
        let mut body = json!({ "model": self.told["model"], "messages": [{ "role": "user", "content": text }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = ureq::post(format!("{}/chat/completions", self.url())).header("content-type", "application/json");
        let answer = request.send(body.to_string()).unwrap().into_body().read_to_string().unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Ends it as a system does, and gives what it said beside its data.
    fn end(mut self) -> String {
        let signal = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(signal.success());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
        said
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A model as declared, and each version that a run made of it: each is known by what decides its replies.
#[test]
fn what_a_file_declares_and_what_a_run_made_is_served() {
    let desk = lab(24);
    assert_eq!(desk.code(&["run", "lab.agx"]), Some(0));
    let mut seen = Vec::new();
    for (model, name) in [
        ("policy.json", "policy"),
        ("lab.agx:policy", "policy"),
        ("lab-1:policy@0", "policy@0"),
        ("lab-1:policy@1", "policy@1"),
        ("lab-1:policy@2", "policy@2"),
        ("lab-1:policy@best", "policy@2"),
        ("lab-1:policy", "policy@2"),
    ] {
        let serving = Serving::of(&desk, model);
        assert_eq!(serving.told["model"], name, "{model}");
        let answer = serving.ask("Nobody asked this.", json!({ "temperature": 0 }));
        assert_eq!(answer["system_fingerprint"], serving.told["fingerprint"]);
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        seen.push(serving.told["fingerprint"].clone());
        serving.end();
    }
    assert_eq!((&seen[1], &seen[4], &seen[4]), (&seen[2], &seen[5], &seen[6]));
    // What was trained over other files than are there now is no version of these.
    desk.write("policy.json", "{}");
    insta::assert_snapshot!(desk.agx(&["serve", "lab-1:policy@1", "--port", "0"]));
    assert!(seen[0] != seen[1], "with another context it is another model");
    assert!(seen[2] != seen[3] && seen[3] != seen[4] && seen[2] != seen[4]);
}

#[test]
fn what_cannot_be_served_is_one_clear_message() {
    let desk = lab(24);
    desk.write("endpoint.agx", include_str!("endpoint.agx")).write("empty", " \n").write("broken.json", "[]");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: [&[&str]; 12] = [
        &["nowhere"],
        &["lab.agx"],
        &["lab.agx:polcy"],
        &["lab-7:policy"],
        &["missing.json"],
        &["broken.json"],
        &["missing.agx:policy"],
        &["endpoint.agx:judge"],
        &["policy.json", "--set", "seed=8"],
        &["policy.json", "--api-key-env", "NO_KEY"],
        &["policy.json", "--api-key-file", "empty"],
        &["policy.json", "--tool-format", "jsn"],
    ];
    let said: Vec<String> = cases.iter().map(|args| desk.agx(&[&["serve", "--port", "0"], *args].concat())).collect();
    insta::assert_snapshot!(said.join("\n"));
    let said = desk.agx(&["serve", "policy.json", "--port", &port]);
    assert!(said.contains("cannot be listened on") && said.ends_with("-- exit 2\n"), "{said}");
}

#[test]
fn a_server_beyond_this_machine_without_a_key_is_warned_of() {
    let desk = lab(8);
    let args = ["serve", "policy.json", "--port", "0", "--host", "0.0.0.0", "--format", "json"];
    assert!(Serving::new(&mut desk.command(&args)).end().contains("warning: whoever reaches this machine"));
    let keyed = [&args[..], &["--api-key-env", "AGX_KEY"]].concat();
    let said = Serving::new(desk.command(&keyed).env("AGX_KEY", KEY)).end();
    assert!(!said.contains("warning") && !said.contains(KEY), "{said}");
}

/// The critic of one experiment is the model that the same program serves.
#[test]
fn agx_asks_agx() {
    let desk = Desk::new();
    desk.write("policy.json", r#"{ "default": ["I do not know."] }"#);
    desk.write("judge.json", r#"{ "default": ["score: 3"] }"#).write("key", format!("{KEY}\n"));
    let args = ["serve", "judge.json", "--port", "0", "--format", "json", "--model-name", "judge-2026-01-01"];
    let serving = Serving::new(desk.command(&args).args(["--api-key-file", "key", "--max-waiting", "2"]));
    desk.write("endpoint.agx", include_str!("endpoint.agx").replace("http://localhost:8000/v1", serving.url()));
    let run = |key: &str| {
        let output = desk.command(&["run", "endpoint.agx"]).env("JUDGE_API_KEY", key).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = run("sk-a-wrong-one");
    assert!(code == Some(3) && said.contains("refuses (401"), "{said}");
    let (code, said) = run(KEY);
    assert_eq!(code, Some(0), "{said}");
    let told = serving.end();
    assert!(!told.contains(KEY) && !said.contains(KEY), "{told}");
    let verdicts = desk.agx(&["export", "--as", "jsonl", "--to", "-", "--node", "judge"]);
    assert!(verdicts.matches("\"score\":3").count() >= 8, "{verdicts}");
}

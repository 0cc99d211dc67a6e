//! A model of the Hugging Face hub, from outside: brought before a run, never asked for twice, gone on with, and told plainly
//! where it cannot be had.

#[path = "../../../src/model/hub/tests/server.rs"]
mod server;

use super::Desk;
use super::runs::{quiet, signal};
use serde_json::Value;
use server::{COMMIT, Odd, Server, TOKEN};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// The desk's small policy, as if it were on the hub.
fn policy() -> BTreeMap<String, Vec<u8>> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/base/policy");
    let file = |name: &str| (name.to_owned(), std::fs::read(base.join(name)).unwrap());
    ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map(file).into()
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("hub.agx", include_str!("hub.agx"));
    desk
}

/// With a cache in the desk's own directory.
fn command(desk: &Desk, url: &str, args: &[&str]) -> Command {
    let mut command = desk.command(args);
    command.env("HF_HOME", desk.path().join("hf")).env("HF_ENDPOINT", url);
    command
}

/// What is seen of it, and how it ends.
fn told(desk: &Desk, command: &mut Command, url: &str) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = text.replace(url, "[URL]").replace(&desk.path().display().to_string(), "[DIR]");
    format!("{}\n-- exit {}\n", text.trim_end(), output.status.code().unwrap())
}

fn agx(desk: &Desk, url: &str, args: &[&str]) -> String {
    told(desk, &mut command(desk, url, args), url)
}

fn json(desk: &Desk, args: &[&str]) -> Value {
    serde_json::from_slice(&desk.command(args).output().unwrap().stdout).unwrap()
}

fn snapshot(desk: &Desk) -> std::path::PathBuf {
    desk.path().join("hf/hub/models--org--tiny/snapshots").join(COMMIT)
}

fn runs(desk: &Desk) -> usize {
    std::fs::read_dir(desk.path().join(".agx/runs")).map_or(0, Iterator::count)
}

#[test]
fn a_model_of_the_hub_comes_before_the_run_and_is_then_a_directory() {
    let desk = desk();
    let server = Server::new(policy());
    let url = server.url();
    for args in [["check", "hub.agx"], ["plan", "hub.agx"], ["graph", "hub.agx"]] {
        assert!(agx(&desk, &url, &args).ends_with("-- exit 0\n"), "{args:?}");
    }
    assert_eq!(server.asked(), [], "to look asks nobody");
    let before = agx(&desk, &url, &["doctor", "hub.agx"]);
    let run = agx(&desk, &url, &["run", "hub.agx"]);
    quiet(|| insta::assert_snapshot!("hub_run", run));
    let after = agx(&desk, &url, &["doctor", "hub.agx"]);
    let model = |said: &str| said[said.find("model policy").unwrap()..said.find("env desk").unwrap()].to_owned();
    quiet(|| insta::assert_snapshot!("hub_doctor", format!("{}----\n{}", model(&before), model(&after))));
    drop(server);

    // Nobody is there to ask any more.
    assert!(agx(&desk, &url, &["run", "hub.agx"]).ends_with("-- exit 0\n"));
    assert!(agx(&desk, &url, &["run", "hub.agx", "--store", "other"]).ends_with("-- exit 0\n"));
    assert!(agx(&desk, &url, &["verify", "tiny-1", "--level", "3"]).ends_with("-- exit 0\n"));
    let export = ["export", "tiny-1", "--as", "peft", "--to", "adapter", "--model", "policy@1"];
    assert!(agx(&desk, &url, &export).ends_with("-- exit 0\n"));
    let config: Value =
        serde_json::from_slice(&std::fs::read(desk.path().join("adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["base_model_name_or_path"], &config["revision"]), (&"org/tiny".into(), &COMMIT.into()));
    assert!(
        agx(&desk, &url, &["export", "tiny-1", "--as", "hf", "--to", "whole", "--model", "policy@1"])
            .ends_with("-- exit 0\n")
    );

    // The same as the directory, to the last digit.
    let path = format!("weights = path(\"{}\")", snapshot(&desk).display());
    desk.write(
        "path.agx",
        include_str!("hub.agx").replace(&format!("weights = hub(\"org/tiny\", revision = \"{COMMIT}\")"), &path),
    );
    assert_eq!(desk.code(&["run", "path.agx", "--store", "by-path"]), Some(0));
    let metrics = |store: &str| json(&desk, &["report", "--json", "--store", store])["metrics"].clone();
    assert_eq!((metrics(".agx"), metrics("other")), (metrics("by-path"), metrics("by-path")));

    // What is packed names the commit, and has none of its files; elsewhere it is checked from the cache.
    assert!(agx(&desk, &url, &["export", "tiny-1", "--as", "tar", "--to", "tiny.tar"]).ends_with("-- exit 0\n"));
    let packed = std::fs::read(desk.path().join("tiny.tar")).unwrap();
    assert!(!packed.windows(17).any(|part| part == b"model.safetensors"));
    assert!(agx(&desk, &url, &["import", "tiny.tar", "--store", "elsewhere"]).ends_with("-- exit 0\n"));
    assert!(agx(&desk, &url, &["verify", "--store", "elsewhere"]).ends_with("-- exit 0\n"));
    std::fs::rename(desk.path().join("hf"), desk.path().join("gone")).unwrap();
    assert!(agx(&desk, &url, &["verify", "--store", "elsewhere"]).ends_with("-- exit 0\n"), "no model is asked there");
    let verify = agx(&desk, &url, &["verify", "--store", "elsewhere", "--level", "3"]);
    assert!(
        verify.contains("org/tiny at 0123456789ab is not here") && verify.contains("`agx fetch FILE` fetches it"),
        "{verify}"
    );
    assert!(agx(&desk, &url, &["plan", "hub.agx", "--store", "elsewhere"]).ends_with("-- exit 0\n"));
    // All of it is cached: no model is needed, so none is asked for.
    assert!(agx(&desk, &url, &["run", "hub.agx", "--store", "elsewhere"]).ends_with("-- exit 0\n"));

    // What lies in the cache is what the hub gave, or an error; and a directory is what it was when a version was made of it.
    std::fs::rename(desk.path().join("gone"), desk.path().join("hf")).unwrap();
    let weights = snapshot(&desk).join("model.safetensors").canonicalize().unwrap();
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let damaged: [&[&str]; 4] = [
        &["fetch", "hub.agx"],
        &["run", "hub.agx", "--store", "again"],
        &["verify", "tiny-1", "--level", "3"],
        &["export", "tiny-1", "--as", "hf", "--to", "damaged", "--model", "policy@1"],
    ];
    for args in damaged {
        let said = agx(&desk, &url, args);
        assert!(said.contains("is not what the hub gave: remove") && !said.ends_with("-- exit 0\n"), "{said}");
    }
    let export = ["export", "--store", "by-path", "--as", "hf", "--to", "changed", "--model", "policy@1"];
    let said = agx(&desk, &url, &export);
    assert!(said.contains("the files that policy@1 was made from have changed since run"), "{said}");
}

#[test]
fn a_gated_model_comes_to_whoever_has_the_token_and_nobody_else_sees_it() {
    let desk = desk();
    let server = Server::gated(policy());
    let url = server.url();
    let mut all = agx(&desk, &url, &["run", "hub.agx"]);
    all += agx(&desk, &url, &["doctor", "hub.agx"])
        .split("model policy")
        .nth(1)
        .unwrap()
        .split("env desk")
        .next()
        .unwrap();
    all += &told(&desk, command(&desk, &url, &["fetch", "hub.agx"]).env("HF_TOKEN", "hf_of_somebody_else"), &url);
    all += &told(&desk, command(&desk, &url, &["fetch", "hub.agx"]).env("HF_TOKEN", "two words"), &url);
    assert_eq!(runs(&desk), 0, "no run began");
    // As `hf auth login` leaves it.
    std::fs::create_dir_all(desk.path().join("hf")).unwrap();
    desk.write("hf/token", format!("{TOKEN}\n"));
    all += &agx(&desk, &url, &["fetch", "hub.agx"]);
    all += &agx(&desk, &url, &["fetch", "hub.agx", "--format", "json"]);
    quiet(|| insta::assert_snapshot!("hub_gated", all));
    assert!(server.asked().iter().all(|asked| !(asked.large && asked.token.is_some())));
    std::fs::remove_file(desk.path().join("hf/token")).unwrap();
    assert!(agx(&desk, &url, &["run", "hub.agx"]).ends_with("-- exit 0\n"), "what is here needs no token");
    for folder in ["hf", ".agx"] {
        let found = Command::new("grep").args(["-r", TOKEN, folder]).current_dir(desk.path()).output().unwrap();
        assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stdout));
    }
}

#[test]
fn an_interrupt_keeps_what_came_and_the_same_command_goes_on() {
    let desk = desk();
    let slow = Server::odd(policy(), false, |asked, before| {
        (asked.large && asked.is("GET", "model.safetensors") && before == 0).then_some(Odd::Slow)
    });
    let url = slow.url();
    let child =
        command(&desk, &url, &["run", "hub.agx"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let blobs = desk.path().join("hf/hub/models--org--tiny/blobs");
    let part = blobs.join(format!("{}.incomplete", server::large_sum(&policy()["model.safetensors"])));
    let came = || std::fs::metadata(&part).map_or(0, |part| part.len());
    while came() < 100_000 {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("paused: what has come is kept; the same command goes on"), "{said}");
    assert!(runs(&desk) == 0 && !snapshot(&desk).join("model.safetensors").exists());
    let left = came();
    assert!(agx(&desk, &url, &["run", "hub.agx"]).ends_with("-- exit 0\n"));
    let ranges: Vec<Option<String>> = slow
        .asked()
        .into_iter()
        .filter(|asked| asked.large && asked.is("GET", "model.safetensors"))
        .map(|asked| asked.range)
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={left}-"))]);
}

#[test]
fn what_cannot_be_had_is_said_before_anything_is_spent() {
    let desk = desk();
    let mut files = policy();
    let config = String::from_utf8(files["config.json"].clone())
        .unwrap()
        .replace("LlamaForCausalLM", "MambaForCausalLM")
        .replace("\"llama\"", "\"mamba\"");
    files.insert("config.json".to_owned(), config.into_bytes());
    let server = Server::new(files);
    let url = server.url();
    let mut all = told(&desk, command(&desk, &url, &["run", "hub.agx"]).env("HF_HUB_OFFLINE", "1"), &url);
    all += &agx(&desk, "huggingface.co", &["run", "hub.agx"]);
    all += &agx(&desk, &url, &["run", "hub.agx"]);
    quiet(|| insta::assert_snapshot!("hub_not_to_be_had", all));
    assert_eq!(server.count("GET", "model.safetensors"), 0, "no weights of a model that does not run");
    assert_eq!(runs(&desk), 0, "no run began");
    std::fs::create_dir(desk.path().join("base")).unwrap();
    desk.write(
        "none.agx",
        include_str!("hub.agx").replace(&format!("hub(\"org/tiny\", revision = \"{COMMIT}\")"), "path(\"base\")"),
    );
    assert!(agx(&desk, &url, &["fetch", "none.agx"]).contains("none.agx names no model of the hub"));
}

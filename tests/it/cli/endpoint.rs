//! A model behind an endpoint, from outside: what is said when the key is missing or wrong, that it is nowhere afterwards,
//! and that nothing is asked twice.

use super::Desk;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const KEY: &str = "sk-nobody-may-see-this";

/// One that answers whoever has the key, and counts.
fn serve() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let asked = counted.clone();
            std::thread::spawn(move || answer(&mut stream.unwrap(), &asked));
        }
    });
    (format!("http://{address}/v1"), asked)
}

fn answer(stream: &mut TcpStream, asked: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (mut length, mut known) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            known |= line == format!("authorization: Bearer {KEY}");
            length = line.strip_prefix("content-length: ").and_then(|it| it.parse().ok()).unwrap_or(length);
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        asked.fetch_add(1, Ordering::SeqCst);
        let (status, body) = match known {
            true => (
                "200 OK",
                r#"{"choices":[{"message":{"content":"score: 3"},"finish_reason":"stop"}],"usage":{"prompt_tokens":90,"completion_tokens":4}}"#,
            ),
            // As some do, it tells the key that it was sent.
            false => ("401 Unauthorized", r#"{"error":{"message":"no such key: sk-a-wrong-one"}}"#),
        };
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    }
}

fn write(desk: &Desk, url: &str) {
    desk.write("policy.json", r#"{ "default": ["I do not know."] }"#);
    let file = include_str!("endpoint.agx").replace("http://localhost:8000/v1", url);
    desk.write("endpoint.agx", file);
}

fn keyed<'c>(command: &'c mut Command, key: &str) -> &'c mut Command {
    command.env("JUDGE_API_KEY", key)
}

fn told(command: &mut Command, url: &str) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n-- exit {}\n", text.replace(url, "[URL]").trim_end(), output.status.code().unwrap())
}

/// Whether any file, packed or not, holds the key; and how many were looked at.
fn search(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += search(&path, found);
        } else {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    files
}

#[test]
fn a_key_is_asked_for_used_and_nowhere_afterwards() {
    let (desk, (url, asked)) = (Desk::new(), serve());
    write(&desk, &url);
    let run = ["run", "endpoint.agx"];
    insta::assert_snapshot!("endpoint_no_key", told(&mut desk.command(&run), &url));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    insta::assert_snapshot!("endpoint_wrong_key", told(keyed(&mut desk.command(&run), "sk-a-wrong-one"), &url));
    assert!(asked.load(Ordering::SeqCst) <= 4, "it stops at once");
    asked.store(0, Ordering::SeqCst);

    desk.write("key", format!("{KEY}\n"));
    let (resume, key) = (["resume", "endpoint-2"], desk.path().join("key"));
    let resumed = told(desk.command(&resume).env("JUDGE_API_KEY_FILE", &key), &url);
    assert!(resumed.ends_with("exit 0\n"), "{resumed}");
    let first = asked.load(Ordering::SeqCst);
    // Sixteen examples, and the rows of eight tasks, of which none is asked twice.
    assert_eq!(first, 24);
    for again in [&run[..], &["run", "endpoint.agx", "--frozen"], &["verify"], &["verify", "--level", "3"]] {
        let text = told(keyed(&mut desk.command(again), KEY), &url);
        assert!(text.ends_with("exit 0\n"), "{text}");
        assert_eq!(asked.load(Ordering::SeqCst), first, "{again:?}");
        assert!(!text.contains(KEY));
    }
    std::fs::remove_file(key).unwrap();
    for show in
        [&["report", "--json"][..], &["show", "judge"], &["status"], &["export", "--as", "tar", "--out", "run.tar"]]
    {
        assert!(!told(&mut desk.command(show), &url).contains(KEY));
    }
    let mut found = Vec::new();
    assert!(search(desk.path(), &mut found) > 10);
    assert_eq!(found, Vec::<String>::new(), "the key stays out of every file");
    let verified = told(&mut desk.command(&["verify", "endpoint-2", "--level", "3"]), &url);
    let not_proven = verified.lines().find(|line| line.starts_with("not proven")).unwrap_or(&verified);
    insta::assert_snapshot!(not_proven, @"not proven: what a model behind an endpoint or on a GPU said of 24 items: it stands in the record, and nobody was asked again");
    insta::assert_snapshot!("endpoint_anew", {
        desk.command(&["lock", "--results", "endpoint.agx"]).output().unwrap();
        told(&mut desk.command(&["verify", "endpoint.agx"]), &url)
    });
}

//! The protocol itself: the session's life, cancelled and unknown requests, hostile input, columns in both units.

use super::client::Client;
use super::{URI, settings};
use serde_json::{Value, json};

const NOT_INITIALIZED: i32 = -32002;
const INVALID_REQUEST: i32 = -32600;
const NO_METHOD: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const NO_JSON: i32 = -32700;
const CANCELLED: i32 = -32800;

fn hover(line: u64, character: u64) -> Value {
    json!({ "textDocument": { "uri": URI }, "position": { "line": line, "character": character } })
}

#[test]
fn what_the_server_says_it_can() {
    let mut client = Client::spawn();
    let answer = client.request("initialize", json!({ "capabilities": {} }));
    settings().bind(|| insta::assert_json_snapshot!("capabilities", answer["capabilities"]));
    assert_eq!(client.stop(), Some(0));
}

#[test]
fn a_session_ends_with_the_code_that_the_protocol_wants() {
    let mut client = Client::start();
    client.request("shutdown", Value::Null);
    assert_eq!(client.request("textDocument/hover", hover(0, 0))["code"], INVALID_REQUEST, "after shutdown");
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), Some(0));
    let mut client = Client::start();
    client.notify("exit", Value::Null);
    assert_eq!(client.exit_code(), Some(1), "without shutdown");
    let mut client = Client::start();
    assert_eq!(client.exit_code(), Some(1), "a client that went away");
}

#[test]
fn nothing_is_answered_before_the_session_begins_nor_twice() {
    let mut client = Client::spawn();
    client.open(URI, "agx 2026");
    assert_eq!(client.request("textDocument/hover", hover(0, 0))["code"], NOT_INITIALIZED);
    client.request("initialize", json!({ "capabilities": {} }));
    assert_eq!(client.request("initialize", json!({ "capabilities": {} }))["code"], INVALID_REQUEST);
    assert_eq!(client.request("textDocument/hover", hover(0, 0))["code"], INVALID_PARAMS, "it was opened too early");
    assert_eq!(client.request("agx/unknown", json!({}))["code"], NO_METHOD);
    client.notify("agx/unknown", json!({}));
    client.notify("$/setTrace", json!({ "value": "verbose" }));
    assert_eq!(client.request("textDocument/hover", json!({ "nonsense": 1 }))["code"], INVALID_PARAMS);
    assert_eq!(client.stop(), Some(0));
}

/// While a large text is checked, more arrives: it waits, and what says that an answer is not wanted waits with it.
#[test]
fn a_request_that_is_cancelled_before_its_turn_is_not_worked() {
    let mut client = Client::start();
    client.open(URI, &large());
    let first = client.ask("textDocument/hover", hover(0, 0));
    let second = client.ask("textDocument/hover", hover(0, 0));
    client.notify("$/cancelRequest", json!({ "id": second }));
    let third = client.ask("textDocument/hover", hover(0, 0));
    assert!(client.answer(first).get("result").is_some());
    assert_eq!(client.answer(second)["error"]["code"], CANCELLED);
    assert!(client.answer(third).get("result").is_some());
    client.notify("$/cancelRequest", json!({ "id": "never asked" }));
    assert_eq!(client.stop(), Some(0));
}

/// A file of some thousand lines: checking it takes long enough for more to arrive.
fn large() -> String {
    let mut text = String::from("agx 2026\n");
    for at in 0..4000 {
        text += &format!("let value_{at} = {at} + 1\n");
    }
    text
}

#[test]
fn keystrokes_that_wait_are_checked_once() {
    let mut client = Client::start();
    client.open(URI, &large());
    for version in 2..202 {
        let start = json!({ "line": 0, "character": 8 });
        client.change(URI, version, json!([{ "range": { "start": start, "end": start }, "text": " " }]));
    }
    let mut checks = 0;
    while client.diagnostics(URI)["version"] != 201 {
        checks += 1;
        assert!(checks < 100, "every keystroke was checked");
    }
    assert_eq!(client.stop(), Some(0));
}

#[test]
fn what_is_no_message_does_not_end_the_session() {
    let mut client = Client::start();
    client.open(URI, "agx 2026\nlet a = 1\n");
    for (bytes, code) in [
        ("Content-Length: 5\r\n\r\n{oops".to_owned(), NO_JSON),
        ("Content-Length: 2\r\n\r\n[]".to_owned(), INVALID_REQUEST),
        ("Content-Length: 4\r\n\r\nnull".to_owned(), INVALID_REQUEST),
        ("nonsense without a length\r\n\r\n".to_owned(), NO_JSON),
        (format!("Content-Length: 100000\r\n\r\n{}", "[".repeat(100_000)), NO_JSON),
        (format!("Content-Length: {}\r\n\r\n{}", 40 << 20, " ".repeat(40 << 20)), INVALID_REQUEST),
    ] {
        client.bytes(bytes);
        let answer = loop {
            let message = client.receive().expect("the session goes on");
            if message.get("error").is_some() {
                break message;
            }
        };
        assert_eq!(answer["error"]["code"], code);
    }
    client.send(&json!({ "jsonrpc": "2.0", "id": "words", "method": "textDocument/hover", "params": hover(1, 5) }));
    let message = client.receive().expect("an answer");
    assert_eq!((&message["id"], message["error"].is_null()), (&json!("words"), true));
    assert_eq!(client.stop(), Some(0));
}

/// Every request at places that are not there, in texts that are none, in any order.
#[test]
fn no_place_and_no_text_ends_the_session() {
    let texts = [
        String::new(),
        "\u{feff}".to_owned(),
        "agx 2026\n\0\u{1b}[31m".to_owned(),
        "{".repeat(10_000),
        "\"\"\"{{ ".repeat(2000),
        "prompt p(t: desk.Task) { user \"\"\"\n{{ t.\n".to_owned(),
        "agx 2026\r\nlet a = \"🎓\r\n\rlet b = ".to_owned(),
        "x".repeat(5 << 20),
    ];
    let place = json!({ "line": 4_294_967_295_u32, "character": 4_294_967_295_u32 });
    let start = json!({ "line": 0, "character": 1 });
    let mut client = Client::start();
    // Out of order: a change and a close of what was never opened.
    client.change(URI, 9, json!([{ "text": "x" }]));
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    client.notify("textDocument/didOpen", json!({ "textDocument": 5 }));
    for text in texts {
        client.open(URI, &text);
        for at in [&place, &start] {
            let range = json!({ "start": at, "end": start });
            for method in [
                "hover",
                "definition",
                "references",
                "documentHighlight",
                "prepareRename",
                "rename",
                "completion",
                "codeAction",
                "documentSymbol",
                "foldingRange",
                "selectionRange",
                "semanticTokens/full",
                "inlayHint",
                "formatting",
            ] {
                let params = json!({
                    "textDocument": { "uri": URI }, "position": at, "positions": [at, at], "range": range,
                    "newName": "b", "context": { "diagnostics": [], "includeDeclaration": true },
                    "options": { "tabSize": 2, "insertSpaces": true },
                });
                let answer = client.request(&format!("textDocument/{method}"), params);
                assert_ne!(answer["code"], -32603, "{method} broke on {:?}", &text[..text.len().min(40)]);
            }
        }
        // A range that is turned round, and one that is not there.
        client.change(URI, 2, json!([{ "range": { "start": place, "end": start }, "text": "é" }]));
        client.change(URI, 1, json!([{ "range": { "start": start, "end": place }, "text": "" }, { "text": "let" }]));
    }
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(client.request("textDocument/hover", hover(0, 0))["code"], INVALID_PARAMS, "it is closed");
    assert_eq!(client.stop(), Some(0));
}

/// `x` behind an emoji: four bytes, two units of UTF-16, one character.
#[test]
fn columns_count_what_was_agreed() {
    let text = "agx 2026\n// 🎓\nlet a = \"🎓\"  let b = a\n";
    for (capabilities, encoding, column, name) in [
        (json!({}), "utf-16", 18, 8),
        (json!({ "general": { "positionEncodings": ["utf-16"] } }), "utf-16", 18, 8),
        (json!({ "general": { "positionEncodings": ["utf-8", "utf-16"] } }), "utf-8", 20, 8),
    ] {
        let mut client = Client::spawn();
        let answer = client.request("initialize", json!({ "capabilities": capabilities }));
        assert_eq!(answer["capabilities"]["positionEncoding"], encoding);
        client.notify("initialized", json!({}));
        client.open(URI, text);
        // `let` behind the string begins at this column.
        let line =
            json!({ "start": { "line": 2, "character": column - 4 }, "end": { "line": 2, "character": column - 4 } });
        client.change(URI, 2, json!([{ "range": line, "text": "\n" }]));
        let answer = client.request("textDocument/hover", hover(3, name + 2));
        assert!(answer["contents"]["value"].as_str().unwrap().contains("let a = \"🎓\""), "{encoding}: {answer}");
        let symbols = client.request("textDocument/documentSymbol", json!({ "textDocument": { "uri": URI } }));
        let end = if encoding == "utf-8" { 14 } else { 12 };
        assert_eq!(symbols[0]["range"]["end"]["character"], end, "{encoding}: {symbols}");
        assert_eq!(client.stop(), Some(0));
    }
}

#[test]
fn the_projects_files_are_searched_with_what_is_open() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("lib")).unwrap();
    std::fs::create_dir(directory.path().join(".hidden")).unwrap();
    for name in ["lib/shared.agx", ".hidden/not.agx"] {
        std::fs::write(directory.path().join(name), "agx 2026\nlet from_disk = 1\nlet other = 2\n").unwrap();
    }
    let root = format!("file://{}", directory.path().display());
    let mut client = Client::spawn();
    client.request("initialize", json!({ "rootUri": root, "capabilities": {} }));
    client.notify("initialized", json!({}));
    let found = |client: &mut Client| -> Vec<String> {
        let answer = client.request("workspace/symbol", json!({ "query": "FROM" }));
        let names = answer.as_array().unwrap().iter().map(|symbol| symbol["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(found(&mut client), ["from_disk"]);
    client.open(&format!("{root}/lib/shared.agx"), "agx 2026\nlet from_editor = 1\n");
    assert_eq!(found(&mut client), ["from_editor"], "what is open shadows the disk");
    assert_eq!(client.stop(), Some(0));
}

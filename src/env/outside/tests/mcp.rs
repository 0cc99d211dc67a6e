//! Servers of a Model Context Protocol of a few lines of shell, and of HTTP.

use super::addresses::{listen, requested};
use super::*;
use std::io::{BufReader, Write};

/// Knows what every server knows, and is silent to the rest. A test puts what it does otherwise before.
fn program(otherwise: &str) -> Vec<Word> {
    let script = format!(
        r#"
        while read -r line; do
            id=${{line#*\"id\":}}; id=${{id%%[,\}}]*}}
            answer() {{ echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,$1}}"; }}
            case "$line" in
            {otherwise}
            *'"initialize"'*) answer '"result":{{"protocolVersion":"2024-11-05","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"small","version":"1"}}}}';;
            *tools/list*) answer '"result":{{"tools":[{{"name":"add","inputSchema":{{"type":"object","properties":{{"a":{{"type":"integer"}}}}}}}}]}}';;
            *tools/call*) answer '"result":{{"content":[{{"type":"text","text":"sum"}}]}}';;
            esac
        done"#
    );
    ["sh", "-c", &script].map(|word| Word::Text(word.to_owned())).into()
}

/// Three tasks that want a call each.
fn opened(reach: Reach, timeout: u64) -> (tempfile::TempDir, Env) {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = directory.path().join("tasks.jsonl");
    let row = |id: &str| json!({ "id": id, "gold": [{ "name": "add", "arguments": { "a": 1 } }] }).to_string();
    std::fs::write(&rows, ["a", "b", "c"].map(row).join("\n")).expect("a file");
    let mut spec = spec(reach, Some(rows), Vec::new(), &["success"]);
    if let EnvKind::Outside(outside) = &mut spec.kind {
        outside.bounds.timeout = timeout;
    }
    let env = Env::open(&spec, &wire()).expect("nobody is asked yet");
    (directory, env)
}

/// What a call comes to, and the metric.
fn called(reach: Reach, timeout: u64) -> Result<(String, f64), EnvError> {
    let (_rows, env) = opened(reach, timeout);
    let (mut episode, _) = env.start(&env.task("train", 0), Seed(7))?;
    let said = episode.step(&call("add", &[("a", "1")]))?.text;
    Ok((said, success(&*episode)))
}

#[test]
fn a_server_that_leaves_unanswered_what_it_does_not_know_is_spoken_with() {
    let started = std::time::Instant::now();
    assert_eq!(called(Reach::McpCommand(program("")), 30_000), Ok(("sum".to_owned(), 1.0)));
    assert!(started.elapsed().as_secs() < 10, "nobody waited for an answer that does not come");
}

#[test]
fn what_a_server_prints_beside_its_messages_is_left_out() {
    let printing = r#"*tools/call*) echo; echo '[INFO] add'; echo '{"level":"info"}'; answer '"result":{"content":[{"type":"text","text":"sum"}]}';;"#;
    let mut words = program(printing);
    let Some(Word::Text(script)) = words.last_mut() else { panic!("the script is the last word") };
    script.insert_str(0, "echo 'small, version 1';");
    assert_eq!(called(Reach::McpCommand(words), 10_000), Ok(("sum".to_owned(), 1.0)));
}

#[test]
fn a_server_that_does_not_initialize_is_asked_in_the_newer_way() {
    let newer = r#"
        *'"initialize"'*) answer '"error":{"code":-32601,"message":"there is no initialize"}';;
        *server/discover*) answer '"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}';;
    "#;
    assert_eq!(called(Reach::McpCommand(program(newer)), 10_000), Ok(("sum".to_owned(), 1.0)));
    let neither = r#"*'"initialize"'*) answer '"error":{"code":-32000,"message":"no key"}';;
        *server/discover*) exit 3;;"#;
    let said = called(Reach::McpCommand(program(neither)), 10_000).expect_err("it refuses").to_string();
    assert_eq!(said, "the environment refuses: no key");
}

#[test]
fn whatever_a_server_that_is_a_program_says_wrong_is_told_apart_at_once() {
    let started = std::time::Instant::now();
    let said =
        |otherwise: &str| called(Reach::McpCommand(program(otherwise)), 60_000).expect_err("it fails").to_string();
    insta::assert_snapshot!(
        [
            "*initialize*) head -c 20000000 /dev/zero | tr '\\0' 'x'; sleep 60;;",
            "*tools/list*) answer '\"result\":{\"tools\":[{\"name\":7}]}';;",
            "*tools/call*) answer '\"result\":{\"content\":NaN}';;",
            "*tools/call*) answer '\"result\":{\"content\":[]},\"error\":{\"code\":1,\"message\":\"no\"}';;",
            "*tools/call*) echo \"[{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":$id,\\\"result\\\":{\\\"content\\\":[]}}]\";;",
            "*tools/call*) echo '{\"jsonrpc\":\"2.0\",\"id\":1.5,\"result\":{}}';;",
            "*tools/call*) echo 'out of paper' >&2; exit 3;;",
        ]
        .map(said)
        .join("\n"),
        @r#"
    the environment floods: an answer is longer than 16 MiB
    the environment answers garbage: it is no answer to what was asked
    the environment answers garbage: expected value at line 1 column 45: {"jsonrpc":"2.0","id":2,"result":{"content":NaN}}
    the environment answers garbage: it is no message of JSON-RPC: {"jsonrpc":"2.0","id":2,"result":{"content":[]},"error":{"code":1,"message":"no"}}
    the environment answers garbage: invalid type: sequence, expected a map at line 1 column 0: [{"jsonrpc":"2.0","id":2,"result":{"content":[]}}]
    the environment answers garbage: it is no answer of the protocol's: {"jsonrpc":"2.0","id":1.5,"result":{}}
    the environment is gone: it ended with exit status: 3; its last words: out of paper
    "#
    );
    assert!(started.elapsed().as_secs() < 30);
    for printed in ["I am no server", "\\377"] {
        let said = called(Reach::McpCommand(program(&format!("*initialize*) printf '{printed}\\n';;"))), 1_000);
        let said = said.expect_err("it prints, and answers nothing").to_string();
        assert!(said.starts_with("the environment answers garbage: "), "{said}");
    }
    let hangs = "*tools/call*) echo 'thinking' >&2;;";
    let said = called(Reach::McpCommand(program(hangs)), 1_000).expect_err("it is silent").to_string();
    assert_eq!(said, "the environment hangs: no answer in 1 s; its last words: thinking");
}

#[test]
fn a_doctor_tells_of_calls_that_no_tool_of_the_server_is() {
    let examined = |tools: &str| {
        let tools = format!("*tools/list*) answer '\"result\":{{\"tools\":[{tools}]}}';;");
        let (rows, env) = opened(Reach::McpCommand(program(&tools)), 10_000);
        drop(rows);
        env.examine("train").map_err(|problem| problem.to_string())
    };
    let tool = |name: &str| format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#);
    let begins = "an episode of `a` begins: nothing is said";
    let sound = examined(&format!("{},{}", tool("add"), tool("sub"))).expect("all is there");
    assert_eq!(sound, ["its name is small, it speaks 2024-11-05", "add():", "sub():", begins]);
    let none = examined(&tool("sub")).expect_err("nothing is there");
    let why = "no tool of the server's is what `gold` of tasks calls: add";
    assert_eq!(none, format!("the environment is not as declared: {why}"));
}

/// A server at an address, which answers each message with all of an HTTP response.
fn at_address(otherwise: fn(&Value) -> Option<String>) -> Reach {
    let address = listen(move |mut stream| {
        let (_, asked) = requested(&mut BufReader::new(stream.try_clone().ok()?))?;
        let said = otherwise(&asked).or_else(|| Some(match asked["method"].as_str() {
            Some("initialize") => result(&asked, json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "h", "version": "1" } })),
            Some("tools/list") => result(&asked, json!({ "tools": [{ "name": "add", "inputSchema": { "type": "object" } }] })),
            Some("tools/call") => result(&asked, json!({ "content": [{ "type": "text", "text": "sum" }] })),
            // It leaves unanswered what it does not know, but for what needs none.
            _ if asked.get("id").is_some() => return None,
            _ => whole("202 Accepted", "application/json", ""),
        }))?;
        stream.write_all(said.as_bytes()).ok()
    });
    Reach::McpAddress(format!("http://{address}/mcp"))
}

fn whole(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn result(asked: &Value, result: Value) -> String {
    whole("200 OK", "application/json", &json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string())
}

#[test]
fn whatever_a_server_at_an_address_says_wrong_is_told_apart() {
    assert_eq!(called(at_address(|_| None), 10_000), Ok(("sum".to_owned(), 1.0)));
    fn on(method: &str, asked: &Value, said: impl Fn() -> String) -> Option<String> {
        (asked["method"] == method).then(said)
    }
    const ALL: [fn(&Value) -> Option<String>; 13] = [
        |_| Some(whole("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/mcp", "application/json", "")),
        |_| Some(whole("401 Unauthorized\r\nwww-authenticate: Bearer", "application/json", "{}")),
        |_| Some(whole("404 Not Found", "text/plain", "no such page")),
        |_| Some(whole("500 Oh", "text/plain", "oh")),
        |_| Some(whole("200 OK", "text/html", "<html>")),
        |_| Some(whole("200 OK", "application/json", "nope")),
        |_| Some(whole("200 OK", "text/event-stream", "data: nope\n\n")),
        |_| Some("nothing like HTTP\r\n\r\n".to_owned()),
        |asked| {
            on("initialize", asked, || {
                result(
                    asked,
                    json!({ "protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": { "name": "h", "version": "1" } }),
                )
            })
        },
        |asked| on("tools/call", asked, || whole("503 Busy", "application/json", "oh")),
        |asked| on("tools/call", asked, || whole("200 OK", "application/json", "{\"content\":NaN}")),
        |asked| on("tools/call", asked, || whole("200 OK", "application/json", &" ".repeat(17 << 20))),
        |asked| {
            on("tools/call", asked, || {
                whole("200 OK", "text/event-stream", &format!("data: {}\n\n", "x".repeat(17 << 20)))
            })
        },
    ];
    let said = |otherwise: fn(&Value) -> Option<String>| {
        let said = called(at_address(otherwise), 10_000).expect_err("it fails").to_string();
        let (before, after) = said.split_once("127.0.0.1:").unwrap_or((&said, ""));
        format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    insta::assert_snapshot!(ALL.map(said).join("\n"), @r#"
    the environment refuses: http:///mcp: HTTP 307 Temporary Redirect
    the environment refuses: http:///mcp: HTTP 401
    the environment refuses: http:///mcp: HTTP 404 Not Found: no such page
    the environment refuses: http:///mcp: HTTP 500
    the environment answers garbage: it is no JSON, but `text/html`
    the environment answers garbage: expected ident at line 1 column 2: nope
    the environment answers garbage: it is no answer to `initialize`
    the environment is gone: invalid HTTP version parsed
    the environment answers garbage: it speaks the revision 1999-01-01 of the protocol, and agx speaks 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28
    the environment refuses: http:///mcp: HTTP 503
    the environment answers garbage: expected value at line 1 column 12: {"content":NaN}
    the environment floods: an answer is longer than 16 MiB
    the environment is gone: it broke off an answer, or one of more than 16 MiB
    "#);
    let nobody = called(Reach::McpAddress("http://127.0.0.1:1/mcp".to_owned()), 10_000).expect_err("nobody is there");
    assert_eq!(nobody.to_string(), "the environment cannot be reached: http://127.0.0.1:1/mcp: connection refused");
}

//! What is asked and answered as OpenAI's protocol has it.

use super::client::{JSON, Response, get, post, request, send};
use super::{Server, keyed, scripted, server, terms};
use crate::model::ToolFormat;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A conversation with one message, and whatever else.
fn asking(text: &str, more: Value) -> String {
    let mut body = json!({ "model": "policy@2", "messages": [{ "role": "user", "content": text }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn said(address: SocketAddr, text: &str, more: Value) -> Value {
    let response = post(address, &asking(text, more));
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()["choices"][0].clone()
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "find_room", "parameters": {
        "type": "object", "properties": { "people": { "type": "integer" }, "day": { "type": "string" } } } } }])
}

#[test]
fn a_completion_is_openais() {
    let server = server();
    insta::assert_json_snapshot!(post(server.address, &asking("Hello", json!({}))).json());
}

#[test]
fn a_stream_is_openais() {
    let server = server();
    let more = json!({ "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 4 });
    let response = post(server.address, &asking("Hello", more));
    assert!(response.head.contains("content-type: text/event-stream"), "{}", response.head);
    insta::assert_snapshot!(response.body);
    let plain = post(server.address, &asking("Hello", json!({ "stream": true }))).events();
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none() && chunk["choices"][0]["index"] == 0));
}

/// What a stream adds up to: message and finish of each choice.
fn added(events: &[Value]) -> Vec<(String, Value, Value, Vec<Value>)> {
    let mut choices: Vec<(String, Value, Value, Vec<Value>)> = Vec::new();
    for choice in events.iter().flat_map(|event| event["choices"].as_array().unwrap()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        choices.resize(choices.len().max(index + 1), Default::default());
        let (text, calls, finish, logprobs) = &mut choices[index];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        if let Some(call) = choice["delta"]["tool_calls"].get(0) {
            *calls = call.clone();
        }
        if !choice["finish_reason"].is_null() {
            *finish = choice["finish_reason"].clone();
        }
        logprobs.extend(choice["logprobs"]["content"].as_array().into_iter().flatten().cloned());
    }
    choices
}

#[test]
fn a_stream_adds_up_to_the_whole() {
    let server = server();
    for (text, more) in [
        ("Hello", json!({})),
        ("long", json!({ "stop": " END" })),
        ("long", json!({ "stop": ["als", "nowhere"], "logprobs": true, "top_logprobs": 2 })),
        ("long", json!({ "max_tokens": 3, "logprobs": true })),
        ("choose", json!({ "n": 4, "seed": 5 })),
        ("a room for four", json!({ "tools": tools() })),
        ("a room for four", json!({ "tools": tools(), "tool_choice": "none" })),
        ("a room for four", json!({ "tools": tools(), "max_tokens": 4 })),
        ("Hello", json!({ "tools": tools() })),
    ] {
        let whole = post(server.address, &asking(text, more.clone())).json();
        let mut streamed = more.clone();
        streamed["stream"] = json!(true);
        let stream = added(&post(server.address, &asking(text, streamed)).events());
        let choices = whole["choices"].as_array().unwrap();
        assert_eq!(choices.len(), stream.len(), "{more}");
        for (choice, (text, call, finish, logprobs)) in choices.iter().zip(stream) {
            assert_eq!(choice["message"]["content"].as_str().unwrap_or_default(), text, "{more}");
            assert_eq!(choice["finish_reason"], finish, "{more}");
            let function = &choice["message"]["tool_calls"][0]["function"];
            assert_eq!(*function, call["function"], "{more}");
            assert_eq!(choice["logprobs"]["content"].as_array().cloned().unwrap_or_default(), logprobs, "{more}");
        }
    }
}

#[test]
fn what_ends_a_reply_is_said() {
    let server = server();
    let address = server.address;
    let whole = said(address, "long", json!({}));
    assert_eq!((&whole["finish_reason"], whole["message"]["content"].as_str().unwrap().len()), (&json!("stop"), 52));
    let cut = said(address, "long", json!({ "stop": ["END", "sind"] }));
    assert_eq!((&cut["finish_reason"], &cut["message"]["content"]), (&json!("stop"), &json!("Sätze ")));
    let short = said(address, "long", json!({ "max_tokens": 9, "max_completion_tokens": 2 }));
    assert_eq!((&short["finish_reason"], &short["message"]["content"]), (&json!("length"), &json!("Sätze")));
    let probable = said(address, "long", json!({ "max_tokens": 2, "logprobs": true, "top_logprobs": 3 }));
    let told = probable["logprobs"]["content"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(
        told[0],
        json!({ "token": "Sä", "logprob": -0.5, "bytes": [83, 195, 164],
        "top_logprobs": [{ "token": "Sä", "logprob": -0.5, "bytes": [83, 195, 164] }] })
    );
}

#[test]
fn a_tool_is_called_and_its_answer_read() {
    let server = server();
    let address = server.address;
    let call = said(address, "a room for four", json!({ "tools": tools() }));
    assert_eq!(call["finish_reason"], "tool_calls");
    let message = &call["message"];
    assert_eq!(message["content"], Value::Null);
    let function = &message["tool_calls"][0]["function"];
    assert_eq!(function, &json!({ "name": "find_room", "arguments": r#"{"day":"Monday","people":4}"# }));
    let id = message["tool_calls"][0]["id"].clone();
    let messages = json!([
        { "role": "user", "content": [{ "type": "text", "text": "a room " }, { "type": "text", "text": "for four" }] },
        message,
        { "role": "tool", "tool_call_id": id, "content": "Oak is free" },
    ]);
    let body = json!({ "model": "policy@2", "messages": messages, "tools": tools() }).to_string();
    let answer = post(address, &body).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "It is Oak.");
    // Without tools, what the model writes is text.
    let text = said(address, "a room for four", json!({}));
    assert_eq!(text["message"]["content"], "call find_room\npeople: 4\nday: Monday");
    assert_eq!(text["finish_reason"], "stop");
}

/// What the model reads of tools and calls stands in its prompt: a script that repeats what it is told shows it.
#[test]
fn a_model_reads_tools_and_calls_in_its_own_words() {
    let calls =
        r#"{ "replies": [{ "when": "find_room(people, day)\nlast", "say": ["seen"] }], "default": ["unseen"] }"#;
    let server = Server::new(scripted(calls), ToolFormat::Lines, terms());
    // A script reads the last user's message alone; here there is none before the system's.
    let tokens = |more: Value| post(server.address, &asking("x", more)).json()["usage"]["prompt_tokens"].clone();
    let (without, with) = (tokens(json!({})), tokens(json!({ "tools": tools() })));
    assert!(with.as_u64() > without.as_u64().map(|tokens| tokens + 5), "{with} {without}");
    assert_eq!(tokens(json!({ "tools": tools(), "tool_choice": "none" })), without);
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_any_company() {
    let server = server();
    let address = server.address;
    let text = |seed: i64| said(address, "choose", json!({ "seed": seed }))["message"]["content"].to_string();
    let alone: Vec<String> = (-4..28).map(text).collect();
    let distinct: std::collections::BTreeSet<&String> = alone.iter().collect();
    assert!(distinct.len() > 4, "{distinct:?}");
    let threads: Vec<_> = (-4..28)
        .map(|seed| {
            std::thread::spawn(move || {
                said(address, "choose", json!({ "seed": seed }))["message"]["content"].to_string()
            })
        })
        .collect();
    let together: Vec<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(alone, together);
    // Several replies to one question are several; greedy ones are not.
    let replies = |more: Value| -> std::collections::BTreeSet<String> {
        let answer = post(address, &asking("choose", more)).json();
        answer["choices"].as_array().unwrap().iter().map(|it| it["message"]["content"].to_string()).collect()
    };
    assert!(replies(json!({ "n": 16, "seed": 3 })).len() > 3);
    assert_eq!(replies(json!({ "n": 16, "seed": 3, "temperature": 0 })).len(), 1);
    // Without a seed each request takes the next of the server's, as another server of the same seed would.
    let series = |address| -> Vec<String> {
        (0..12).map(|_| said(address, "choose", json!({}))["message"]["content"].to_string()).collect()
    };
    let (first, second) = (self::server(), self::server());
    let told = series(first.address);
    assert_eq!(told, series(second.address));
    assert!(told.iter().any(|it| *it != told[0]), "{told:?}");
}

#[test]
fn what_cannot_be_done_is_refused_by_its_name() {
    let server = server();
    for (more, param) in [
        (json!({ "model": "gpt-4" }), "model"),
        (json!({ "model": null }), "model"),
        (json!({ "model": 4 }), "model"),
        (json!({ "messages": null }), "messages"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": "hi" }), "messages"),
        (json!({ "messages": [1] }), "messages[0]"),
        (json!({ "messages": [{ "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "god", "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "user" }] }), "messages[0].content"),
        (json!({ "messages": [{ "role": "user", "content": 4 }] }), "messages[0].content"),
        (json!({ "messages": [{ "role": "user", "content": "x", "y": 1 }] }), "messages[0].y"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }] }),
            "messages[0].content[0].type",
        ),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages[0].tool_call_id"),
        (json!({ "messages": [{ "role": "assistant", "tool_calls": [{}, {}] }] }), "messages[0].tool_calls"),
        (
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "function": { "name": "a", "arguments": "[" } }] }] }),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (json!({ "temperature": 3 }), "temperature"),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "top_p": -0.1 }), "top_p"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "max_tokens": 1.5 }), "max_tokens"),
        (json!({ "n": 0 }), "n"),
        (json!({ "n": 1_000_000 }), "n"),
        (json!({ "seed": 1.5 }), "seed"),
        (json!({ "stop": [""] }), "stop"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop"),
        (json!({ "top_logprobs": 2 }), "top_logprobs"),
        (json!({ "stream_options": { "include_usage": true } }), "stream_options"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "frequency_penalty": 0.5 }), "frequency_penalty"),
        (json!({ "logit_bias": { "5": 1 } }), "logit_bias"),
        (json!({ "tools": tools(), "tool_choice": "required" }), "tool_choice"),
        (json!({ "tools": tools(), "tool_choice": { "type": "function" } }), "tool_choice"),
        (json!({ "functions": [] }), "functions"),
        (json!({ "tempratur": 1 }), "tempratur"),
    ] {
        let response = post(server.address, &asking("Hello", more.clone()));
        let error = &response.json()["error"];
        let status = if more["model"] == "gpt-4" { 404 } else { 400 };
        assert_eq!((response.status, error["param"].as_str()), (status, Some(param)), "{more}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty() && error["type"] == "invalid_request_error", "{error}");
    }
    let long = "word ".repeat(500);
    let error = post(server.address, &asking(&long, json!({}))).json();
    assert_eq!(error["error"]["code"], "context_length_exceeded");
    // What changes nothing is taken.
    for more in [
        json!({ "user": "me", "metadata": { "a": "b" }, "store": false, "parallel_tool_calls": true, "service_tier": "auto" }),
        json!({ "frequency_penalty": 0, "logit_bias": {}, "response_format": { "type": "text" }, "tools": [], "seed": null }),
        json!({ "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "top_p": 0, "n": null }),
    ] {
        said(server.address, "Hello", more);
    }
}

#[test]
fn a_script_without_an_answer_is_the_servers_fault() {
    let server = Server::new(scripted("{}"), ToolFormat::Lines, terms());
    let response = post(server.address, &asking("Hello", json!({})));
    assert_eq!((response.status, &response.json()["error"]["type"]), (500, &json!("server_error")));
    // In a stream it is told within, and the stream does not end as one that said all.
    let response = post(server.address, &asking("Hello", json!({ "stream": true })));
    assert!(response.status == 200 && !response.body.contains("[DONE]"), "{}", response.body);
    assert!(response.body.trim_end().lines().last().unwrap().starts_with("data: {\"error\""), "{}", response.body);
}

#[test]
fn there_is_one_model_and_little_else() {
    let server = server();
    let model = json!({ "id": "policy@2", "object": "model", "created": 9, "owned_by": "agx" });
    assert_eq!(get(server.address, "/v1/models").json(), json!({ "object": "list", "data": [model] }));
    assert_eq!(get(server.address, "/v1/models/policy%402").json(), model);
    assert_eq!(get(server.address, "/v1/models/policy@2").json(), model);
    assert_eq!(get(server.address, "/health").json(), json!({ "status": "ok" }));
    for (method, path, status, code) in [
        ("GET", "/v1/models/org/other", 404, "model_not_found"),
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/policy@2", 405, "method_not_allowed"),
    ] {
        let response = Response::parse(&send(server.address, request(method, path, JSON, "").as_bytes()));
        assert_eq!((response.status, response.json()["error"]["code"].as_str()), (status, Some(code)), "{path}");
    }
}

#[test]
fn without_the_key_nothing_is_asked() {
    let server = keyed();
    let ask = |authorization: &str| {
        let headers = format!("{JSON}{authorization}");
        Response::parse(&send(
            server.address,
            request("POST", "/v1/chat/completions", &headers, &asking("Hi", json!({}))).as_bytes(),
        ))
    };
    for wrong in [
        "",
        "authorization: Bearer sk-wrong\r\n",
        "authorization: Basic sk-right\r\n",
        "authorization: sk-right\r\n",
        "authorization: Bearer\r\n",
        "authorization: Bearer sk-right-and-more\r\n",
    ] {
        let response = ask(wrong);
        assert_eq!((response.status, &response.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{wrong}");
        assert!(!response.body.contains("sk-"), "{}", response.body);
        assert!(response.head.contains("www-authenticate: bearer"), "{}", response.head);
    }
    assert_eq!(ask("authorization: Bearer sk-right\r\n").status, 200);
    assert_eq!(ask("authorization: bearer  sk-right\r\n").status, 200);
    for path in ["/v1/models", "/nowhere"] {
        assert_eq!(get(server.address, path).status, 401, "{path}");
    }
    assert_eq!(get(server.address, "/health").status, 200);
}

//! The language server from outside: sessions with the program, and its answers as a person would read them.
//!
//! A line `//~hover   ^` below a line of a fixture asks for what stands at the column of the `^`, or at the column after an `@`; such lines are taken out
//! before the text is sent, so that the text is what a person would write.

mod client;
mod files;
mod protocol;
mod show;

use client::Client;
use serde_json::{Value, json};
use std::fmt::Write;

/// Where the fixtures are said to lie: their models are those of the samples.
pub const URI: &str = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/experiments/fixture.agx");

/// A question at a place of a fixture.
struct Mark {
    what: String,
    line: usize,
    column: usize,
}

/// The text without its marks, and the marks.
fn read(fixture: &str) -> (String, Vec<Mark>) {
    let (mut text, mut marks, mut line) = (String::new(), Vec::new(), 0);
    for written in fixture.lines() {
        match written.strip_prefix("//~") {
            Some(mark) => {
                let (what, column) = match mark.split_once('@') {
                    Some((what, column)) => (what, column.parse().unwrap()),
                    None => (mark.split(' ').next().unwrap(), written.find('^').unwrap()),
                };
                marks.push(Mark { what: what.to_owned(), line: line - 1, column });
            }
            None => {
                writeln!(text, "{written}").unwrap();
                line += 1;
            }
        }
    }
    (text, marks)
}

/// Every question of a fixture with its answer.
fn asked(fixture: &str) -> String {
    let (text, marks) = read(fixture);
    let mut client = Client::start();
    client.open(URI, &text);
    let mut out = String::new();
    for Mark { what, line, column } in marks {
        let (what, argument) = what.split_once('=').unwrap_or((&what, ""));
        let at = json!({ "textDocument": { "uri": URI }, "position": { "line": line, "character": column } });
        let written: Vec<char> = text.lines().nth(line).unwrap().chars().collect();
        let place = column.min(written.len());
        let (before, after): (String, String) = (written[..place].iter().collect(), written[place..].iter().collect());
        writeln!(out, "── {what} {argument} {}: {}‸{}", line + 1, before.trim_start(), after).unwrap();
        let with = |key: &str, value: Value| {
            let mut params = at.clone();
            params[key] = value;
            params
        };
        let answer = match what {
            "hover" => show::hover(&client.request("textDocument/hover", at)),
            "definition" => show::places(&text, &json!([client.request("textDocument/definition", at)])),
            "references" => {
                let context = with("context", json!({ "includeDeclaration": true }));
                show::places(&text, &client.request("textDocument/references", context))
            }
            "highlight" => show::places(&text, &client.request("textDocument/documentHighlight", at)),
            "rename" => match client.request("textDocument/prepareRename", at.clone()) {
                refused if refused.get("code").is_some() => show::refusal(&refused),
                _ => show::edit(&text, &client.request("textDocument/rename", with("newName", json!(argument)))),
            },
            "complete" => show::completions(&client.request("textDocument/completion", at)),
            "select" => {
                let params = json!({ "textDocument": { "uri": URI }, "positions": [at["position"]] });
                show::selections(&text, &client.request("textDocument/selectionRange", params)[0])
            }
            "fix" => {
                let range = json!({ "start": at["position"], "end": at["position"] });
                let mut params = with("range", range);
                params["context"] = json!({ "diagnostics": [] });
                show::actions(&text, &client.request("textDocument/codeAction", params))
            }
            other => panic!("`{other}` is no question"),
        };
        writeln!(out, "{}\n", answer.trim_end()).unwrap();
    }
    assert_eq!(client.stop(), Some(0));
    out
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(env!("CARGO_MANIFEST_DIR"), "[ROOT]");
    settings
}

fn snapshot(name: &str, answers: &str) {
    settings().bind(|| insta::assert_snapshot!(name, answers));
}

#[test]
fn what_stands_at_a_place() {
    snapshot("hover", &asked(include_str!("hover.agx")));
}

#[test]
fn where_a_name_is_declared_and_used() {
    snapshot("names", &asked(include_str!("names.agx")));
}

#[test]
fn what_may_be_written_at_a_place() {
    snapshot("complete", &asked(include_str!("complete.agx")));
}

#[test]
fn what_is_wrong_can_be_mended() {
    snapshot("fix", &asked(include_str!("fix.agx")));
}

#[test]
fn diagnostics_are_told_with_all_that_belongs_to_them() {
    let mut client = Client::start();
    let mut out = String::new();
    for fixture in [include_str!("fix.agx"), include_str!("hover.agx")] {
        let (text, _) = read(fixture);
        client.open(URI, &text);
        writeln!(out, "{}", show::diagnostics(&text, &client.diagnostics(URI))).unwrap();
    }
    snapshot("diagnostics", &out);
    client.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(client.diagnostics(URI)["diagnostics"], json!([]), "a closed text has no mistakes");
    assert_eq!(client.stop(), Some(0));
}

/// What a model elsewhere is asked costs money, and the schedule says how much at most.
#[test]
fn a_priced_model_shows_what_it_may_cost() {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/base");
    let text = include_str!("../../../experiments/methods/fire_act.agx").replace("../base", models);
    let mut client = Client::start();
    client.open(URI, &text);
    let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 9999, "character": 0 } });
    let params = json!({ "textDocument": { "uri": URI }, "range": range });
    snapshot("priced", &show::hints(&text, &client.request("textDocument/inlayHint", params)));
    assert_eq!(client.stop(), Some(0));
}

/// Outline, folds, colours and hints of a whole file.
#[test]
fn a_file_at_a_glance() {
    let (text, _) = read(include_str!("hover.agx"));
    let mut client = Client::start();
    client.open(URI, &text);
    let document = json!({ "textDocument": { "uri": URI } });
    let mut out = String::from("── outline\n");
    show::outline(&mut out, &client.request("textDocument/documentSymbol", document.clone()), 0);
    writeln!(out, "\n── folds\n{}", show::folds(&text, &client.request("textDocument/foldingRange", document.clone())))
        .unwrap();
    let mut params = document.clone();
    params["range"] = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 9999, "character": 0 } });
    writeln!(out, "── hints\n{}", show::hints(&text, &client.request("textDocument/inlayHint", params))).unwrap();
    let tokens = client.request("textDocument/semanticTokens/full", document);
    writeln!(out, "── colours\n{}", show::colours(&text, &tokens["data"])).unwrap();
    snapshot("glance", &out);
    assert_eq!(client.stop(), Some(0));
}

#[test]
fn formatting_is_that_of_agx_fmt() {
    let text = "agx 2026\nlet a = 1\nlet   b = [ 1,2 ]   // 🎓\nlet c = 3\n";
    let mut client = Client::start();
    client.open(URI, text);
    let params = json!({ "textDocument": { "uri": URI }, "options": { "tabSize": 2, "insertSpaces": true } });
    let edits = client.request("textDocument/formatting", params.clone());
    let line = |at: &str| edits[0]["range"][at]["line"].clone();
    assert_eq!((line("start"), line("end")), (json!(2), json!(3)), "only what differs: {edits}");
    let formatted = agx::syntax::fmt::format(text).unwrap();
    assert_eq!(edits[0]["newText"].as_str(), Some(formatted.lines().nth(2).unwrap().to_owned() + "\n").as_deref());
    client.change(URI, 2, json!([{ "text": formatted }]));
    assert_eq!(client.request("textDocument/formatting", params.clone()), json!([]), "nothing is left to do");
    client.change(URI, 3, json!([{ "text": "agx 2026\nlet   a = [\n" }]));
    assert_eq!(client.request("textDocument/formatting", params), json!([]), "what cannot be read stays as it is");
    assert_eq!(client.stop(), Some(0));
}

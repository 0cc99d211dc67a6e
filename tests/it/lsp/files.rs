//! Several files: imports, what is open and what is on disk, a name that many files use.

use super::client::Client;
use super::{show, snapshot};
use serde_json::{Value, json};
use std::fmt::Write;
use tempfile::TempDir;

const CRITICS: &str = "\
agx 2026
//! Names for others.

/// How good is good.
let threshold = 3
rule good(bound: int) = where score >= bound | top 40% by score
trainer sft { method = sft { loss_on = agent }, lr = 5e-4, epochs = 1, batch = 32 }
";

const USER: &str = "\
agx 2026
import \"lib/critics.agx\" as critics
let own = critics.threshold + 1
let more = critics.thresold
";

const OTHER: &str = "\
agx 2026
import \"lib/critics.agx\" { threshold }
let own = threshold
";

struct Project {
    directory: TempDir,
    client: Client,
}

impl Project {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        for (name, text) in [("lib/critics.agx", CRITICS), ("user.agx", USER), ("other.agx", OTHER)] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut client = Client::spawn();
        let root = format!("file://{}", directory.path().display());
        client.request("initialize", json!({ "rootUri": root, "capabilities": {} }));
        client.notify("initialized", json!({}));
        Self { directory, client }
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}/{name}", self.directory.path().display())
    }

    fn open(&mut self, name: &str, text: &str) {
        let uri = self.uri(name);
        self.client.open(&uri, text);
    }

    fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({ "textDocument": { "uri": self.uri(name) }, "position": { "line": line, "character": character } })
    }

    /// File by file, each edit against its text.
    fn edit(&self, answer: &Value) -> String {
        if answer.get("code").is_some() {
            return show::refusal(answer).replace(&self.directory.path().display().to_string(), "[DIR]");
        }
        let mut out = String::new();
        for (name, text) in [("lib/critics.agx", CRITICS), ("other.agx", OTHER), ("user.agx", USER)] {
            let edits = &answer["changes"][self.uri(name)];
            if !edits.is_null() {
                writeln!(out, "{name}\n{}", show::edit(text, &json!({ "changes": { "it": edits } }))).unwrap();
            }
        }
        out
    }
}

#[test]
fn a_name_of_another_file_is_found_there() {
    let mut project = Project::new();
    project.open("user.agx", USER);
    let found = project.client.request("textDocument/definition", project.at("user.agx", 2, 22));
    assert_eq!(found["uri"], project.uri("lib/critics.agx"));
    assert_eq!(found["range"]["start"], json!({ "line": 4, "character": 4 }));
    let hover = project.client.request("textDocument/hover", project.at("user.agx", 2, 22));
    let said = show::hover(&hover);
    assert!(said.contains("let threshold = 3") && said.contains("How good is good."), "{said}");
    let params = project.at("user.agx", 2, 18);
    let proposed = show::completions(&project.client.request("textDocument/completion", params));
    assert_eq!(proposed, "threshold  (a constant)\ngood  (a rule)\nsft  (a trainer)\n");
    assert_eq!(project.client.stop(), Some(0));
}

#[test]
fn an_import_reads_what_is_open() {
    let mut project = Project::new();
    project.open("user.agx", USER);
    let uri = project.uri("user.agx");
    let codes = |params: &Value| -> Vec<String> {
        let list = params["diagnostics"].as_array().unwrap();
        list.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes(&project.client.diagnostics(&uri)), ["E0201"], "`thresold` is nowhere");
    project.open("lib/critics.agx", &CRITICS.replace("threshold", "thresold"));
    assert_eq!(codes(&project.client.diagnostics(&uri)), ["E0201"], "now `threshold` is nowhere");
    let lines = |params: &Value| params["diagnostics"][0]["range"]["start"]["line"].clone();
    let lib = project.uri("lib/critics.agx");
    project.client.change(&lib, 2, json!([{ "text": "agx 2026\nlet threshold = 3\nlet thresold = 4\n" }]));
    let told = project.client.diagnostics(&uri);
    assert_eq!(codes(&told), Vec::<String>::new(), "both are there: {}", lines(&told));
    project.client.change(&lib, 3, json!([{ "text": "agx 2026\nlet threshold = 3\nlet thresold = 4 tons\n" }]));
    let told = project.client.diagnostics(&uri);
    assert_eq!(told["diagnostics"][0]["range"]["start"]["line"], 1, "told at the import: {told}");
    let related = &told["diagnostics"][0]["relatedInformation"][0]["location"];
    assert_eq!((&related["uri"], &related["range"]["start"]["line"]), (&json!(lib), &json!(2)));
    assert_eq!(project.client.stop(), Some(0));
}

#[test]
fn a_name_that_many_files_use_is_renamed_in_all_of_them() {
    let mut project = Project::new();
    let mut out = String::new();
    // From its own file, while a file that uses it is open with a mistake mended.
    let mended = USER.replace("thresold", "threshold");
    std::fs::write(project.directory.path().join("user.agx"), &mended).unwrap();
    project.open("lib/critics.agx", CRITICS);
    for (name, line, character, to) in [
        ("lib/critics.agx", 4, 6, "limit"),
        ("lib/critics.agx", 4, 6, "own"),
        ("lib/critics.agx", 4, 6, "good"),
        ("lib/critics.agx", 5, 11, "least_score"),
    ] {
        let mut params = project.at(name, line, character);
        params["newName"] = json!(to);
        let answer = project.client.request("textDocument/rename", params);
        writeln!(out, "── {name} {}:{character} → {to}\n{}", line + 1, project.edit(&answer)).unwrap();
    }
    // From a file that uses it.
    project.open("other.agx", OTHER);
    let mut params = project.at("other.agx", 2, 12);
    params["newName"] = json!("limit");
    let answer = project.client.request("textDocument/rename", params);
    writeln!(out, "── other.agx 3:12 → limit\n{}", project.edit(&answer)).unwrap();
    snapshot("rename_files", &out);
    assert_eq!(project.client.stop(), Some(0));
}

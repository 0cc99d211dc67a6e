//! Turns what is known of one object into lines for people and one JSON object for programs.

use crate::cli::terminal::Terminal;
use crate::report::text::{Cell, Table, plain, plain_lines};
use crate::syntax::ast::Block;
use anstyle::Style;
use serde_json::{Map, Value, json};

/// One field of an object, as a person writes it.
#[derive(Clone, Debug)]
struct Fact {
    name: String,
    value: String,
    /// Not written in the file.
    is_default: bool,
}

/// An object of a file: what it is called, its fields, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    kind: String,
    name: String,
    doc: String,
    facts: Vec<Fact>,
    /// Fields that the file writes; `None` where its text is not at hand, so that nothing is called a default.
    written: Option<Vec<String>>,
    tables: Vec<(String, Table)>,
    text: String,
    /// The typed form, and the like of it.
    data: Map<String, Value>,
}

impl Facts {
    pub fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned(), ..Self::default() }
    }

    pub fn doc(&mut self, doc: &str) {
        doc.clone_into(&mut self.doc);
    }

    /// What the file writes of this object: everything else is a default.
    pub fn written(&mut self, body: &Block) {
        self.written = Some(body.entries.iter().map(|entry| entry.key.text()).collect());
    }

    /// A field that a file may leave out.
    pub fn field(&mut self, name: &str, value: impl Into<String>) {
        let is_default = self.written.as_ref().is_some_and(|written| !written.iter().any(|it| it == name));
        self.facts.push(Fact { name: name.to_owned(), value: value.into(), is_default });
    }

    /// Something that follows from the fields.
    pub fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push(Fact { name: name.to_owned(), value: value.into(), is_default: false });
    }

    pub fn table(&mut self, title: &str, table: Table) {
        self.tables.push((title.to_owned(), table));
    }

    pub fn text(&mut self, text: impl Into<String>) {
        self.text = text.into();
    }

    pub fn data(&mut self, name: &str, value: impl serde::Serialize) {
        self.data.insert(name.to_owned(), json!(value));
    }

    pub fn tell(self, terminal: &Terminal) {
        if terminal.json() {
            terminal.value(&self.value());
        } else {
            terminal.data(&self.lines());
        }
    }

    fn value(self) -> Value {
        let defaults: Vec<String> =
            self.facts.iter().filter(|fact| fact.is_default).map(|fact| fact.name.clone()).collect();
        let facts: Map<String, Value> = self.facts.into_iter().map(|fact| (fact.name, json!(fact.value))).collect();
        let mut value = json!({
            "kind": self.kind, "name": self.name, "doc": self.doc, "fields": facts, "defaults": defaults,
        });
        value.as_object_mut().expect("made as an object").extend(self.data);
        value
    }

    fn lines(&self) -> String {
        let bold = Style::new().bold();
        let dimmed = Style::new().dimmed();
        let mut out = format!("{bold}{} {}{bold:#}\n", self.kind, plain(&self.name));
        for line in self.doc.trim().lines() {
            out.push_str(&format!("  {dimmed}{}{dimmed:#}\n", plain(line)));
        }
        let mut facts = Table::default();
        for fact in &self.facts {
            let mark = if fact.is_default { "default" } else { "" };
            facts.push([Cell::left(&fact.name), Cell::left(&fact.value), Cell::left(mark).style(dimmed)]);
        }
        if !facts.is_empty() {
            out.push_str(&format!("\n{}", facts.text()));
        }
        if !self.text.is_empty() {
            out.push_str(&format!("\n{}\n", plain_lines(self.text.trim_end())));
        }
        for (title, table) in &self.tables {
            out.push_str(&format!("\n{bold}{title}{bold:#}\n{}", table.text()));
        }
        out
    }
}

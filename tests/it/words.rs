//! The table of words against the grammar, the checker and the file that the editors' grammars are made from.

use agx::base::Diagnostic;
use agx::experiment::{Unreadable, World, check};
use agx::syntax::words::{Class, RESERVED, TABLE};
use agx::syntax::{Source, parse};
use pest_meta::ast::Expr;
use pest_meta::parser;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Words = BTreeSet<String>;

/// Classes whose words stand in `agx.pest`; the others are names to the grammar.
const IN_GRAMMAR: [Class; 10] = [
    Class::Item,
    Class::Part,
    Class::Statement,
    Class::Stage,
    Class::Clause,
    Class::Operator,
    Class::Literal,
    Class::Mark,
    Class::Directive,
    Class::Unit,
];

/// Which rules' first words are which class, to the last word.
const OPENED_BY: [(Class, &[&str]); 8] = [
    (Class::Item, &["item"]),
    (Class::Part, &["unstable", "schedule", "report", "report_word", "zip", "except"]),
    (Class::Statement, &["let_head", "operation"]),
    (Class::Stage, &["stage_core"]),
    (Class::Literal, &["boolean", "otherwise"]),
    (Class::Mark, &["mark"]),
    (Class::Directive, &["for_each", "if_known", "end"]),
    (Class::Unit, &["unit"]),
];

struct Grammar(BTreeMap<String, Expr>);

impl Grammar {
    fn read() -> Self {
        let text = std::fs::read_to_string("grammar/agx.pest").unwrap();
        let pairs = parser::parse(parser::Rule::grammar_rules, &text).unwrap();
        let rules = parser::consume_rules(pairs).unwrap();
        Self(rules.into_iter().map(|rule| (rule.name, rule.expr)).collect())
    }

    fn words(&self) -> Words {
        let parts = self.0.values().flat_map(|rule| rule.clone().iter_top_down());
        parts
            .filter_map(|part| if let Expr::Str(text) = part { Some(text) } else { None })
            .filter(|text| is_word(text))
            .collect()
    }

    /// The words that a text of this form may begin with.
    fn opening(&self, expr: &Expr) -> Words {
        match expr {
            Expr::Str(text) => [text.clone()].into(),
            Expr::Ident(rule) => self.0.get(rule).map_or_else(Words::new, |expr| self.opening(expr)),
            Expr::Seq(first, _) => self.opening(first),
            Expr::Choice(one, other) => self.opening(one).into_iter().chain(self.opening(other)).collect(),
            _ => Words::new(),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
}

fn named(class: Class) -> Words {
    class.names().map(str::to_owned).collect()
}

#[test]
fn every_word_of_the_grammar_is_in_the_table_and_the_reverse() {
    let known: Words = IN_GRAMMAR.into_iter().flat_map(named).collect();
    let written = Grammar::read().words();
    assert!(written.len() > 80, "the words are found");
    assert_eq!(written.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "missing in src/syntax/words.rs");
    assert_eq!(known.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "missing in grammar/agx.pest");
}

#[test]
fn a_class_is_what_its_rules_begin_with() {
    let grammar = Grammar::read();
    for (class, rules) in OPENED_BY {
        let opening: Words = rules.iter().flat_map(|rule| grammar.opening(&grammar.0[*rule])).collect();
        assert_eq!(opening, named(class), "{class:?}");
    }
    assert_eq!(grammar.opening(&grammar.0["reserved"]), RESERVED.into_iter().map(str::to_owned).collect());
}

#[test]
fn the_text_on_units_names_each() {
    let text = agx::experiment::codes::explain("E0301").unwrap().text;
    for unit in Class::Unit.names().filter(|unit| !["token", "day"].contains(unit)) {
        assert!(text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == unit), "{unit}");
    }
}

/// Where a word that only the checker knows may stand, and the code of a word that it does not know there.
const PLACES: [(Class, &str, &str); 6] = [
    (Class::Period, "trainer t { lr = 1 per WORD }", "E0301"),
    (Class::Type, "param p : WORD = 1", "E0305"),
    (Class::Role, "prompt p() { WORD \"\"\"text\"\"\" }", "E0208"),
    (Class::Filter, "prompt p(task: desk.Task) { user \"\"\"{{ task.tools | WORD }}\"\"\" }", "E0407"),
    (Class::Outcome, "rule r = require at least 1 else WORD", "E0208"),
    (
        Class::Version,
        "experiment e { schedule { repeat 2 times { let x = rollout m@WORD in desk.train { samples = 1 per task } } } }",
        "E0512",
    ),
];

fn diagnostics(text: String) -> Vec<Diagnostic> {
    let read = |_: &Path| Err(Unreadable::Missing);
    let world = World { root: Path::new("."), exists: &|_| true, read: &read };
    check(Source { name: "words.agx".to_owned(), text }, &[], world).diagnostics
}

#[test]
fn the_checker_knows_the_words_that_the_grammar_does_not() {
    let codes = |text: &str, word: &str| {
        let text = text.replace("WORD", word);
        let env = "env desk {\n  use = builtin(\"desk\")\n  splits { train = 16, dev = 16 }\n  max_steps = 6\n}";
        let model = "model m { weights = path(\"m\"), context = 512 tokens }";
        let found = diagnostics(format!("agx 2026\n{env}\n{model}\n{text}\n"));
        found.into_iter().map(|it| it.code).collect::<Vec<_>>()
    };
    for (class, text, unknown) in PLACES {
        assert!(codes(text, "nonsense").contains(&unknown), "{class:?}: {:?}", codes(text, "nonsense"));
        // `all` is of rows and `best` takes a metric: neither is a model's version alone.
        for word in class.names().filter(|word| class != Class::Version || !["all", "best"].contains(word)) {
            assert!(!codes(text, word).contains(&unknown), "{class:?}: `{word}` is not known");
        }
    }
}

#[derive(Serialize)]
struct Table {
    comment: &'static str,
    classes: Vec<Group>,
    reserved: &'static [&'static str],
}

#[derive(Serialize)]
struct Group {
    class: String,
    words: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    word: &'static str,
    doc: &'static str,
}

#[test]
fn the_editors_grammars_are_made_from_the_table() {
    let group = |(class, words): (Class, &'static [agx::syntax::words::Word])| Group {
        class: format!("{class:?}").to_lowercase(),
        words: words.iter().map(|word| Entry { word: word.text, doc: word.doc }).collect(),
    };
    let table = Table {
        comment: "Made from src/syntax/words.rs: AGX_GRAMMAR=write cargo test words writes it.",
        classes: TABLE.into_iter().map(group).collect(),
        reserved: &RESERVED,
    };
    let text = serde_json::to_string_pretty(&table).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grammar/words.json");
    if std::env::var("AGX_GRAMMAR").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == text,
        "run `AGX_GRAMMAR=write cargo test words`, then `grammar/test --write`, and look at the change"
    );
}

/// A snippet as it stands before anyone has typed: `${1:default}` is its default, `${1|a,b|}` its first choice.
fn expanded(snippet: &str) -> String {
    let mut parts = snippet.replace("$0", "");
    while let Some(start) = parts.find("${") {
        let length = parts[start..].find('}').unwrap();
        let inside = parts[start + 2..start + length].trim_start_matches(|c: char| c.is_ascii_digit());
        let default = inside[1..].split([',', '|']).next().unwrap().to_owned();
        parts.replace_range(start..=start + length, &default);
    }
    parts
}

#[test]
fn the_snippets_are_sound() {
    let text = std::fs::read_to_string("grammar/vscode/snippets/agx.json").unwrap();
    let snippets: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(snippets.len() > 5);
    for (name, snippet) in snippets {
        let lines: Vec<String> = serde_json::from_value(snippet["body"].clone()).unwrap();
        let body = expanded(&lines.join("\n"));
        let text = if name == "repeat" { format!("experiment e {{\nschedule {{\n{body}\n}}\n}}\n") } else { body };
        let diagnostics = if name == "file" { diagnostics(text) } else { parse(&text).1 };
        assert!(diagnostics.is_empty(), "{name}: {diagnostics:#?}");
    }
}

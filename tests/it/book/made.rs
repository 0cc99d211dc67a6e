//! Turns what the program knows of itself into the parts of pages that stand between `<!-- made: NAME -->` and `<!-- end -->`.

use super::Page;
use agx::cli::args::Cli;
use agx::env::{EnvKind, schema};
use agx::experiment::vocabulary::{self, Field, Need, Owner, Takes, Word};
use agx::plan::keyed::{self, FIELDS, Keyed};
use clap::{Arg, Command, CommandFactory};

/// The page with all its made parts, if it has any.
pub fn page(page: &Page) -> Option<String> {
    let mut out = String::new();
    let mut skips = false;
    let mut found = false;
    for line in page.text.lines() {
        if line == "<!-- end -->" {
            skips = false;
        }
        if !skips {
            out.push_str(line);
            out.push('\n');
        }
        if let Some(name) = line.strip_prefix("<!-- made: ").and_then(|rest| rest.strip_suffix(" -->")) {
            assert!(!skips, "{}: `{line}` before the end of another", page.file);
            let text = part(name).unwrap_or_else(|| panic!("{}: nothing makes `{name}`", page.file));
            out.push_str(&format!("\n{}\n\n", text.trim()));
            (skips, found) = (true, true);
        }
    }
    assert!(!skips, "{}: a made part has no end", page.file);
    found.then_some(out)
}

fn part(name: &str) -> Option<String> {
    let mut program = Cli::command();
    program.build();
    match name.split_once(' ') {
        Some(("command", verb)) => program.find_subcommand(verb).map(command),
        Some(("fields", of)) => vocabulary::ALL.iter().find(|owner| slug(owner) == of).map(|owner| fields(owner)),
        None if name == "keys" => Some(keys()),
        Some(("env", "desk")) => Some(env(EnvKind::Desk)),
        Some(("options", "of every command")) => Some(options(program.get_arguments())),
        Some(("exit", "codes")) => {
            program.get_after_help().map(|text| format!("```text\n{}\n```", text.to_string().trim()))
        }
        _ => None,
    }
}

/// Every verb, so that none is left out of the book.
pub fn verbs() -> Vec<String> {
    Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

fn command(verb: &Command) -> String {
    let mut out =
        format!("{}.\n\n", verb.get_about().expect("every verb says what it does").to_string().trim_end_matches('.'));
    if verb.has_subcommands() {
        let verbs = verb
            .get_subcommands()
            .map(|sub| format!("#### `{}`\n\n{}", sub.get_bin_name().unwrap_or_default(), command(sub)));
        return out + verbs.collect::<Vec<_>>().join("\n\n").as_str();
    }
    let usage = verb.clone().render_usage().to_string();
    out.push_str(&format!("```text\n{}\n```\n\n", usage.trim_start_matches("Usage: ")));
    let own = options(verb.get_arguments().filter(|argument| !argument.is_global_set()));
    if !own.is_empty() {
        out.push_str(&format!("{own}\n"));
    }
    let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut shown = Vec::new();
    let mut after = Vec::new();
    for line in examples.lines().skip(1) {
        match line.strip_prefix("  ") {
            Some(example) => shown.push(commented(example)),
            None => after.push(line),
        }
    }
    out.push_str(&format!("```console\n{}\n```\n\n{}", shown.join("\n"), after.join("\n").trim()));
    out
}

/// `agx show rollout@1      a node` as a shell takes it.
fn commented(example: &str) -> String {
    match example.split_once("  ") {
        Some((command, what)) => format!("$ {command:<39} # {}", what.trim()),
        None => format!("$ {example}"),
    }
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut out = String::new();
    for argument in arguments {
        let id = argument.get_id().as_str();
        if argument.is_hide_set() || id == "help" || id == "version" {
            continue;
        }
        let value = argument.get_value_names().map_or_else(String::new, |names| names.join(" "));
        let name = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            (Some(short), None) => format!("-{short}"),
            (None, None) => String::new(),
        };
        let takes = argument.get_action().takes_values();
        let words: Vec<&str> =
            [name.as_str(), if takes { &value } else { "" }].into_iter().filter(|it| !it.is_empty()).collect();
        let mut what = argument.get_help().map(|help| format!("{help}.")).unwrap_or_default();
        let values: Vec<String> =
            argument.get_possible_values().iter().filter(|_| takes).map(|it| format!("`{}`", it.get_name())).collect();
        if !values.is_empty() {
            what.push_str(&format!(" One of {}.", values.join(", ")));
        }
        let default: Vec<_> = argument.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
        if takes && !default.is_empty() && !argument.is_hide_default_value_set() {
            what.push_str(&format!(" Without it `{}`.", default.join(" ")));
        }
        out.push_str(&format!("| `{}` | {} |\n", words.join(" "), what.trim()).replacen("N|AXIS", "N\\|AXIS", 1));
    }
    if out.is_empty() { out } else { format!("| | |\n|---|---|\n{out}") }
}

/// Every block of the language, so that none is left out of the book.
pub fn owners() -> Vec<String> {
    vocabulary::ALL.iter().map(slug).collect()
}

/// A block's name as a page writes it: without marks.
fn slug(owner: &&'static Owner) -> String {
    owner.words.replace('`', "")
}

fn fields(owner: &Owner) -> String {
    let mut out = format!("{}\n", owner.doc);
    if !owner.fields.is_empty() {
        out.push_str("\n| field | takes | without it | |\n|---|---|---|---|\n");
    }
    for field in owner.fields {
        let Field { name, need, takes, per_iteration, built, default, doc } = field;
        let without = match (need, default) {
            (Need::Required, _) => "is an error".to_owned(),
            (Need::OneOf, _) => "another of these".to_owned(),
            (Need::Optional, Some(default)) => default.to_string(),
            (Need::Optional, None) => String::new(),
        };
        let mut takes_words = match takes {
            Takes::Words(words) => list(words),
            other => other.words(),
        };
        if *per_iteration {
            takes_words.push_str("; may differ by iteration");
        }
        let later = if *built { "" } else { " *Not run by this version.*" };
        let cells = [takes_words, without, format!("{doc}{later}")].map(|cell| cell.replace('|', "\\|"));
        out.push_str(&format!("| `{name}` | {} |\n", cells.join(" | ")));
    }
    out
}

/// `drop`: what it means; one after another.
/// What is in keys, a table a kind.
fn keys() -> String {
    let mut out = String::new();
    let mut last = "";
    for keyed::Field { kind, field, keyed, why } in FIELDS {
        if *kind != last {
            out.push_str(&format!("\n### {kind}\n\n| field | in the key | |\n|---|---|---|\n"));
            last = kind;
        }
        let field = if field.is_empty() { "everything else".to_owned() } else { format!("`{field}`") };
        let keyed = match keyed {
            Keyed::In => "yes",
            Keyed::Contents => "by contents",
            Keyed::Out => "no",
        };
        out.push_str(&format!("| {field} | {keyed} | {why} |\n"));
    }
    out
}

fn list(words: &[Word]) -> String {
    let later = |word: &Word| if word.built { "" } else { "; *not run by this version*" };
    let words = words.iter().map(|word| format!("`{}`: {}{}", word.form, lower(word.doc), later(word)));
    words.collect::<Vec<_>>().join("<br>")
}

/// The sentence as it goes on after a colon.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_lowercase().collect::<String>()).unwrap_or_default();
    let rest = letters.as_str();
    if rest.starts_with(|letter: char| letter.is_lowercase() || letter == ' ') {
        format!("{first}{rest}")
    } else {
        sentence.trim_end_matches('.').to_owned()
    }
}

fn env(kind: EnvKind) -> String {
    let schema = schema(&kind);
    let mut out = "| field of a task | type | who may see it | |\n|---|---|---|---|\n".to_owned();
    for field in &schema.task {
        let (name, doc) = (&field.name, &field.doc);
        out.push_str(&format!("| `task.{name}` | {} | {} | {doc} |\n", field.ty, field.visible));
    }
    out.push_str("\n| dataset | labelled | |\n|---|---|---|\n");
    for offer in &schema.offers {
        let labelled = if offer.labelled { "yes" } else { "no" };
        out.push_str(&format!("| `{}.{}(n)` | {labelled} | {} |\n", schema.name, offer.name, offer.doc));
    }
    let metrics: Vec<String> = schema.metrics.iter().map(|name| format!("`{name}`")).collect();
    out.push_str(&format!("\nIt measures {}; the first says whether a task is solved.\n", metrics.join(" and ")));
    out
}

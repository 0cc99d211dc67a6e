//! Files made from a seed, which use all of the grammar in the oddest layout: what holds for any file must hold for them.
//! And what they become when they are spoiled: anything is answered.

mod items;
mod out;
mod spoil;
mod values;

use agx::syntax::{fmt, parse};
use out::Dice;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

const FILES: u64 = 10_000;

/// A tree without its places and comments.
fn tree(text: &str) -> Value {
    fn forget_places(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|_, field| !(field.get("start").is_some() && field.get("end").is_some()));
                fields.values_mut().for_each(forget_places);
            }
            Value::Array(items) => items.iter_mut().for_each(forget_places),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(parse(text).0.items).unwrap();
    forget_places(&mut value);
    value
}

fn comments(text: &str) -> Vec<String> {
    parse(text).0.comments.iter().map(|comment| text[comment.span.range()].to_owned()).collect()
}

#[test]
fn formatting_keeps_meaning_and_comments_and_is_done_after_once() {
    let wrong = (0..FILES).into_par_iter().find_map_first(|seed| {
        let text = items::file(seed);
        let formatted = match fmt::format(&text) {
            Ok(formatted) => formatted,
            Err(diagnostics) => {
                let it = &diagnostics[0];
                let at = text[..it.primary().start as usize].chars().count().saturating_sub(60);
                let near: String = text.chars().skip(at).take(120).collect();
                return Some(format!("seed {seed}: {} {} near {near:?}", it.code, it.message));
            }
        };
        // The formatter makes sure of all this for every file; here of some once more, and in another way.
        if seed % 50 != 0 {
            return None;
        }
        let again = fmt::format(&formatted);
        let wrong = if again.as_ref() != Ok(&formatted) {
            "changes once more"
        } else if comments(&text) != comments(&formatted) {
            "has other comments"
        } else if tree(&text) != tree(&formatted) {
            "means something else"
        } else {
            return None;
        };
        Some(format!("seed {seed} {wrong}:\n{formatted}"))
    });
    assert!(wrong.is_none(), "{}", wrong.unwrap());
}

/// The names of a tree's variants and fields, these with whether anything is there.
fn met(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                names.insert(name.clone());
                names.insert(format!("{name}: {}", if field.is_null() { "None" } else { "Some" }));
                met(field, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| met(item, names)),
        Value::String(text) => {
            names.insert(text.clone());
        }
        _ => {}
    }
}

#[test]
fn every_part_of_the_tree_is_generated() {
    let mut names = BTreeSet::new();
    (0..300).for_each(|seed| met(&tree(&items::file(seed)), &mut names));
    let source = include_str!("../../../src/syntax/ast.rs");
    let mut within = "";
    let mut missing = Vec::new();
    let mut count = 0;
    for line in source.lines() {
        if let Some(head) = line.strip_prefix("pub enum ").or(line.strip_prefix("pub struct ")) {
            within = head.split([' ', ';', '{']).next().unwrap();
        }
        let name: String = line
            .trim_start()
            .trim_start_matches("pub ")
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let is_variant = line.starts_with("    ") && !line.starts_with("     ") && name.starts_with(char::is_uppercase);
        // Those are of what cannot be read, and of comments, which are not in the tree.
        let elsewhere = name == "Broken" || ["ItemWord", "CommentKind"].contains(&within) || line.contains("(Self::");
        if is_variant && !elsewhere {
            count += 1;
            missing.extend((!names.contains(&name)).then(|| format!("{within}::{name}")));
        }
        if line.contains(": Option<") && !elsewhere && !line.contains("fn ") {
            for there in ["None", "Some"] {
                let name = line.split(": Option<").next().unwrap().rsplit([' ', '{']).next().unwrap();
                let is_broken = ["word", "times"].contains(&name);
                missing.extend(
                    (!is_broken && !names.contains(&format!("{name}: {there}"))).then(|| format!("{name}: {there}")),
                );
            }
        }
    }
    assert!(missing.is_empty(), "never generated: {missing:?}");
    assert!(count > 70, "the variants are found");
}

/// The experiments of the repository in another layout, with comments strewn in.
fn scrambled(text: &str, dice: &mut Dice) -> String {
    let mut scrambled = String::new();
    let mut in_text = false;
    for line in text.lines() {
        let was_in_text = in_text;
        in_text ^= line.matches("\"\"\"").count() % 2 == 1;
        // The words of the file's own doc are in the experiment.
        if was_in_text || in_text || line.contains("//") {
            scrambled += line;
            scrambled.push('\n');
            continue;
        }
        scrambled.push_str(dice.pick(&["", "", "", "", "\n\n", "// why\n"]));
        let indent = if line.starts_with(' ') { 1 + dice.below(9) } else { 0 };
        scrambled.push_str(&" ".repeat(indent));
        let line = line.trim_start().replace(" = ", dice.pick(&["=", "  =  ", " = "]));
        scrambled.push_str(&if dice.one_in(4) { line.replace("{ ", "{\n  ") } else { line });
        scrambled.push_str(dice.pick(&["\n", "\n", "\n", "   \n", " // behind\n"]));
    }
    scrambled
}

#[test]
fn formatting_changes_no_experiment() {
    for path in crate::fmt::files("experiments") {
        let text = std::fs::read_to_string(&path).unwrap();
        let meant = crate::hostile::meaning(&text);
        for seed in 0..20 {
            let scrambled = scrambled(&text, &mut Dice::new(seed));
            let formatted =
                fmt::format(&scrambled).unwrap_or_else(|it| panic!("{}: {it:#?}\n{scrambled}", path.display()));
            for text in [&scrambled, &formatted] {
                assert!(crate::hostile::meaning(text) == meant, "{} means something else:\n{text}", path.display());
            }
        }
    }
}

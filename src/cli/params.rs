//! Turns `--params FILE` and `--set NAME=VALUE` into values for a file's params: the command line goes before the file, the
//! file before the defaults.
//!
//! A params file is TOML. Its keys are the names of params; a table is a prefix, so `[critics]` with `threshold = 4` is
//! `critics.threshold`. What TOML cannot write is a string as an `.agx` file would have it: `context = "512 tokens"`.

use crate::base::file::{self, reason};
use crate::cli::args::Sets;
use crate::cli::exit::{Exit, Failure};
use crate::experiment::{Given, Origin};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A params file is written by people.
const MOST_BYTES: u64 = 1 << 20;

/// All given values, the strongest last.
pub fn given(sets: &Sets) -> Result<Vec<Given>, Failure> {
    let mut given = Vec::new();
    for path in &sets.params {
        given.extend(read(path)?);
    }
    for (place, (name, value)) in sets.sets.iter().enumerate() {
        if sets.sets[..place].iter().any(|(before, _)| before == name) {
            return Err(Failure::new(Exit::Usage, format!("`--set {name}=…` is given twice")));
        }
        given.push(Given { name: name.clone(), value: value.clone(), origin: Origin::Set });
    }
    Ok(given)
}

/// For a run's frozen copy.
pub fn overrides(given: &[Given]) -> BTreeMap<String, Value> {
    given.iter().map(|given| (given.name.clone(), Value::String(given.value.clone()))).collect()
}

fn read(path: &Path) -> Result<Vec<Given>, Failure> {
    let name = path.display().to_string();
    let refuse = |why: String| Failure::new(Exit::Usage, format!("{name} cannot be read: {why}"));
    let text = file::read_text(path, MOST_BYTES).map_err(|problem| refuse(reason(&problem)))?;
    let table: toml::Table = toml::from_str(&text).map_err(|problem| {
        let line = problem.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        refuse(format!("{place}{}", problem.message().lines().next().unwrap_or_default()))
            .help("a params file is TOML: `rounds = 4`, `context = \"512 tokens\"`")
    })?;
    let mut given = Vec::new();
    flatten("", &table, &name, &mut given)?;
    Ok(given)
}

fn flatten(prefix: &str, table: &toml::Table, file: &str, given: &mut Vec<Given>) -> Result<(), Failure> {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let value = match value {
            toml::Value::Table(table) => {
                flatten(&format!("{name}."), table, file, given)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) if number.is_finite() => format!("{number:?}"),
            toml::Value::Boolean(value) => value.to_string(),
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) => {
                let what = match value {
                    toml::Value::Array(_) => "a list",
                    toml::Value::Datetime(_) => "a date",
                    _ => "no finite number",
                };
                let message = format!("`{name}` in {file} is {what}, which no param is");
                return Err(Failure::new(Exit::Usage, message)
                    .help("a param is a number, true or false, or a string such as \"512 tokens\""));
            }
        };
        given.push(Given { name, value, origin: Origin::Params(file.to_owned()) });
    }
    Ok(())
}

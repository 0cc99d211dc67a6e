//! Health records and what is known of symptoms.

use super::check::{Pair, Verdict};
use super::{Call, Fault, Output, Shown, Tool, fields, no_key, success};
use crate::env::api_bank::text::{self, SECOND, filled, reformatted, strip};
use crate::env::api_bank::value::{Dict, Key, Value};
use crate::env::api_bank::world::Table;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[
    Tool::new("RecordHealthData", record, record_check).optional(&["health_data"], Shown::All),
    Tool::new("QueryHealthData", query, query_check),
    Tool::new("SymptomSearch", symptom_search, symptom_check),
    Tool::new("EmergencyKnowledge", emergency_knowledge, emergency_check),
];

fn user(call: &Call) -> Result<String, Fault> {
    let user = strip(&call.text("user_id", "upper")?.to_uppercase()).to_owned();
    if user.is_empty() { Err("The user id cannot be empty.".into()) } else { Ok(user) }
}

/// The items of what was given: a text's are its characters.
pub fn items(value: &Value) -> Result<Vec<Value>, Fault> {
    match value {
        Value::List(items) | Value::Tuple(items) => Ok(items.to_vec()),
        Value::Str(text) => Ok(text.chars().map(|c| Value::str(c.to_string())).collect()),
        Value::Dict(dict) => Ok(dict.rows().iter().filter_map(|(key, _)| key.text()).map(Value::str).collect()),
        other => Err(format!("'{}' object is not iterable", other.kind()).into()),
    }
}

/// Whether an item has a field, as `in` asks.
pub fn has(item: &Value, field: &str) -> Result<bool, Fault> {
    match item {
        Value::Dict(dict) => Ok(dict.get(field).is_some()),
        Value::Str(text) => Ok(text.contains(field)),
        Value::List(items) | Value::Tuple(items) => Ok(items.contains(&Value::str(field))),
        other => Err(format!("argument of type '{}' is not iterable", other.kind()).into()),
    }
}

pub fn field(item: &Value, name: &str) -> Result<Value, Fault> {
    match item {
        Value::Dict(dict) => dict.get(name).cloned().ok_or_else(|| no_key(&Value::str(name))),
        Value::Str(_) => Err("string indices must be integers, not 'str'".into()),
        other => Err(format!("{} indices must be integers or slices, not str", other.kind()).into()),
    }
}

fn record(call: &mut Call) -> Output {
    let user = user(call)?;
    let time = reformatted(&call.text("time", "strip")?, SECOND)?;
    let data = call.arg("health_data");
    if data.is_none() {
        return Err("The health data cannot be empty.".into());
    }
    if !data.truthy() && matches!(data, Value::Str(_) | Value::List(_) | Value::Dict(_)) {
        return Err("The health data cannot be empty.".into());
    }
    if data.number().is_some() {
        return Err(format!("object of type '{}' has no len()", data.kind()).into());
    }
    let data = items(&data)?;
    let mut names = std::collections::BTreeSet::new();
    for item in &data {
        if !has(item, "name")? {
            return Err("The health data has invalid format.".into());
        }
        let name = field(item, "name")?;
        if matches!(name, Value::List(_) | Value::Dict(_)) {
            return Err(no_key(&name));
        }
        if !names.insert(name.repr()) {
            return Err("The health data cannot contain duplicate items.".into());
        }
    }
    // A user is known, and a record of the time begun, before a missing value is noticed.
    let records = call.table_mut(Table::HealthData);
    if records.get(&user).is_none() {
        records.set(&user, Value::list(Vec::new()));
    }
    let Some(Value::List(records)) = records.get_mut(&user) else { return success() };
    let records = Arc::make_mut(records);
    let at_time = |row: &Value| row.get("time").and_then(Value::as_str) == Some(&time);
    match records.iter_mut().rfind(|row| at_time(row)) {
        Some(row) => fill(fields(row), &data)?,
        None => {
            let mut row = Dict::of([("time", Value::str(time))]);
            fill(&mut row, &data)?;
            records.push(Value::Dict(Arc::new(row)));
        }
    }
    success()
}

fn fill(row: &mut Dict, data: &[Value]) -> Result<(), Fault> {
    let mut rows = Vec::from(row.rows());
    for item in data {
        let name = match field(item, "name")? {
            Value::Int(it) => Key::Int(it),
            other => Key::Text(other.display().into()),
        };
        rows.push((name, field(item, "value")?));
    }
    *row = Dict::from_rows(rows);
    Ok(())
}

fn query(call: &mut Call) -> Output {
    call.text("user_id", "upper")?;
    let user = user(call);
    let (from, to) = (call.text("start_time", "strip")?, call.text("end_time", "strip")?);
    let user = user?;
    let (from, to) = match (text::parse(&filled(&from), SECOND), text::parse(&filled(&to), SECOND)) {
        (Err(from), Err(to)) => return Err(format!("{from}; {to}").into()),
        (from, to) => (from?, to?),
    };
    if from > to {
        return Err("The start time cannot be later than the end time.".into());
    }
    let Some(records) = call.table(Table::HealthData).get(&user).and_then(Value::as_list) else {
        return Err("The user id does not exist.".into());
    };
    let mut found = Vec::new();
    for row in records {
        let time = text::parse(row.get("time").and_then(Value::as_str).unwrap_or_default(), SECOND)?;
        if (from..=to).contains(&time) {
            found.push(row.clone());
        }
    }
    if found.is_empty() {
        return Err("There is no health data in the given time span.".into());
    }
    Ok(Value::list(found))
}

/// What is known of a symptom, of each disease the name and one more field.
fn known(call: &Call, symptom: &str, what: &str) -> Output {
    let Some(diseases) = call.world.library().symptoms.get(symptom).and_then(Value::as_list) else {
        return Err("The symptom does not exist.".into());
    };
    let of = |disease: &Value, name: &str| disease.get(name).cloned().unwrap_or(Value::None);
    let row = |disease: &Value| Value::dict([("name", of(disease, "name")), (what, of(disease, what))]);
    Ok(Value::list(diseases.iter().map(row).collect()))
}

fn symptom_search(call: &mut Call) -> Output {
    let symptom = call.stripped("symptom")?.to_lowercase();
    if symptom.is_empty() {
        return Err("The symptom cannot be empty.".into());
    }
    known(call, &symptom, "description")
}

/// What the original says of an empty symptom, by a slip of its own.
const SLIP: &str = "'Exception' object has no attribute 'lower'";

fn emergency_knowledge(call: &mut Call) -> Output {
    let symptom = call.stripped("symptom")?.to_lowercase();
    if symptom.is_empty() {
        return Err(SLIP.into());
    }
    known(call, &symptom, "aid")
}

fn record_check(pair: &Pair) -> Verdict {
    Ok(pair.raised("user_id")? && pair.alike("time", |it| reformatted(it, SECOND))? && pair.result()?)
}

fn query_check(pair: &Pair) -> Verdict {
    let time = |name: &str| pair.alike(name, |it| text::parse(&filled(it), SECOND));
    Ok(pair.raised("user_id")? && time("start_time")? && time("end_time")? && pair.result()?)
}

fn not_empty(pair: &Pair, kind: &'static str, message: &str) -> Result<(), super::Raised> {
    let empty = pair.texts("symptom")?.iter().any(|it| strip(it).is_empty());
    if empty { Err(super::Raised::new(kind, message)) } else { Ok(()) }
}

fn symptom_check(pair: &Pair) -> Verdict {
    not_empty(pair, "Exception", "The symptom cannot be empty.")?;
    Ok(pair.folded("symptom")? && pair.result()?)
}

fn emergency_check(pair: &Pair) -> Verdict {
    not_empty(pair, "AttributeError", SLIP)?;
    Ok(pair.folded("symptom")? && pair.result()?)
}

//! Scenes of a smart home, and switches on a clock.

use super::check::{Pair, Verdict};
use super::health::{field, has, items};
use super::{Call, Fault, Output, Raised, Tool, fields, success};
use crate::env::api_bank::text::{SECOND, reformatted, strip};
use crate::env::api_bank::value::Value;
use crate::env::api_bank::world::Table;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[
    Tool::new("AddScene", add, add_check),
    Tool::new("ModifyScene", modify, modify_check),
    Tool::new("QueryScene", query, name_check),
    Tool::new("DeleteScene", delete, name_check),
    Tool::new("TimedSwitch", switch, switch_check),
    Tool::new("CancelTimedSwitch", cancel_switch, cancel_check),
];

fn scene(call: &Call) -> Result<String, Fault> {
    let name = call.stripped("name")?.to_lowercase();
    if name.is_empty() { Err("Scene name cannot be empty.".into()) } else { Ok(name) }
}

fn text(item: &Value, name: &str) -> Result<String, Fault> {
    match field(item, name)? {
        Value::Str(text) => Ok(strip(&text).to_owned()),
        other => Err(format!("'{}' object has no attribute 'strip'", other.kind()).into()),
    }
}

/// Brings devices into form where they lie, so that the answer shows them so, even those before a mistake.
fn devices(call: &mut Call) -> Result<Value, Fault> {
    let given = call.arg("devices");
    let mut devices = items(&given)?;
    let mut names = BTreeSet::new();
    let mut outcome = Ok(());
    for device in &mut devices {
        outcome = formed(device)
            .and_then(|name| if names.insert(name) { Ok(()) } else { Err("Device name cannot be duplicated.".into()) });
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        let Value::List(_) = given else {
            return Err(format!("'{}' object has no attribute 'sort'", given.kind()).into());
        };
        sort(&mut devices);
    }
    if matches!(given, Value::List(_)) {
        call.input.set("devices", Value::list(devices));
    }
    outcome.map(|()| call.arg("devices"))
}

fn formed(device: &mut Value) -> Result<String, Fault> {
    if !has(device, "name")? || !has(device, "description")? {
        return Err("Invalid device format.".into());
    }
    let name = text(device, "name")?.to_lowercase();
    fields(device).set("name", Value::str(name.as_str()));
    let description = text(device, "description")?;
    fields(device).set("description", Value::str(description));
    Ok(name)
}

fn sort(devices: &mut [Value]) {
    devices.sort_by(|a, b| a.get("name").and_then(Value::as_str).cmp(&b.get("name").and_then(Value::as_str)));
}

fn add(call: &mut Call) -> Output {
    let name = scene(call)?;
    let devices = devices(call)?;
    let scenes = call.table_mut(Table::Scenes);
    if scenes.get(&name).is_some() {
        return Err("Scene name already exists.".into());
    }
    scenes.set(&name, devices);
    success()
}

fn modify(call: &mut Call) -> Output {
    let name = scene(call)?;
    let devices = devices(call)?;
    match call.table_mut(Table::Scenes).get_mut(&name) {
        Some(scene) => *scene = devices,
        None => return Err("The scene does not exist.".into()),
    }
    success()
}

fn query(call: &mut Call) -> Output {
    let name = scene(call)?;
    call.table(Table::Scenes).get(&name).cloned().ok_or_else(|| "Scene not found.".into())
}

fn delete(call: &mut Call) -> Output {
    let name = scene(call)?;
    match call.table_mut(Table::Scenes).remove(&name) {
        Some(_) => success(),
        None => Err("The scene does not exist.".into()),
    }
}

/// A device's times, and the place of one of them.
fn times(switches: Option<&Value>, time: &str) -> Option<usize> {
    let rows = switches?.as_list()?;
    rows.iter().position(|row| row.get("time").and_then(Value::as_str) == Some(time))
}

fn switch(call: &mut Call) -> Output {
    let name = call.stripped("name")?.to_lowercase();
    if name.is_empty() {
        return Err("Name cannot be empty.".into());
    }
    let time = reformatted(&call.text("time", "strip")?, SECOND)?;
    let on = call.arg("on");
    let table = call.table_mut(Table::TimeSwitch);
    let place = times(table.get(&name), &time);
    if table.get(&name).is_none() {
        table.set(&name, Value::list(Vec::new()));
    }
    if let Some(Value::List(rows)) = table.get_mut(&name) {
        let rows = Arc::make_mut(rows);
        match place {
            Some(place) => fields(&mut rows[place]).set("on", on),
            None => rows.push(Value::dict([("time", Value::str(time)), ("on", on)])),
        }
    }
    success()
}

fn cancel_switch(call: &mut Call) -> Output {
    let name = call.stripped("name")?.to_lowercase();
    if name.is_empty() {
        return Err("name cannot be empty.".into());
    }
    let time = reformatted(&call.text("time", "strip")?, SECOND)?;
    let table = call.table_mut(Table::TimeSwitch);
    if table.get(&name).is_none() {
        return Err("device name does not exist.".into());
    }
    let Some(place) = times(table.get(&name), &time) else { return Err("time does not exist.".into()) };
    if let Some(Value::List(rows)) = table.get_mut(&name) {
        Arc::make_mut(rows).remove(place);
    }
    success()
}

fn devices_check(pair: &Pair) -> Verdict {
    let [mut a, mut b] = [Vec::new(), Vec::new()];
    for (side, value) in [&mut a, &mut b].into_iter().zip(pair.input("devices")?) {
        let wrong = |_| Raised::new("TypeError", "string indices must be integers, not 'str'");
        *side = items(value).map_err(wrong)?;
        for device in side.iter_mut() {
            formed(device).map_err(wrong)?;
        }
        sort(side);
    }
    Ok(a == b)
}

fn add_check(pair: &Pair) -> Verdict {
    let (name, devices) = (pair.folded("name")?, devices_check(pair)?);
    let [response, gold] = pair.both("output")?;
    Ok(name && devices && (!gold.is_none() || response.is_none()) && pair.same("exception")?)
}

fn modify_check(pair: &Pair) -> Verdict {
    let (name, devices) = (pair.folded("name")?, devices_check(pair)?);
    Ok(name && devices && pair.result()?)
}

fn name_check(pair: &Pair) -> Verdict {
    Ok(pair.folded("name")? && pair.result()?)
}

fn cancel_check(pair: &Pair) -> Verdict {
    Ok(pair.folded("name")? && pair.alike("time", |it| reformatted(it, SECOND))? && pair.result()?)
}

fn switch_check(pair: &Pair) -> Verdict {
    Ok(pair.same_input("on")? && cancel_check(pair)?)
}

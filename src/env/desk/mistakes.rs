//! Turns a right call or value into the wrong one that a small model writes: one value off, of the same kind.
//!
//! # Invariants
//! What comes back always differs from what went in.

use super::lexicon::{DAYS, Pool, TIMES, address};
use super::moves::Value;
use super::task::{Source, Step};
use super::tools::Office;
use super::world::World;
use crate::base::seed::Rng;
use crate::env::Call;

/// Share of wrong values that are at hand in the office; the others come from nowhere.
const AT_HAND: f64 = 0.7;

/// The call with one wrong value; a copied value goes wrong first.
pub fn slip(step: &Step, call: &Call, world: &World, rng: &mut Rng) -> Call {
    let copied = |source: &Source| matches!(source, Source::Found(_));
    let some_copied = step.arguments.values().any(copied);
    let may = |source: &Source| copied(source) || !some_copied || rng.clone().chance(0.3);
    let names: Vec<&String> = step.arguments.iter().filter(|(_, source)| may(source)).map(|(name, _)| name).collect();
    let name = *rng.pick(&names);
    let value = call.arguments.get(name).map(String::as_str).unwrap_or_default();
    let wrong = other_value(name, value, world, rng);
    let mut call = call.clone();
    call.arguments.insert(name.clone(), wrong);
    call
}

/// A call that means the same and is refused: about somebody or something that is not there, or without an argument.
pub fn refused(step: &Step, call: &Call, office: &Office, rng: &mut Rng) -> Call {
    if rng.chance(0.6) {
        let wrong = slip(step, call, &World::default(), rng);
        if office.clone().call(&wrong).starts_with("error") {
            return wrong;
        }
    }
    let mut call = call.clone();
    let names: Vec<String> = call.arguments.keys().cloned().collect();
    call.arguments.remove(rng.pick(&names));
    call
}

/// Another value of the kind that a look-up finds.
pub fn other_found(kind: Value, value: &str, world: &World, rng: &mut Rng) -> String {
    let argument = match kind {
        Value::Address => "to",
        Value::Room => "room",
        Value::Time => "time",
        Value::Amount => "amount",
    };
    other_value(argument, value, world, rng)
}

/// Another value for an argument.
pub fn other_value(argument: &str, value: &str, world: &World, rng: &mut Rng) -> String {
    loop {
        let other = drawn(argument, value, world, rng);
        if other != value {
            return other;
        }
    }
}

fn drawn(argument: &str, value: &str, world: &World, rng: &mut Rng) -> String {
    let at_hand = rng.chance(AT_HAND);
    let one =
        |values: Vec<&str>, rng: &mut Rng| (at_hand && !values.is_empty()).then(|| (*rng.pick(&values)).to_owned());
    let contacts = || world.contacts.iter();
    match argument {
        "name" | "from" => one(contacts().map(|contact| contact.name.as_str()).collect(), rng).unwrap_or_else(|| {
            let (first, last) = value.split_once(' ').unwrap_or((value, value));
            if rng.chance(0.5) {
                format!("{first} {}", Pool::All.last_name(rng))
            } else {
                format!("{} {last}", Pool::All.first_name(rng))
            }
        }),
        "to" => one(contacts().map(|contact| contact.address.as_str()).collect(), rng).unwrap_or_else(|| {
            let surname = value.trim_end_matches("@desk").trim_end_matches(|c: char| c.is_ascii_digit());
            address(if rng.chance(0.5) { surname } else { Pool::All.last_name(rng) }, rng)
        }),
        "room" => one(world.rooms.iter().map(|room| room.name.as_str()).collect(), rng)
            .unwrap_or_else(|| (*rng.pick(Pool::All.rooms())).to_owned()),
        "day" => (*rng.pick(&DAYS)).to_owned(),
        "time" => (*rng.pick(&TIMES)).to_owned(),
        "amount" => garbled(value, rng),
        "people" => (2 + rng.below(11)).to_string(),
        "title" => one(world.events.iter().map(|event| event.title.as_str()).collect(), rng)
            .unwrap_or_else(|| Pool::All.title(rng)),
        "item" => one(world.expenses.iter().map(|(item, _)| item.as_str()).collect(), rng)
            .unwrap_or_else(|| Pool::All.item(rng)),
        "text" | "about" if TIMES.contains(&value) => (*rng.pick(&TIMES)).to_owned(),
        "text" | "about" if value.parse::<u32>().is_ok() => garbled(value, rng),
        "text" | "about" if value.ends_with("@desk") => drawn("to", value, world, rng),
        "text" | "about" if Pool::All.rooms().contains(&value) => drawn("room", value, world, rng),
        "text" if value.contains(" the ") => Pool::All.todo(rng),
        _ => one(world.notes.iter().map(|(topic, _)| topic.as_str()).collect(), rng)
            .unwrap_or_else(|| Pool::All.topic(rng)),
    }
}

/// A number with one digit off, or another number altogether.
fn garbled(value: &str, rng: &mut Rng) -> String {
    let mut digits: Vec<u8> = value.bytes().collect();
    let place = rng.below(digits.len().max(1));
    match digits.get_mut(place) {
        Some(digit) if digit.is_ascii_digit() && rng.chance(0.7) => {
            *digit = b'1' + rng.below(9) as u8;
            String::from_utf8_lossy(&digits).into_owned()
        }
        _ => Pool::All.amount(rng).to_string(),
    }
}

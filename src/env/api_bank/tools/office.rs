//! Agenda, alarms and reminders.

use super::check::{self, Pair, Verdict};
use super::{Call, Output, Tool, fields, success};
use crate::env::api_bank::text::{SECOND, strip};
use crate::env::api_bank::value::{Dict, Key, Value};
use crate::env::api_bank::world::Table;

pub const TOOLS: &[Tool] = &[
    Tool::new("AddAgenda", add_agenda, add_agenda_check),
    Tool::new("DeleteAgenda", delete_agenda, delete_check),
    Tool::new("ModifyAgenda", modify_agenda, agenda_check),
    Tool::new("QueryAgenda", query_agenda, agenda_check),
    Tool::new("AddAlarm", add_alarm, check::exact),
    Tool::new("DeleteAlarm", delete_alarm, check::exact),
    Tool::new("ModifyAlarm", modify_alarm, check::exact),
    Tool::new("QueryAlarm", query_alarm, check::exact),
    Tool::new("AddReminder", add_reminder, named_reminder_check),
    Tool::new("DeleteReminder", delete_reminder, delete_check),
    Tool::new("ModifyReminder", modify_reminder, named_reminder_check),
    Tool::new("QueryReminder", query_reminder, reminder_check),
];

const AGENDA: [&str; 3] = ["content", "time", "location"];
const ABOUT: [(&str, &str); 2] = [("content", "content"), ("time", "time")];
const SOUGHT: [&str; 2] = ["content", "time"];

/// A number one past how many there are, whoever has it: after a deletion it may be another's.
fn number(table: &Dict) -> Key {
    Key::Int(table.len() as i64 + 1)
}

/// A text one past the largest number.
pub fn next_text(table: &Dict) -> Key {
    let number = |key: &Key| match key {
        Key::Int(it) => Some(*it),
        Key::Text(text) => text.parse().ok(),
    };
    let next = table.rows().iter().filter_map(|(key, _)| number(key)).max().map_or(0, |it| it.saturating_add(1));
    Key::Text(next.to_string().into())
}

fn add_agenda(call: &mut Call) -> Output {
    call.moment("time", SECOND)?;
    if call.stripped("content")?.is_empty() {
        return Err("Content should not be null".into());
    }
    let row = call.row(call.user()?, &AGENDA);
    let key = number(call.table(Table::Agenda));
    call.table_mut(Table::Agenda).insert(key, row);
    success()
}

/// Told when a search for a content or else a time, by these parameters, found nothing; `None` where neither was given.
pub fn nothing(call: &Call, what: &str, [content, time]: [&str; 2]) -> Option<String> {
    let (content, time) = (call.arg(content), call.arg(time));
    if content.truthy() {
        Some(format!("You have no {what} about {}", content.display()))
    } else if time.truthy() {
        Some(format!("You have no {what} at time : {}", time.display()))
    } else {
        None
    }
}

fn delete_agenda(call: &mut Call) -> Output {
    call.moment_if_given("time")?;
    let user = call.user()?;
    match call.find(Table::Agenda, &user, &ABOUT) {
        Some(place) => call.table_mut(Table::Agenda).remove_at(place),
        None => nothing(call, "meeting", SOUGHT).map_or(Ok(()), Err)?,
    }
    success()
}

fn modify_agenda(call: &mut Call) -> Output {
    call.moment_if_given("time")?;
    let user = call.user()?;
    let Some(place) = call.find(Table::Agenda, &user, &ABOUT) else {
        // Where neither was given the original answers with an error as if it were a result.
        return nothing(call, "agenda", SOUGHT).map_or_else(|| Ok(Value::str("Error")), |message| Err(message.into()));
    };
    *call.world.table_mut(Table::Agenda).at_mut(place) = call.row(user, &AGENDA);
    success()
}

fn query_agenda(call: &mut Call) -> Output {
    call.moment_if_given("time")?;
    let user = call.user()?;
    match call.find(Table::Agenda, &user, &ABOUT) {
        Some(place) => Ok(call.at(Table::Agenda, place)),
        None => Err(nothing(call, "agenda", SOUGHT).unwrap_or_else(|| "Error".to_owned()).into()),
    }
}

fn add_alarm(call: &mut Call) -> Output {
    call.moment("time", SECOND)?;
    let row = call.row(call.user()?, &["time"]);
    let key = number(call.table(Table::Alarm));
    call.table_mut(Table::Alarm).insert(key, row);
    success()
}

fn alarm(call: &Call, time: &str) -> Result<(Option<usize>, Value), super::Fault> {
    Ok((call.find(Table::Alarm, &call.user()?, &[("time", time)]), call.arg(time)))
}

fn delete_alarm(call: &mut Call) -> Output {
    call.moment("time", SECOND)?;
    match alarm(call, "time")? {
        (Some(place), _) => call.table_mut(Table::Alarm).remove_at(place),
        (None, time) => return Err(format!("You have no alarm clock at time : {}", time.display()).into()),
    }
    success()
}

fn modify_alarm(call: &mut Call) -> Output {
    call.moment("from_time", SECOND)?;
    call.moment("to_time", SECOND)?;
    let (Some(place), _) = alarm(call, "from_time")? else {
        return Err(format!("You have no agenda at time : {}", call.arg("from_time").display()).into());
    };
    let to = call.arg("to_time");
    fields(call.table_mut(Table::Alarm).at_mut(place)).set("time", to);
    success()
}

fn query_alarm(call: &mut Call) -> Output {
    call.moment("time", SECOND)?;
    match alarm(call, "time")? {
        (Some(place), _) => Ok(call.at(Table::Alarm, place)),
        (None, time) => Err(format!("You have no alarm clock at time : {}", time.display()).into()),
    }
}

fn reminder_arguments(call: &Call) -> Result<(), super::Fault> {
    call.moment("time", SECOND)?;
    if strip(&call.text("content", "strip")?).is_empty() {
        return Err("Content should not be null".into());
    }
    Ok(())
}

fn reminder(call: &Call) -> Result<usize, super::Fault> {
    reminder_arguments(call)?;
    let user = call.user()?;
    call.find(Table::Reminder, &user, &ABOUT).ok_or_else(|| {
        let (content, time) = (call.arg("content"), call.arg("time"));
        format!("You have no reminder about {} or at time : {}", content.display(), time.display()).into()
    })
}

fn add_reminder(call: &mut Call) -> Output {
    reminder_arguments(call)?;
    let row = call.row(call.user()?, &["content", "time"]);
    let key = next_text(call.table(Table::Reminder));
    call.table_mut(Table::Reminder).insert(key, row);
    success()
}

fn delete_reminder(call: &mut Call) -> Output {
    let place = reminder(call)?;
    call.table_mut(Table::Reminder).remove_at(place);
    success()
}

fn modify_reminder(call: &mut Call) -> Output {
    let place = reminder(call)?;
    let (content, time) = (call.arg("content"), call.arg("time"));
    let row = fields(call.table_mut(Table::Reminder).at_mut(place));
    row.set("content", content);
    row.set("time", time);
    success()
}

fn query_reminder(call: &mut Call) -> Output {
    reminder(call).map(|place| call.at(Table::Reminder, place))
}

fn agenda_check(pair: &Pair) -> Verdict {
    Ok(pair.overlap("content", false)? && pair.same_input("time")? && pair.same_input("location")? && pair.result()?)
}

fn add_agenda_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    agenda_check(pair)
}

fn reminder_check(pair: &Pair) -> Verdict {
    Ok(pair.overlap("content", true)? && pair.same_input("time")? && pair.result()?)
}

fn named_reminder_check(pair: &Pair) -> Verdict {
    pair.same_name()?;
    reminder_check(pair)
}

/// Two that succeeded are told apart by their time alone.
pub fn delete_check(pair: &Pair) -> Verdict {
    let done = |value: &Value| value.as_str() == Some("success");
    let [response, gold] = pair.both("output")?;
    if done(response) && done(gold) { pair.same_input("time") } else { pair.result() }
}

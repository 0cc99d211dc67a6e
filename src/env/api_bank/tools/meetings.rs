//! Meetings of levels 1 and 2.

use super::check::{Pair, Verdict};
use super::office::{self, delete_check, next_text};
use super::{Call, Fault, Output, Tool, fields, success};
use crate::env::api_bank::text::SECOND;
use crate::env::api_bank::value::Value;
use crate::env::api_bank::world::Table;

pub const TOOLS: &[Tool] = &[
    Tool::new("AddMeeting", add, check),
    // Asks for an argument `time`, which meetings do not have: what succeeds is never right.
    Tool::new("DeleteMeeting", delete, delete_check),
    Tool::new("ModifyMeeting", modify, check),
    Tool::new("QueryMeeting", query, check),
];

const ABOUT: [(&str, &str); 2] = [("meeting_topic", "meeting_topic"), ("start_time", "start_time")];

fn add(call: &mut Call) -> Output {
    call.moment("start_time", SECOND)?;
    call.moment("end_time", SECOND)?;
    if call.stripped("meeting_topic")?.is_empty() {
        return Err("Meeting Topic should not be null".into());
    }
    let row = call.row(call.user()?, &["meeting_topic", "start_time", "end_time", "location", "attendees"]);
    let key = next_text(call.table(Table::Meeting));
    call.table_mut(Table::Meeting).insert(key, row);
    success()
}

fn find(call: &Call) -> Result<Option<usize>, Fault> {
    call.moment_if_given("start_time")?;
    call.moment_if_given("end_time")?;
    if call.stripped("meeting_topic")?.is_empty() && !call.arg("start_time").truthy() {
        return Err("Meeting Topic and start_time should not be null both".into());
    }
    let user = call.user()?;
    Ok(call.find(Table::Meeting, &user, &ABOUT))
}

fn nothing(call: &Call) -> Option<String> {
    office::nothing(call, "meeting", ["meeting_topic", "start_time"])
}

fn delete(call: &mut Call) -> Output {
    match find(call)? {
        Some(place) => call.table_mut(Table::Meeting).remove_at(place),
        None => nothing(call).map_or(Ok(()), Err)?,
    }
    success()
}

fn modify(call: &mut Call) -> Output {
    match find(call)? {
        Some(place) => {
            let [topic, start, end] = ["meeting_topic", "start_time", "end_time"].map(|name| call.arg(name));
            let row = fields(call.table_mut(Table::Meeting).at_mut(place));
            if topic.truthy() {
                row.set("meeting_topic", topic);
            }
            if start.truthy() {
                row.set("start_time", start);
                row.set("end_time", end);
            }
        }
        None => nothing(call).map_or(Ok(()), Err)?,
    }
    success()
}

fn query(call: &mut Call) -> Output {
    match find(call)? {
        Some(place) => Ok(call.at(Table::Meeting, place)),
        None => nothing(call).map_or_else(|| Ok(Value::str("Error")), |message| Err(message.into())),
    }
}

/// The topic by its words, all else exactly.
pub fn check(pair: &Pair) -> Verdict {
    let topic = pair.overlap("meeting_topic", false)?;
    Ok(topic && pair.rest_of_input("meeting_topic")? && pair.result()?)
}

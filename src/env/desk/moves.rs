//! The moves that requests are made of: one tool call each, with the words that ask for it.
//!
//! A move's arguments name slots. `name` is filled from the request, `$time` is a value that an earlier move found.
//!
//! # Invariants
//! A phrase mentions every slot that its move's arguments need and nothing earlier in the request gave. Phrases stand in an
//! order: the first quarter never meets test, the last quarter meets only test.

use super::tools::Tool;
use serde::{Deserialize, Serialize};

/// What a look-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Address,
    Room,
    Time,
    Amount,
}

impl Value {
    pub fn noun(self) -> &'static str {
        match self {
            Value::Address => "address",
            Value::Room => "room",
            Value::Time => "time",
            Value::Amount => "amount",
        }
    }
}

#[derive(Debug)]
pub struct Move {
    pub key: &'static str,
    pub tool: Tool,
    /// Argument and slot.
    pub arguments: &'static [(&'static str, &'static str)],
    /// Arguments of a second call, made when the first is refused.
    pub otherwise: Option<&'static [(&'static str, &'static str)]>,
    pub finds: Option<Value>,
    /// Imperative clauses.
    pub says: &'static [&'static str],
    /// Ways to ask for the value itself; one that ends with `?` is a sentence of its own.
    pub asks: &'static [&'static str],
}

pub fn by_key(key: &str) -> &'static Move {
    MOVES.iter().find(|step| step.key == key).expect("families name moves of the table")
}

pub fn phrases() -> impl Iterator<Item = &'static str> {
    MOVES.iter().flat_map(|step| step.says.iter().chain(step.asks)).copied()
}

const fn look(
    key: &'static str,
    tool: Tool,
    arguments: &'static [(&'static str, &'static str)],
    finds: Value,
    says: &'static [&'static str],
    asks: &'static [&'static str],
) -> Move {
    Move { key, tool, arguments, otherwise: None, finds: Some(finds), says, asks }
}

const fn act(
    key: &'static str,
    tool: Tool,
    arguments: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
) -> Move {
    Move { key, tool, arguments, otherwise: None, finds: None, says, asks: &[] }
}

/// A list of phrases that several moves share: what they do is the same, where their values come from is not.
type Phrases = &'static [&'static str];

#[rustfmt::skip]
mod shared {
    use super::Phrases;

    pub const READ: Phrases = &["read the mail from {name}", "open the mail from {name}", "look at the mail from {name}", "check the mail from {name}"];
    pub const SEARCH: Phrases = &["search the notes for the {topic}", "look in the notes for the {topic}", "find the note about the {topic}", "check the note about the {topic}"];
    pub const ROOM_THEN: Phrases = &["find a room for {people} people at that time", "look for a free room for {people} people at that time",
        "find a free room at that time for {people} people", "search for a room at that time for {people} people"];
    pub const BOOK_IT: Phrases = &["book it", "reserve that room", "book that room", "reserve it"];
    pub const EVENT_THEN: Phrases = &["add the {title} to the calendar at that time", "plan the {title} at that time", "put the {title} in the calendar at that time", "schedule the {title} at that time"];
    pub const REMIND_THEN: Phrases = &["remind me at that time to {todo}", "set a reminder at that time to {todo}", "remind me to {todo} at that time", "set a reminder to {todo} at that time"];
}
use shared::{BOOK_IT, EVENT_THEN, READ, REMIND_THEN, ROOM_THEN, SEARCH};

#[rustfmt::skip]
pub const MOVES: &[Move] = &[
    // Look-ups.
    look("contact", Tool::FindContact, &[("name", "name")], Value::Address,
        &["find the address of {name}", "look up {name} in the contacts", "look up the address of {name}", "get the address of {name}"],
        &["what is the address of {name}?", "tell me the address of {name}", "which address does {name} have?", "give me the address of {name}"]),
    look("contact_same", Tool::FindContact, &[("name", "name")], Value::Address,
        &["look up their address", "find their address", "get their address", "find their address in the contacts"], &[]),
    look("room", Tool::FindRoom, &[("day", "day"), ("people", "people"), ("time", "time")], Value::Room,
        &["find a room for {people} people on {day} at {time}", "look for a free room for {people} people on {day} at {time}",
          "find a free room on {day} at {time} for {people} people", "search for a room on {day} at {time} for {people} people"],
        &["which room is free on {day} at {time} for {people} people?", "tell me which room is free for {people} people on {day} at {time}",
          "which room can {people} people use on {day} at {time}?", "tell me a free room for {people} people on {day} at {time}"]),
    look("room_then", Tool::FindRoom, &[("day", "day"), ("people", "people"), ("time", "$time")], Value::Room, ROOM_THEN, &[]),
    look("room_same", Tool::FindRoom, &[("day", "day"), ("people", "people"), ("time", "time")], Value::Room, ROOM_THEN, &[]),
    look("free", Tool::FreeTime, &[("day", "day"), ("name", "name")], Value::Time,
        &["check when {name} is free on {day}", "find out when {name} has time on {day}", "see when {name} is free on {day}", "find a time on {day} when {name} is free"],
        &["when is {name} free on {day}?", "tell me when {name} is free on {day}", "when does {name} have time on {day}?", "at what time is {name} free on {day}?"]),
    look("mail_amount", Tool::ReadMail, &[("from", "name")], Value::Amount, READ,
        &["what amount is in the mail from {name}?", "tell me the amount in the mail from {name}", "which amount does {name} write in the mail?", "give me the amount in the mail from {name}"]),
    look("mail_time", Tool::ReadMail, &[("from", "name")], Value::Time, READ,
        &["what time is in the mail from {name}?", "tell me the time in the mail from {name}", "which time does {name} write in the mail?", "give me the time in the mail from {name}"]),
    look("mail_room", Tool::ReadMail, &[("from", "name")], Value::Room, READ,
        &["what room is in the mail from {name}?", "tell me the room in the mail from {name}", "which room does {name} write in the mail?", "give me the room in the mail from {name}"]),
    look("note_time", Tool::SearchNotes, &[("topic", "topic")], Value::Time, SEARCH,
        &["what time is in the note about the {topic}?", "tell me the time in the note about the {topic}", "which time do the notes give for the {topic}?", "give me the time in the note about the {topic}"]),
    look("note_amount", Tool::SearchNotes, &[("topic", "topic")], Value::Amount, SEARCH,
        &["what amount is in the note about the {topic}?", "tell me the amount in the note about the {topic}", "which amount do the notes give for the {topic}?", "give me the amount in the note about the {topic}"]),
    look("note_room", Tool::SearchNotes, &[("topic", "topic")], Value::Room, SEARCH,
        &["what room is in the note about the {topic}?", "tell me the room in the note about the {topic}", "which room do the notes give for the {topic}?", "give me the room in the note about the {topic}"]),
    look("note_address", Tool::SearchNotes, &[("topic", "topic")], Value::Address, SEARCH,
        &["what address is in the note about the {topic}?", "tell me the address in the note about the {topic}", "which address do the notes give for the {topic}?", "give me the address in the note about the {topic}"]),
    look("event", Tool::FindEvent, &[("day", "day"), ("title", "title")], Value::Time,
        &["look up the {title} on {day}", "find the {title} on {day} in the calendar", "check when the {title} on {day} starts", "see when the {title} on {day} starts"],
        &["when is the {title} on {day}?", "tell me when the {title} on {day} starts", "at what time is the {title} on {day}?", "what time does the {title} on {day} start?"]),
    look("total", Tool::TotalExpenses, &[("item", "item")], Value::Amount,
        &["add up the expenses for the {item}", "find the total for the {item}", "get the total of the expenses for the {item}", "look up the total for the {item}"],
        &["what is the total for the {item}?", "tell me the total for the {item}", "how much did the {item} cost in total?", "give me the total of the expenses for the {item}"]),
    // Mail.
    act("mail_to", Tool::SendMail, &[("about", "topic"), ("to", "address")],
        &["mail {address} about the {topic}", "write a mail to {address} about the {topic}", "send {address} a mail about the {topic}", "write to {address} about the {topic}"]),
    act("mail_topic", Tool::SendMail, &[("about", "topic"), ("to", "$address")],
        &["mail them about the {topic}", "write a mail to that address about the {topic}", "send them a mail about the {topic}", "write to them about the {topic}"]),
    act("mail_found_room", Tool::SendMail, &[("about", "$room"), ("to", "$address")],
        &["mail them the room", "write them what the room is", "send them the room by mail", "send them a mail with the room"]),
    act("mail_found_time", Tool::SendMail, &[("about", "$time"), ("to", "$address")],
        &["mail them the time", "write them what the time is", "send them the time by mail", "send them a mail with the time"]),
    act("mail_found_amount", Tool::SendMail, &[("about", "$amount"), ("to", "$address")],
        &["mail them the amount", "write them what the amount is", "send them the amount by mail", "send them a mail with the amount"]),
    // Rooms.
    act("book", Tool::BookRoom, &[("day", "day"), ("room", "room"), ("time", "time")],
        &["book {room} on {day} at {time}", "reserve {room} on {day} at {time}", "book the room {room} on {day} at {time}", "reserve the room {room} for {day} at {time}"]),
    Move {
        otherwise: Some(&[("day", "day"), ("room", "second"), ("time", "time")]),
        ..act("book_or", Tool::BookRoom, &[("day", "day"), ("room", "room"), ("time", "time")],
            &["book {room} on {day} at {time}, or {second} if it is taken", "reserve {room} on {day} at {time}, or else {second}",
              "book {room}, or {second} if it is taken, on {day} at {time}", "on {day} at {time} book {room}, or else {second}"])
    },
    act("book_it", Tool::BookRoom, &[("day", "day"), ("room", "$room"), ("time", "time")], BOOK_IT),
    act("book_then", Tool::BookRoom, &[("day", "day"), ("room", "$room"), ("time", "$time")], BOOK_IT),
    act("book_on", Tool::BookRoom, &[("day", "day"), ("room", "$room"), ("time", "time")],
        &["book it on {day} at {time}", "reserve that room on {day} at {time}", "book that room on {day} at {time}", "reserve it for {day} at {time}"]),
    // Calendar.
    act("add_event", Tool::AddEvent, &[("day", "day"), ("time", "time"), ("title", "title")],
        &["add the {title} to the calendar on {day} at {time}", "plan the {title} on {day} at {time}", "put the {title} in the calendar on {day} at {time}", "schedule the {title} on {day} at {time}"]),
    act("event_then", Tool::AddEvent, &[("day", "day"), ("time", "$time"), ("title", "title")], EVENT_THEN),
    act("event_same", Tool::AddEvent, &[("day", "day"), ("time", "time"), ("title", "title")], EVENT_THEN),
    act("event_on", Tool::AddEvent, &[("day", "day"), ("time", "$time"), ("title", "title")],
        &["add the {title} to the calendar on {day} at that time", "plan the {title} on {day} at that time", "put the {title} in the calendar on {day} at that time", "schedule the {title} on {day} at that time"]),
    act("cancel", Tool::CancelEvent, &[("day", "day"), ("title", "title")],
        &["cancel the {title} on {day}", "remove the {title} on {day} from the calendar", "call off the {title} on {day}", "take the {title} on {day} out of the calendar"]),
    // Reminders.
    act("remind", Tool::SetReminder, &[("day", "day"), ("text", "todo"), ("time", "time")],
        &["remind me on {day} at {time} to {todo}", "set a reminder on {day} at {time} to {todo}", "remind me to {todo} on {day} at {time}", "set a reminder to {todo} on {day} at {time}"]),
    act("remind_then", Tool::SetReminder, &[("day", "day"), ("text", "todo"), ("time", "$time")], REMIND_THEN),
    act("remind_same", Tool::SetReminder, &[("day", "day"), ("text", "todo"), ("time", "time")], REMIND_THEN),
    act("remind_on", Tool::SetReminder, &[("day", "day"), ("text", "todo"), ("time", "$time")],
        &["remind me on {day} at that time to {todo}", "set a reminder on {day} at that time to {todo}", "remind me to {todo} on {day} at that time", "set a reminder to {todo} on {day} at that time"]),
    // Expenses.
    act("expense", Tool::AddExpense, &[("amount", "amount"), ("item", "item")],
        &["add an expense of {amount} for the {item}", "enter {amount} for the {item} as an expense", "write down an expense of {amount} for the {item}", "add {amount} to the expenses for the {item}"]),
    act("expense_found", Tool::AddExpense, &[("amount", "$amount"), ("item", "item")],
        &["add an expense of that amount for the {item}", "enter that amount for the {item} as an expense", "write down an expense of that amount for the {item}", "add that amount to the expenses for the {item}"]),
    act("expense_other", Tool::AddExpense, &[("amount", "$amount"), ("item", "thing")],
        &["add an expense of that amount for the {thing}", "enter that amount for the {thing} as an expense", "write down an expense of that amount for the {thing}", "add that amount to the expenses for the {thing}"]),
    // Notes.
    act("note", Tool::AddNote, &[("text", "todo"), ("topic", "topic")],
        &["add a note about the {topic} to {todo}", "write a note about the {topic} that says to {todo}", "make a note about the {topic} to {todo}", "leave a note about the {topic} that says to {todo}"]),
    act("note_found_amount", Tool::AddNote, &[("text", "$amount"), ("topic", "about")],
        &["add a note about the {about} with the amount", "write the amount in a note about the {about}", "make a note about the {about} with that amount", "leave the amount in a note about the {about}"]),
    act("note_found_time", Tool::AddNote, &[("text", "$time"), ("topic", "about")],
        &["add a note about the {about} with the time", "write the time in a note about the {about}", "make a note about the {about} with that time", "leave the time in a note about the {about}"]),
    act("note_found_room", Tool::AddNote, &[("text", "$room"), ("topic", "about")],
        &["add a note about the {about} with the room", "write the room in a note about the {about}", "make a note about the {about} with that room", "leave the room in a note about the {about}"]),
    act("note_found_address", Tool::AddNote, &[("text", "$address"), ("topic", "about")],
        &["add a note about the {about} with the address", "write the address in a note about the {about}", "make a note about the {about} with that address", "leave the address in a note about the {about}"]),
];

//! Turns typed calls into changes of an office and one short line of observation.
//!
//! # Invariants
//! The value that a look-up finds is the last word of its observation. A call that fails changes nothing. No observation
//! is longer than [`LONGEST`] characters, whatever the agent wrote.

use super::lexicon::{DAYS, TIMES};
use super::world::{Event, World};
use crate::env::{Call, Callable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Characters of the longest observation.
pub const LONGEST: usize = 120;
/// Characters of the longest argument that a tool takes, and of what an error echoes.
const LONGEST_TEXT: usize = 80;
const LONGEST_ECHO: usize = 24;

pub const OK: &str = "ok";
pub const UNREADABLE: &str = "error: this call is not readable";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    FindContact,
    SendMail,
    ReadMail,
    FindRoom,
    BookRoom,
    FreeTime,
    AddEvent,
    FindEvent,
    CancelEvent,
    AddNote,
    SearchNotes,
    SetReminder,
    AddExpense,
    TotalExpenses,
}

/// What an argument may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Someone in the contacts.
    Name,
    /// The address of someone in the contacts.
    Address,
    Day,
    Time,
    Room,
    Number,
    Text,
}

impl Tool {
    pub const ALL: [Tool; 14] = [
        Tool::FindContact,
        Tool::SendMail,
        Tool::ReadMail,
        Tool::FindRoom,
        Tool::BookRoom,
        Tool::FreeTime,
        Tool::AddEvent,
        Tool::FindEvent,
        Tool::CancelEvent,
        Tool::AddNote,
        Tool::SearchNotes,
        Tool::SetReminder,
        Tool::AddExpense,
        Tool::TotalExpenses,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Tool::FindContact => "find_contact",
            Tool::SendMail => "send_mail",
            Tool::ReadMail => "read_mail",
            Tool::FindRoom => "find_room",
            Tool::BookRoom => "book_room",
            Tool::FreeTime => "free_time",
            Tool::AddEvent => "add_event",
            Tool::FindEvent => "find_event",
            Tool::CancelEvent => "cancel_event",
            Tool::AddNote => "add_note",
            Tool::SearchNotes => "search_notes",
            Tool::SetReminder => "set_reminder",
            Tool::AddExpense => "add_expense",
            Tool::TotalExpenses => "total_expenses",
        }
    }

    /// In the order of their names, as calls are written.
    pub fn parameters(self) -> &'static [(&'static str, Kind)] {
        match self {
            Tool::FindContact => &[("name", Kind::Name)],
            Tool::SendMail => &[("about", Kind::Text), ("to", Kind::Address)],
            Tool::ReadMail => &[("from", Kind::Name)],
            Tool::FindRoom => &[("day", Kind::Day), ("people", Kind::Number), ("time", Kind::Time)],
            Tool::BookRoom => &[("day", Kind::Day), ("room", Kind::Room), ("time", Kind::Time)],
            Tool::FreeTime => &[("day", Kind::Day), ("name", Kind::Name)],
            Tool::AddEvent => &[("day", Kind::Day), ("time", Kind::Time), ("title", Kind::Text)],
            Tool::FindEvent | Tool::CancelEvent => &[("day", Kind::Day), ("title", Kind::Text)],
            Tool::AddNote => &[("text", Kind::Text), ("topic", Kind::Text)],
            Tool::SearchNotes => &[("topic", Kind::Text)],
            Tool::SetReminder => &[("day", Kind::Day), ("text", Kind::Text), ("time", Kind::Time)],
            Tool::AddExpense => &[("amount", Kind::Number), ("item", Kind::Text)],
            Tool::TotalExpenses => &[("item", Kind::Text)],
        }
    }

    /// `find_room(day, people, time)`
    pub fn signature(self) -> String {
        let names: Vec<&str> = self.parameters().iter().map(|(name, _)| *name).collect();
        format!("{}({})", self.name(), names.join(", "))
    }

    /// Every argument is text, and has to be there.
    pub fn callable(self) -> Callable {
        let names: Vec<&str> = self.parameters().iter().map(|(name, _)| *name).collect();
        let properties: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
        let parameters = json!({ "type": "object", "properties": properties, "required": names });
        Callable { name: self.name().to_owned(), parameters }
    }

    /// Whether the tool leaves something changed behind: such calls are the effects that a goal lists.
    pub fn changes(self) -> bool {
        match self {
            Tool::SendMail | Tool::BookRoom | Tool::AddEvent | Tool::CancelEvent => true,
            Tool::AddNote | Tool::SetReminder | Tool::AddExpense => true,
            Tool::FindContact | Tool::ReadMail | Tool::FindRoom | Tool::FreeTime => false,
            Tool::FindEvent | Tool::SearchNotes | Tool::TotalExpenses => false,
        }
    }

    fn from_name(name: &str) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// What every observation is made of, for the lexicon.
pub fn phrases() -> Vec<String> {
    let mut phrases: Vec<String> = Tool::ALL.into_iter().map(Tool::signature).collect();
    phrases.extend(
        [OK, UNREADABLE, "address: room: time: mail: note: total: error: call is needs takes no must be a number"]
            .map(String::from),
    );
    phrases.push("text is too long day time people contact address room tool mail from note about event on at free expense taken".to_owned());
    phrases
}

/// An office while an agent works in it.
#[derive(Clone, Debug)]
pub struct Office {
    world: World,
    granted: Vec<Tool>,
    /// The calls that changed something, canonical, in order.
    pub effects: Vec<String>,
}

/// Arguments after checking: in canonical spelling.
type Arguments = BTreeMap<String, String>;

impl Office {
    pub fn granted(&self) -> &[Tool] {
        &self.granted
    }

    pub fn new(world: World, granted: Vec<Tool>) -> Self {
        Self { world, granted, effects: Vec::new() }
    }

    pub fn call(&mut self, call: &Call) -> String {
        match self.try_call(call) {
            Ok(found) => found,
            Err(problem) => clip(&format!("error: {problem}"), LONGEST),
        }
    }

    fn try_call(&mut self, call: &Call) -> Result<String, String> {
        let tool = Tool::from_name(&call.name)
            .filter(|tool| self.granted.contains(tool))
            .ok_or_else(|| format!("no tool {}", echo(&call.name)))?;
        let arguments = self.check(tool, call)?;
        let found = self.act(tool, &arguments)?;
        if tool.changes() {
            self.effects.push(Call { name: call.name.clone(), arguments }.canonical());
        }
        Ok(found)
    }

    fn check(&self, tool: Tool, call: &Call) -> Result<Arguments, String> {
        let parameters = tool.parameters();
        if let Some(extra) = call.arguments.keys().find(|name| parameters.iter().all(|(known, _)| known != name)) {
            return Err(format!("{} takes no {}", tool.name(), echo(extra)));
        }
        let mut arguments = Arguments::new();
        for &(name, kind) in parameters {
            let given = call.arguments.get(name).map(String::as_str).unwrap_or_default();
            if given.trim().is_empty() {
                return Err(format!("{} needs {name}", tool.name()));
            }
            if given.len() > LONGEST_TEXT {
                return Err(format!("{name} is too long"));
            }
            arguments.insert(name.to_owned(), self.typed(name, kind, &tidy(given))?);
        }
        Ok(arguments)
    }

    fn typed(&self, name: &str, kind: Kind, given: &str) -> Result<String, String> {
        let world = &self.world;
        let same = |known: &&str| known.eq_ignore_ascii_case(given);
        let found = match kind {
            Kind::Text => return Ok(given.to_owned()),
            Kind::Number => {
                let number = given.parse::<u16>().ok().filter(|number| *number > 0);
                return number.map(|number| number.to_string()).ok_or_else(|| format!("{name} must be a number"));
            }
            Kind::Name => world.contacts.iter().map(|contact| contact.name.as_str()).find(same).ok_or("contact"),
            Kind::Address => world.contacts.iter().map(|contact| contact.address.as_str()).find(same).ok_or("address"),
            Kind::Room => world.rooms.iter().map(|room| room.name.as_str()).find(same).ok_or("room"),
            Kind::Day => DAYS.into_iter().find(same).ok_or("day"),
            Kind::Time => TIMES.into_iter().find(same).ok_or("time"),
        };
        found.map(str::to_owned).map_err(|what| format!("no {what} {}", echo(given)))
    }

    fn act(&mut self, tool: Tool, arguments: &Arguments) -> Result<String, String> {
        let of = |name: &str| arguments[name].as_str();
        let world = &mut self.world;
        match tool {
            Tool::FindContact => {
                let contact = world.contacts.iter().find(|contact| contact.name == of("name")).expect("checked");
                Ok(format!("address: {}", contact.address))
            }
            Tool::SendMail | Tool::SetReminder => Ok(OK.to_owned()),
            Tool::ReadMail => {
                let mail = world.mails.iter().find(|(from, _)| from == of("from"));
                mail.map(|(_, text)| format!("mail: {text}")).ok_or_else(|| format!("no mail from {}", of("from")))
            }
            Tool::FindRoom => {
                let people = of("people").parse().expect("checked");
                let room = world.free_room(of("day"), of("time"), people);
                room.map(|room| format!("room: {room}")).ok_or_else(|| "no room is free".to_owned())
            }
            Tool::BookRoom => {
                let booking = (of("room").to_owned(), of("day").to_owned(), of("time").to_owned());
                if world.taken.contains(&booking) {
                    let (room, day, time) = booking;
                    return Err(format!("{room} is taken on {day} at {time}"));
                }
                world.taken.push(booking);
                Ok(OK.to_owned())
            }
            Tool::FreeTime => Ok(format!("time: {}", world.free_time(of("name"), of("day")))),
            Tool::AddEvent => {
                let [title, day, time] = ["title", "day", "time"].map(|name| of(name).to_owned());
                world.events.push(Event { title, day, time });
                Ok(OK.to_owned())
            }
            Tool::FindEvent => {
                let event = world.events.iter().find(|event| event.is(of("title"), of("day")));
                event.map(|event| format!("time: {}", event.time)).ok_or_else(|| no_event(arguments))
            }
            Tool::CancelEvent => {
                let place = world.events.iter().position(|event| event.is(of("title"), of("day")));
                world.events.remove(place.ok_or_else(|| no_event(arguments))?);
                Ok(OK.to_owned())
            }
            Tool::AddNote => {
                world.notes.push((of("topic").to_owned(), of("text").to_owned()));
                Ok(OK.to_owned())
            }
            Tool::SearchNotes => {
                let note = world.notes.iter().find(|(topic, _)| topic.eq_ignore_ascii_case(of("topic")));
                let note = note.map(|(_, text)| clip(&format!("note: {text}"), LONGEST));
                note.ok_or_else(|| format!("no note about {}", echo(of("topic"))))
            }
            Tool::AddExpense => {
                world.expenses.push((of("item").to_owned(), of("amount").parse().expect("checked")));
                Ok(OK.to_owned())
            }
            Tool::TotalExpenses => {
                let mine = world.expenses.iter().filter(|(item, _)| item.eq_ignore_ascii_case(of("item")));
                let amounts: Vec<u32> = mine.map(|(_, amount)| *amount).collect();
                if amounts.is_empty() {
                    return Err(format!("no expense for {}", echo(of("item"))));
                }
                Ok(format!("total: {}", amounts.iter().sum::<u32>()))
            }
        }
    }
}

fn no_event(arguments: &Arguments) -> String {
    format!("no event {} on {}", echo(&arguments["title"]), arguments["day"])
}

/// One spelling for what means the same: single spaces, no article in front, no full stop behind.
fn tidy(given: &str) -> String {
    let text = given.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("the ").unwrap_or(&text);
    text.trim_end_matches('.').to_owned()
}

/// The agent's own words in an error: short, on one line.
fn echo(text: &str) -> String {
    clip(text, LONGEST_ECHO)
}

fn clip(text: &str, longest: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(longest).collect::<String>().trim().to_owned()
}

//! Turns a seed into an office: contacts, mails, notes, events, expenses and rooms, with look-alikes around what matters.
//!
//! # Invariants
//! What an office answers depends on its fields alone; nothing here draws after generation. Fields stand in the order of
//! their names, as [`Hidden::of`](crate::env::Hidden::of) wants them.

use super::lexicon::{DAYS, Pool, TIMES, address};
use super::moves::Value;
use crate::base::{Seed, seed::Rng};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    pub contacts: Vec<Contact>,
    pub events: Vec<Event>,
    pub expenses: Vec<(String, u32)>,
    /// Sender and text.
    pub mails: Vec<(String, String)>,
    /// Topic and text.
    pub notes: Vec<(String, String)>,
    pub rooms: Vec<Room>,
    /// Decides who is free when and which room is offered.
    pub seed: u64,
    /// Room, day, time.
    pub taken: Vec<(String, String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub address: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub day: String,
    pub time: String,
    pub title: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Room {
    pub name: String,
    pub seats: u32,
}

impl Event {
    pub fn is(&self, title: &str, day: &str) -> bool {
        self.title.eq_ignore_ascii_case(title) && self.day == day
    }
}

/// Mail texts by the kind of value at their end.
fn mail_texts(value: Value) -> &'static [&'static str] {
    match value {
        Value::Amount => &["the {item} costs {v}", "the price of the {item} is {v}", "for the {item} we paid {v}"],
        Value::Time => &["the {title} starts at {v}", "the {title} is at {v}", "we start the {title} at {v}"],
        Value::Room => &["the {title} is in {v}", "the room for the {title} is {v}", "we hold the {title} in {v}"],
        Value::Address => &["please write to {v}", "my new address is {v}", "send it to {v}"],
    }
}

/// Note texts, which need not repeat the topic.
fn note_texts(value: Value) -> &'static [&'static str] {
    match value {
        Value::Amount => &["it costs {v}", "the price is {v}", "we agreed on {v}"],
        Value::Time => &["it is due at {v}", "the time is {v}", "we talk about it at {v}"],
        Value::Room => &["it is in {v}", "the room is {v}", "we meet in {v}"],
        Value::Address => &["write to {v}", "the address is {v}", "send it to {v}"],
    }
}

pub fn phrases() -> impl Iterator<Item = &'static str> {
    let values = [Value::Amount, Value::Time, Value::Room, Value::Address];
    values.into_iter().flat_map(|value| mail_texts(value).iter().chain(note_texts(value))).copied()
}

fn index(words: &[&str], word: &str) -> u64 {
    words.iter().position(|known| *known == word).unwrap_or_default() as u64
}

impl World {
    /// An office with a few people and things of a pool; what a task needs is added after.
    pub fn new(pool: Pool, rng: &mut Rng) -> Self {
        let mut world = World { seed: rng.bits() >> 11, ..World::default() };
        let mut names: Vec<&str> = pool.rooms().to_vec();
        rng.shuffle(&mut names);
        let seats = |place: usize, rng: &mut Rng| if place == 0 { 14 } else { 4 + 2 * rng.below(5) as u32 };
        world.rooms = (0..5).map(|place| Room { name: names[place].to_owned(), seats: seats(place, rng) }).collect();
        rng.shuffle(&mut world.rooms);
        for _ in 0..2 {
            let name = world.meet(&pool.name(rng), rng);
            let kind = *rng.pick(&[Value::Amount, Value::Time]);
            let about = [pool.item(rng), pool.title(rng)];
            world.write_mail(&name, kind, about.each_ref().map(String::as_str), pool, rng);
            let topic = pool.topic(rng);
            let kind = *rng.pick(&[Value::Amount, Value::Time, Value::Room]);
            world.write_note(&topic, kind, pool, rng);
            let (title, day) = (pool.title(rng), *rng.pick(&DAYS));
            world.plan_event(&title, day, rng);
            world.expenses.push((pool.item(rng), pool.amount(rng)));
        }
        world
    }

    /// Adds someone to the contacts unless they are there; gives the name back.
    pub fn meet(&mut self, name: &str, rng: &mut Rng) -> String {
        if self.contacts.iter().all(|contact| contact.name != name) {
            let taken = |address: &str, known: &[Contact]| known.iter().any(|contact| contact.address == address);
            let fresh = loop {
                let address = address(name, rng);
                if !taken(&address, &self.contacts) {
                    break address;
                }
            };
            self.contacts.push(Contact { name: name.to_owned(), address: fresh });
        }
        name.to_owned()
    }

    /// A mail that ends with a value; it is about the item or event given.
    pub fn write_mail(&mut self, from: &str, kind: Value, [item, title]: [&str; 2], pool: Pool, rng: &mut Rng) {
        let text = rng.pick(mail_texts(kind)).replace("{v}", &self.value(kind, pool, rng));
        let text = text.replace("{item}", item).replace("{title}", title);
        self.mails.retain(|(known, _)| known != from);
        self.mails.push((from.to_owned(), text));
    }

    pub fn write_note(&mut self, topic: &str, kind: Value, pool: Pool, rng: &mut Rng) {
        let text = rng.pick(note_texts(kind)).replace("{v}", &self.value(kind, pool, rng));
        self.notes.retain(|(known, _)| known != topic);
        self.notes.push((topic.to_owned(), text));
    }

    pub fn plan_event(&mut self, title: &str, day: &str, rng: &mut Rng) {
        self.events.retain(|event| !event.is(title, day));
        let (title, day, time) = (title.to_owned(), day.to_owned(), (*rng.pick(&TIMES)).to_owned());
        self.events.push(Event { title, day, time });
    }

    fn value(&self, kind: Value, pool: Pool, rng: &mut Rng) -> String {
        match kind {
            Value::Amount => pool.amount(rng).to_string(),
            Value::Time => (*rng.pick(&TIMES)).to_owned(),
            Value::Room => rng.pick(&self.rooms).name.clone(),
            Value::Address => rng.pick(&self.contacts).address.clone(),
        }
    }

    /// When someone is free on a day: one time, always the same.
    pub fn free_time(&self, name: &str, day: &str) -> &'static str {
        let person = self.contacts.iter().position(|contact| contact.name == name).unwrap_or_default() as u64;
        let bits = Seed(self.seed).bits(person * 8 + index(&DAYS, day));
        TIMES[(bits % TIMES.len() as u64) as usize]
    }

    /// The first free room with enough seats; where the search starts depends on day and time.
    pub fn free_room(&self, day: &str, time: &str, people: u32) -> Option<&str> {
        let count = self.rooms.len();
        let bits = Seed(self.seed).bits(1 << 20 | index(&DAYS, day) << 8 | index(&TIMES, time));
        let start = (bits % count.max(1) as u64) as usize;
        let free = |room: &&Room| {
            let same = |(taken, on, at): &&(String, String, String)| *taken == room.name && on == day && at == time;
            room.seats >= people && !self.taken.iter().any(|booking| same(&booking))
        };
        (0..count).map(|step| &self.rooms[(start + step) % count]).find(free).map(|room| room.name.as_str())
    }
}

//! The table of task families: which moves make a task, and how often it comes up where.
//!
//! # Invariants
//! A combination of two or more moves that tasks use is never in the lessons, and the other way round.

/// Moves in order. Moves of one part share their slots; parts are independent of each other.
#[derive(Debug)]
pub struct Family {
    pub parts: &'static [&'static [&'static str]],
    /// Weight in train and dev.
    pub train: u32,
    /// Weight in test. Families with a weight here only are the combinations that train never shows.
    pub test: u32,
}

impl Family {
    pub fn moves(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

const fn family(train: u32, test: u32, parts: &'static [&'static [&'static str]]) -> Family {
    Family { parts, train, test }
}

/// What the tasks of train, dev and test are made of. Weights are per mille: train adds up to 1000, test too.
pub const TASKS: &[Family] = &[
    // One call: 30 % of train, 22 % of test.
    family(20, 15, &[&["contact"]]),
    family(20, 15, &[&["room"]]),
    family(20, 15, &[&["free"]]),
    family(20, 15, &[&["mail_amount"]]),
    family(20, 15, &[&["mail_time"]]),
    family(20, 15, &[&["note_time"]]),
    family(20, 15, &[&["event"]]),
    family(20, 15, &[&["total"]]),
    family(20, 15, &[&["mail_to"]]),
    family(20, 15, &[&["book"]]),
    family(20, 15, &[&["add_event"]]),
    family(20, 15, &[&["remind"]]),
    family(20, 15, &[&["expense"]]),
    family(20, 15, &[&["note"]]),
    family(20, 10, &[&["cancel"]]),
    // A call that may be refused, and then another.
    family(20, 15, &[&["book_or"]]),
    // Two calls.
    family(75, 55, &[&["contact", "mail_topic"]]),
    family(75, 55, &[&["room", "book_it"]]),
    family(75, 55, &[&["free", "event_then"]]),
    family(75, 55, &[&["mail_amount", "expense_found"]]),
    family(60, 45, &[&["note_time", "remind_on"]]),
    family(60, 45, &[&["total", "note_found_amount"]]),
    family(60, 45, &[&["event", "remind_then"]]),
    // Three and four calls.
    family(60, 45, &[&["free", "room_then", "book_then"]]),
    family(40, 30, &[&["total", "contact", "mail_found_amount"]]),
    family(40, 35, &[&["event", "contact", "mail_found_time"]]),
    family(30, 25, &[&["room", "book_it", "contact", "mail_found_room"]]),
    family(30, 25, &[&["free", "event_then", "contact_same", "mail_found_time"]]),
    // Only in test: 25 %.
    family(0, 50, &[&["mail_time", "event_on"]]),
    family(0, 50, &[&["note_amount", "expense_found"]]),
    family(0, 40, &[&["mail_time", "remind_on"]]),
    family(0, 40, &[&["free", "contact_same", "mail_found_time"]]),
    family(0, 40, &[&["cancel", "contact", "mail_topic"]]),
    family(0, 30, &[&["free", "remind_then"]]),
];

/// Requests of the lessons in which a later move needs something of an earlier one.
pub const LESSONS: &[Family] = &[
    // A found value is used.
    family(1, 0, &[&["note_address", "mail_topic"]]),
    family(1, 0, &[&["note_room", "book_on"]]),
    family(1, 0, &[&["mail_room", "book_on"]]),
    family(1, 0, &[&["note_time", "event_on"]]),
    family(1, 0, &[&["mail_amount", "note_found_amount"]]),
    family(1, 0, &[&["mail_time", "note_found_time"]]),
    family(1, 0, &[&["event", "note_found_time"]]),
    family(1, 0, &[&["free", "note_found_time"]]),
    family(1, 0, &[&["room", "note_found_room"]]),
    family(1, 0, &[&["contact", "note_found_address"]]),
    family(1, 0, &[&["total", "expense_other"]]),
    // Day, time or name go on from the clause before.
    family(1, 0, &[&["book", "remind_same"]]),
    family(1, 0, &[&["book", "event_same"]]),
    family(1, 0, &[&["remind", "event_same"]]),
    family(1, 0, &[&["add_event", "remind_same"]]),
    family(1, 0, &[&["add_event", "room_same"]]),
    family(1, 0, &[&["mail_amount", "contact_same"]]),
    // Both.
    family(1, 0, &[&["add_event", "note_room", "book_it"]]),
    family(1, 0, &[&["remind", "mail_room", "book_it"]]),
    family(1, 0, &[&["mail_room", "note_address", "mail_found_room"]]),
    family(1, 0, &[&["event", "note_address", "mail_found_time"]]),
    family(1, 0, &[&["total", "note_address", "mail_found_amount"]]),
];

/// Moves that need nothing from before: single calls, and the parts of independent requests in the lessons.
pub const SINGLES: &[&str] = &[
    "contact",
    "room",
    "free",
    "mail_amount",
    "mail_time",
    "mail_room",
    "note_time",
    "note_amount",
    "note_room",
    "note_address",
    "event",
    "total",
    "mail_to",
    "book",
    "book_or",
    "add_event",
    "cancel",
    "remind",
    "expense",
    "note",
];

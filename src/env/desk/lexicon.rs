//! Turns word lists into names, values and the closed lexicon of all that the desk ever writes.
//!
//! Words are few and closed, combinations many and open: a tokenizer with one token a word reads every name, address and
//! request in a handful of tokens, and no two splits share a name.
//!
//! # Invariants
//! Nothing the desk writes has a word outside [`lexicon`], except what an agent wrote and gets echoed.

use super::{lessons, moves, request, small_talk, tools, world};
use crate::base::seed::Rng;
use std::collections::BTreeSet;

/// Which part of the words and combinations a task may use; no two of `Train`, `Dev` and `Test` share a name or topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    Train,
    Dev,
    Test,
    /// Everything: what general text may use.
    All,
}

pub const DAYS: [&str; 5] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];

pub const TIMES: [&str; 20] = [
    "8:00", "8:30", "9:00", "9:30", "10:00", "10:30", "11:00", "11:30", "12:00", "12:30", "13:00", "13:30", "14:00",
    "14:30", "15:00", "15:30", "16:00", "16:30", "17:00", "17:30",
];

const FIRST: &[&str] = &[
    "Ana", "Ben", "Carla", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karin", "Leo", "Maria",
    "Nils", "Olga", "Paul", "Rosa", "Simon", "Tina", "Ugo", "Vera", "Walter", "Xenia", "Yusuf", "Zoe", "Adam", "Bella",
    "Carlos", "Dora", "Emil", "Fiona", "Georg", "Helen", "Ivan", "Julia", "Kevin", "Laura", "Martin", "Nora", "Oscar",
    "Petra", "Ralf", "Sara", "Tom", "Ursula", "Victor", "Wanda", "Yara", // dev
    "Alice", "Boris", "Clara", "Diego", "Edith", "Frank", "Gina", "Henry", "Ida", "Jakob", "Kira", "Lukas", "Mona",
    "Noah", "Olivia", "Peter", // test
    "Amir", "Bruno", "Celia", "Dimitri", "Eva", "Fatima", "Gustav", "Hanna", "Igor", "Jana", "Kamil", "Lena", "Marco",
    "Nadia", "Otto", "Paula", "Rafael", "Sofia", "Theo", "Uma", "Valentin", "Wilma", "Yves", "Zara", "Anton", "Birgit",
    "Cesar", "Daria", "Erik", "Frida", "Gabriel", "Heidi",
];
const FIRST_DEV: usize = 48;
const FIRST_TEST: usize = 64;

const LAST: &[&str] = &[
    "Silva", "Meyer", "Novak", "Rossi", "Tanaka", "Olsen", "Dubois", "Kowalski", "Haas", "Lopez", "Brown", "Fischer",
    "Santos", "Weber", "Moreau", "Jensen", "Costa", "Wagner", "Ivanov", "Murphy", "Becker", "Garcia", "Kumar",
    "Larsen", "Marino", "Nagy", "Ortiz", "Petrov", "Quinn", "Ramos", "Sato", "Torres", "Ueda", "Vogel", "Wolf",
    "Young", "Ziegler", "Adler", "Bauer", "Chen", "Diaz", "Engel", "Ferrari", "Gomez", "Huber", "Ito", "Janssen",
    "Klein", "Lang", "Mason", "Nguyen", "Owens", "Park", "Reyes", "Schmidt", "Taylor", "Urban", "Vargas", "White",
    "Yilmaz", "Zimmer", "Arnold", "Bianchi", "Clark", // dev
    "Davis", "Evans", "Flores", "Graf", "Horvat", "Irving", "Jung", "Keller", "Lambert", "Morris", "Neumann", "Oliver",
    "Peters", "Richter", "Sanders", "Thomas", "Varga", "Watson", "Yamada", "Zhang", // test
    "Ahmed", "Berg", "Conti", "Duran", "Ekman", "Fuchs", "Greco", "Hansen", "Ibarra", "Jordan", "Khan", "Lindberg",
    "Mendes", "Nilsson", "Okafor", "Pereira", "Ricci", "Suzuki", "Tamm", "Ulrich", "Vidal", "Winter", "Yates", "Zeman",
    "Alonso", "Bergman", "Castro", "Dietrich", "Esposito", "Franke", "Gruber", "Hoffman", "Iversen", "Jonsson",
    "Kruger", "Lehmann",
];
const LAST_DEV: usize = 64;
const LAST_TEST: usize = 84;

pub const ROOMS: &[&str] = &[
    "Oak", "Elm", "Birch", "Cedar", "Maple", "Pine", "Willow", "Ash", "Linden", "Beech", "Hazel", "Poplar", // dev
    "Alder", "Spruce", "Laurel", "Walnut", "Olive", "Rowan", // test
    "Cherry", "Juniper", "Larch", "Myrtle", "Aspen", "Yew", "Holly", "Chestnut",
];
const ROOM_DEV: usize = 12;
const ROOM_TEST: usize = 18;

/// First words of topics and titles.
const AREA: &[&str] = &[
    "budget",
    "sales",
    "travel",
    "project",
    "team",
    "client",
    "design",
    "office",
    "product",
    "quality",
    "safety",
    "summer",
    "winter",
    "market",
    "press",
    "supplier",
    "security",
    "website",
    "warehouse",
    "training",
];
const TOPIC: &[&str] = &[
    "report", "plan", "contract", "draft", "offer", "invoice", "schedule", "list", "survey", "letter", "budget",
    "poster", "form", "file", "order", "brief",
];
const TITLE: &[&str] = &[
    "review",
    "call",
    "lunch",
    "workshop",
    "meeting",
    "demo",
    "talk",
    "visit",
    "interview",
    "update",
    "session",
    "dinner",
];
const ITEM_KIND: &[&str] = &[
    "desk", "office", "travel", "team", "guest", "kitchen", "garden", "spare", "new", "small", "large", "paper",
    "metal", "wooden", "plastic", "green", "blue", "red",
];
const ITEM: &[&str] = &[
    "lamp", "chair", "shelf", "bag", "tray", "clock", "phone", "cable", "box", "table", "folder", "printer", "screen",
    "mug", "carpet", "board", "fan", "stamp",
];
const VERB: &[&str] = &["check", "sign", "print", "send", "finish", "copy", "read", "update", "discuss", "file"];

fn part<'a>(words: &'a [&'a str], pool: Pool, dev: usize, test: usize) -> &'a [&'a str] {
    match pool {
        Pool::Train => &words[..dev],
        Pool::Dev => &words[dev..test],
        Pool::Test => &words[test..],
        Pool::All => words,
    }
}

/// Of every five combinations one belongs to test and one to dev.
fn belongs(combination: usize, pool: Pool) -> bool {
    match pool {
        Pool::Train => combination % 5 >= 2,
        Pool::Dev => combination % 5 == 1,
        Pool::Test => combination.is_multiple_of(5),
        Pool::All => true,
    }
}

fn pair(first: &[&str], second: &[&str], between: &str, pool: Pool, rng: &mut Rng) -> String {
    loop {
        let (i, j) = (rng.below(first.len()), rng.below(second.len()));
        if belongs(i + 2 * j, pool) && first[i] != second[j] {
            return format!("{}{between}{}", first[i], second[j]);
        }
    }
}

impl Pool {
    pub fn name(self, rng: &mut Rng) -> String {
        let (first, last) = (self.first_name(rng), self.last_name(rng));
        format!("{first} {last}")
    }

    pub fn first_name(self, rng: &mut Rng) -> &'static str {
        rng.pick::<&str>(part(FIRST, self, FIRST_DEV, FIRST_TEST))
    }

    pub fn last_name(self, rng: &mut Rng) -> &'static str {
        rng.pick::<&str>(part(LAST, self, LAST_DEV, LAST_TEST))
    }

    pub fn rooms(self) -> &'static [&'static str] {
        part(ROOMS, self, ROOM_DEV, ROOM_TEST)
    }

    pub fn topic(self, rng: &mut Rng) -> String {
        pair(AREA, TOPIC, " ", self, rng)
    }

    pub fn title(self, rng: &mut Rng) -> String {
        pair(AREA, TITLE, " ", self, rng)
    }

    pub fn item(self, rng: &mut Rng) -> String {
        pair(ITEM_KIND, ITEM, " ", self, rng)
    }

    pub fn todo(self, rng: &mut Rng) -> String {
        pair(VERB, TOPIC, " the ", self, rng)
    }

    pub fn amount(self, rng: &mut Rng) -> u32 {
        loop {
            let amount = 11 + rng.below(289);
            if belongs(amount + amount / 10, self) {
                return u32::try_from(amount).expect("a small number");
            }
        }
    }
}

/// `silva17@desk`: the surname, two digits, the host.
pub fn address(name: &str, rng: &mut Rng) -> String {
    let surname = name.rsplit(' ').next().unwrap_or(name).to_ascii_lowercase();
    format!("{surname}{}@desk", 10 + rng.below(90))
}

/// Splits text into the units of a whole-word tokenizer: words (with `_`), times, single digits, `@desk`, newlines and
/// single punctuation marks. Spaces belong to what follows them.
pub fn words(text: &str) -> Vec<&str> {
    let mut units = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_alphabetic() {
            rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap_or(rest.len())
        } else if first.is_ascii_digit() {
            time_length(rest).unwrap_or(1)
        } else if rest.starts_with("@desk") {
            5
        } else {
            first.len_utf8()
        };
        if first != ' ' {
            units.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    units
}

/// The length of a time of day (`9:30`, `14:00`) at the start of a text.
fn time_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &bytes[digits..];
    let is_time =
        (1..=2).contains(&digits) && rest.len() >= 3 && rest[0] == b':' && rest[1..3].iter().all(u8::is_ascii_digit);
    is_time.then_some(digits + 3)
}

pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// A template without its slots.
fn plain(template: &str) -> String {
    let mut text = String::new();
    for piece in template.split('{') {
        text.push_str(piece.split_once('}').map_or(piece, |(_, after)| after));
        text.push(' ');
    }
    text
}

/// Words that prompts about the desk are written with, a critic's above all.
const PROMPTS: &str = "Request: Answer with one line: score: 0 to 4 yes or no - > < ... done all";

/// Every unit that the desk and the prompts about it write: words, names, times, digits, tool and argument names, punctuation. In order.
pub fn lexicon() -> Vec<String> {
    let mut units: BTreeSet<String> = ('0'..='9').map(String::from).collect();
    let lists: [&[&str]; 11] = [&DAYS, &TIMES, FIRST, LAST, ROOMS, AREA, TOPIC, TITLE, ITEM_KIND, ITEM, VERB];
    units.extend(lists.into_iter().flatten().map(|&word| word.to_owned()));
    units.extend(LAST.iter().map(|name| name.to_ascii_lowercase()));
    units.insert("@desk".to_owned());
    let phrases = moves::phrases().chain(request::phrases());
    for phrase in phrases {
        for text in [plain(phrase), plain(&capital(phrase))] {
            units.extend(words(&text).into_iter().map(str::to_owned));
        }
    }
    let fixed = tools::phrases().into_iter().chain(world::phrases().map(str::to_owned));
    for text in fixed.chain(lessons::phrases()).chain(small_talk::phrases().map(str::to_owned)) {
        units.extend(words(&plain(&text)).into_iter().map(str::to_owned));
    }
    units.extend(words(PROMPTS).into_iter().map(str::to_owned));
    units.into_iter().collect()
}

//! Ordinary talk at the office: no tool is needed to answer.

use super::lexicon::{DAYS, Pool, TIMES};
use crate::base::seed::Rng;

const TALK: &[(&str, &[&str])] = &[
    ("Good morning!", &["Good morning! How can I help?", "Good morning!"]),
    ("Hello!", &["Hello! How can I help?", "Hello!"]),
    ("How are you?", &["I am well, thank you.", "Very well. How can I help?"]),
    ("Thank you.", &["You are welcome."]),
    ("Thanks for your help.", &["You are welcome.", "I am glad to help."]),
    ("Are you there?", &["Yes, I am here.", "Yes. How can I help?"]),
    ("What can you do?", &["I can use the tools of the desk.", "I can find, book, plan and write things for you."]),
    ("Who are you?", &["I am the help at the desk."]),
    ("I am tired today.", &["Then take a short break.", "A short walk may help."]),
    ("It is cold in the office.", &["Then close the window.", "I am sorry to hear that."]),
    ("It is warm in the office.", &["Then open the window.", "I am sorry to hear that."]),
    ("The coffee is good.", &["I am glad to hear that."]),
    ("The meeting was long.", &["Then take a short break.", "I am sorry to hear that."]),
    ("See you later.", &["See you later.", "Goodbye!"]),
    ("Goodbye!", &["Goodbye!", "See you later."]),
    ("Have a good day.", &["You too.", "Thank you, you too."]),
    ("My name is {name}.", &["Hello, {name}!", "Good to meet you, {name}."]),
    ("{name} is here.", &["Say hello to {name} from me.", "Good to know."]),
    ("{name} is ill today.", &["I am sorry to hear that.", "I hope {name} is better soon."]),
    ("Please say {name}.", &["{name}."]),
    ("Do you like the {topic}?", &["Yes, the {topic} is good.", "I have not read the {topic}."]),
    ("The {topic} is ready.", &["Good to know.", "I am glad to hear that."]),
    ("The {title} was good.", &["I am glad to hear that."]),
    ("We need a {item}.", &["Good to know.", "A {item} is a good idea."]),
    ("Is {day} a day of the week?", &["Yes."]),
    ("Is {room} a room?", &["Yes, {room} is a room."]),
    ("Is {time} a time?", &["Yes, {time} is a time of the day."]),
    ("Which day comes after {day}?", &["{next_day}."]),
    ("Which time comes half an hour after {time}?", &["{next_time}."]),
    ("What is the last name of {name}?", &["{last}."]),
    ("What is the first name of {name}?", &["{first}."]),
    ("Repeat {address}.", &["{address}."]),
    ("Repeat {amount}.", &["{amount}."]),
];

/// Copying, pure: the list comes back as it was said.
pub const READ_BACK: &str = "Read back:";

pub fn phrases() -> impl Iterator<Item = &'static str> {
    TALK.iter().flat_map(|(said, replies)| replies.iter().chain([said])).copied().chain([READ_BACK, ", ."])
}

/// A remark and its reply.
pub fn exchange(rng: &mut Rng) -> (String, String) {
    let (said, replies) = rng.pick(TALK);
    let reply = *rng.pick(replies);
    let name = Pool::All.name(rng);
    let (first, last) = name.split_once(' ').expect("names have two words");
    let (day, time) = (rng.below(DAYS.len() - 1), rng.below(TIMES.len() - 1));
    let values = [
        ("{name}", name.clone()),
        ("{first}", first.to_owned()),
        ("{last}", last.to_owned()),
        ("{topic}", Pool::All.topic(rng)),
        ("{title}", Pool::All.title(rng)),
        ("{item}", Pool::All.item(rng)),
        ("{day}", DAYS[day].to_owned()),
        ("{next_day}", DAYS[day + 1].to_owned()),
        ("{time}", TIMES[time].to_owned()),
        ("{next_time}", TIMES[time + 1].to_owned()),
        ("{room}", (*rng.pick(Pool::All.rooms())).to_owned()),
        ("{address}", super::lexicon::address(&name, rng)),
        ("{amount}", Pool::All.amount(rng).to_string()),
    ];
    let fill = |text: &str| values.iter().fold(text.to_owned(), |text, (mark, value)| text.replace(mark, value));
    (fill(said), fill(reply))
}

/// A list of values and the same list.
pub fn read_back(rng: &mut Rng) -> (String, String) {
    let value = |rng: &mut Rng| match rng.below(8) {
        0 => Pool::All.name(rng),
        1 => super::lexicon::address(&Pool::All.name(rng), rng),
        2 => (*rng.pick(&TIMES)).to_owned(),
        3 => (*rng.pick(Pool::All.rooms())).to_owned(),
        4 => Pool::All.amount(rng).to_string(),
        5 => Pool::All.topic(rng),
        6 => Pool::All.title(rng),
        _ => Pool::All.item(rng),
    };
    let values: Vec<String> = (0..1 + rng.below(4)).map(|_| value(rng)).collect();
    let list = values.join(", ");
    (format!("{READ_BACK} {list}."), format!("{list}."))
}

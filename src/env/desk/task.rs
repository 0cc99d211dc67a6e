//! Turns a family, a pool of words and a seed into a task: request, granted tools, and a hidden goal with its plan.
//!
//! # Invariants
//! The goal is what the plan does when it is really carried out in the task's office; so every task can be solved.
//! The fields of what is hidden stand in the order of their names, as [`Hidden::of`] wants them.

use super::lexicon::{DAYS, Pool, TIMES, capital};
use super::moves::{Move, Value, by_key};
use super::request::{join, phrasings};
use super::tools::{Office, Tool};
use super::world::World;
use crate::base::seed::Rng;
use crate::env::{Call, Hidden, Task};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// What only metrics know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What the answer must say.
    pub answers: Vec<Answer>,
    /// Canonical calls that must have changed something, each exactly once, and nothing else.
    pub effects: Vec<String>,
    pub granted: Vec<Tool>,
    pub plan: Vec<Step>,
    pub world: World,
}

/// One call of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub arguments: BTreeMap<String, Source>,
    pub finds: Option<Value>,
    /// Independent parts of a request are counted from 0.
    pub part: usize,
    pub tool: Tool,
}

/// Where an argument comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Said(String),
    /// The value found by the step of this number.
    Found(usize),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub kind: Value,
    /// The step that finds it.
    pub step: usize,
    pub value: String,
}

/// A task before it has an id.
#[derive(Clone, Debug)]
pub struct Draft {
    pub request: String,
    pub goal: Goal,
}

impl Step {
    /// The call, given what the steps before found.
    pub fn call(&self, found: &[String]) -> Call {
        let text = |source: &Source| match source {
            Source::Said(text) => text.clone(),
            Source::Found(step) => found.get(*step).cloned().unwrap_or_default(),
        };
        let arguments = self.arguments.iter().map(|(name, source)| (name.clone(), text(source))).collect();
        Call { name: self.tool.name().to_owned(), arguments }
    }
}

/// The value at the end of an observation.
pub fn found_value(observation: &str) -> String {
    observation.rsplit(' ').next().unwrap_or_default().to_owned()
}

impl Draft {
    pub fn tools(&self) -> Vec<String> {
        self.goal.granted.iter().map(|tool| tool.signature()).collect()
    }

    pub fn into_task(self, id: String) -> Task {
        let tools = self.tools().into_iter().map(Json::String).collect();
        let mut fields = Map::new();
        fields.insert("request".to_owned(), Json::String(self.request));
        fields.insert("tools".to_owned(), Json::Array(tools));
        let hidden = Hidden::of(&Secret { goal: self.goal });
        Task { id, fields, hidden }
    }
}

/// The goal of a task; `None` when the task is not one of ours.
pub fn goal(task: &Task) -> Option<Goal> {
    task.hidden.read().map(|Secret { goal }| goal)
}

/// The hidden part of a task.
#[derive(Serialize, Deserialize)]
struct Secret {
    goal: Goal,
}

type Slots = BTreeMap<&'static str, String>;

/// Makes a task of the moves of some parts.
pub fn compose(parts: &[&[&str]], pool: Pool, rng: &mut Rng) -> Draft {
    let mut world = World::new(pool, rng);
    let (mut plan, mut clauses) = (Vec::new(), Vec::new());
    for (part, keys) in parts.iter().enumerate() {
        let moves: Vec<&Move> = keys.iter().map(|key| by_key(key)).collect();
        let mut slots = Slots::new();
        for (place, step) in moves.iter().enumerate() {
            let used = step.finds.is_some_and(|value| {
                let mut later = moves[place + 1..].iter().flat_map(|step| step.arguments);
                later.any(|(_, slot)| slot.strip_prefix('$') == Some(value.noun()))
            });
            clauses.push(clause(step, used, &mut slots, pool, &world, rng));
        }
        let first = plan.len();
        for step in moves {
            prepare(step, &slots, &mut world, pool, rng);
            plan.push(plan_step(step, step.arguments, &slots, &plan[first..], first, part));
            if let Some(otherwise) = step.otherwise
                && is_refused(&world, &slots)
            {
                plan.push(plan_step(step, otherwise, &slots, &[], first, part));
            }
        }
    }
    let request = join(&clauses, pool, rng);
    let granted = grant(&plan, rng);
    let (effects, answers) = carry_out(&world, &granted, &plan);
    Draft { request, goal: Goal { world, granted, plan, effects, answers } }
}

/// The words for one move; fills the slots it needs.
fn clause(step: &Move, used: bool, slots: &mut Slots, pool: Pool, world: &World, rng: &mut Rng) -> String {
    let (says, asks) = (phrasings(step.says, pool), phrasings(step.asks, pool));
    let ask = step.finds.is_some() && !used;
    // A look-up whose value nobody uses is asked for, mostly in so many words.
    let phrase = if ask && !asks.is_empty() && rng.chance(0.8) { rng.pick(asks) } else { rng.pick(says) };
    let mut text = (*phrase).to_owned();
    for slot in [
        "name", "day", "time", "people", "topic", "about", "title", "item", "thing", "todo", "amount", "room",
        "second", "address",
    ] {
        let mark = format!("{{{slot}}}");
        if text.contains(&mark) {
            let value = slots.entry(slot).or_insert_with(|| draw(slot, pool, world, rng));
            text = text.replace(&mark, value);
        }
    }
    text
}

fn draw(slot: &str, pool: Pool, world: &World, rng: &mut Rng) -> String {
    match slot {
        "name" => pool.name(rng),
        "day" => (*rng.pick(&DAYS)).to_owned(),
        "time" => (*rng.pick(&TIMES)).to_owned(),
        "people" => (2 + rng.below(11)).to_string(),
        "topic" | "about" => pool.topic(rng),
        "title" => pool.title(rng),
        "item" | "thing" => pool.item(rng),
        "todo" => pool.todo(rng),
        "amount" => pool.amount(rng).to_string(),
        // Two different ones: `room` is of the first half, `second` of the other.
        "room" => rng.pick(&world.rooms[..world.rooms.len() / 2]).name.clone(),
        "second" => rng.pick(&world.rooms[world.rooms.len() / 2..]).name.clone(),
        "address" => rng.pick(&world.contacts).address.clone(),
        other => unreachable!("the slot `{other}` has no values"),
    }
}

/// Puts into the office what a move needs, and a look-alike or two.
fn prepare(step: &Move, slots: &Slots, world: &mut World, pool: Pool, rng: &mut Rng) {
    let slot = |name: &str| slots.get(name).map(String::as_str).unwrap_or_default();
    match step.tool {
        Tool::FindContact | Tool::FreeTime | Tool::ReadMail => {
            let name = slot("name").to_owned();
            let mut halves = name.split(' ');
            let (first, last) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            if !world.contacts.iter().any(|contact| contact.name == name) {
                world.meet(&name, rng);
                let namesake = format!("{first} {}", pool.last_name(rng));
                world.meet(&namesake, rng);
                let relative = format!("{} {last}", pool.first_name(rng));
                world.meet(&relative, rng);
            }
            if let (Tool::ReadMail, Some(kind)) = (step.tool, step.finds) {
                let other = [pool.item(rng), pool.title(rng)];
                let about =
                    [("item", 0), ("title", 1)].map(|(name, place)| slots.get(name).unwrap_or(&other[place]).as_str());
                world.write_mail(&name, kind, about, pool, rng);
            }
        }
        Tool::SearchNotes => {
            let kind = step.finds.expect("notes are searched for a value");
            world.write_note(slot("topic"), kind, pool, rng);
        }
        Tool::FindEvent | Tool::CancelEvent => {
            DAYS.iter()
                .filter(|day| **day == slot("day") || rng.chance(0.2))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|day| world.plan_event(slot("title"), day, rng));
        }
        Tool::TotalExpenses => {
            (0..1 + rng.below(2)).for_each(|_| world.expenses.push((slot("item").to_owned(), pool.amount(rng))));
        }
        Tool::BookRoom if step.otherwise.is_some() => {
            if rng.chance(0.6) {
                world.taken.push(["room", "day", "time"].map(|name| slot(name).to_owned()).into());
            }
        }
        Tool::SendMail | Tool::FindRoom | Tool::BookRoom | Tool::AddEvent => {}
        Tool::AddNote | Tool::SetReminder | Tool::AddExpense => {}
    }
}

fn is_refused(world: &World, slots: &Slots) -> bool {
    let wanted = ["room", "day", "time"].map(|name| slots.get(name).cloned().unwrap_or_default());
    world.taken.contains(&wanted.into())
}

fn plan_step(
    step: &Move,
    arguments: &[(&'static str, &'static str)],
    slots: &Slots,
    before: &[Step],
    first: usize,
    part: usize,
) -> Step {
    let source = |slot: &str| match slot.strip_prefix('$') {
        None => Source::Said(slots.get(slot).cloned().expect("a phrase mentions every slot that its move needs")),
        Some(noun) => {
            let found = before.iter().rposition(|step| step.finds.is_some_and(|value| value.noun() == noun));
            Source::Found(first + found.expect("a family finds what it uses"))
        }
    };
    let arguments = arguments.iter().map(|(name, slot)| ((*name).to_owned(), source(slot))).collect();
    Step { tool: step.tool, arguments, finds: step.finds, part }
}

/// The tools of the plan and two or three more, shuffled.
fn grant(plan: &[Step], rng: &mut Rng) -> Vec<Tool> {
    let mut granted: Vec<Tool> = Vec::new();
    for step in plan {
        if !granted.contains(&step.tool) {
            granted.push(step.tool);
        }
    }
    let mut others: Vec<Tool> = Tool::ALL.into_iter().filter(|tool| !granted.contains(tool)).collect();
    rng.shuffle(&mut others);
    granted.extend(others.into_iter().take(2 + rng.below(2)));
    rng.shuffle(&mut granted);
    granted
}

/// What the plan changes and finds when it is carried out.
fn carry_out(world: &World, granted: &[Tool], plan: &[Step]) -> (Vec<String>, Vec<Answer>) {
    let mut office = Office::new(world.clone(), granted.to_vec());
    let mut found = Vec::new();
    for step in plan {
        found.push(found_value(&office.call(&step.call(&found))));
    }
    let used = |index: usize| {
        plan.iter().flat_map(|step| step.arguments.values()).any(|source| *source == Source::Found(index))
    };
    let asked = plan.iter().enumerate().filter(|(index, _)| !used(*index));
    let answer = |(step, kind): (usize, Value)| Answer { step, kind, value: found[step].clone() };
    let answers = asked.filter_map(|(index, step)| Some((index, step.finds?))).map(answer).collect();
    (office.effects, answers)
}

/// What the assistant says in the end: every asked value in a short sentence, or that all is done.
pub fn answer_text(answers: &[(Value, String)]) -> String {
    if answers.is_empty() {
        return "Done.".to_owned();
    }
    let sentence = |(kind, value): &(Value, String)| format!("The {} is {value}.", kind.noun());
    capital(&answers.iter().map(sentence).collect::<Vec<_>>().join(" "))
}

impl Goal {
    /// For a task that is not one of ours: no tool is granted and nothing can succeed.
    pub fn nothing() -> Self {
        let answers = vec![Answer { step: 0, kind: Value::Room, value: String::new() }];
        Self { world: World::default(), granted: Vec::new(), plan: Vec::new(), effects: Vec::new(), answers }
    }
}

//! Turns rows into the tasks of an environment's splits.
//!
//! A row that says its `split` is of that one, and of none where that is not declared; all others are dealt out to the splits in
//! the order of the file.
//!
//! # Invariants
//! What a field's readers do not include the agent or the critic for is hidden, and so is what is not declared.

use super::Outside;
use crate::base::file;
use crate::env::schema::{self, Field, FieldType, Visibility};
use crate::env::{Hidden, Split, Task, Unopened};
use litemap::LiteMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// A file of tasks is held in memory.
pub const MOST_TASKS: u64 = 1 << 30;
/// What tasks are called by that a server numbers itself.
pub const NUMBERS: [&str; 2] = ["index", "seed"];

#[derive(Debug)]
pub struct Tasks {
    splits: LiteMap<String, Vec<Task>>,
    places: LiteMap<String, (String, u32)>,
}

impl Tasks {
    /// Of the rows that something gives.
    ///
    /// # Errors
    /// A row that is not as declared; an id twice; too few.
    pub fn of_rows(rows: Vec<Value>, outside: &Outside, splits: &[Split]) -> Result<Self, Unopened> {
        let (mut own, mut common) = (LiteMap::<String, Vec<Task>>::new(), Vec::new());
        for (at, row) in rows.into_iter().enumerate() {
            let bad = |why: String| Unopened::Unreadable(format!("task {}: {why}", at + 1));
            let row = match row {
                Value::Object(row) => row,
                // A name alone.
                id @ Value::String(_) => Map::from_iter([("id".to_owned(), id)]),
                _ => return Err(bad("it is no object".to_owned())),
            };
            schema::fits(&row, &outside.schema.task, "").map_err(bad)?;
            let split = match row.get("split") {
                None => None,
                Some(Value::String(split)) => Some(split.clone()),
                Some(_) => return Err(bad("`split` is no text".to_owned())),
            };
            let id = match row.get("id") {
                Some(Value::String(id)) if !id.is_empty() => id.clone(),
                Some(Value::Number(id)) => id.to_string(),
                // A file may leave names to the places of its rows. A program is asked for a task by its name.
                None if outside.tasks.is_some() => format!("task-{:05}", at + 1),
                None => return Err(bad("it has no `id`".to_owned())),
                Some(_) => return Err(bad("`id` is neither a text that says something nor a number".to_owned())),
            };
            let task = task(id, row, &outside.schema.task);
            match split {
                Some(split) => own.entry(split).or_insert_with(Vec::new).push(task),
                None => common.push(task),
            }
        }
        let mut common = common.into_iter();
        let mut of = LiteMap::new();
        for Split { name, size, held_out: _ } in splits {
            let mut tasks = own.remove(name).unwrap_or_default();
            tasks.truncate(*size as usize);
            tasks.extend(common.by_ref().take(*size as usize - tasks.len()));
            if tasks.len() < *size as usize {
                let (split, wanted, has) = (name.clone(), *size as usize, tasks.len());
                return Err(Unopened::SplitTooFew { split, wanted, has });
            }
            of.insert(name.clone(), tasks);
        }
        Self::placed(of)
    }

    /// Of an environment that numbers its tasks itself: splits one after another.
    pub fn numbered(outside: &Outside, splits: &[Split]) -> Self {
        let mut next = 0u64;
        let mut task = |split: &str, at: u32| {
            let id = format!("{split}-{at:04}");
            let all: Map<String, Value> = std::iter::once(("id".to_owned(), json!(id)))
                .chain(NUMBERS.map(|name| (name.to_owned(), json!(next))))
                .collect();
            next += 1;
            self::task(id, all, &outside.schema.task)
        };
        let of = |split: &Split| (split.name.clone(), (0..split.size).map(|at| task(&split.name, at)).collect());
        Self::placed(splits.iter().map(of).collect()).expect("no name is there twice")
    }

    fn placed(splits: LiteMap<String, Vec<Task>>) -> Result<Self, Unopened> {
        let mut seen = BTreeSet::new();
        let tasks = splits.iter().flat_map(|(split, tasks)| (0..).zip(tasks).map(move |(at, task)| (split, at, task)));
        let mut places = Vec::new();
        for (split, at, task) in tasks {
            if !seen.insert(&task.id) {
                return Err(Unopened::Unreadable(format!("two tasks have the id `{}`", task.id)));
            }
            places.push((task.id.clone(), (split.clone(), at)));
        }
        Ok(Self { places: places.into_iter().collect(), splits })
    }

    pub fn all(&self) -> impl Iterator<Item = &Task> {
        self.splits.values().flatten()
    }

    /// # Panics
    /// When the split is not declared: references are checked before.
    pub fn split(&self, name: &str) -> &[Task] {
        self.splits.get(name).expect("it is declared")
    }

    pub fn place(&self, split: &str, id: &str) -> Option<u32> {
        self.places.get(id).filter(|(of, _)| of == split).map(|(_, at)| *at)
    }
}

/// The rows of a file.
///
/// # Errors
/// One that cannot be read, or a line that is no JSON.
pub fn rows(path: &Path) -> Result<Vec<Value>, Unopened> {
    let fail = |why: String| Unopened::Unreadable(format!("{}: {why}", path.display()));
    let text = file::read_text(path, MOST_TASKS).map_err(|problem| fail(file::reason(&problem)))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(at, line)| serde_json::from_str(line).map_err(|problem| fail(format!("line {}: {problem}", at + 1)));
    lines.map(row).collect()
}

/// The whole of a task: what an environment may be told, which is not the agent.
pub fn whole(task: &Task) -> Map<String, Value> {
    let mut row: Map<String, Value> = task.hidden.read().unwrap_or_default();
    merge(&mut row, task.fields.clone());
    row
}

fn merge(into: &mut Map<String, Value>, seen: Map<String, Value>) {
    for (name, value) in seen {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(value)) => merge(into, value),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

fn task(id: String, row: Map<String, Value>, fields: &[Field]) -> Task {
    let (fields, hidden) = parted(row, fields);
    Task { id, fields, hidden: Hidden::from(Value::Object(hidden)) }
}

/// What somebody may see, and all else.
fn parted(row: Map<String, Value>, fields: &[Field]) -> (Map<String, Value>, Map<String, Value>) {
    let (mut seen, mut hidden) = (Map::new(), Map::new());
    for (name, value) in row {
        match (fields.iter().find(|field| field.name == name), value) {
            (Some(Field { ty: FieldType::Record(within), .. }), Value::Object(value)) => {
                let (shown, rest) = parted(value, within);
                seen.insert(name.clone(), Value::Object(shown));
                if !rest.is_empty() {
                    hidden.insert(name, Value::Object(rest));
                }
            }
            (Some(field), value) if field.visible != Visibility::NONE => {
                seen.insert(name, value);
            }
            (_, value) => {
                hidden.insert(name, value);
            }
        }
    }
    (seen, hidden)
}

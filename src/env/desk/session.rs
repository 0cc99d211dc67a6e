//! The desk on the process protocol.

use super::Desk;
use super::episode::DeskEpisode;
use super::task::goal;
use crate::env::call::json::texts;
use crate::env::session::{Fields, Host, json};
use crate::env::{Action, Call, EnvKind, EnvSpec, Observation, PureEpisode, Split, Truth};
use serde_json::{Map, Value};

/// The splits that an experiment customarily has: their words and combinations are apart.
const SPLITS: [(&str, bool); 3] = [("train", false), ("dev", false), ("test", true)];

pub struct DeskHost {
    desk: Desk,
}

impl DeskHost {
    /// With so many tasks a split.
    pub fn new(size: u32) -> Self {
        let split = |(name, held_out): (&str, bool)| Split { name: name.to_owned(), size, held_out };
        let splits = SPLITS.map(split).into();
        Self { desk: Desk::new(&EnvSpec { kind: EnvKind::Desk, splits, max_steps: 0 }) }
    }
}

impl Host for DeskHost {
    type Arguments = Map<String, Value>;
    type Open = DeskEpisode;

    fn tasks(&self) -> Vec<String> {
        let of = |(split, _): (&'static str, bool)| {
            (0..self.desk.split(split).size).map(move |index| super::id_of(split, index))
        };
        SPLITS.into_iter().flat_map(of).collect()
    }

    fn reset(&self, task: Option<&str>, level: Option<u32>) -> Result<(Fields, DeskEpisode), String> {
        if level.is_some() {
            return Err("the desk has no levels".to_owned());
        }
        let id = task.ok_or("an episode of the desk needs a `task`")?;
        let place = SPLITS.iter().find_map(|(split, _)| Some((split, self.desk.place(split, id)?)));
        let (split, index) = place.ok_or_else(|| format!("there is no task `{id}`"))?;
        let task = self.desk.task(split, index);
        let goal = goal(&task).expect("the desk made it");
        let said = vec![("observation", json(&task.fields["request"])), ("tools", json(&task.fields["tools"]))];
        Ok((said, DeskEpisode::new(goal)))
    }

    fn call(open: &mut DeskEpisode, name: &str, arguments: Self::Arguments) -> Result<Fields, String> {
        Ok(vec![("result", json(&open.office.call(&call(name, arguments))))])
    }

    fn step(open: &mut DeskEpisode, name: &str, arguments: Self::Arguments) -> Result<Observation, String> {
        Ok(PureEpisode::step(open, &Action::Call(call(name, arguments))))
    }

    fn say(open: &mut DeskEpisode, text: &str) -> Observation {
        PureEpisode::step(open, &Action::Answer(text.to_owned()))
    }

    fn is_done(open: &DeskEpisode) -> bool {
        open.is_done()
    }

    fn truth(open: &DeskEpisode) -> Truth {
        PureEpisode::truth(open)
    }
}

fn call(name: &str, arguments: Map<String, Value>) -> Call {
    Call { name: name.to_owned(), arguments: texts(arguments) }
}

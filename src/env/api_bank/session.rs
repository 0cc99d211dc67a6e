//! API-Bank on the process protocol.

use super::episode::{ApiBankEpisode, Goal};
use super::tools::Raised;
use super::value::{Text, Value};
use super::{Level, Library, Mode};
use crate::env::session::{Fields, Host, json};
use crate::env::{Observation, Truth};
use std::sync::Arc;

pub struct ApiBankHost {
    pub library: Arc<Library>,
    pub mode: Mode,
}

/// What a call is given; nothing where it is left out.
#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Arguments(Option<Value>);

impl Arguments {
    fn given(&self) -> Result<Vec<(Text, Value)>, String> {
        match &self.0 {
            None => Ok(Vec::new()),
            Some(arguments) => Ok(arguments.as_dict().ok_or("`arguments` is not an object")?.arguments()),
        }
    }
}

impl Host for ApiBankHost {
    type Arguments = Arguments;
    type Open = ApiBankEpisode;

    fn tasks(&self) -> Vec<String> {
        Goal::all(&self.library, 1..=3).into_iter().map(|goal| goal.id(&self.library)).collect()
    }

    fn reset(&self, task: Option<&str>, level: Option<u32>) -> Result<(Fields, ApiBankEpisode), String> {
        let Self { library, mode } = self;
        let Some(id) = task else {
            let level = match level {
                None | Some(1 | 2) => Level::General,
                Some(3) => Level::Three,
                Some(other) => return Err(format!("there is no level {other}")),
            };
            return Ok((Vec::new(), ApiBankEpisode::new(library, level, *mode)));
        };
        let goal = Goal::read(library, id).ok_or_else(|| format!("there is no task `{id}`"))?;
        let tools = Value::list(goal.tools(library).into_iter().map(Value::str).collect());
        let said = Value::str(goal.exchanges(library).remove(0).said);
        Ok((vec![("observation", said.json()), ("tools", tools.json())], ApiBankEpisode::of(library, goal, *mode)))
    }

    fn call(open: &mut ApiBankEpisode, name: &str, arguments: Arguments) -> Result<Fields, String> {
        Ok(match open.call(name, arguments.given()?) {
            Ok(result) => vec![("result", result.json())],
            Err(Raised { kind, message }) => vec![("raised", json(kind)), ("message", json(&message))],
        })
    }

    fn step(open: &mut ApiBankEpisode, name: &str, arguments: Arguments) -> Result<Observation, String> {
        Ok(Observation::told(ApiBankEpisode::observation(&open.call(name, arguments.given()?))))
    }

    fn say(open: &mut ApiBankEpisode, text: &str) -> Observation {
        open.answer(text).map_or_else(Observation::done, Observation::asked)
    }

    fn is_done(open: &ApiBankEpisode) -> bool {
        open.is_done()
    }

    fn truth(open: &ApiBankEpisode) -> Truth {
        open.figures()
    }
}

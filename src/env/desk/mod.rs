//! The desk: a procedurally generated office, with calendar, mail, contacts, rooms, expenses, notes and reminders.

use super::{EnvSpec, Episode, Example, Schema, Task};
use crate::base::Digest;

#[derive(Debug)]
pub struct Desk {}

impl Desk {
    pub fn new(_spec: &EnvSpec) -> Self {
        todo!()
    }
    pub fn digest(&self) -> Digest {
        todo!()
    }
    pub fn tasks(&self, _split: &str) -> Vec<Task> {
        todo!()
    }
    pub fn start(&self, _task: &Task) -> Box<dyn Episode> {
        todo!()
    }
    pub fn examples(&self, _offer: &str, _count: u32) -> Vec<Example> {
        todo!()
    }
}

pub fn schema() -> &'static Schema {
    todo!()
}

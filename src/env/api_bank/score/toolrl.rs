//! ToolRL's rule: any call of the reply has the recorded name and arguments.

use super::calls::{Meant, meant};
use super::{Asked, Reply, Rule, Status, response, row};
use crate::env::api_bank::Library;
use crate::env::api_bank::dialogues::Turn;
use crate::env::api_bank::value::{Dict, Value};
use rayon::prelude::*;
use std::collections::BTreeMap;

type Place = (String, usize);

/// Of a level its recorded answers, each one call.
fn answers(library: &Library, level: u32) -> BTreeMap<Place, Value> {
    let number = |of: &Value, name: &str| match of.get(name) {
        Some(Value::Int(it)) => usize::try_from(*it).ok(),
        _ => None,
    };
    // Of level 2 the number counts the calls that search for no tool.
    let turn = |file: &str, call: usize| {
        let dialogue = library.dialogues[1].iter().find(|dialogue| dialogue.file == file)?;
        let is_call = |turn: &Turn| turn.call().is_some_and(|call| call.name.as_ref() != "ToolSearcher");
        let calls = dialogue.turns.iter().enumerate().filter(|(_, turn)| is_call(turn));
        calls.map(|(place, _)| place).nth(call)
    };
    let place = |row: &Value| -> Option<Place> {
        let other = row.get("other")?;
        match other.get("file").map(Value::display) {
            Some(file) if level == 2 => turn(&file, number(other, "id")?).map(|turn| (file, turn)),
            Some(file) => Some((file, number(other, "id")?)),
            None => Some((number(other, "sample_id")?.to_string(), number(other, "api_id")?)),
        }
    };
    let answer = |row: &Value| {
        let answer = row.get("answer")?;
        Some(answer.as_list().and_then(<[_]>::first).unwrap_or(answer).clone())
    };
    library.toolrl[level as usize - 1].iter().filter_map(|row| Some((place(row)?, answer(row)?))).collect()
}

pub fn wanted(library: &Library, level: u32) -> BTreeMap<Place, String> {
    let name = |answer: &Value| answer.get("name").map(Value::display).unwrap_or_default();
    answers(library, level).iter().map(|(place, answer)| (place.clone(), name(answer))).collect()
}

pub fn statuses(library: &Library, replies: &[Reply], asked: &[Asked]) -> Vec<Status> {
    let answers: Vec<BTreeMap<Place, Value>> = (1..=3).map(|level| answers(library, level)).collect();
    let status = |(reply, asked): (&Reply, &Asked)| {
        if asked.call(library).is_none() {
            return Status::Response(response(library, *asked, &reply.pred));
        }
        match answers[reply.level as usize - 1].get(&row(Rule::Toolrl, reply, *asked)) {
            Some(answer) => matched(answer, &meant(&reply.pred)),
            None => Status::NotCounted,
        }
    };
    replies.par_iter().zip(asked).map(status).collect()
}

fn matched(answer: &Value, calls: &[Meant]) -> Status {
    let none = Dict::default();
    let (name, wanted) = (answer.get("name"), answer.get("parameters").and_then(Value::as_dict).unwrap_or(&none));
    // What API-Bank's notation gives is text; a number is meant where one was recorded.
    let same = |given: &Value, wanted: &Value| given == wanted || given.as_str() == Some(&wanted.display());
    let fits = |call: &Meant| {
        let each =
            |(name, value): &(super::super::value::Text, Value)| wanted.get(name).is_some_and(|it| same(value, it));
        call.arguments.len() == wanted.len() && call.arguments.iter().all(each)
    };
    let named: Vec<&Meant> =
        calls.iter().filter(|call| Some(call.name.as_str()) == name.and_then(Value::as_str)).collect();
    if calls.is_empty() {
        Status::NoApiCall
    } else if named.is_empty() {
        Status::ApiNameMismatch
    } else if named.into_iter().any(fits) {
        Status::Correct
    } else {
        Status::InputMismatch
    }
}

//! The original's evaluators: `evaluator_by_json` for levels 1 and 2, `lv3_evaluator` for level 3.

use super::{Asked, Reply, Status, response};
use crate::env::api_bank::dialogues::Recorded;
use crate::env::api_bank::parse::{Found, api_call, parameters};
use crate::env::api_bank::tools::check::{Pair, left_of};
use crate::env::api_bank::tools::tool_searcher::split_name;
use crate::env::api_bank::value::{Text, Value};
use crate::env::api_bank::{Level, Library, Network, World};
use rayon::prelude::*;
use std::sync::Arc;

pub fn statuses(library: &Arc<Library>, replies: &[Reply], asked: &[Asked]) -> Vec<Status> {
    let rows: Vec<(&Reply, Asked)> = replies.iter().zip(asked.iter().copied()).collect();
    let fresh = |(reply, asked): &(&Reply, Asked)| match asked {
        Asked::Turn { dialogue, turn } => Some(match dialogue.turns[*turn].call() {
            None => Status::Response(response(library, *asked, &reply.pred)),
            Some(gold) => general(library, gold, &reply.pred),
        }),
        Asked::Answer { .. } => Some(Status::Response(response(library, *asked, &reply.pred))),
        Asked::Call { .. } => None,
    };
    let fresh: Vec<Option<Status>> = rows.par_iter().map(fresh).collect();
    // Level 3 has one world for all, in the order of the replies.
    let mut world = World::new(library, Level::Three, Network::Down);
    let mut next = |(reply, asked): &(&Reply, Asked)| match asked {
        Asked::Call { sample, call } => three(&mut world, &library.samples[*sample].calls[*call], &reply.pred),
        _ => Status::NotCounted,
    };
    rows.iter().zip(fresh).map(|(row, status)| status.unwrap_or_else(|| next(row))).collect()
}

fn texts(found: &Found) -> Vec<(Text, Value)> {
    parameters(found.inside).into_iter().map(|(name, value)| (name.into(), Value::str(value))).collect()
}

/// A call of level 1 or 2, in a world of its own.
pub fn general(library: &Arc<Library>, gold: &Recorded, pred: &str) -> Status {
    let Some(found) = api_call(pred) else { return Status::NoApiCall };
    if found.name != gold.name.as_ref() {
        return Status::ApiNameMismatch;
    }
    let mut world = World::new(library, Level::General, Network::Down);
    match world.call(found.name, texts(&found)) {
        Err(raised) => Status::of(raised),
        Ok(result) => compared(&world, &gold.name, &result, &gold.result),
    }
}

/// A result beside the recorded one, with the class of what differs.
pub fn compared(world: &World, tool: &str, result: &Value, gold: &Value) -> Status {
    let Some(spec) = world.suite().specs.get(tool) else { return Status::Unclassified };
    match (spec.tool.check)(&Pair { response: result, gold }) {
        Ok(true) => return Status::Correct,
        Ok(false) => {}
        Err(raised) if raised.kind == "KeyError" => return Status::KeyError,
        Err(raised) => return Status::of(raised),
    }
    // The meetings' check takes the topic out of both.
    let taken = matches!(tool, "AddMeeting" | "ModifyMeeting" | "QueryMeeting").then_some("meeting_topic");
    let (result, gold) = (left_of(result, taken), left_of(gold, taken));
    let same = |key: &str| result.get(key) == gold.get(key);
    if result.get("exception").is_some_and(Value::truthy) {
        Status::HasException
    } else if !same("output") {
        Status::OutputMismatch
    } else if !same("input") {
        Status::InputMismatch
    } else {
        Status::Unclassified
    }
}

fn three(world: &mut World, gold: &Recorded, pred: &str) -> Status {
    let Some(found) = api_call(pred) else { return Status::NoApiCall };
    let mut arguments = texts(&found);
    if found.name == "ToolSearcher" {
        match arguments.iter_mut().rfind(|(name, _)| name.as_ref() == "keywords") {
            Some((_, keywords)) => *keywords = Value::str(split_name(&keywords.display())),
            None => return Status::KeyError,
        }
    }
    match world.call(found.name, arguments) {
        Err(raised) if raised.message == "invalid tool name." => Status::ApiNameMismatch,
        Err(raised) => Status::of(raised),
        Ok(result) => match compared(world, &gold.name, &result, &gold.result) {
            Status::Unclassified | Status::InputMismatch | Status::OutputMismatch
                if found.name != gold.name.as_ref() =>
            {
                Status::ApiNameMismatch
            }
            status => status,
        },
    }
}

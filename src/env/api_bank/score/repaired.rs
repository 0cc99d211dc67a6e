//! The repaired rule: a call is made where the dialogue had come to, with its lists read as lists.

use super::calls::{made, meant};
use super::official::compared;
use super::{Asked, Reply, Status, response};
use crate::env::api_bank::dialogues::Recorded;
use crate::env::api_bank::{Level, Library, Network, World};
use rayon::prelude::*;
use std::sync::Arc;

pub fn statuses(library: &Arc<Library>, replies: &[Reply], asked: &[Asked]) -> Vec<Status> {
    let rows: Vec<(&Reply, Asked)> = replies.iter().zip(asked.iter().copied()).collect();
    rows.par_iter().map(|(reply, asked)| status(library, *asked, &reply.pred)).collect()
}

pub fn status(library: &Arc<Library>, asked: Asked, pred: &str) -> Status {
    let Some(gold) = asked.call(library) else { return Status::Response(response(library, asked, pred)) };
    let mut world = before(library, asked);
    let calls = meant(pred);
    let Some(call) = calls.into_iter().next() else { return Status::NoApiCall };
    if call.name != gold.name.as_ref() {
        return Status::ApiNameMismatch;
    }
    match made(&mut world, &call.name, call.arguments) {
        Err(raised) => Status::of(raised),
        Ok(result) => compared(&world, &gold.name, &result, &gold.result),
    }
}

/// The world after the calls that were made before.
fn before(library: &Arc<Library>, asked: Asked) -> World {
    let (level, earlier): (Level, Vec<&Recorded>) = match asked {
        Asked::Turn { dialogue, turn } => {
            (Level::General, dialogue.turns[..turn].iter().filter_map(|turn| turn.call()).collect())
        }
        Asked::Call { sample, call } => (Level::Three, library.samples[sample].calls[..call].iter().collect()),
        Asked::Answer { .. } => (Level::Three, Vec::new()),
    };
    let mut world = World::new(library, level, Network::Down);
    // What a search found changes nothing.
    for call in earlier.into_iter().filter(|call| call.name.as_ref() != "ToolSearcher") {
        // A recorded call that raises changed nothing either.
        let _ = made(&mut world, &call.name, call.arguments.arguments());
    }
    world
}

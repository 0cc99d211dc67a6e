//! Turns two plans into the reasons why their steps have other keys.
//!
//! # Invariants
//! A reason is found in what the keys are made of, and so is never about a field that is in no key.

use super::difference::{Difference, differences};
use super::key::{Ingredient, Recipe};
use super::{Identities, Plan, Step, StepId};
use crate::experiment::Experiment;
use serde::Serialize;

/// An experiment with its plan.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    pub experiment: &'a Experiment,
    pub identities: &'a Identities,
    pub plan: &'a Plan,
}

/// Why a step's key is another than it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// There was no such step.
    New,
    /// Its own recipe: the first part that differs.
    Field {
        #[serde(flatten)]
        difference: Difference,
        /// What the field was called, if the name is another.
        #[serde(skip_serializing_if = "Option::is_none")]
        was_called: Option<String>,
    },
    /// A step that it reads, or that is read on the way to it, has another key for a reason of its own.
    Because { node: String },
    /// It reads other steps than it did.
    Reads { was: Vec<String>, is: Vec<String> },
    /// Nothing that can be named: what the operation does was changed, or a file that the old plan read.
    Meaning,
}

/// For each step in plan order, why its key is another than that of the step of the same id was; `None` where it is the same.
pub fn why(was: Planned<'_>, is: Planned<'_>) -> Vec<(StepId, Option<Why>)> {
    let mut found: Vec<(StepId, Option<Why>)> = Vec::with_capacity(is.plan.steps.len());
    for (id, step) in is.plan.ordered() {
        let why = match was.plan.find(&step.id) {
            Some(before) if before.key == step.key => None,
            None => Some(Why::New),
            Some(before) => Some(reason((was, before), (is, step), &found)),
        };
        found.push((id, why));
    }
    found
}

/// The reason of a step whose key differs, given those of all that it reads.
fn reason(
    (was, before): (Planned<'_>, &Step),
    (is, step): (Planned<'_>, &Step),
    found: &[(StepId, Option<Why>)],
) -> Why {
    if before.recipe != step.recipe
        && let Some(own) = first(&parts(was, before), &parts(is, step))
    {
        return own;
    }
    for read in &step.inputs {
        match found.iter().find(|(id, _)| id == read) {
            Some((_, Some(Why::Because { node }))) => return Why::Because { node: node.clone() },
            Some((_, Some(_))) => return Why::Because { node: is.plan.step(*read).id.clone() },
            _ => {}
        }
    }
    let (was, is) = (was.plan.ids(&before.inputs), is.plan.ids(&step.inputs));
    if was == is { Why::Meaning } else { Why::Reads { was, is } }
}

fn parts(of: Planned<'_>, step: &Step) -> Vec<Ingredient> {
    let Planned { experiment, identities, plan: _ } = of;
    Recipe { experiment, identities }.ingredients(&step.work, step.iteration)
}

/// The first part that differs. Parts of one role are compared in their order, so that a part more shifts no others.
fn first(was: &[Ingredient], is: &[Ingredient]) -> Option<Why> {
    let nth = |list: &[Ingredient], at: usize| list[..at].iter().filter(|it| it.role == list[at].role).count();
    let of = |list: &'_ [Ingredient], role, nth: usize| list.iter().filter(|it| it.role == role).nth(nth).cloned();
    for (at, part) in is.iter().enumerate() {
        match of(was, part.role, nth(is, at)) {
            Some(before) if before.value == part.value => {}
            Some(before) => {
                let place = |field: &str| differences(field, &before.value, &part.value).into_iter().next();
                let difference = place(&part.field)?;
                let was_called =
                    if before.field == part.field { None } else { place(&before.field).map(|it| it.field) };
                return Some(Why::Field { difference, was_called });
            }
            None => {
                let difference = Difference { field: part.field.clone(), was: None, is: Some(part.value.clone()) };
                return Some(Why::Field { difference, was_called: None });
            }
        }
    }
    let gone = (0..was.len()).find(|&at| of(is, was[at].role, nth(was, at)).is_none())?;
    let Ingredient { field, value, .. } = was[gone].clone();
    Some(Why::Field { difference: Difference { field, was: Some(value), is: None }, was_called: None })
}

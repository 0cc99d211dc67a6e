//! `agx plan`: what is cached, what would run, and what it may take.

use crate::base::units::MicroUsd;
use crate::cli::args::PlanArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::{self, Place};
use crate::cli::terminal::Terminal;
use crate::cli::why::Reasons;
use crate::cli::{load, sweep, why};
use crate::plan::{self, Amount, Bounds};
use crate::report::text::{Cell, Table, count, counted, rough};
use crate::run::{NodeSurvey, Project, SurveyStatus, survey};
use serde_json::{Value, json};

pub fn plan(args: &PlanArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load(&args.file, &args.sets, terminal)?;
    // Where there is no store yet, an empty one answers, and goes again.
    let empty = tempfile::tempdir().map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let project = if place.exists() { place.open()? } else { Project::at(empty.path()).map_err(Failure::from)? };
    let experiment = match sweep::chosen(&loaded, &args.which)? {
        None => loaded.experiment(&args.which)?,
        Some(chosen) => match chosen.cells.as_slice() {
            [(_, only)] => &only.experiment,
            cells if args.why => return Err(why::one_cell(cells.len())),
            _ => return sweep::plan(&chosen, &project, args.json || terminal.json(), terminal),
        },
    };
    let planned = load::plan(experiment)?;
    let nodes = survey(&project, experiment, &planned.identities, &planned.plan, place::wire())?;
    let against = if args.why { why::against(args.against.as_deref(), experiment, &project, place)? } else { None };
    let why = against.as_ref().map(|against| why::reasons(against, experiment, &planned)).unwrap_or_default();
    let reasons = against.as_ref().map(|against| Reasons { against, plan: &planned.plan, nodes: &nodes, why: &why });
    let steps = plan::bounds(experiment, &planned.plan);
    // The survey tells the nodes as they run.
    let bounds: Vec<Bounds> = planned.plan.order.iter().map(|id| steps[id.0]).collect();
    let total = plan::total(&bounds);
    if args.json || terminal.json() {
        let mut value = json!({
            "experiment": experiment.name,
            "plan": planned.plan.digest,
            "nodes": nodes.iter().zip(&bounds).map(|(node, bounds)| json(node, bounds)).collect::<Vec<_>>(),
            "bounds": total,
        });
        if args.why {
            value["against"] = json!(against.as_ref().map(|against| &against.past.run));
            for at in 0..nodes.len() {
                value["nodes"][at]["why"] = reasons.as_ref().map_or(Value::Null, |reasons| reasons.json(at));
            }
        }
        terminal.value(&value);
        return Ok(Exit::Ok);
    }
    match &reasons {
        Some(reasons) => reasons.tell(terminal),
        None => {
            if args.why {
                why::nothing(experiment, terminal);
            }
            table(&nodes, &bounds, terminal);
        }
    }
    let with = |status| nodes.iter().filter(|node| node.status == status).count();
    terminal.say(&format!(
        "{}: {} cached, {} partly, {} to run; plan {}",
        counted(nodes.len(), "node"),
        with(SurveyStatus::Cached) + with(SurveyStatus::Skipped),
        with(SurveyStatus::Partly),
        with(SurveyStatus::Run),
        planned.plan.digest.short(),
    ));
    let most = |amount: Amount| amount.high.map_or_else(|| "nobody knows how many".to_owned(), rough);
    terminal.say(&format!(
        "at most {} prompt, {} answer and {} training tokens, if nothing were cached",
        most(total.prompt_tokens),
        most(total.completion_tokens),
        most(total.training_tokens),
    ));
    if total.spend != Amount::default() {
        let dollars = |micro: u64| format!("at most {}", MicroUsd(micro));
        terminal.say(
            &total.spend.high.map_or_else(|| "nobody knows how much money: a price is missing".to_owned(), dollars),
        );
    }
    Ok(Exit::Ok)
}

fn table(nodes: &[NodeSurvey], bounds: &[Bounds], terminal: &Terminal) {
    let mut table = Table::with_head([
        Cell::left("node"),
        Cell::left("status"),
        Cell::right("items"),
        Cell::right("cached"),
        Cell::right("prompt ≤"),
        Cell::right("answer ≤"),
        Cell::right("train ≤"),
        Cell::left("key"),
    ]);
    for (node, bounds) in nodes.iter().zip(bounds) {
        table.push(row(node, bounds));
    }
    terminal.data(&table.text());
}

/// A node that a recorded decision leaves out has nothing left to run: `cached`, and marked.
fn json(node: &NodeSurvey, bounds: &Bounds) -> Value {
    let mut value = json!(node);
    value["bounds"] = json!(bounds);
    if node.status == SurveyStatus::Skipped {
        value["status"] = json!(SurveyStatus::Cached);
        value["skipped"] = json!(true);
    }
    value
}

fn row(node: &NodeSurvey, bounds: &Bounds) -> [Cell; 8] {
    let tokens = |amount: Amount| match amount.high {
        Some(0) => Cell::right(""),
        high => Cell::right(high.map_or_else(|| "?".to_owned(), rough)),
    };
    let status = match node.status {
        SurveyStatus::Cached => "cached",
        SurveyStatus::Partly => "partly",
        SurveyStatus::Run => "run",
        SurveyStatus::Skipped => "skipped",
    };
    [
        Cell::left(&node.id),
        Cell::left(status),
        Cell::right(node.items.total.map_or_else(|| "?".to_owned(), count)),
        Cell::right(count(node.items.cached)),
        tokens(bounds.prompt_tokens),
        tokens(bounds.completion_tokens),
        tokens(bounds.training_tokens),
        Cell::left(node.key.short()),
    ]
}

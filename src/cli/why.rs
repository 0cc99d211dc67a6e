//! `agx plan --why`: of each node that is another than in an earlier run, or is to be worked, the reason.

use crate::cli::exit::{Exit, Failure};
use crate::cli::load::Planned;
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::plan::why::{self, Why};
use crate::report::change;
use crate::report::text::{Cell, Table};
use crate::run::{self, NodeStatus, NodeSurvey, Past, Project, SurveyStatus, directory};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What an experiment is held against.
pub struct Against {
    pub past: Past,
    /// Nodes that it finished, with how many items each is missing.
    finished: BTreeMap<String, u64>,
}

/// The run that is named, else the newest of an experiment of this name; `None` where there is none.
pub fn against(
    named: Option<&str>,
    experiment: &Experiment,
    project: &Project,
    place: &Place,
) -> Result<Option<Against>, Failure> {
    let run = match named {
        Some(run) => place.run(project, Some(run))?,
        None => {
            let of = |run: &String| directory::experiment(project, run).is_ok_and(|it| it.name == experiment.name);
            match run::list(project)?.into_iter().rev().find(of) {
                Some(run) => run,
                None => return Ok(None),
            }
        }
    };
    let report = fold(project, &run)?;
    let done = report.nodes.iter().filter(|node| matches!(node.status, NodeStatus::Done | NodeStatus::Cached));
    let finished = done.map(|node| (node.info.id.clone(), node.missing())).collect();
    Ok(Some(Against { past: run::past(project, &run)?, finished }))
}

/// One entry a node, in the survey's order.
pub fn reasons(against: &Against, experiment: &Experiment, planned: &Planned) -> Vec<Option<Why>> {
    let Planned { identities, plan } = planned;
    let is = why::Planned { experiment, identities, plan };
    why::why(against.past.planned(), is).into_iter().map(|(_, why)| why).collect()
}

/// Why a node is to run though its key is what it was.
enum Unworked<'a> {
    /// What it waits for is to be worked itself, and may leave it out.
    Waits(&'a str),
    /// So many of its items failed.
    Missing(u64),
    Lost,
    Unfinished,
}

/// Nodes as they stand, with the reasons of their keys.
pub struct Reasons<'a> {
    pub against: &'a Against,
    pub plan: &'a Plan,
    pub nodes: &'a [NodeSurvey],
    pub why: &'a [Option<Why>],
}

impl Reasons<'_> {
    fn is_known(&self, id: &str) -> bool {
        let node = self.nodes.iter().find(|node| node.id == id);
        node.is_some_and(|node| matches!(node.status, SurveyStatus::Cached | SurveyStatus::Skipped))
    }

    /// `None`: there is nothing to run.
    fn unworked(&self, id: &str) -> Option<Unworked<'_>> {
        if self.is_known(id) {
            return None;
        }
        let step = self.plan.find(id)?;
        let mut before = step.after.iter().chain(&step.inputs).map(|&id| self.plan.step(id).id.as_str());
        Some(match before.find(|id| !self.is_known(id)) {
            Some(node) => Unworked::Waits(node),
            None => match self.against.finished.get(id) {
                Some(0) => Unworked::Lost,
                Some(missing) => Unworked::Missing(*missing),
                None => Unworked::Unfinished,
            },
        })
    }

    /// As it goes into a node's JSON.
    pub fn json(&self, at: usize) -> Value {
        match (&self.why[at], self.unworked(&self.nodes[at].id)) {
            (Some(why), _) => json!(why),
            (None, None) => Value::Null,
            (None, Some(Unworked::Waits(node))) => json!({ "why": "waits", "node": node }),
            (None, Some(Unworked::Missing(items))) => json!({ "why": "missing", "items": items }),
            (None, Some(Unworked::Lost)) => json!({ "why": "lost" }),
            (None, Some(Unworked::Unfinished)) => json!({ "why": "unfinished" }),
        }
    }

    /// A line a node; none for what is cached and the same.
    pub fn tell(&self, terminal: &Terminal) {
        let run = &self.against.past.run;
        let mut table = Table::default();
        for (node, why) in self.nodes.iter().zip(self.why) {
            let reason = match (why, self.unworked(&node.id)) {
                (Some(why), _) => change::why(why, run),
                (None, None) => continue,
                (None, Some(Unworked::Waits(node))) => format!("as in {run}, after {node}"),
                (None, Some(Unworked::Missing(items))) => format!("as in {run}, which is missing {items} of its items"),
                (None, Some(Unworked::Lost)) => format!("as in {run}, whose result is no longer in the store"),
                (None, Some(Unworked::Unfinished)) => format!("as in {run}, which did not finish it"),
            };
            let status = match node.status {
                SurveyStatus::Cached | SurveyStatus::Skipped => "cached",
                SurveyStatus::Partly => "partly cached",
                SurveyStatus::Run => "to run",
            };
            table.push([Cell::left(&node.id), Cell::left(format!("{status}: {reason}"))]);
        }
        if table.is_empty() {
            terminal.say(&format!("nothing differs from {run}"));
        } else {
            terminal.data(&table.text());
        }
    }
}

/// Where there is nothing to compare with.
pub fn nothing(experiment: &Experiment, terminal: &Terminal) {
    terminal.say(&format!("there is no run of `{}` to compare with: `--against RUN` names another", experiment.name));
}

/// `--why` is about one plan.
pub fn one_cell(cells: usize) -> Failure {
    let message = format!("`--why` is about one plan, and {cells} cells are meant");
    Failure::new(Exit::Usage, message).help("choose one with `--cell`")
}

//! Turns what evaluations of a benchmark measured into rows beside what others published.
//!
//! # Invariants
//! A figure stands beside another only under the same name.

use crate::env::benchmark::Published;
use crate::report::text::{figure, number};
use crate::report::{NodeReport, Report};
use serde::Deserialize;
use std::collections::BTreeSet;

/// This run's evaluations and the figures of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    pub source: String,
    pub columns: Vec<String>,
    /// Whose, and a figure a column; empty where there is none. First this run's evaluations, then the others.
    pub rows: Vec<(String, Vec<String>)>,
}

/// One for each source.
pub fn beside(report: &Report) -> Vec<Beside> {
    let mut sources: Vec<(Published, Vec<&NodeReport>)> = Vec::new();
    for node in &report.nodes {
        let published = node.detail.get("published").and_then(|it| Published::deserialize(it).ok());
        let Some(published) = published else { continue };
        match sources.iter_mut().find(|(known, _)| *known == published) {
            Some((_, nodes)) => nodes.push(node),
            None => sources.push((published, vec![node])),
        }
    }
    sources.into_iter().map(of_source).collect()
}

fn of_source((Published { source, figures }, nodes): (Published, Vec<&NodeReport>)) -> Beside {
    let columns: BTreeSet<&str> = figures.iter().flat_map(|(_, them)| them.keys()).map(String::as_str).collect();
    let ours = nodes.into_iter().map(|node| {
        let figure = |name: &&str| node.metric(name).map_or_else(String::new, figure);
        (node.info.id.clone(), columns.iter().map(figure).collect())
    });
    let theirs = figures.iter().map(|(whose, figures)| {
        let figure = |name: &&str| figures.get(*name).map_or_else(String::new, |share| number(*share));
        (whose.clone(), columns.iter().map(figure).collect())
    });
    let rows = ours.chain(theirs).collect();
    Beside { source, columns: columns.into_iter().map(str::to_owned).collect(), rows }
}

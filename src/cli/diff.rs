//! `agx diff`: two files, two runs, or one of each, side by side.

use crate::cli::args::DiffArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::{self, Planned};
use crate::cli::place::Place;
use crate::cli::reading::read;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::experiment::Experiment;
use crate::plan::keyed::changes;
use crate::plan::why::{self, why};
use crate::report::diff::{Diff, Overlap, RowName, figures, is_same, overlap};
use crate::report::{NodeReport, Report};
use crate::run::manifest::{Manifest, RowSet};
use crate::run::{self, Past, Project, directory};
use std::collections::BTreeSet;
use std::path::Path;

/// What is held against another.
enum Side {
    File { name: String, experiment: Experiment, planned: Planned },
    Run { past: Past, report: Report },
}

impl Side {
    fn name(&self) -> &str {
        match self {
            Side::File { name, .. } => name,
            Side::Run { past, .. } => &past.run,
        }
    }

    fn planned(&self) -> why::Planned<'_> {
        match self {
            Side::File { experiment, planned: Planned { identities, plan }, .. } => {
                why::Planned { experiment, identities, plan }
            }
            Side::Run { past, .. } => past.planned(),
        }
    }
}

/// Ends with 1 where they differ, as `diff` does; so a file with mistakes is bad usage here.
pub fn diff(args: &DiffArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.exists().then(|| place.open()).transpose()?;
    let one = |word: &str| side(word, args, project.as_ref(), place, terminal).map_err(as_usage);
    let (a, b) = (one(&args.a)?, one(&args.b)?);
    if matches!((&a, &b), (Side::Run { .. }, Side::Run { .. })) && !args.sets.is_empty() {
        return Err(Failure::new(Exit::Usage, "`--set` and `--params` are for files: what a run was given is frozen"));
    }
    let diff = compare(&a, &b, project.as_ref(), terminal);
    if terminal.json() {
        terminal.value(&diff.json());
    } else if diff.is_same() {
        terminal.say(&format!("{} and {} are the same", diff.a, diff.b));
    } else {
        terminal.data(&diff.human());
    }
    Ok(if diff.is_same() { Exit::Ok } else { Exit::Diagnostics })
}

/// 1 says that two things differ, and so no longer that one of them has mistakes.
fn as_usage(failure: Failure) -> Failure {
    match failure {
        Failure::Told(Exit::Diagnostics) => Failure::Told(Exit::Usage),
        Failure::Message { exit: Exit::Diagnostics, message, help } => {
            Failure::Message { exit: Exit::Usage, message, help }
        }
        other => other,
    }
}

/// A name of a run that is there is that run; anything else is a file, where it looks like one.
fn side(
    word: &str,
    args: &DiffArgs,
    project: Option<&Project>,
    place: &Place,
    terminal: &Terminal,
) -> Result<Side, Failure> {
    let looks_like_file = word.ends_with(".agx") || Path::new(word).is_file();
    let known = project.map(run::all).transpose()?.is_some_and(|runs| runs.iter().any(|run| run == word));
    if known || !looks_like_file {
        let project = project.ok_or(run::RunError::NoRun)?;
        let run = place.run(project, Some(word))?;
        return Ok(Side::Run { report: fold(project, &run)?, past: run::past(project, &run)? });
    }
    let loaded = load::load_to_show(Path::new(word), &args.sets, terminal)?;
    let experiment = loaded.experiment(&args.only.clone().into())?.clone();
    let planned = load::plan(&experiment)?;
    Ok(Side::File { name: word.to_owned(), experiment, planned })
}

fn compare(a: &Side, b: &Side, project: Option<&Project>, terminal: &Terminal) -> Diff {
    let (was, is) = (a.planned(), b.planned());
    // Files are named from where the project lies, on both sides.
    let named = |of: &Experiment| project.map_or_else(|| of.clone(), |project| directory::portable(project, of));
    let nodes = why(was, is).into_iter().filter_map(|(id, why)| Some((is.plan.step(id).id.clone(), why?))).collect();
    let gone = was.plan.ordered().filter(|(_, step)| is.plan.find(&step.id).is_none());
    let mut diff = Diff {
        a: a.name().to_owned(),
        b: b.name().to_owned(),
        changes: changes(
            why::Planned { experiment: &named(was.experiment), ..was },
            why::Planned { experiment: &named(is.experiment), ..is },
        ),
        nodes,
        gone: gone.map(|(_, step)| step.id.clone()).collect(),
        figures: Vec::new(),
        kept: Vec::new(),
    };
    if let (Side::Run { report: a, .. }, Side::Run { report: b, .. }, Some(project)) = (a, b, project) {
        diff.figures = figures(a, b);
        diff.kept = kept(project, a, b, terminal);
    }
    diff
}

/// Of each selection that both runs made. Rows that cannot be read any more are told, and hide no others.
fn kept(project: &Project, a: &Report, b: &Report, terminal: &Terminal) -> Vec<Overlap> {
    let mut overlaps = Vec::new();
    for node in b.nodes.iter().filter(|node| node.info.op == "select") {
        let Some(other) = a.nodes.iter().find(|other| is_same(other, node)) else { continue };
        match (rows(project, other), rows(project, node)) {
            (Ok(Some(a)), Ok(Some(b))) => overlaps.push(overlap(node, &a, &b)),
            (Err(problem), _) | (_, Err(problem)) => {
                if let Failure::Message { message, .. } = problem {
                    terminal.say(&format!("the rows of {} cannot be compared: {message}", node.info.id));
                }
            }
            // One of them did not come to it.
            _ => {}
        }
    }
    overlaps
}

fn rows(project: &Project, node: &NodeReport) -> Result<Option<BTreeSet<RowName>>, Failure> {
    let Some(output) = node.output else { return Ok(None) };
    let Some(rows) = read::<Manifest>(&project.store, &output)?.output else { return Ok(None) };
    let RowSet { rows, .. } = read(&project.store, &rows)?;
    Ok(Some(rows.into_iter().map(|row| (row.iteration, row.task, row.sample)).collect()))
}

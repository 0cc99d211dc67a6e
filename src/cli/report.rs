//! `agx report`: what a run found, as text, JSON, Markdown or one page.

use crate::base::file::reason;
use crate::cli::args::ReportArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use crate::experiment::ReportItem;
use crate::report::figures::{self, Curve};
use crate::report::{Report, RunState, html, human, markdown};
use crate::run::{Project, RunError, directory};
use std::path::{Path, PathBuf};

pub fn report(args: &ReportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    if terminal.json() && args.md {
        return Err(Failure::new(Exit::Usage, "`--md` and `--format json` are two forms: choose one"));
    }
    let to_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    let forms = [(to_stdout(&args.html), "--html -"), (to_stdout(&args.svg), "--svg -")];
    let mut forms = forms.into_iter().filter(|(given, _)| *given).map(|(_, form)| form);
    if let Some(form) = forms.next()
        && let Some(other) = (forms.next())
            .or(args.md.then_some("--md"))
            .or(args.json.then_some("--json"))
            .or(terminal.json().then_some("--format json"))
    {
        let message = format!("`{form}` and `{other}` both write to stdout: name a file for one of them");
        return Err(Failure::new(Exit::Usage, message));
    }
    let project = place.open()?;
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    let items = items(&project, &run);
    if let Some(path) = &args.svg {
        write(path, &curves(&project, &report, &items, &args.others)?, terminal)?;
    }
    if let Some(path) = &args.html {
        let readings = super::reading::readings(&project, &report);
        let page = html::page(&report, &items, &readings, env!("CARGO_PKG_VERSION"));
        write(path, &page, terminal)?;
    }
    if args.json || terminal.json() {
        terminal.value(&report.json());
    } else if args.md {
        terminal.data(&markdown::markdown(&report, &items));
    } else if args.html.is_none() && args.svg.is_none() {
        terminal.data(&human::report(&report, &items));
    }
    Ok(Exit::Ok)
}

/// To a file; `-` is stdout.
fn write(path: &Path, text: &str, terminal: &Terminal) -> Result<(), Failure> {
    if path == Path::new("-") {
        terminal.data(text);
        return Ok(());
    }
    let fail =
        |problem| Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), reason(&problem)));
    std::fs::write(path, text).map_err(fail)?;
    terminal.say(&format!("wrote {}", path.display()));
    Ok(())
}

/// The first metric that the file plots, of this run and of the others, each under its experiment's name.
fn curves(project: &Project, report: &Report, items: &[ReportItem], others: &[String]) -> Result<String, Failure> {
    let plotted = figures::wanted(report, items).into_iter().find_map(|item| match item {
        ReportItem::Plot { metrics } => metrics.into_iter().next(),
        ReportItem::Table { .. } => None,
    });
    let metric = plotted.ok_or_else(|| Failure::new(Exit::Usage, "the run has nothing to plot"))?;
    let mut curves = Vec::new();
    for report in std::iter::once(Ok(report.clone())).chain(others.iter().map(|run| fold(project, run))) {
        let report = report?;
        curves.push(Curve { name: report.experiment.clone(), ..figures::curve(&report, &metric) });
    }
    Ok(html::chart::standalone(&curves.iter().collect::<Vec<_>>()))
}

/// At the end of `agx run`.
pub fn print(project: &Project, report: &Report, terminal: &Terminal) {
    if terminal.json() {
        terminal.value(&report.json());
    } else {
        terminal.data(&human::report(report, &items(project, &report.run)));
    }
}

/// The run's journal, folded.
pub fn fold(project: &Project, run: &str) -> Result<Report, Failure> {
    Ok(read(project, run)?)
}

/// As [`fold`], for those who go on without.
pub fn read(project: &Project, run: &str) -> Result<Report, RunError> {
    let mut report = None;
    directory::each_event(project, run, |_, event| Report::hear(&mut report, &event))?;
    let mut report = report.ok_or_else(|| RunError::Journal {
        path: project.journal(run),
        line: 1,
        problem: "does not say what was started".to_owned(),
    })?;
    // A directory that was copied or renamed is a run of its own.
    run.clone_into(&mut report.run);
    if report.state == RunState::Running && !Place::is_held(project, run) {
        report.state = RunState::Interrupted;
    }
    Ok(report)
}

/// What the file wanted shown; a run whose frozen source cannot be read is shown without.
fn items(project: &Project, run: &str) -> Vec<ReportItem> {
    directory::experiment(project, run).map(|experiment| experiment.report).unwrap_or_default()
}

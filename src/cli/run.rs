//! `agx run` and `agx resume`: work, watched; Ctrl-C pauses.

use crate::base::Seed;
use crate::cli::args::{ResumeArgs, RunArgs, Work};
use crate::cli::exit::{Exit, Failure};
use crate::cli::live::{Screen, View};
use crate::cli::load::{self, Loaded};
use crate::cli::lock::{self, Compared};
use crate::cli::place::{self, Place};
use crate::cli::terminal::Terminal;
use crate::cli::{fetch, interrupt, machine, params, report, sweep};
use crate::experiment::Experiment;
use crate::report::RunState;
use crate::run::replay::{NOT_RECORDED, Replay};
use crate::run::{
    self, Control, FailedStep, NodeStatus, Project, RunEnd, RunEvent, RunOptions, RunOutcome, Subject, directory,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub fn start(args: &RunArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load_to_run(&args.file, &args.sets, terminal)?;
    if let Some(matrix) = sweep::chosen(&loaded, &args.which)? {
        return sweep::run(&loaded, &matrix, &args.work, &place.make()?, terminal);
    }
    let experiment = loaded.experiment(&args.which)?;
    let locked = match args.locked {
        true => Some(lock::held(&args.file, experiment, &load::plan(experiment)?, terminal)?),
        false => None,
    };
    let project = place.make()?;
    let overrides = params::overrides(&loaded.given);
    let imports = loaded.imports();
    let subject = subject(&loaded, &imports, &overrides, experiment);
    let mut worker = Worker::new(&args.work, *terminal)?;
    if args.frozen {
        worker.options.replay = Some(Arc::new(Replay::new(0.0, Seed(0))));
    } else {
        fetch::before(experiment, &project, &worker)?;
    }
    let outcome =
        worker.work(|options, control, sink| run::start(&project, &subject, options, control, &place::now, sink))?;
    let exit = finish(&project, place, terminal, &outcome)?;
    match locked {
        Some(locked) if exit == Exit::Ok && locked.results.is_empty() => {
            terminal.say("the lock has no results to compare with: `agx lock --results` takes these in");
            Ok(exit)
        }
        Some(locked) if exit == Exit::Ok => Compared::of(&project, &outcome.run, &locked)?.say(terminal),
        _ => Ok(exit),
    }
}

pub fn subject<'a>(
    loaded: &'a Loaded,
    imports: &'a [(PathBuf, &'a str)],
    overrides: &'a BTreeMap<String, Value>,
    experiment: &'a Experiment,
) -> Subject<'a> {
    Subject { file_name: loaded.name(), source: loaded.text(), imports, overrides, experiment }
}

pub fn resume(args: &ResumeArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    let name = place.run(&project, args.run.as_deref())?;
    place::may_start(&project, &name, args.start_programs)?;
    if let Ok(known) = report::read(&project, &name)
        && known.state == RunState::Finished
        && known.nodes.iter().all(|node| node.missing() == 0)
    {
        terminal.say(&format!("run {name} is finished: there is nothing left to work\n"));
        report::print(&project, &known, terminal);
        return Ok(Exit::Ok);
    }
    let worker = Worker::new(&args.work, *terminal)?;
    fetch::before(&directory::experiment(&project, &name)?, &project, &worker)?;
    let outcome =
        worker.work(|options, control, sink| run::resume(&project, &name, options, control, &place::now, sink))?;
    finish(&project, place, terminal, &outcome)
}

type Sink<'a> = &'a mut (dyn FnMut(&RunEvent) + Send);

/// Runs, one or several, watched; an interrupt pauses the one under way.
pub struct Worker {
    options: RunOptions,
    control: Arc<Control>,
    screen: Screen,
}

impl Worker {
    pub fn new(work: &Work, terminal: Terminal) -> Result<Self, Failure> {
        let Work { jobs, keep_going, no_budget } = work;
        let worker = Self::watching(jobs.map(usize::from), terminal)?;
        Ok(Self { options: RunOptions { keep_going: *keep_going, no_budget: *no_budget, ..worker.options }, ..worker })
    }

    /// One that may be interrupted, and that goes its own way.
    pub fn watching(jobs: Option<usize>, terminal: Terminal) -> Result<Self, Failure> {
        machine::choose_kernels()?;
        let control = Arc::new(Control::default());
        let screen = Screen::new(terminal);
        pause_on_interrupt(&control, &screen);
        Ok(Self {
            options: RunOptions { jobs, wire: place::wire().keeping(machine::memory()?), ..RunOptions::default() },
            control,
            screen,
        })
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    pub fn work(
        &self,
        go: impl FnOnce(&RunOptions, &Control, Sink<'_>) -> Result<RunOutcome, run::RunError>,
    ) -> Result<RunOutcome, Failure> {
        let mut view = View::new(self.screen.clone());
        Ok(go(&self.options, &self.control, &mut |event| view.show(event))?)
    }
}

/// The result as data, and what to do next in words.
fn finish(project: &Project, place: &Place, terminal: &Terminal, outcome: &RunOutcome) -> Result<Exit, Failure> {
    let run = &outcome.run;
    match outcome.end {
        RunEnd::Finished => {
            let report = report::fold(project, run)?;
            terminal.say("");
            report::print(project, &report, terminal);
            let page = place.command(&format!("report {run} --html report.html"));
            let node = |op: &str| report.nodes.iter().find(|node| node.info.op == op && is_worked(node.status));
            let look = ["select", "judge", "rollout", "evaluate", "calibrate", "train"].into_iter().find_map(node);
            let look = look.map_or_else(String::new, |node| {
                format!(", {} looks inside", place.command(&format!("show {} --run {run}", node.info.id)))
            });
            terminal.say(&format!("\n{page} writes the page{look}"));
            if report.nodes.iter().any(|node| node.missing() > 0) {
                let again = place.command(&format!("resume {run}"));
                terminal.say(&format!("{again} tries what is missing again, and works anew what was made without it"));
            }
            Ok(Exit::Ok)
        }
        RunEnd::Failed => {
            for FailedStep { step, reason, .. } in &outcome.failed {
                terminal.fail(&Failure::new(Exit::NodeFailed, format!("{step} failed: {reason}")));
            }
            let resume = place.command(&format!("resume {run}"));
            let has = |what: &dyn Fn(&FailedStep) -> bool| outcome.failed.iter().any(what);
            terminal.say(&if has(&|failed| failed.transient) {
                format!(
                    "what was finished is kept; {resume} tries the rest again; after a change to the experiment, or to a \
                     file that it names, `agx run` it again: what is recorded is found"
                )
            } else if has(&|failed| failed.reason.contains(NOT_RECORDED)) {
                "what was finished is kept; `agx run` without `--frozen` asks the models for what the store does not have".to_owned()
            } else {
                "what was finished is kept; going on as it is would fail in the same way: mend the experiment, or the file \
                 that is named, and `agx run` it again"
                    .to_owned()
            });
            Ok(Exit::NodeFailed)
        }
        RunEnd::Paused => {
            terminal.say(&match &outcome.spent {
                None => format!("paused; {} goes on", place.command(&format!("resume {run}"))),
                Some(spent) => format!(
                    "paused: {spent}\n{} goes on without it; or raise it in the file and `agx run` it again: what is done is \
                     not paid for twice",
                    place.command(&format!("resume {run} --no-budget"))
                ),
            });
            Ok(Exit::Paused)
        }
    }
}

/// There is something to look at: not so where a gate left a node out.
fn is_worked(status: NodeStatus) -> bool {
    matches!(status, NodeStatus::Done | NodeStatus::Cached)
}

/// The first interrupt asks for a pause, the second ends the program: the journal is whole at any moment.
fn pause_on_interrupt(control: &Arc<Control>, screen: &Screen) {
    let (control, screen) = (Arc::clone(control), screen.clone());
    let handler = move || {
        if control.paused() {
            screen.clear();
            interrupt::end();
        }
        control.pause();
        screen.say("\npausing after what is in flight; once more ends at once");
    };
    // Fails only where a handler is set already, as in a process that embeds agx.
    let _ = ctrlc::set_handler(handler);
}

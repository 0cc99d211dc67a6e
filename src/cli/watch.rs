//! `agx status --watch`: a run's journal as it is written, by whichever process, until the run ends.
//!
//! # Invariants
//! Nothing here writes to the run or holds its lock.

use crate::cli::exit::{Exit, Failure};
use crate::cli::live::{Screen, View};
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::report::human;
use crate::run::journal::Follower;
use crate::run::{Project, RunError, RunEvent};
use serde::Serialize;
use std::time::Duration;

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Line<'a> {
    time: u64,
    #[serde(flatten)]
    event: &'a RunEvent,
}

pub fn watch(project: &Project, place: &Place, run: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut follower = Follower::new(project.journal(run));
    let mut view = View::new(Screen::new(*terminal));
    let mut begun = None;
    let mut newest = None;
    let exit = loop {
        // Asked before reading: what a process wrote before it ended is read after that.
        let held = Place::is_held(project, run);
        loop {
            let events = follower.more()?;
            if events.is_empty() {
                break;
            }
            for (time, event) in events {
                let begun = *begun.get_or_insert(time);
                if terminal.json() {
                    let line = serde_json::to_string(&Line { time, event: &event }).expect("an event is plain data");
                    terminal.data(&format!("{line}\n"));
                } else {
                    view.show_at(&event, time.saturating_sub(begun) as f64 / 1000.0);
                }
                newest = Some(event);
            }
        }
        match &newest {
            Some(RunEvent::RunFinished { failed: false, .. }) => break Exit::Ok,
            _ if held => {}
            Some(RunEvent::RunFinished { failed: true, .. }) => break Exit::NodeFailed,
            // Paused, or killed.
            Some(_) => break Exit::Paused,
            None => return Err(RunError::NeverStarted(run.to_owned()).into()),
        }
        #[expect(clippy::disallowed_methods, reason = "no system tells portably that a file has grown")]
        std::thread::sleep(PAUSE);
    };
    drop(view);
    if !terminal.json() {
        terminal.say("");
        terminal.data(&human::status(&fold(project, run)?));
        if exit == Exit::Paused {
            terminal.say(&format!("\n{} goes on", place.command(&format!("resume {run}"))));
        }
    }
    Ok(exit)
}

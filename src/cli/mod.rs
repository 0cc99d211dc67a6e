//! Turns the command line into an exit code.
//!
//! [`main`] is the whole program; one file a verb. [`load`] reads a file through syntax and checker, [`terminal`] is the one
//! place that prints, [`draw`] shows diagnostics, [`live`] a run under way, [`rewrite`] replaces files.
//!
//! # Invariants
//! The only floor that prints, reads the environment, the arguments or the clock, and handles signals. Nothing here decides
//! anything about an experiment: every verb calls one function of a floor below and shows what it gave.

pub mod args;
pub mod terminal;
pub mod exit;
pub mod draw;
pub mod excerpt;
pub mod load;
pub mod params;
pub mod place;
pub mod live;
pub mod init;
pub mod check;
pub mod rewrite;
pub mod fmt;
pub mod fix;
pub mod plan;
pub mod why;
pub mod graph;
pub mod run;
pub mod fetch;
pub mod sweep;
pub mod status;
pub mod watch;
mod interrupt;
pub mod report;
pub mod diff;
pub mod reading;
mod replies;
pub mod show;
pub mod lineage;
pub mod verify;
pub mod lock;
pub mod object;
pub mod prompt;
pub mod explain;
pub mod version;
pub mod export;
pub mod import;
pub mod cache;
pub mod score;
pub mod env;
pub mod doctor;
pub mod serve;
pub mod lsp;
mod machine;

use crate::cli::args::{Cli, Command};
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use clap::Parser;
use std::process::ExitCode;

/// Everything between the arguments and the exit code.
pub fn main() -> ExitCode {
    install_panic_message();
    heed_file_limit();
    let code = std::panic::catch_unwind(|| {
        let cli = match Cli::try_parse() {
            Ok(cli) => cli,
            Err(error) => return told(&error),
        };
        let terminal = Terminal::new(cli.format, cli.narrate);
        match dispatch(&cli, &terminal) {
            Ok(exit) => exit,
            Err(failure) => terminal.fail(&failure),
        }
    });
    ExitCode::from(code.unwrap_or(Exit::Internal) as u8)
}

/// clap's own help and version are data; its errors are usage.
fn told(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return match error.print() {
            Err(problem) => terminal::lost(&problem),
            Ok(()) => Exit::Ok,
        };
    }
    if args::wants_json(std::env::args_os()) {
        let text = error.to_string();
        let message = text.trim_end();
        let failure = Failure::new(Exit::Usage, message.strip_prefix("error: ").unwrap_or(message));
        return Terminal::new(args::Format::Json, false).fail(&failure);
    }
    // Where stderr is gone there is nowhere left to tell it.
    let _ = error.print();
    Exit::Usage
}

fn dispatch(cli: &Cli, terminal: &Terminal) -> Result<Exit, Failure> {
    let place = place::Place::new(cli.store.as_deref());
    match &cli.command {
        Command::Init(args) => init::init(args, terminal),
        Command::Check(args) => check::check(args, terminal),
        Command::Fmt(args) => fmt::fmt(args, terminal),
        Command::Fix(args) => fix::fix(args, terminal),
        Command::Plan(args) => plan::plan(args, &place, terminal),
        Command::Graph(args) => graph::graph(args, terminal),
        Command::Run(args) => run::start(args, &place, terminal),
        Command::Fetch(args) => fetch::fetch(args, terminal),
        Command::Resume(args) => run::resume(args, &place, terminal),
        Command::Status(args) => status::status(args, &place, terminal),
        Command::Report(args) => report::report(args, &place, terminal),
        Command::Diff(args) => diff::diff(args, &place, terminal),
        Command::Show(args) => show::show(args, &place, terminal),
        Command::Lock(args) => lock::lock(args, &place, terminal),
        Command::Verify(args) => verify::verify(args, &place, terminal),
        Command::Lsp(_) => Ok(lsp::lsp()),
        Command::Explain(args) => explain::explain(args, terminal),
        Command::Export(args) => export::export(args, &place, terminal),
        Command::Import(args) => import::import(args, &place, terminal),
        Command::Cache(command) => cache::cache(command, &place, terminal),
        Command::Score(command) => score::score(command, terminal),
        Command::Env(command) => env::env(command),
        Command::Doctor(args) => doctor::doctor(args, &place, terminal),
        Command::Serve(args) => serve::serve(args, &place, terminal),
    }
}

/// A write past the limit on the size of a file (`ulimit -f`) is an error like any other, which says what could not be written:
/// by itself the system ends the program without a word.
fn heed_file_limit() {
    // Where no handler can be set, all is as it was.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// A bug should read as one: what broke, that nothing is lost, where to tell. `RUST_BACKTRACE=1` adds the way there.
fn install_panic_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let what = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        terminal::complain(&format!(
            "agx has a bug: {what}{place}\n  \
             What was finished before is stored; `agx resume` goes on from there.\n  \
             Please report this, with the file that led here.",
        ));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            terminal::complain(&backtrace.to_string());
        }
    }));
}

//! `agx env`: an environment on standard input and output, for programs of any language.

use crate::base::file;
use crate::cli::exit::{Exit, Failure};
use crate::cli::score::library;
use crate::env::api_bank::{self, session::ApiBankHost};
use crate::env::desk::session::DeskHost;
use crate::env::session::{Answer, Host, Session};
use clap::{Args, Subcommand, ValueEnum};
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

/// A line is not longer.
const LONGEST: u64 = 1 << 26;

#[derive(Debug, Subcommand)]
pub enum EnvCommand {
    /// The desk: a generated office, with held-out combinations.
    #[command(
        after_help = "Examples:\n  agx env desk\n  agx env desk --tasks 1000\n\nA line asks, a line answers:\n  {\"op\": \"reset\", \"episode\": \"e1\", \"task\": \"train-0007\"}\n  {\"op\": \"step\", \"episode\": \"e1\", \"call\": {\"name\": \"find_contact\", \"arguments\": {\"name\": \"Ada Brook\"}}}\n  {\"op\": \"step\", \"episode\": \"e1\", \"text\": \"Done.\"}\n  {\"op\": \"close\"}"
    )]
    Desk(DeskArgs),
    /// API-Bank (Li et al. 2023), levels 1 to 3, over a copy of its data.
    #[command(
        after_help = "Examples:\n  agx env api-bank --data api-bank\n  agx env api-bank --data api-bank --mode repaired\n\nA line asks, a line answers:\n  {\"op\": \"reset\", \"episode\": \"e1\", \"task\": \"level-3/7\"}\n  {\"op\": \"call\", \"episode\": \"e1\", \"name\": \"QueryMeeting\", \"arguments\": {\"user_name\": \"John\"}}\n  {\"op\": \"step\", \"episode\": \"e1\", \"text\": \"There are two meetings.\"}\n  {\"op\": \"close\"}"
    )]
    ApiBank(ApiBankArgs),
}

#[derive(Debug, Args)]
pub struct DeskArgs {
    /// Tasks of each split: `train`, `dev` and `test`.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub tasks: u32,
}

#[derive(Debug, Args)]
pub struct ApiBankArgs {
    /// A copy of API-Bank: `init_database`, `lv1-lv2-samples`, `test-data`.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How arguments are taken.
    #[arg(long, value_enum, default_value_t = Mode::Official)]
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As the original takes them.
    Official,
    /// Lists written as text are read as lists.
    Repaired,
}

pub fn env(command: &EnvCommand) -> Result<Exit, Failure> {
    match command {
        EnvCommand::Desk(DeskArgs { tasks }) => talk(DeskHost::new(*tasks)),
        EnvCommand::ApiBank(ApiBankArgs { data, mode }) => {
            let mode = match mode {
                Mode::Official => api_bank::Mode::Official,
                Mode::Repaired => api_bank::Mode::Repaired,
            };
            talk(ApiBankHost { library: library(data)?, mode })
        }
    }
}

/// Answers lines until they end.
fn talk(host: impl Host) -> Result<Exit, Failure> {
    let mut session = Session::new(host);
    let failure = |problem: std::io::Error| Failure::new(Exit::Usage, file::reason(&problem));
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    loop {
        let mut line = Vec::new();
        let read = (&mut input).take(LONGEST).read_until(b'\n', &mut line).map_err(failure)?;
        if read == 0 {
            return Ok(Exit::Ok);
        }
        if read as u64 == LONGEST && line.last() != Some(&b'\n') {
            return Err(Failure::new(Exit::Usage, format!("a line is longer than {LONGEST} bytes")));
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        match session.answer(&line) {
            Answer::End => return Ok(Exit::Ok),
            Answer::Line(answer) => writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(failure)?,
        }
    }
}

//! Turns text into output: data to stdout, talk to stderr, colours where they are wanted.
//!
//! # Invariants
//! The one place that writes. A reader of data that went away (`| head`) ends the program quietly, it is no error; data
//! that is lost in any other way is one. Talk that nobody hears stops nothing: a run goes on without its log.

use crate::base::file::reason;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::report::text::{escape_json, plain_lines};
use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use std::io::{ErrorKind, IsTerminal, Write};

const RED: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const BLUE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));

#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub format: Format,
    pub narrate: bool,
}

impl Terminal {
    pub fn new(format: Format, narrate: bool) -> Self {
        Self { format, narrate: narrate || variable("NO_GRAPHICS").is_some() }
    }

    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// What was asked for.
    pub fn data(&self, text: &str) {
        if let Err(problem) = write(&mut AutoStream::auto(std::io::stdout()), text) {
            lost(&problem);
        }
    }

    /// One JSON value on its own lines.
    pub fn value(&self, value: &serde_json::Value) {
        let mut text = escape_json(&serde_json::to_string_pretty(value).expect("a JSON value is text"));
        text.push('\n');
        self.data(&text);
    }

    /// What goes with it.
    pub fn say(&self, text: &str) {
        complain(text);
    }

    pub fn fail(&self, failure: &Failure) -> Exit {
        match failure {
            Failure::Told(exit) => *exit,
            Failure::Message { exit, message, help } => {
                if self.json() {
                    let error = serde_json::json!({ "error": message, "help": help, "exit": *exit as u8 });
                    self.say(&error.to_string());
                } else {
                    let mut text = format!("{RED}error:{RED:#} {}", plain_lines(message));
                    if let Some(help) = help {
                        text.push_str(&format!("\n {BLUE}help:{BLUE:#} {}", plain_lines(help)));
                    }
                    self.say(&text);
                }
                *exit
            }
        }
    }

    /// Whether a live view can be drawn.
    pub fn is_live(&self) -> bool {
        std::io::stderr().is_terminal() && variable("TERM").is_none_or(|term| term != "dumb")
    }

    /// Columns of stderr; 80 where there are none.
    pub fn columns(&self) -> usize {
        terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
    }

    /// Columns to wrap text at.
    pub fn width(&self) -> usize {
        self.columns().clamp(40, 120)
    }
}

/// For the panic message, which has no [`Terminal`].
pub fn complain(text: &str) {
    // Where stderr is gone there is nowhere left to tell it.
    let _ = write(&mut AutoStream::auto(std::io::stderr()), &format!("{text}\n"));
}

/// Ends the program when data could not be written: quietly for a reader that went away, since it wants no more.
#[expect(clippy::disallowed_methods, reason = "what comes after lost data is of no use to anyone")]
pub fn lost(problem: &std::io::Error) -> ! {
    if problem.kind() == ErrorKind::BrokenPipe {
        std::process::exit(Exit::Ok as i32);
    }
    complain(&format!("{RED}error:{RED:#} the output cannot be written: {}", reason(problem)));
    std::process::exit(Exit::Usage as i32)
}

/// The program's one way to the environment. An empty variable counts as unset.
#[expect(clippy::disallowed_methods, reason = "the edge reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn write(stream: &mut impl Write, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

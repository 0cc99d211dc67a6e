//! Turns text into output: data to stdout, talk to stderr, colours where they are wanted.
//!
//! # Invariants
//! The one place that writes. A reader that went away (`| head`) ends the program quietly, it is no error.

use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::report::text::plain_lines;
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
        write(&mut AutoStream::auto(std::io::stdout()), text);
    }

    /// One JSON value on its own lines.
    pub fn value(&self, value: &serde_json::Value) {
        let mut text = serde_json::to_string_pretty(value).expect("a JSON value is text");
        text.push('\n');
        self.data(&text);
    }

    /// What goes with it.
    pub fn say(&self, text: &str) {
        write(&mut AutoStream::auto(std::io::stderr()), &format!("{text}\n"));
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
    pub fn width(&self) -> usize {
        terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0).clamp(40, 120))
    }
}

/// For the panic message, which has no [`Terminal`].
pub fn complain(text: &str) {
    write(&mut AutoStream::auto(std::io::stderr()), &format!("{text}\n"));
}

/// The program's one way to the environment. An empty variable counts as unset.
#[expect(clippy::disallowed_methods, reason = "the edge reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "a reader that went away wants no more, and no exit code either")]
fn write(stream: &mut impl Write, text: &str) {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(Exit::Ok as i32),
        // Nowhere left to tell it.
        Err(_) | Ok(()) => {}
    }
}

//! `agx lsp`: a language server on standard input and output.
//!
//! One thread reads, this one answers, in the order of arrival. What waits is looked at before anything is worked: a
//! request that has been cancelled is not answered, and a text that changes again is not checked in between. [`wire`] turns
//! bytes into messages, [`session`] holds the open texts, [`answer`] turns requests into answers of `editor`, [`convert`]
//! knows the protocol's names.
//!
//! # Invariants
//! Nothing that a client sends ends the session but `exit` and the end of the input. A bug in one answer is that answer's.

mod answer;
mod convert;
mod files;
mod session;
mod wire;

use crate::cli::exit::Exit;
use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use session::{Phase, Refusal, Session};
use std::collections::VecDeque;
use std::io::{self, BufReader, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use wire::Incoming;

/// Messages that may wait; then the client does.
const MOST_WAITING: usize = 1000;

pub fn lsp() -> Exit {
    let (sender, inbox) = sync_channel(MOST_WAITING);
    std::thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        while let Ok(Some(incoming)) = wire::read(&mut input) {
            if sender.send(incoming).is_err() {
                return;
            }
        }
    });
    let mut server = Server { session: Session::default(), output: io::stdout(), queue: VecDeque::new() };
    // A client that went away wants no more; whether it said so first is what the exit code tells.
    match server.run(&inbox) {
        Ok(true) => Exit::Ok,
        Ok(false) | Err(_) => Exit::Diagnostics,
    }
}

struct Server<W> {
    session: Session,
    output: W,
    queue: VecDeque<Incoming>,
}

impl<W: Write> Server<W> {
    /// Whether the client shut the session down before it ended it.
    fn run(&mut self, inbox: &Receiver<Incoming>) -> io::Result<bool> {
        loop {
            let room = MOST_WAITING.saturating_sub(self.queue.len());
            self.queue.extend(inbox.try_iter().take(room));
            let Some(incoming) = self.queue.pop_front() else {
                // Nothing waits: time to check what has changed, one text after the other.
                if self.settle()? {
                    continue;
                }
                match inbox.recv() {
                    Ok(incoming) => self.queue.push_back(incoming),
                    Err(_) => return Ok(self.session.phase == Phase::ShutDown),
                }
                continue;
            };
            match incoming {
                Incoming::Message(Message::Request(request)) => self.request(request)?,
                Incoming::Message(Message::Notification(notification)) => {
                    if notification.method == "exit" {
                        return Ok(self.session.phase == Phase::ShutDown);
                    }
                    self.notification(notification)?;
                }
                // This server asks nothing whose answer matters.
                Incoming::Message(Message::Response(_)) => {}
                Incoming::Bad { id, code, why } => wire::write_error(&mut self.output, &id, code, &why)?,
            }
        }
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let Request { id, method, params } = request;
        let result = if self.is_cancelled(&id) {
            Err(Refusal::new(ErrorCode::RequestCanceled, "cancelled"))
        } else {
            let session = &mut self.session;
            guarded(move || answer::answer(session, &method, params)).unwrap_or_else(Err)
        };
        let response = match result {
            Ok(value) => Response::new_ok(id, value),
            Err(Refusal { code, why }) => Response::new_err(id, code as i32, why),
        };
        wire::write(&mut self.output, &response.into())
    }

    /// Whether what waits says that the answer is no longer wanted.
    fn is_cancelled(&self, id: &RequestId) -> bool {
        self.queue.iter().any(|incoming| match incoming {
            Incoming::Message(Message::Notification(it)) if it.method == "$/cancelRequest" => {
                let cancelled = it.params.get("id").cloned().and_then(|id| serde_json::from_value(id).ok());
                cancelled.is_some_and(|cancelled: RequestId| cancelled == *id)
            }
            _ => false,
        })
    }

    fn notification(&mut self, notification: Notification) -> io::Result<()> {
        let session = &mut self.session;
        let told = guarded(move || session.notice(&notification.method, notification.params));
        let messages = told.unwrap_or_else(|bug| vec![bug.as_message()]);
        messages.into_iter().try_for_each(|message| wire::write(&mut self.output, &message.into()))
    }

    /// Checks one text that has changed and tells what is wrong with it. `false`: none has.
    fn settle(&mut self) -> io::Result<bool> {
        let Some(uri) = self.session.next_unsettled() else { return Ok(false) };
        let session = &mut self.session;
        let told = guarded(move || session.diagnostics(&uri)).unwrap_or_else(|bug| Some(bug.as_message()));
        told.into_iter().try_for_each(|message| wire::write(&mut self.output, &message.into()))?;
        Ok(true)
    }
}

/// A bug is the answer's, not the session's; the panic message has gone to standard error.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    // What a bug leaves half done in the session is a text that will be checked anew.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.map_err(|_| Refusal::new(ErrorCode::InternalError, "agx has a bug: its message is in the server's log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_one_answers() {
        let refusal = guarded(|| -> () { panic!("a bug on purpose") }).expect_err("it broke");
        assert_eq!(refusal.code as i32, ErrorCode::InternalError as i32);
        assert_eq!(guarded(|| 7).expect("it did not break"), 7);
    }
}

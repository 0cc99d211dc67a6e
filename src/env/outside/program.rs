//! A program that is started, written to and read from line by line, and always reaped.
//!
//! # Invariants
//! It gets no environment but what is handed down, a process group of its own, and the limits that the file sets. Dropped, it and
//! all that it started are killed and waited for. Of a line no more is held than a line may have.

use super::error::EnvError;
use crate::base::words::{final_words, words};
use process_wrap::std::{ChildWrapper, CommandWrap};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// An answer is not longer, in bytes.
pub const LONGEST: usize = 1 << 24;
/// Of its standard error the last bytes are kept.
const MOST_STDERR: usize = 1 << 12;
/// How long one that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);

/// All programs that run. Whoever ends this process from beside its work, as an interrupt does, drops none of them.
static RUNNING: Mutex<Running> = Mutex::new(Running { programs: Vec::new(), over: false });

struct Running {
    programs: Vec<Weak<Mutex<Box<dyn ChildWrapper>>>>,
    /// None is started any more.
    over: bool,
}

/// Kills all programs that run, with all that they started; none is started afterwards. For one who is about to exit.
pub fn end_programs() {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.over = true;
    for program in running.programs.drain(..).filter_map(|program| program.upgrade()) {
        let _ = program.lock().unwrap_or_else(PoisonError::into_inner).start_kill();
    }
}

/// What a program is started with.
#[derive(Clone, Debug)]
pub struct Start {
    pub command: Vec<String>,
    /// All of its environment.
    pub variables: Vec<(String, String)>,
    /// Bytes of address space, where the system can hold it to them.
    pub memory: Option<u64>,
    /// Seconds of processor time, likewise.
    pub cpu: Option<u64>,
}

/// A started program, without its input and output.
#[derive(Debug)]
pub struct Program {
    child: Arc<Mutex<Box<dyn ChildWrapper>>>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    /// Nobody sends: it ends with the standard error.
    silent: Receiver<()>,
}

impl Program {
    /// # Errors
    /// [`EnvError::Unstarted`].
    pub fn start(start: &Start) -> Result<(Self, ChildStdin, ChildStdout), EnvError> {
        let Start { command, variables, memory, cpu } = start;
        let (name, arguments) =
            command.split_first().ok_or_else(|| EnvError::Unstarted("it has no name".to_owned()))?;
        let fail =
            |problem: std::io::Error| EnvError::Unstarted(format!("`{name}`: {}", crate::base::file::reason(&problem)));
        // Looked up here: a system looks in the path that it gives to the program, or in its own.
        let found = in_path(name, variables);
        let mut wrap = CommandWrap::with_new(found, |it| {
            it.args(arguments).env_clear().envs(variables.iter().cloned());
            it.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        });
        #[cfg(unix)]
        wrap.wrap(process_wrap::std::ProcessGroup::leader());
        #[cfg(windows)]
        wrap.wrap(process_wrap::std::JobObject);
        // Held from before the start, so that none is missed by whoever ends them all.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.over {
            return Err(EnvError::Unstarted(format!("`{name}`: all programs are being ended")));
        }
        let mut child = wrap.spawn().map_err(fail)?;
        let (input, output, complaints) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let child = Arc::new(Mutex::new(child));
        running.programs.retain(|program| program.strong_count() > 0);
        running.programs.push(Arc::downgrade(&child));
        drop(running);
        let stderr = Arc::<Mutex<VecDeque<u8>>>::default();
        let (speaks, silent) = sync_channel(0);
        let program = Self { child, stderr, silent };
        if let Some(from) = complaints {
            keep_end(from, program.stderr.clone(), speaks)?;
        }
        program.limit(*memory, *cpu).map_err(fail)?;
        Ok((program, input.expect("it is piped"), output.expect("it is piped")))
    }

    fn child(&self) -> MutexGuard<'_, Box<dyn ChildWrapper>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment after its start: what it allocates before is little.
    #[cfg(target_os = "linux")]
    fn limit(&self, memory: Option<u64>, cpu: Option<u64>) -> std::io::Result<()> {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = i32::try_from(self.child().id()).ok().and_then(Pid::from_raw);
        for (what, limit) in [(Resource::As, memory), (Resource::Cpu, cpu)] {
            if limit.is_some() {
                match prlimit(pid, what, Rlimit { current: limit, maximum: limit }) {
                    // Gone already: whoever asks it is told.
                    Ok(_) | Err(rustix::io::Errno::SRCH) => {}
                    Err(problem) => return Err(problem.into()),
                }
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn limit(&self, _: Option<u64>, _: Option<u64>) -> std::io::Result<()> {
        Ok(())
    }

    /// That it is gone, how it ended, and its last words. It is given a moment, since its output may close before it ends.
    pub fn gone(&self) -> EnvError {
        let how = match self.ended_within(GRACE) {
            Some(how) => how,
            None => "it closed its output".to_owned(),
        };
        let _ = self.silent.recv_timeout(GRACE);
        EnvError::Gone { how, said: self.last_words() }
    }

    /// That it said nothing for so many milliseconds, and its last words.
    pub fn hangs(&self, millis: u64) -> EnvError {
        EnvError::Hangs { millis, said: self.last_words() }
    }

    fn last_words(&self) -> String {
        let held = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = held.iter().copied().collect();
        final_words(&String::from_utf8_lossy(&bytes))
    }

    fn has_ended(&self) -> bool {
        self.ended_within(Duration::ZERO).is_some()
    }

    fn ended_within(&self, time: Duration) -> Option<String> {
        // Nobody sends: to wait on it is to wait.
        let (_open, never) = sync_channel::<()>(0);
        let mut left = time;
        loop {
            let waited = self.child().try_wait();
            match waited {
                Ok(Some(status)) => return Some(format!("it ended with {status}")),
                Err(problem) => return Some(format!("it cannot be waited for: {problem}")),
                Ok(None) if left.is_zero() => return None,
                Ok(None) => {
                    let _ = never.recv_timeout(POLL);
                    left = left.saturating_sub(POLL);
                }
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it started lives in its group, also where it has ended itself.
        let mut child = self.child();
        let _ = child.start_kill();
        let _ = child.wait();
    }
}

/// A program without a directory in its name, where the path has it.
fn in_path(name: &str, variables: &[(String, String)]) -> PathBuf {
    let path = variables.iter().find(|(name, _)| name.eq_ignore_ascii_case("PATH")).map(|(_, path)| path);
    let bare = PathBuf::from(name).components().count() == 1;
    let places = path.into_iter().flat_map(std::env::split_paths).filter(|_| bare && !cfg!(windows));
    places.map(|place| place.join(name)).find(|place| place.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

/// Reads until the end, so that nobody waits to write.
fn keep_end(
    mut from: impl Read + Send + 'static,
    into: Arc<Mutex<VecDeque<u8>>>,
    speaks: SyncSender<()>,
) -> Result<(), EnvError> {
    let keep = move || {
        let _until_it_ends = speaks;
        let mut block = [0; 4096];
        while let Ok(read) = from.read(&mut block) {
            if read == 0 {
                break;
            }
            let mut held = into.lock().unwrap_or_else(PoisonError::into_inner);
            held.extend(&block[..read]);
            let over = held.len().saturating_sub(MOST_STDERR);
            held.drain(..over);
        }
    };
    beside("keeps what an environment complains of", keep)
}

/// A line, or why there is none.
type Line = Result<String, Unread>;

#[derive(Debug)]
enum Unread {
    Ended,
    Floods,
    NotText,
}

/// A program that answers a line with a line.
#[derive(Debug)]
pub struct Lines {
    /// A thread writes, so that one that reads nothing is found by its silence.
    input: Option<Sender<String>>,
    output: Receiver<Line>,
    program: Program,
}

impl Lines {
    /// # Errors
    /// [`EnvError::Unstarted`].
    pub fn start(start: &Start) -> Result<Self, EnvError> {
        let (program, mut into, output) = Program::start(start)?;
        let (input, lines) = channel::<String>();
        let write = move || {
            for line in lines {
                if into.write_all(line.as_bytes()).and_then(|()| into.flush()).is_err() {
                    break;
                }
            }
        };
        let (tell, hear) = sync_channel(1);
        let read = move || {
            let mut from = BufReader::new(output);
            loop {
                let line = next_line(&mut from);
                let last = line.is_err();
                if tell.send(line).is_err() || last {
                    break;
                }
            }
        };
        beside("writes to an environment", write)?;
        beside("reads from an environment", read)?;
        Ok(Self { input: Some(input), output: hear, program })
    }

    /// Asks, and waits for the answer so many milliseconds.
    ///
    /// # Errors
    /// No line came in time, none at all, or one that is too long or no text; it spoke before it was asked.
    pub fn ask(&mut self, line: &str, timeout: u64) -> Result<String, EnvError> {
        if let Ok(early) = self.output.try_recv() {
            return Err(match early {
                Ok(line) => EnvError::Garbage(format!("it spoke unasked: {}", words(&line))),
                Err(unread) => self.unread(unread),
            });
        }
        // Where nobody writes any more it is gone, and its output says so.
        let _ = self.input.as_ref().map(|input| input.send(format!("{line}\n")));
        match self.output.recv_timeout(Duration::from_millis(timeout)) {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(unread)) => Err(self.unread(unread)),
            // What it started may hold its output open.
            Err(RecvTimeoutError::Timeout) if self.program.has_ended() => Err(self.program.gone()),
            Err(RecvTimeoutError::Timeout) => Err(self.program.hangs(timeout)),
            Err(RecvTimeoutError::Disconnected) => Err(self.program.gone()),
        }
    }

    /// Whether it has said nothing that was not asked.
    pub fn is_quiet(&self) -> bool {
        matches!(self.output.try_recv(), Err(TryRecvError::Empty))
    }

    /// Tells it that nothing more comes, and gives it a moment to end by itself.
    pub fn end(mut self, last: &str) {
        let _ = self.input.take().map(|input| input.send(format!("{last}\n")));
        self.program.ended_within(GRACE);
    }

    fn unread(&self, unread: Unread) -> EnvError {
        match unread {
            Unread::Ended => self.program.gone(),
            Unread::Floods => EnvError::Floods(LONGEST),
            Unread::NotText => EnvError::Garbage("it is no UTF-8".to_owned()),
        }
    }
}

fn beside(what: &str, work: impl FnOnce() + Send + 'static) -> Result<(), EnvError> {
    let thread = std::thread::Builder::new().name(what.to_owned()).spawn(work);
    thread.map(|_| ()).map_err(|problem| EnvError::Unstarted(format!("no thread for it: {problem}")))
}

fn next_line(from: &mut impl BufRead) -> Line {
    let mut line = Vec::new();
    match from.take(LONGEST as u64 + 1).read_until(b'\n', &mut line) {
        Ok(0) | Err(_) => Err(Unread::Ended),
        Ok(read) if read > LONGEST => Err(Unread::Floods),
        Ok(_) => String::from_utf8(line).map_err(|_| Unread::NotText),
    }
}

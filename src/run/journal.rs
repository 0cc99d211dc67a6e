//! Turns events into `journal.jsonl` and back: append-only, one event a line, each line chained to the one before by its
//! BLAKE3 digest.
//!
//! # Invariants
//! Lines are only appended, so a kill leaves whole lines and at most one torn at the end, which is cut off before the next is
//! written. [`RunEvent::Progress`] is never written: it is for eyes only.

use crate::base::{Digest, file};
use crate::run::{RunError, RunEvent};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct LineOut<'a> {
    seq: u64,
    time: u64,
    prev: Digest,
    #[serde(flatten)]
    event: &'a RunEvent,
}

#[derive(Deserialize)]
struct LineIn {
    seq: u64,
    time: u64,
    prev: Digest,
    #[serde(flatten)]
    event: RunEvent,
}

/// The events of a journal with their times (milliseconds since the Unix epoch). A torn last line, as a kill leaves it, is
/// not read.
///
/// # Errors
/// A file that cannot be read, a line that is not an event, a broken chain.
pub fn read(path: &Path) -> Result<Vec<(u64, RunEvent)>, RunError> {
    let bytes = file::read(path, u64::MAX).map_err(|problem| RunError::file(path, problem))?;
    Ok(parse(path, &bytes)?.events)
}

/// So many bytes are read at once: some ten thousand events.
const BLOCK: u64 = 4 << 20;

/// Reads a journal block by block, however long it is; one that may still be written is read as it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Bytes of the lines that were read.
    read: u64,
    seq: u64,
    prev: Digest,
}

impl Follower {
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0, seq: 0, prev: start() }
    }

    /// The next events after those of the last call; none while there are no more, or no file.
    ///
    /// # Errors
    /// As [`read`].
    pub fn more(&mut self) -> Result<Vec<(u64, RunEvent)>, RunError> {
        let fail = |problem| RunError::file(&self.path, problem);
        let mut file = match file::open(&self.path) {
            Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(fail)?,
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read)).map_err(fail)?;
        // A block that holds no whole line is read on: the first one names all nodes.
        while !bytes.contains(&b'\n') {
            let room = BLOCK.max(bytes.len() as u64);
            if (&mut file).take(room).read_to_end(&mut bytes).map_err(fail)? == 0 {
                break;
            }
        }
        let Parsed { events, good, seq, prev } = parse_from(&self.path, &bytes, self.seq, self.prev)?;
        self.read += good as u64;
        (self.seq, self.prev) = (seq, prev);
        Ok(events)
    }
}

struct Parsed {
    events: Vec<(u64, RunEvent)>,
    /// Bytes of whole lines.
    good: usize,
    seq: u64,
    prev: Digest,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, RunError> {
    parse_from(path, bytes, 0, start())
}

fn parse_from(path: &Path, bytes: &[u8], seq: u64, prev: Digest) -> Result<Parsed, RunError> {
    let mut parsed = Parsed { events: Vec::new(), good: 0, seq, prev };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines: Vec<&[u8]> = bytes[..whole].split_inclusive(|byte| *byte == b'\n').collect();
    let read = |line: &&[u8]| {
        let line = &line[..line.len() - 1];
        (serde_json::from_slice(line).ok(), Digest::of_bytes(line))
    };
    // A journal of a million lines is read in the time that its chain takes.
    let read: Vec<(Option<LineIn>, Digest)> = lines.par_iter().map(read).collect();
    for (line, (event, digest)) in lines.iter().zip(read) {
        let last = parsed.good + line.len() == bytes.len();
        let event = match event.ok_or("is not an event of a run").and_then(|event| follows(event, &parsed)) {
            Ok(event) => event,
            // A power cut may leave the end of a file as it likes; in the middle it is damage.
            Err(_) if last => break,
            Err(problem) => {
                let (path, line, problem) = (path.to_owned(), parsed.seq as usize + 1, problem.to_owned());
                return Err(RunError::Journal { path, line, problem });
            }
        };
        parsed.events.push(event);
        parsed.good += line.len();
        parsed.seq += 1;
        parsed.prev = digest;
    }
    Ok(parsed)
}

fn follows(LineIn { seq, time, prev, event }: LineIn, before: &Parsed) -> Result<(u64, RunEvent), &'static str> {
    if seq != before.seq || prev != before.prev {
        return Err("does not follow the line before it: something was changed or lost");
    }
    Ok((time, event))
}

/// What the first line names as the one before it.
fn start() -> Digest {
    Digest::of_bytes(b"agx-journal/1")
}

/// The one writer of a run's journal.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    seq: u64,
    prev: Digest,
    #[cfg(test)]
    room: crate::run::tests::faults::Room,
}

impl Writer {
    /// Opens a journal to go on with it: its events so far, a torn last line cut off.
    ///
    /// # Errors
    /// As [`read`].
    pub fn open(path: &Path) -> Result<(Self, Vec<(u64, RunEvent)>), RunError> {
        let fail = |problem| RunError::file(path, problem);
        if path.exists() {
            file::open(path).map_err(fail)?;
        }
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let Parsed { events, good, seq, prev } = parse(path, &bytes)?;
        file.set_len(good as u64).map_err(fail)?;
        file.seek(SeekFrom::End(0)).map_err(fail)?;
        let path = path.to_owned();
        #[cfg(test)]
        let room = crate::run::tests::faults::room();
        Ok((
            Self {
                path,
                file,
                seq,
                prev,
                #[cfg(test)]
                room,
            },
            events,
        ))
    }

    /// Appends events, with one write.
    ///
    /// # Errors
    /// A write that fails: a full disk. What was written before stays; before the first event there is no run to go on with.
    pub fn write(&mut self, time: u64, events: &[RunEvent]) -> Result<(), RunError> {
        let mut lines = Vec::new();
        let (mut seq, mut prev) = (self.seq, self.prev);
        for event in events.iter().filter(|event| !matches!(event, RunEvent::Progress { .. })) {
            let start = lines.len();
            serde_json::to_writer(&mut lines, &LineOut { seq, time, prev, event }).expect("an event is plain data");
            prev = Digest::of_bytes(&lines[start..]);
            seq += 1;
            lines.push(b'\n');
        }
        #[cfg(test)]
        crate::run::tests::faults::meet_journal(&mut self.room).map_err(|problem| self.stopped(problem))?;
        self.file.write_all(&lines).map_err(|problem| self.stopped(problem))?;
        (self.seq, self.prev) = (seq, prev);
        Ok(())
    }

    /// Brings the journal to the disk: at the ends of nodes and runs, not for each item.
    pub fn flush(&mut self) -> Result<(), RunError> {
        match self.file.sync_data() {
            Err(problem) if problem.kind() != ErrorKind::InvalidInput => Err(self.stopped(problem)),
            _ => Ok(()),
        }
    }

    fn stopped(&self, problem: std::io::Error) -> RunError {
        let directory = self.path.parent().and_then(Path::file_name);
        match directory {
            Some(run) if self.seq > 0 => {
                RunError::Stopped { run: run.to_string_lossy().into_owned(), path: self.path.clone(), problem }
            }
            _ => RunError::file(&self.path, problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{ItemOutcome, PauseReason};

    fn item(n: u32) -> RunEvent {
        let digest = Digest::of_bytes(&n.to_le_bytes());
        RunEvent::ItemFinished {
            node: "rollout@1".to_owned(),
            item: format!("train-{n}"),
            key: digest,
            outcome: ItemOutcome::Done { blob: digest },
            took: crate::model::Tokens::default(),
        }
    }

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("journal.jsonl");
        (directory, path)
    }

    #[test]
    fn what_is_written_is_read_and_progress_is_not_written() {
        let (_directory, path) = journal();
        let (mut writer, before) = Writer::open(&path).expect("opens");
        assert!(before.is_empty());
        let progress =
            RunEvent::Progress { node: "train@1".to_owned(), done: 1, total: 2, note: "loss 0.412".to_owned() };
        let events = [RunEvent::RunResumed { run: "a-1".to_owned() }, progress, item(1), item(2)];
        for (time, event) in events.iter().enumerate() {
            writer.write(time as u64, std::slice::from_ref(event)).expect("writes");
        }
        let expected = vec![(0, events[0].clone()), (2, events[2].clone()), (3, events[3].clone())];
        assert_eq!(read(&path).expect("reads"), expected);
    }

    /// However its bytes come, each event is told once.
    #[test]
    fn a_journal_is_followed_as_it_grows() {
        let (_directory, path) = journal();
        let mut follower = Follower::new(path.clone());
        assert_eq!(follower.more().expect("nothing yet"), []);
        let (mut writer, _) = Writer::open(&path).expect("opens");
        (0..3).for_each(|n| writer.write(u64::from(n), &[item(n)]).expect("writes"));
        let mut whole = std::fs::read(&path).expect("reads");
        let mut told = Vec::new();
        for cut in (0..=whole.len()).step_by(97).chain([whole.len()]) {
            std::fs::write(&path, &whole[..cut]).expect("writes");
            told.extend(follower.more().expect("follows"));
        }
        assert_eq!(told, read(&path).expect("reads"));
        // However long a line is.
        let mut follower = Follower::new(path.clone());
        let long = RunEvent::DamageFound { what: "x".repeat(2 * BLOCK as usize) };
        writer.write(3, &[item(3), long, item(4)]).expect("writes");
        let by_block: Vec<_> = std::iter::repeat_with(|| follower.more().expect("follows"))
            .take_while(|events| !events.is_empty())
            .collect();
        assert!(by_block.len() > 1);
        assert_eq!(by_block.concat(), read(&path).expect("reads"));
        let mut follower = Follower::new(path.clone());
        whole.extend_from_slice(b"no event\nnor this\n");
        std::fs::write(&path, &whole).expect("writes");
        assert!(matches!(follower.more(), Err(RunError::Journal { line: 4, .. })));
    }

    /// Killed in the middle of any line, the journal goes on from the last whole one.
    #[test]
    fn a_torn_end_is_cut_off() {
        let (_directory, path) = journal();
        let (mut writer, _) = Writer::open(&path).expect("opens");
        (0..3).for_each(|n| writer.write(u64::from(n), &[item(n)]).expect("writes"));
        let whole = std::fs::read(&path).expect("reads");
        let second = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
        for cut in [second + 1, second + 30, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("writes");
            let kept = read(&path).expect("reads").len();
            let (mut writer, events) = Writer::open(&path).expect("opens");
            assert_eq!(events.len(), kept);
            let paused = RunEvent::RunPaused { reason: PauseReason::Interrupt };
            writer.write(9, std::slice::from_ref(&paused)).expect("writes");
            let events = read(&path).expect("the chain holds");
            assert_eq!((events.len(), &events[kept]), (kept + 1, &(9, paused)));
        }
    }

    #[test]
    fn a_changed_or_lost_line_is_found() {
        let (_directory, path) = journal();
        let (mut writer, _) = Writer::open(&path).expect("opens");
        (0..4).for_each(|n| writer.write(u64::from(n), &[item(n)]).expect("writes"));
        let text = std::fs::read_to_string(&path).expect("reads");
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replace("train-1", "train-7");
        let lost = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[3]);
        for (damaged, at) in [(changed, 3), (lost, 2)] {
            std::fs::write(&path, damaged).expect("writes");
            let Err(RunError::Journal { line, .. }) = read(&path) else { panic!("the damage was not seen") };
            assert_eq!(line, at);
        }
    }
}

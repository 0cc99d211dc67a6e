//! Turns an archive into a run of a store, or into one reason why not.
//!
//! The archive becomes a store of its own in a directory that is removed again; only when all of it is found sound is it
//! taken into the store, and the run's directory renamed into its place last.

use super::contents::Contents;
use super::{ArchiveError, BLOCK, FORMAT, Form, HEAD, Head, MOST_BLOB, MOST_HEAD, RECORDS, file as file_error};
use crate::base::{Digest, file};
use crate::run::carried::{self, Carried};
use crate::run::verify::{Expand, follows};
use crate::run::worked::worked;
use crate::run::{Project, RunError, directory};
use crate::store::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// A record is a line.
const MOST_LINE: u64 = 1 << 28;
/// Journal and records are read whole.
const MOST_LINES: u64 = 1 << 30;
/// What a tar ends with, and more than writers pad it to.
const MOST_END: u64 = 1 << 24;
/// File systems have no longer names.
const MOST_NAME: usize = 255;
/// With which zstd begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How an archive is taken in.
pub struct Asked<'a> {
    pub archive: &'a Path,
    /// It may unpack to so many GiB.
    pub most: u64,
    /// Checks its frozen source anew.
    pub expand: Expand<'a>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// As it was called where it was made.
    pub was: String,
    /// As it is called here.
    pub run: String,
    pub form: Form,
    /// The same run was here before.
    pub known: bool,
    pub blobs: u64,
    pub records: u64,
    pub files: u64,
}

/// Takes an archive in. A name that another run has here is not taken: the run gets the next number of its series.
///
/// # Errors
/// What is wrong with the archive; a store that holds other results under the same keys, or cannot be written. The store
/// is then as it was.
pub fn unpack(project: &Project, asked: &Asked<'_>) -> Result<Unpacked, ArchiveError> {
    // What is taken in is named by no run until its directory is in its place, and what lies beside it is for a sweep to remove.
    let _working = project.store.working()?;
    let runs = project.runs_dir();
    let beside = tempfile::Builder::new().prefix(file::TEMPORARY).tempdir_in(&runs);
    let beside = beside.map_err(|problem| file_error(&runs, &problem))?;
    let mut reading = Reading {
        archive: asked.archive,
        most: asked.most,
        left: asked.most << 30,
        scratch: Project::at(beside.path())?,
        blobs: BTreeSet::new(),
        records: BTreeSet::new(),
        found: BTreeMap::new(),
    };
    let head = reading.read()?;
    let contents = reading.sound(&head, asked.expand)?;
    let scratch = &reading.scratch;
    for record in contents.records.values() {
        if project.store.lookup(&record.key)?.is_some_and(|first| !first.agrees(record)) {
            return Err(ArchiveError::Diverges(record.op.clone()));
        }
    }
    for blob in &contents.blobs {
        project.store.put(&scratch.store.get(blob)?)?;
    }
    for record in contents.records.values() {
        project.store.record(record)?;
    }
    let (run, known) = match known(project, scratch, &head.run)? {
        Some(run) => {
            complete(project, scratch, &head, &run)?;
            (run, true)
        }
        None => (settle(project, scratch, &head.run)?, false),
    };
    let files = head.files.keys().filter(|name| name.starts_with("files/")).count() as u64;
    let (blobs, records) = (contents.blobs.len() as u64, contents.records.len() as u64);
    Ok(Unpacked { was: head.run, run, form: head.form, known, blobs, records, files })
}

/// The run here that has the very same journal.
fn known(project: &Project, scratch: &Project, run: &str) -> Result<Option<String>, ArchiveError> {
    let digest = |path: &Path| file::open(path).and_then(Digest::of_reader);
    let journal = scratch.journal(run);
    let own = digest(&journal).map_err(|problem| file_error(&journal, &problem))?;
    Ok(directory::all(project)?.into_iter().find(|run| digest(&project.journal(run)).is_ok_and(|it| it == own)))
}

/// Brings the files that a run lacks here, as one does that came as a cassette.
fn complete(project: &Project, scratch: &Project, head: &Head, run: &str) -> Result<(), ArchiveError> {
    let mut experiment = directory::experiment(project, run)?;
    if directory::files(&mut experiment).iter().all(|path| path.exists()) {
        return Ok(());
    }
    for Carried { place, path } in carried::files(scratch, &head.run, head.form == Form::Run)? {
        let to = directory::carried(project, run).join(place);
        if !to.exists() {
            let parent = to.parent().expect("every place lies in a directory");
            let moved = std::fs::create_dir_all(parent).and_then(|()| std::fs::rename(&path, &to));
            moved.map_err(|problem| file_error(&to, &problem))?;
        }
    }
    Ok(())
}

/// Moves a run's directory into the store, under its own name or, where that is taken, the next of its series.
fn settle(project: &Project, scratch: &Project, run: &str) -> Result<String, ArchiveError> {
    let from = scratch.run_dir(run);
    let own = project.run_dir(run);
    let (run, to) = match std::fs::create_dir(&own) {
        Ok(()) => (run.to_owned(), own),
        Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {
            directory::claim(project, directory::series(run).expect("looked at when the head was read"))?
        }
        Err(problem) => return Err(file_error(&own, &problem)),
    };
    project.store.flush()?;
    // Also where it carries nothing: it marks what was brought here.
    let carried = from.join(directory::CARRIED);
    std::fs::create_dir_all(&carried).map_err(|problem| file_error(&carried, &problem))?;
    // Onto the empty directory that claims the name.
    std::fs::rename(&from, &to).map_err(|problem| file_error(&to, &problem))?;
    Ok(run)
}

/// An archive on its way into a store of its own.
struct Reading<'a> {
    archive: &'a Path,
    most: u64,
    /// Bytes that it may still unpack to.
    left: u64,
    scratch: Project,
    blobs: BTreeSet<Digest>,
    records: BTreeSet<Digest>,
    /// Digests of the entries that are not named by their own.
    found: BTreeMap<String, Digest>,
}

impl Reading<'_> {
    fn foreign(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Foreign { path: self.archive.to_owned(), why: why.into() }
    }

    fn damaged(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged { path: self.archive.to_owned(), why: why.into() }
    }

    fn unsound(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Unsound { path: self.archive.to_owned(), why: why.into() }
    }

    fn entry(&self, name: &str, why: impl Into<String>) -> ArchiveError {
        ArchiveError::Entry { path: self.archive.to_owned(), entry: name.to_owned(), why: why.into() }
    }

    fn torn(&self, problem: &std::io::Error) -> ArchiveError {
        self.damaged(file::reason(problem))
    }

    /// Every entry in its turn; the head comes first.
    fn read(&mut self) -> Result<Head, ArchiveError> {
        let fail = |problem: std::io::Error| file_error(self.archive, &problem);
        let mut bytes = BufReader::new(file::open(self.archive).map_err(fail)?);
        let is_zstd = bytes.fill_buf().map_err(fail)?.starts_with(&ZSTD);
        let bytes: Box<dyn Read> = match is_zstd {
            true => Box::new(zstd::Decoder::with_buffer(bytes).map_err(fail)?),
            false => Box::new(bytes),
        };
        let mut tar = tar::Archive::new(bytes);
        let mut head: Option<Head> = None;
        let (mut last, mut entries) = (String::new(), 0);
        // Raw: no entry speaks for the next one, as long names and extended headers do.
        for entry in tar.entries().map_err(|problem| self.torn(&problem))?.raw(true) {
            let mut entry = entry.map_err(|problem| match &head {
                None => self.foreign("it is no tar, compressed or plain"),
                Some(_) => self.torn(&problem),
            })?;
            let name = self.name(&entry.path_bytes())?;
            if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
                return Err(self.entry(&name, "is no regular file"));
            }
            let size = entry.size();
            self.left = size
                .checked_next_multiple_of(BLOCK)
                .and_then(|size| self.left.checked_sub(size)?.checked_sub(BLOCK))
                .ok_or(ArchiveError::TooLarge { path: self.archive.to_owned(), most: self.most })?;
            match &head {
                None => head = Some(self.head(&name, size, &mut entry)?),
                Some(_) if name <= last => return Err(self.entry(&name, "comes twice, or out of order")),
                Some(head) => {
                    self.take(head, &name, size, &mut entry)?;
                    entries += 1;
                }
            }
            last = name;
        }
        let head = head.ok_or_else(|| self.foreign("it is empty"))?;
        self.end(tar.into_inner())?;
        if entries != head.entries {
            return Err(self.damaged(format!("it has {entries} of {} entries", head.entries)));
        }
        match head.files.iter().find(|(name, digest)| self.found.get(*name) != Some(digest)) {
            Some((name, _)) if self.found.contains_key(name) => {
                Err(self.entry(name, format!("is not what `{HEAD}` says of it: it was changed")))
            }
            Some((name, _)) => Err(self.entry(name, "is missing")),
            None => Ok(head),
        }
    }

    /// A relative path that stays where it is put.
    fn name(&self, bytes: &[u8]) -> Result<String, ArchiveError> {
        let shown = String::from_utf8_lossy(bytes);
        let plain = |name: &&str| {
            let parts = || name.split('/').all(|part| !matches!(part, "" | "." | ".."));
            let strange = |c: char| c.is_control() || c == '\\';
            let components = || Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            !name.contains(strange) && parts() && components()
        };
        let name = std::str::from_utf8(bytes).ok().filter(plain);
        name.map(str::to_owned).ok_or_else(|| self.entry(&shown, "is no name that stays within a directory"))
    }

    fn head(&self, name: &str, size: u64, entry: &mut dyn Read) -> Result<Head, ArchiveError> {
        if name != HEAD {
            return Err(self.foreign(format!("it begins with `{name}`, not with `{HEAD}`")));
        }
        let bytes = self.bytes(name, size, MOST_HEAD, entry)?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|_| self.foreign(format!("`{HEAD}` is no JSON")))?;
        match value["format"].as_str() {
            Some(FORMAT) => {}
            Some(other) => return Err(self.foreign(format!("it has the form `{other}`; this agx reads `{FORMAT}`"))),
            None => return Err(self.foreign(format!("`{HEAD}` does not say its form"))),
        }
        let head: Head =
            serde_json::from_value(value).map_err(|problem| self.foreign(format!("`{HEAD}`: {problem}")))?;
        match directory::series(&head.run) {
            Some(_) if head.run.len() > MOST_NAME => Err(self
                .foreign(format!("the name of its run has {} characters; {MOST_NAME} are the most", head.run.len()))),
            Some(_) => Ok(head),
            None => Err(self.foreign(format!("`{}` is no name of a run", head.run))),
        }
    }

    fn take(&mut self, head: &Head, name: &str, size: u64, entry: &mut dyn Read) -> Result<(), ArchiveError> {
        if let Some(hex) = name.strip_prefix("blobs/") {
            let named = hex.parse::<Digest>().ok().filter(|digest| digest.to_string() == hex);
            let digest = named.ok_or_else(|| self.entry(name, "is no digest"))?;
            let bytes = self.bytes(name, size, MOST_BLOB, entry)?;
            if Digest::of_bytes(&bytes) != digest {
                return Err(self.entry(name, "does not hash to its name"));
            }
            self.scratch.store.put(&bytes)?;
            self.blobs.insert(digest);
            return Ok(());
        }
        if !head.files.contains_key(name) {
            return Err(self.entry(name, format!("is not named in `{HEAD}`")));
        }
        if (name == RECORDS || name.ends_with("/journal.jsonl")) && size > MOST_LINES {
            return Err(self.entry(name, format!("has {size} bytes; no more than {MOST_LINES} are read")));
        }
        let digest = if name == RECORDS {
            self.records(size, entry)?
        } else {
            let place = self.place(head, name).ok_or_else(|| self.entry(name, "has no place in a run"))?;
            self.file(name, &place, size, entry)?
        };
        self.found.insert(name.to_owned(), digest);
        Ok(())
    }

    fn place(&self, head: &Head, name: &str) -> Option<PathBuf> {
        let run = self.scratch.run_dir(&head.run);
        if let Some(place) = name.strip_prefix("files/") {
            return Some(directory::carried(&self.scratch, &head.run).join(place));
        }
        let own = name.strip_prefix("runs/")?.strip_prefix(head.run.as_str())?.strip_prefix('/')?;
        let known = matches!(own, "journal.jsonl" | "plan.json") || own.starts_with("source/");
        known.then(|| run.join(own))
    }

    fn file(&self, name: &str, place: &Path, size: u64, entry: &mut dyn Read) -> Result<Digest, ArchiveError> {
        let fail = |problem: std::io::Error| file_error(place, &problem);
        let parent = place.parent().expect("every place lies in the run's directory");
        // Of `a` and `a/b` one cannot be.
        std::fs::create_dir_all(parent).map_err(|_| self.entry(name, "lies below a file"))?;
        let mut out = std::fs::File::create_new(place).map_err(fail)?;
        let written = std::io::copy(entry, &mut out).map_err(|problem| self.torn(&problem))?;
        if written != size {
            return Err(self.damaged(format!("`{name}` ends before its end")));
        }
        file::open(place).and_then(Digest::of_reader).map_err(fail)
    }

    /// A record a line, by key.
    fn records(&mut self, size: u64, entry: &mut dyn Read) -> Result<Digest, ArchiveError> {
        let place = self.scratch.store.root().join(RECORDS);
        let digest = self.file(RECORDS, &place, size, entry)?;
        let fail = |problem: std::io::Error| file_error(&place, &problem);
        let mut lines = BufReader::new(file::open(&place).map_err(fail)?);
        let mut last = None;
        loop {
            let mut line = Vec::new();
            lines.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).map_err(fail)?;
            if line.is_empty() {
                return Ok(digest);
            }
            let record: Record = serde_json::from_slice(&line)
                .map_err(|_| self.entry(RECORDS, format!("holds no record in line {}", self.records.len() + 1)))?;
            if last.is_some_and(|last| last >= record.key) {
                return Err(self.entry(RECORDS, "holds a key twice, or out of order"));
            }
            last = Some(record.key);
            self.scratch.store.record(&record)?;
            self.records.insert(record.key);
        }
    }

    fn bytes(&self, name: &str, size: u64, most: u64, entry: &mut dyn Read) -> Result<Vec<u8>, ArchiveError> {
        if size > most {
            return Err(self.entry(name, format!("has {size} bytes; no more than {most} are read")));
        }
        // Not by the size that it claims: the bytes must come first.
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|problem| self.torn(&problem))?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(self.damaged(format!("`{name}` ends before its end"))),
        }
    }

    /// After the last entry come zeros; a compressed archive says its checksum at the very end.
    fn end(&self, rest: Box<dyn Read>) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        rest.take(MOST_END + 1).read_to_end(&mut bytes).map_err(|problem| self.torn(&problem))?;
        match bytes.iter().all(|byte| *byte == 0) {
            true if bytes.len() as u64 <= MOST_END => Ok(()),
            true => Err(self.damaged(format!("more than {MOST_END} zeros stand after its end"))),
            false => Err(self.damaged("something stands after its end")),
        }
    }

    /// Holds what was unpacked against what a run is.
    fn sound(&self, head: &Head, expand: Expand<'_>) -> Result<Contents, ArchiveError> {
        let (scratch, run) = (&self.scratch, head.run.as_str());
        let place = |problem: RunError| {
            // Where it was unpacked to is nobody's business.
            let inside = format!("{}/", scratch.store.root().display());
            self.unsound(problem.to_string().replace(&inside, ""))
        };
        directory::events(scratch, run).map_err(place)?;
        let experiment = directory::experiment(scratch, run).map_err(place)?;
        // What a checker has made cannot be wrong later; what an archive says can, until it is held against that.
        if let Some(why) = follows(scratch, run, &experiment, expand).map_err(place)? {
            let by = if head.agx == env!("CARGO_PKG_VERSION") { "" } else { &format!(" (agx {} wrote it)", head.agx) };
            return Err(self.unsound(format!("{why}{by}")));
        }
        self.carries(head)?;
        let contents = Contents::of(scratch, &worked(scratch, run).map_err(place)?).map_err(place)?;
        let missing = contents.blobs.iter().find(|blob| !self.blobs.contains(blob));
        let unnamed = self.blobs.iter().find(|blob| !contents.blobs.contains(blob));
        let unasked = self.records.iter().find(|key| !contents.records.contains_key(key));
        match (missing, unnamed, unasked) {
            (Some(blob), ..) => Err(self.unsound(format!("blob {} is missing", blob.short()))),
            (_, Some(blob), _) => Err(self.unsound(format!("nothing names blob {}", blob.short()))),
            (.., Some(key)) => Err(self.unsound(format!("nothing names the record of {}", key.short()))),
            (None, None, None) => Ok(contents),
        }
    }

    /// All that the experiment names lies in its place (of a cassette, but for the models), and nothing else.
    fn carries(&self, head: &Head) -> Result<(), ArchiveError> {
        let place = |path: &Path| {
            path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
        };
        let mut experiment = directory::as_frozen(&self.scratch, &head.run)?;
        let models = directory::model_files(&mut experiment.models).count();
        let places: Vec<String> = directory::places(&mut experiment).iter().map(|(at, _)| place(at)).collect();
        let lies = |name: &str, place: &str| {
            name.strip_prefix("files/")
                .and_then(|it| it.strip_prefix(place))
                .is_some_and(|it| it.is_empty() || it.starts_with('/'))
        };
        let needed = if head.form == Form::Run { &places[..] } else { &places[models..] };
        if let Some(gone) = needed.iter().find(|place| !head.files.keys().any(|name| lies(name, place))) {
            return Err(self.unsound(format!("`files/{gone}` is missing, which its experiment names")));
        }
        let mut carried = head.files.keys().filter(|name| name.starts_with("files/"));
        match carried.find(|name| !places.iter().any(|place| lies(name, place))) {
            Some(name) => Err(self.entry(name, "is named by nothing in its experiment")),
            None => Ok(()),
        }
    }
}

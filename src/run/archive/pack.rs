//! Turns a run into an archive.

use super::contents::Contents;
use super::{ArchiveError, FORMAT, Form, HEAD, Head, RECORDS, file as file_error};
use crate::base::{Digest, file};
use crate::run::worked::worked;
use crate::run::{Project, RunError, carried, directory, identify, past};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    pub blobs: u64,
    pub records: u64,
    pub files: u64,
}

/// Where an entry's bytes are.
enum Bytes {
    Here(Vec<u8>),
    Blob(Digest),
    File { path: PathBuf, size: u64, digest: Digest },
}

/// Writes the archive of a run, compressed or not. The run must not be under way.
///
/// # Errors
/// A file that the experiment names and that has changed; something of the run that is missing or damaged; a write that
/// fails (`to` is its name).
pub fn pack(
    project: &Project,
    run: &str,
    form: Form,
    compress: bool,
    to: &Path,
    out: impl Write,
) -> Result<Packed, ArchiveError> {
    let worked = worked(project, run)?;
    let with_models = form == Form::Run;
    unchanged(project, run, with_models)?;
    let contents = Contents::of(project, &worked)?;
    let mut entries = BTreeMap::new();
    let mut records = Vec::new();
    for record in contents.records.values() {
        serde_json::to_writer(&mut records, record).expect("a record is plain data");
        records.push(b'\n');
    }
    entries.insert(RECORDS.to_owned(), Bytes::Here(records));
    let mut files = 0;
    for carried in carried::files(project, run, with_models)? {
        entries.insert(format!("files/{}", carried.place), on_disk(carried.path)?);
        files += 1;
    }
    let place = project.run_dir(run);
    let journal =
        file::read(&project.journal(run), u64::MAX).map_err(|it| RunError::file(&project.journal(run), it))?;
    // A torn last line is none of the run's.
    let whole = journal.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    entries.insert(format!("runs/{run}/journal.jsonl"), Bytes::Here(journal[..whole].to_vec()));
    for name in directory::frozen(&place)?.into_keys().chain(["plan.json".to_owned()]) {
        entries.insert(format!("runs/{run}/{}", name.replace('\\', "/")), on_disk(place.join(name))?);
    }
    let named = entries.iter().map(|(name, bytes)| (name.clone(), bytes.digest())).collect();
    entries.extend(contents.blobs.iter().map(|blob| (format!("blobs/{blob}"), Bytes::Blob(*blob))));
    let head = Head {
        format: FORMAT.to_owned(),
        agx: env!("CARGO_PKG_VERSION").to_owned(),
        form,
        run: run.to_owned(),
        entries: entries.len() as u64,
        files: named,
    };
    let mut head = serde_json::to_vec_pretty(&head).expect("plain data");
    head.push(b'\n');
    entries.insert(HEAD.to_owned(), Bytes::Here(head));
    let fail = |problem: std::io::Error| file_error(to, &problem);
    if compress {
        let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(fail)?;
        encoder.include_checksum(true).map_err(fail)?;
        write(project, to, entries, &mut encoder)?;
        encoder.finish().and_then(|mut out| out.flush()).map_err(fail)?;
    } else {
        write(project, to, entries, out)?;
    }
    Ok(Packed { blobs: contents.blobs.len() as u64, records: contents.records.len() as u64, files })
}

/// An archive whose files are not those that the run was made with would prove nothing.
fn unchanged(project: &Project, run: &str, with_models: bool) -> Result<(), ArchiveError> {
    let mut experiment = directory::experiment(project, run)?;
    if !with_models {
        experiment.models.clear();
    }
    let now = identify(&experiment)?;
    let changed = directory::identities(project, run)?.map(|then| past::changed(&experiment, &then, &now));
    match changed {
        Some(changed) if !changed.is_empty() => Err(ArchiveError::Changed(changed)),
        _ => Ok(()),
    }
}

impl Bytes {
    fn digest(&self) -> Digest {
        match self {
            Bytes::Here(bytes) => Digest::of_bytes(bytes),
            Bytes::Blob(digest) | Bytes::File { digest, .. } => *digest,
        }
    }
}

fn on_disk(path: PathBuf) -> Result<Bytes, ArchiveError> {
    let fail = |problem: std::io::Error| file_error(&path, &problem);
    let opened = file::open(&path).map_err(fail)?;
    let size = opened.metadata().map_err(fail)?.len();
    let digest = Digest::of_reader(opened.take(size)).map_err(fail)?;
    Ok(Bytes::File { path, size, digest })
}

/// All entries by name.
fn write(project: &Project, to: &Path, entries: BTreeMap<String, Bytes>, out: impl Write) -> Result<(), ArchiveError> {
    let mut tar = tar::Builder::new(out);
    for (name, bytes) in entries {
        let fail = |problem: std::io::Error| file_error(to, &problem);
        let mut header = tar::Header::new_ustar();
        let no_place = |_| ArchiveError::Entry {
            path: to.to_owned(),
            entry: name.clone(),
            why: "has a name too long for an archive".to_owned(),
        };
        header.set_path(&name).map_err(no_place)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        // Said, not left out: other programs miss them.
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let mut append = |size: u64, bytes: &mut dyn Read| {
            header.set_size(size);
            header.set_cksum();
            tar.append(&header, bytes).map_err(fail)
        };
        match bytes {
            Bytes::Here(bytes) => append(bytes.len() as u64, &mut bytes.as_slice())?,
            Bytes::Blob(digest) => {
                let bytes = project.store.get(&digest)?;
                append(bytes.len() as u64, &mut bytes.as_slice())?;
            }
            Bytes::File { path, size, digest } => {
                let opened = file::open(&path).map_err(|problem| file_error(&path, &problem))?;
                append(size, &mut opened.take(size))?;
                // Read twice: what was written must be what was promised.
                let now =
                    file::open(&path).and_then(Digest::of_reader).map_err(|problem| file_error(&path, &problem))?;
                if now != digest {
                    return Err(ArchiveError::File { path, why: "changes while it is read".to_owned() });
                }
            }
        }
    }
    tar.into_inner().and_then(|mut out| out.flush()).map_err(|problem| file_error(to, &problem))
}

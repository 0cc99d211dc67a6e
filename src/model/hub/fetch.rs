//! Brings what a model lacks here.
//!
//! # Invariants
//! A file comes under its name when all of it is there and is what the hub said; what came of it before is gone on with.
//! No more is written than the hub said that there is.

use super::ask::{Client, Failure, Told};
use super::cache::{INDEX, MOST_TEXT, Snapshot, disk, is_weights, may_be_absent};
use super::sum::Summing;
use super::{Heard, HubError};
use crate::base::file;
use crate::model::{ModelError, Wire, shards};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use ureq::http::{StatusCode, header};

const PART: usize = 1 << 18;

/// One model on its way.
pub struct Fetch<'a> {
    snapshot: &'a Snapshot,
    client: Client<'a>,
    wire: &'a Wire,
}

/// A file on its way.
struct Coming {
    file: File,
    sum: Summing,
    /// So many bytes of it are there.
    at: u64,
    /// So many were there at most: a server that begins anew each time makes no progress.
    furthest: u64,
}

impl<'a> Fetch<'a> {
    pub fn new(snapshot: &'a Snapshot, wire: &'a Wire) -> Result<Self, HubError> {
        Ok(Self { snapshot, client: Client::new(snapshot, wire)?, wire })
    }

    /// Everything. What describes the model comes first, and `fit` says whether it is worth its weights.
    pub fn all(
        &self,
        fit: &dyn Fn(&Path) -> Result<(), ModelError>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), ModelError> {
        loop {
            let lacking = self.snapshot.lacking()?;
            if lacking.is_empty() {
                return Ok(());
            }
            let (mut texts, mut weights) = (Vec::new(), Vec::new());
            for name in lacking {
                match self.told(&name, heard)? {
                    None => self.snapshot.note_absent(&name)?,
                    Some(told) if is_weights(&name) => weights.push((name, told)),
                    Some(told) => texts.push((name, told)),
                }
            }
            self.bring(&texts, heard)?;
            if !weights.is_empty() {
                fit(&self.snapshot.directory)?;
                self.bring(&weights, heard)?;
            }
        }
    }

    /// Bytes that are still to come, as the hub says. Nothing is written.
    pub fn missing(&self) -> Result<u64, ModelError> {
        let mut names = self.snapshot.lacking()?;
        let mut bytes = 0;
        while let Some(name) = names.pop() {
            let Some(told) = self.told(&name, &mut |_| {})? else {
                names.extend(is_weights(&name).then(|| INDEX.to_owned()));
                continue;
            };
            bytes += told.size.saturating_sub(self.snapshot.come(&told.sum));
            if name == INDEX {
                let text = self.text(&name, &told)?;
                let shards = shards::named(&name, &text)?.into_iter();
                names.extend(shards.filter(|shard| !self.snapshot.is_there(shard)));
            }
        }
        Ok(bytes)
    }

    /// What a file is; nothing where the model does without it.
    fn told(&self, name: &str, heard: &mut dyn FnMut(Heard<'_>)) -> Result<Option<Told>, HubError> {
        self.unpaused()?;
        let (model, name) = (self.snapshot.words(), name.to_owned());
        match self.client.told(&name, heard)? {
            Some(told) if !is_weights(&name) && told.size > MOST_TEXT => {
                Err(HubError::TooLarge { model, name, size: told.size })
            }
            None if !may_be_absent(&name) => Err(HubError::NoFile { model, name }),
            told => Ok(told),
        }
    }

    /// A small file, held in memory.
    fn text(&self, name: &str, told: &Told) -> Result<String, HubError> {
        let broken = |what: &str| HubError::Broken { name: name.to_owned(), what: what.to_owned() };
        let bytes = self.client.patiently(name, &mut |_| {}, |_| {
            let mut bytes = Vec::new();
            let mut response = self.client.bytes(name, 0)?;
            let read = response.body_mut().as_reader().take(told.size + 1).read_to_end(&mut bytes);
            read.map_err(|problem| broken(&file::reason(&problem)))?;
            Ok(bytes)
        })?;
        let mut sum = told.sum.begin(bytes.len() as u64);
        sum.add(&bytes);
        let text = String::from_utf8(bytes).ok().filter(|_| sum.end() == told.sum);
        text.ok_or_else(|| self.corrupt(name, "its bytes are others"))
    }

    fn bring(&self, files: &[(String, Told)], heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), HubError> {
        let total = files.iter().map(|(_, told)| told.size).sum();
        let mut before = 0;
        for (name, told) in files {
            self.file(name, told, &mut |it| {
                heard(match it {
                    Heard::Come { file, done, total: _ } => Heard::Come { file, done: before + done, total },
                    other => other,
                });
            })?;
            before += told.size;
        }
        Ok(())
    }

    fn file(&self, name: &str, told: &Told, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), HubError> {
        let is_here = || std::fs::metadata(self.snapshot.blob(&told.sum)).is_ok_and(|blob| blob.len() == told.size);
        let mut waits = false;
        // Another process that brings the same is let do so.
        let _lock = loop {
            match self.snapshot.lock(&told.sum)? {
                Some(lock) => break lock,
                None if !std::mem::replace(&mut waits, true) => heard(Heard::Other { file: name }),
                None => self.client.rest()?,
            }
        };
        if !is_here() {
            self.come(name, told, heard)?;
            self.snapshot.keep(&told.sum)?;
        }
        self.snapshot.put(name, &told.sum)
    }

    /// Has a file come whole, beside its place.
    fn come(&self, name: &str, told: &Told, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), HubError> {
        let path = self.snapshot.part(&told.sum);
        let fail = |problem: std::io::Error| disk(&path, &problem);
        let (mut part, size) = self.snapshot.open_part(&told.sum)?;
        let mut sum = told.sum.begin(told.size);
        // Whatever lies there: that it is the beginning is seen at the end.
        let mut resumed = size > 0 && size <= told.size;
        if resumed {
            sum.add_all(&mut part).map_err(fail)?;
        }
        let at = if resumed { size } else { 0 };
        let mut coming = Coming { file: part, sum, at, furthest: at };
        if !resumed {
            coming.begin(told).map_err(fail)?;
        }
        loop {
            self.client.patiently(name, heard, |heard| self.attempt(name, told, &mut coming, heard))?;
            if coming.sum.clone().end() == told.sum {
                return coming.file.sync_data().map_err(fail);
            }
            coming.begin(told).map_err(fail)?;
            if !std::mem::take(&mut resumed) {
                drop(coming);
                std::fs::remove_file(&path).map_err(fail)?;
                return Err(self.corrupt(name, &format!("its sum is not {}", told.sum.as_str())));
            }
        }
    }

    /// Reads on from where it stands to the end.
    fn attempt(
        &self,
        name: &str,
        told: &Told,
        coming: &mut Coming,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Failure> {
        self.unpaused()?;
        let fail = |problem: std::io::Error| disk(&self.snapshot.part(&told.sum), &problem);
        let broken = |what: String| HubError::Broken { name: name.to_owned(), what };
        heard(Heard::Come { file: name, done: coming.at, total: told.size });
        if coming.at == told.size {
            return Ok(());
        }
        let mut response = self.client.bytes(name, coming.at)?;
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let wanted = format!("bytes {}-{}/{}", coming.at, told.size - 1, told.size);
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range.as_ref() == Some(&wanted) => {}
            StatusCode::OK => coming.begin(told).map_err(fail)?,
            // It has another idea of what there is: once more, from the first byte.
            status => {
                coming.begin(told).map_err(fail)?;
                return Err(broken(format!("other bytes came than were asked for ({status})")).into());
            }
        }
        let mut body = response.body_mut().as_reader();
        let (mut part, mut came) = (vec![0; PART], false);
        loop {
            self.unpaused()?;
            let read = body.read(&mut part).map_err(|problem| broken(file::reason(&problem)));
            let read = read.map_err(|problem| Failure { came, ..problem.into() })?;
            let left = told.size - coming.at;
            if read as u64 > left {
                coming.begin(told).map_err(fail)?;
                return Err(self.corrupt(name, &format!("it is larger than {} bytes", told.size)).into());
            }
            if read == 0 {
                let what = format!("{} of {} bytes came", coming.at, told.size);
                return if left == 0 { Ok(()) } else { Err(Failure { came, ..broken(what).into() }) };
            }
            coming.file.write_all(&part[..read]).map_err(fail)?;
            coming.sum.add(&part[..read]);
            coming.at += read as u64;
            came |= coming.at > coming.furthest;
            coming.furthest = coming.furthest.max(coming.at);
            heard(Heard::Come { file: name, done: coming.at, total: told.size });
        }
    }

    fn unpaused(&self) -> Result<(), HubError> {
        if self.wire.paused() { Err(HubError::Paused) } else { Ok(()) }
    }

    fn corrupt(&self, name: &str, what: &str) -> HubError {
        HubError::Corrupt { model: self.snapshot.words(), name: name.to_owned(), what: what.to_owned() }
    }
}

impl Coming {
    /// As if nothing of it had come.
    fn begin(&mut self, told: &Told) -> std::io::Result<()> {
        (self.sum, self.at) = (told.sum.begin(told.size), 0);
        self.file.set_len(0)?;
        self.file.rewind()
    }
}

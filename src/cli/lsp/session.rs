//! Turns notifications into the texts that are open, and texts into what is wrong with them.
//!
//! # Invariants
//! What is open shadows what is on disk. A text is checked when something asks for it and it has changed, and never twice.

use super::{convert, files};
use crate::base::file;
use crate::cli::load;
use crate::editor::Document;
use crate::editor::position::{Lines, Units};
use crate::editor::rename::Texts;
use crate::experiment::{Unreadable, World};
use crate::syntax::MAX_BYTES;
use crate::syntax::ast::{Item, ItemKind};
use lsp_server::{ErrorCode, Notification};
use lsp_types::notification::{
    DidChangeTextDocument, DidChangeWatchedFiles, DidCloseTextDocument, DidOpenTextDocument, DidSaveTextDocument,
    LogMessage, Notification as _, PublishDiagnostics,
};
use lsp_types::{
    DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams, LogMessageParams, MessageType,
    PublishDiagnosticsParams, TextDocumentContentChangeEvent, Uri,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Before `initialize`.
    #[default]
    New,
    Running,
    ShutDown,
}

/// Why something is not answered.
#[derive(Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub why: String,
}

impl Refusal {
    pub fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }

    /// For what has no answer.
    pub fn as_message(&self) -> Notification {
        let params = LogMessageParams { typ: MessageType::ERROR, message: self.why.clone() };
        Notification::new(LogMessage::METHOD.to_owned(), params)
    }
}

/// What the client can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    pub units: Units,
    pub snippets: bool,
    pub document_changes: bool,
}

#[derive(Default)]
pub struct Session {
    pub phase: Phase,
    pub client: Client,
    /// Where the project lies.
    pub roots: Vec<PathBuf>,
    /// By their addresses.
    open: BTreeMap<String, Open>,
}

/// A text that a client has opened.
struct Open {
    uri: Uri,
    path: Option<PathBuf>,
    version: i32,
    text: String,
    /// As it was read last; `None` since it changed.
    checked: Option<Document>,
    /// What is wrong with it has been told.
    settled: bool,
}

impl Open {
    fn new(uri: Uri, version: i32, text: String) -> Self {
        let path = files::path(&uri);
        Self { uri, path, version, text, checked: None, settled: false }
    }

    /// Whether what it means depends on other texts.
    fn imports(&self) -> bool {
        let is_import = |item: &Item| matches!(item.kind, ItemKind::Import { .. });
        self.checked.as_ref().is_some_and(|document| document.file.items.iter().any(is_import))
    }
}

/// # Errors
/// The parameters are not those of the method.
pub fn read<T: DeserializeOwned>(params: Value) -> Result<T, Refusal> {
    serde_json::from_value(params).map_err(|error| Refusal::new(ErrorCode::InvalidParams, error.to_string()))
}

impl Session {
    /// Takes a notification; one that does not fit is passed over, as the protocol says. What comes back is for the client.
    pub fn notice(&mut self, method: &str, params: Value) -> Vec<Notification> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        match method {
            DidOpenTextDocument::METHOD => {
                if let Ok(DidOpenTextDocumentParams { text_document: it }) = read(params) {
                    self.open.insert(it.uri.as_str().to_owned(), Open::new(it.uri, it.version, it.text));
                    self.stale(Open::imports);
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Ok(params) = read(params) {
                    self.change(params);
                }
            }
            DidCloseTextDocument::METHOD => {
                if let Ok(DidCloseTextDocumentParams { text_document: it }) = read(params)
                    && self.open.remove(it.uri.as_str()).is_some()
                {
                    self.stale(Open::imports);
                    return vec![publish(it.uri, Vec::new(), None)];
                }
            }
            DidSaveTextDocument::METHOD | DidChangeWatchedFiles::METHOD => self.stale(|_| true),
            _ => {}
        }
        Vec::new()
    }

    fn change(&mut self, params: DidChangeTextDocumentParams) {
        let units = self.client.units;
        let Some(open) = self.open.get_mut(params.text_document.uri.as_str()) else { return };
        open.version = params.text_document.version;
        for TextDocumentContentChangeEvent { range, text, .. } in params.content_changes {
            match range {
                None => open.text = text,
                Some(range) => {
                    let span = convert::span(&Lines::of(&open.text), &open.text, range, units);
                    open.text.replace_range(span.range(), &text);
                }
            }
        }
        (open.checked, open.settled) = (None, false);
        self.stale(Open::imports);
    }

    /// What some texts read has changed: they are checked again.
    fn stale(&mut self, which: fn(&Open) -> bool) {
        for open in self.open.values_mut().filter(|open| which(open)) {
            (open.checked, open.settled) = (None, false);
        }
    }

    /// A text whose mistakes have not been told since it changed.
    pub fn next_unsettled(&self) -> Option<Uri> {
        self.open.values().find(|open| !open.settled).map(|open| open.uri.clone())
    }

    /// What is wrong with a text, for the client.
    pub fn diagnostics(&mut self, uri: &Uri) -> Option<Notification> {
        let units = self.client.units;
        let open = self.open.get_mut(uri.as_str())?;
        // Before it is read: a bug must not come back for ever.
        open.settled = true;
        let version = open.version;
        let document = self.document(uri).ok()?;
        let list = document.diagnostics.iter().map(|it| convert::diagnostic(document, uri, it, units)).collect();
        Some(publish(uri.clone(), list, Some(version)))
    }

    /// An open text as it is now.
    ///
    /// # Errors
    /// It is not open.
    pub fn document(&mut self, uri: &Uri) -> Result<&Document, Refusal> {
        let Some(open) = self.open.get(uri.as_str()) else { return self.checked(uri) };
        if open.checked.is_none() {
            let document = self.with_world(uri, |world| Document::read(name(uri), open.text.clone(), world));
            if let Some(open) = self.open.get_mut(uri.as_str()) {
                open.checked = Some(document);
            }
        }
        self.checked(uri)
    }

    /// As [`Self::document`], which has been asked before.
    ///
    /// # Errors
    /// It is not open, or has changed since.
    pub fn checked(&self, uri: &Uri) -> Result<&Document, Refusal> {
        let missing = || Refusal::new(ErrorCode::InvalidParams, format!("{} is not open", uri.as_str()));
        self.open.get(uri.as_str()).and_then(|open| open.checked.as_ref()).ok_or_else(missing)
    }

    /// As the project sees it now: every file that imports others, and `uri` itself, read and checked with what is open.
    pub fn linked(&self, uri: &Uri) -> Vec<Document> {
        let all = self.project().into_iter();
        let linked = all.filter(|(other, text)| other == uri || text.contains("import"));
        linked.map(|(uri, text)| self.with_world(&uri, |world| Document::read(name(&uri), text, world))).collect()
    }

    /// A file as it would be if some texts were others.
    pub fn reread(&self, file: &Document, texts: &Texts) -> Document {
        let root = file.sources.root();
        let text = texts.get(&root.name).unwrap_or(&root.text).clone();
        let directory = Path::new(&root.name).parent().unwrap_or(Path::new("."));
        let read = |path: &Path| match texts.get(&path.display().to_string()) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => self.read(directory, path),
        };
        let world = World { root: directory, exists: &|path| path.exists(), read: &read };
        Document::read(root.name.clone(), text, world)
    }

    /// The bytes of an imported file: what is open shadows the disk.
    fn read(&self, root: &Path, path: &Path) -> Result<Vec<u8>, Unreadable> {
        match self.open.values().find(|open| open.path.as_deref() == Some(path)) {
            Some(open) => Ok(open.text.clone().into_bytes()),
            None => load::import(root, path),
        }
    }

    /// What a file may know of the world: its paths begin where it lies.
    fn with_world<T>(&self, uri: &Uri, work: impl FnOnce(World) -> T) -> T {
        let path = files::path(uri);
        let root = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        work(World { root, exists: &|path| path.exists(), read: &|path| self.read(root, path) })
    }

    pub fn version(&self, uri: &Uri) -> Option<i32> {
        self.open.get(uri.as_str()).map(|open| open.version)
    }

    /// Every file of the project with its text: as it is open, or as it is on disk.
    pub fn project(&self) -> Vec<(Uri, String)> {
        let is_open = |path: &Path| self.open.values().any(|open| open.path.as_deref() == Some(path));
        let closed = self.roots.iter().flat_map(|root| files::below(root)).filter(|path| !is_open(path));
        let closed =
            closed.filter_map(|path| Some((files::uri(&path)?, file::read_text(&path, MAX_BYTES as u64).ok()?)));
        let open = self.open.values().map(|open| (open.uri.clone(), open.text.clone()));
        let mut texts: Vec<(Uri, String)> = closed.chain(open).collect();
        texts.sort();
        texts.dedup();
        texts
    }
}

/// A file's path, or what it is called that has none.
fn name(uri: &Uri) -> String {
    files::path(uri).map_or_else(|| uri.as_str().to_owned(), |path| path.display().to_string())
}

fn publish(uri: Uri, diagnostics: Vec<lsp_types::Diagnostic>, version: Option<i32>) -> Notification {
    Notification::new(PublishDiagnostics::METHOD.to_owned(), PublishDiagnosticsParams { uri, diagnostics, version })
}

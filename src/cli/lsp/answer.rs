//! Turns requests into answers: one function a method, each one question to `editor`.

use super::convert::{self, SOURCE};
use super::files;
use super::session::{Client, Phase, Refusal, Session, read};
use crate::base::Edit;
use crate::editor::Document;
use crate::editor::position::{Lines, Units};
use crate::editor::{complete, fix, fold, hints, hover, navigate, outline, paint, rename, select};
use crate::syntax;
use lsp_server::ErrorCode;
use lsp_types::request as ask;
use lsp_types::request::Request;
use lsp_types::*;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

type Answer<R> = Result<<R as Request>::Result, Refusal>;

/// What every editor may ask for.
pub const FIX_ALL: &str = "source.fixAll.agx";

pub fn answer(session: &mut Session, method: &str, params: Value) -> Result<Value, Refusal> {
    match (session.phase, method) {
        (Phase::New, ask::Initialize::METHOD) => return run::<ask::Initialize>(session, params, initialize),
        (Phase::New, _) => {
            return Err(Refusal::new(ErrorCode::ServerNotInitialized, "the first request is `initialize`"));
        }
        (Phase::Running, ask::Initialize::METHOD) => {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "the session is initialized already"));
        }
        (Phase::Running, _) => {}
        (Phase::ShutDown, _) => return Err(Refusal::new(ErrorCode::InvalidRequest, "the session is shut down")),
    }
    match method {
        ask::Shutdown::METHOD => {
            session.phase = Phase::ShutDown;
            Ok(Value::Null)
        }
        ask::HoverRequest::METHOD => run::<ask::HoverRequest>(session, params, hover_at),
        ask::GotoDefinition::METHOD => run::<ask::GotoDefinition>(session, params, definition),
        ask::References::METHOD => run::<ask::References>(session, params, references),
        ask::DocumentHighlightRequest::METHOD => run::<ask::DocumentHighlightRequest>(session, params, highlights),
        ask::PrepareRenameRequest::METHOD => run::<ask::PrepareRenameRequest>(session, params, prepare_rename),
        ask::Rename::METHOD => run::<ask::Rename>(session, params, rename_all),
        ask::Completion::METHOD => run::<ask::Completion>(session, params, completion),
        ask::CodeActionRequest::METHOD => run::<ask::CodeActionRequest>(session, params, code_actions),
        ask::Formatting::METHOD => run::<ask::Formatting>(session, params, formatting),
        ask::DocumentSymbolRequest::METHOD => run::<ask::DocumentSymbolRequest>(session, params, document_symbols),
        ask::WorkspaceSymbolRequest::METHOD => run::<ask::WorkspaceSymbolRequest>(session, params, workspace_symbols),
        ask::FoldingRangeRequest::METHOD => run::<ask::FoldingRangeRequest>(session, params, folding),
        ask::SelectionRangeRequest::METHOD => run::<ask::SelectionRangeRequest>(session, params, selections),
        ask::SemanticTokensFullRequest::METHOD => {
            run::<ask::SemanticTokensFullRequest>(session, params, semantic_tokens)
        }
        ask::InlayHintRequest::METHOD => run::<ask::InlayHintRequest>(session, params, inlay_hints),
        _ => Err(Refusal::new(ErrorCode::MethodNotFound, format!("there is no `{method}` here"))),
    }
}

fn run<R: Request>(
    session: &mut Session,
    params: Value,
    work: fn(&mut Session, R::Params) -> Answer<R>,
) -> Result<Value, Refusal>
where
    R::Result: Serialize,
{
    let result = work(session, read(params)?)?;
    serde_json::to_value(result).map_err(|error| Refusal::new(ErrorCode::InternalError, error.to_string()))
}

#[expect(deprecated, reason = "older clients name their one directory in `rootUri`")]
fn initialize(session: &mut Session, params: InitializeParams) -> Answer<ask::Initialize> {
    let folders = params.workspace_folders.unwrap_or_default().into_iter().map(|folder| folder.uri);
    let roots = folders.chain(params.root_uri).filter_map(|uri| files::path(&uri));
    session.roots = roots.collect();
    session.roots.sort();
    session.roots.dedup();
    let ClientCapabilities { general, text_document, workspace, .. } = params.capabilities;
    let encodings = general.and_then(|general| general.position_encodings).unwrap_or_default();
    let bytes = encodings.contains(&PositionEncodingKind::UTF8);
    let item = text_document.and_then(|it| it.completion).and_then(|it| it.completion_item);
    session.client = Client {
        units: if bytes { Units::Utf8 } else { Units::Utf16 },
        snippets: item.and_then(|item| item.snippet_support).unwrap_or(false),
        document_changes: workspace
            .and_then(|it| it.workspace_edit)
            .and_then(|it| it.document_changes)
            .unwrap_or(false),
    };
    session.phase = Phase::Running;
    let server_info = ServerInfo { name: SOURCE.to_owned(), version: Some(env!("CARGO_PKG_VERSION").to_owned()) };
    Ok(InitializeResult { capabilities: capabilities(bytes), server_info: Some(server_info) })
}

fn capabilities(bytes: bool) -> ServerCapabilities {
    let work = WorkDoneProgressOptions::default;
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(TextDocumentSyncSaveOptions::Supported(true)),
        ..TextDocumentSyncOptions::default()
    };
    let legend = SemanticTokensLegend {
        token_types: convert::TOKEN_TYPES.to_vec(),
        token_modifiers: convert::TOKEN_MODIFIERS.to_vec(),
    };
    let tokens = SemanticTokensOptions {
        legend,
        full: Some(SemanticTokensFullOptions::Bool(true)),
        ..SemanticTokensOptions::default()
    };
    ServerCapabilities {
        position_encoding: Some(if bytes { PositionEncodingKind::UTF8 } else { PositionEncodingKind::UTF16 }),
        text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: work(),
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([".", "@", "|"].map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, CodeActionKind::new(FIX_ALL)]),
            ..CodeActionOptions::default()
        })),
        document_formatting_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        workspace_symbol_provider: Some(OneOf::Left(true)),
        folding_range_provider: Some(FoldingRangeProviderCapability::Simple(true)),
        selection_range_provider: Some(SelectionRangeProviderCapability::Simple(true)),
        semantic_tokens_provider: Some(SemanticTokensServerCapabilities::SemanticTokensOptions(tokens)),
        inlay_hint_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    }
}

fn hover_at(session: &mut Session, params: HoverParams) -> Answer<ask::HoverRequest> {
    let units = session.client.units;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position_params;
    let document = session.document(&text_document.uri)?;
    let found = hover::hover(document, convert::offset(document, position, units));
    Ok(found.map(|found| Hover {
        contents: HoverContents::Markup(convert::markdown(found.markdown)),
        range: Some(convert::range(&document.lines, &document.text, found.span, units)),
    }))
}

fn definition(session: &mut Session, params: GotoDefinitionParams) -> Answer<ask::GotoDefinition> {
    let units = session.client.units;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position_params;
    let document = session.document(&text_document.uri)?;
    let found = navigate::definition(document, convert::offset(document, position, units));
    let location = |found: navigate::Named| convert::location(document, &text_document.uri, found.declared, units);
    Ok(found.map(|found| GotoDefinitionResponse::Scalar(location(found))))
}

fn references(session: &mut Session, params: ReferenceParams) -> Answer<ask::References> {
    let units = session.client.units;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position;
    let document = session.document(&text_document.uri)?;
    let found = navigate::references(document, convert::offset(document, position, units));
    let wanted = found.into_iter().filter(|named| params.context.include_declaration || !named.is_declaration());
    let locations = wanted.map(|named| convert::location(document, &text_document.uri, named.span, units));
    Ok(Some(locations.collect()))
}

fn highlights(session: &mut Session, params: DocumentHighlightParams) -> Answer<ask::DocumentHighlightRequest> {
    let units = session.client.units;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position_params;
    let document = session.document(&text_document.uri)?;
    let found = navigate::references(document, convert::offset(document, position, units));
    let found = found.into_iter().filter(|named| document.is_own(named.span));
    let one = |named: navigate::Named| DocumentHighlight {
        range: convert::range(&document.lines, &document.text, named.span, units),
        kind: Some(if named.is_declaration() { DocumentHighlightKind::WRITE } else { DocumentHighlightKind::READ }),
    };
    Ok(Some(found.map(one).collect()))
}

fn prepare_rename(session: &mut Session, params: TextDocumentPositionParams) -> Answer<ask::PrepareRenameRequest> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let span = rename::prepare(document, convert::offset(document, params.position, units));
    let span = span.map_err(|why| Refusal::new(ErrorCode::RequestFailed, why))?;
    Ok(Some(PrepareRenameResponse::Range(convert::range(&document.lines, &document.text, span, units))))
}

fn rename_all(session: &mut Session, params: RenameParams) -> Answer<ask::Rename> {
    let units = session.client.units;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position;
    let uri = text_document.uri;
    session.document(&uri)?;
    let session = &*session;
    let document = session.checked(&uri)?;
    let at = convert::offset(document, position, units);
    let mut project = if rename::is_shared(document, at) { session.linked(&uri) } else { Vec::new() };
    project.retain(|other| other.sources.root().name != document.sources.root().name);
    let files: Vec<&Document> = std::iter::once(document).chain(&project).collect();
    let reread = |file: &Document, texts: &rename::Texts| session.reread(file, texts);
    let edits = rename::rename(document, at, &params.new_name, &files, &reread);
    let edits = edits.map_err(|why| Refusal::new(ErrorCode::RequestFailed, why))?;
    let sources = files.iter().flat_map(|file| file.sources.iter());
    let texts =
        sources.filter(|source| edits.contains_key(&source.name)).map(|it| (it.name.as_str(), it.text.as_str()));
    let mut list: Vec<(Uri, Vec<TextEdit>)> = Vec::new();
    for (name, text) in texts.collect::<std::collections::BTreeMap<_, _>>() {
        let there = if name == document.sources.root().name { Some(uri.clone()) } else { files::uri(Path::new(name)) };
        let edits = convert::edits(&Lines::of(text), text, &edits[name], units);
        list.extend(there.map(|there| (there, edits)));
    }
    Ok(Some(workspace_edit(session, list)))
}

fn workspace_edit(session: &Session, edits: Vec<(Uri, Vec<TextEdit>)>) -> WorkspaceEdit {
    if !session.client.document_changes {
        return WorkspaceEdit { changes: Some(edits.into_iter().collect()), ..WorkspaceEdit::default() };
    }
    let change = |(uri, edits): (Uri, Vec<TextEdit>)| TextDocumentEdit {
        text_document: OptionalVersionedTextDocumentIdentifier { version: session.version(&uri), uri },
        edits: edits.into_iter().map(OneOf::Left).collect(),
    };
    let changes = DocumentChanges::Edits(edits.into_iter().map(change).collect());
    WorkspaceEdit { document_changes: Some(changes), ..WorkspaceEdit::default() }
}

fn completion(session: &mut Session, params: CompletionParams) -> Answer<ask::Completion> {
    let Client { units, snippets, .. } = session.client;
    let TextDocumentPositionParams { text_document, position } = params.text_document_position;
    let document = session.document(&text_document.uri)?;
    let found = complete::complete(document, convert::offset(document, position, units));
    let replace = convert::range(&document.lines, &document.text, found.replace, units);
    let items = found.list.into_iter().enumerate();
    let items = items.map(|(order, proposal)| convert::completion(order, proposal, replace, snippets));
    Ok(Some(CompletionResponse::Array(items.collect())))
}

fn code_actions(session: &mut Session, params: CodeActionParams) -> Answer<ask::CodeActionRequest> {
    let units = session.client.units;
    let uri = params.text_document.uri;
    let wanted = |kind: &str| {
        let only = params.context.only.as_deref();
        // `source` wants all that begin with it.
        let asks = |asked: &CodeActionKind| kind == asked.as_str() || kind.starts_with(&format!("{}.", asked.as_str()));
        only.is_none_or(|only| only.iter().any(asks))
    };
    let document = session.document(&uri)?;
    let range = convert::span(&document.lines, &document.text, params.range, units);
    let mut actions: Vec<(CodeAction, Vec<Edit>)> = Vec::new();
    if wanted("quickfix") {
        for found in fix::fixes(document, range) {
            let action = CodeAction {
                title: found.title,
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![convert::diagnostic(document, &uri, found.of, units)]),
                is_preferred: Some(true),
                ..CodeAction::default()
            };
            actions.push((action, found.of.edits.clone()));
        }
    }
    let all = fix::all(document);
    // Where nobody asked for it, only beside a fix.
    let asked = params.context.only.is_some() || !actions.is_empty();
    if wanted(FIX_ALL) && asked && !all.is_empty() {
        let action = CodeAction {
            title: "Mend everything that agx can".to_owned(),
            kind: Some(CodeActionKind::new(FIX_ALL)),
            ..CodeAction::default()
        };
        actions.push((action, all));
    }
    let session = &*session;
    let document = session.checked(&uri)?;
    let with_edit = |(action, edits): (CodeAction, Vec<Edit>)| {
        let edits = convert::edits(&document.lines, &document.text, &edits, units);
        let edit = Some(workspace_edit(session, vec![(uri.clone(), edits)]));
        CodeActionOrCommand::CodeAction(CodeAction { edit, ..action })
    };
    Ok(Some(actions.into_iter().map(with_edit).collect()))
}

/// Nothing where the text cannot be read: its mistakes have been told.
fn formatting(session: &mut Session, params: DocumentFormattingParams) -> Answer<ask::Formatting> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let formatted = syntax::fmt::format(&document.text).ok();
    let edit = formatted.and_then(|formatted| fix::difference(&document.text, &formatted));
    let edits: Vec<Edit> = edit.into_iter().collect();
    Ok(Some(convert::edits(&document.lines, &document.text, &edits, units)))
}

fn document_symbols(session: &mut Session, params: DocumentSymbolParams) -> Answer<ask::DocumentSymbolRequest> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let entries = outline::outline(&document.text, &document.file);
    let symbols = entries.into_iter().map(|entry| convert::symbol(&document.lines, &document.text, entry, units));
    Ok(Some(DocumentSymbolResponse::Nested(symbols.collect())))
}

/// What the project's files declare, by any part of its name.
fn workspace_symbols(session: &mut Session, params: WorkspaceSymbolParams) -> Answer<ask::WorkspaceSymbolRequest> {
    let units = session.client.units;
    let query = params.query.to_lowercase();
    let mut symbols = Vec::new();
    for (uri, text) in session.project() {
        let (file, _) = syntax::parse(&text);
        let lines = Lines::of(&text);
        for entry in
            outline::outline(&text, &file).into_iter().filter(|entry| entry.name.to_lowercase().contains(&query))
        {
            let range = convert::range(&lines, &text, entry.name_span, units);
            symbols.push(WorkspaceSymbol {
                name: entry.name,
                kind: convert::symbol_kind(entry.sort),
                tags: None,
                container_name: None,
                location: OneOf::Left(Location::new(uri.clone(), range)),
                data: None,
            });
        }
    }
    Ok(Some(WorkspaceSymbolResponse::Nested(symbols)))
}

fn folding(session: &mut Session, params: FoldingRangeParams) -> Answer<ask::FoldingRangeRequest> {
    let document = session.document(&params.text_document.uri)?;
    let one = |fold: fold::Fold| FoldingRange {
        start_line: fold.first as u32,
        end_line: fold.last as u32,
        kind: Some(if fold.comment { FoldingRangeKind::Comment } else { FoldingRangeKind::Region }),
        ..FoldingRange::default()
    };
    Ok(Some(fold::folds(document).into_iter().map(one).collect()))
}

fn selections(session: &mut Session, params: SelectionRangeParams) -> Answer<ask::SelectionRangeRequest> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let around = |position: Position| {
        let ranges = select::around(document, convert::offset(document, position, units));
        let ranges = ranges.into_iter().map(|span| convert::range(&document.lines, &document.text, span, units));
        let nested =
            ranges.rev().fold(None, |parent, range| Some(SelectionRange { range, parent: parent.map(Box::new) }));
        nested.unwrap_or(SelectionRange { range: Range::new(position, position), parent: None })
    };
    Ok(Some(params.positions.into_iter().map(around).collect()))
}

fn semantic_tokens(session: &mut Session, params: SemanticTokensParams) -> Answer<ask::SemanticTokensFullRequest> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let data = convert::tokens(document, &paint::paint(document), units);
    Ok(Some(SemanticTokensResult::Tokens(SemanticTokens { result_id: None, data })))
}

fn inlay_hints(session: &mut Session, params: InlayHintParams) -> Answer<ask::InlayHintRequest> {
    let units = session.client.units;
    let document = session.document(&params.text_document.uri)?;
    let range = convert::span(&document.lines, &document.text, params.range, units);
    let one = |hint: hints::Hint| InlayHint {
        position: convert::range(&document.lines, &document.text, crate::base::Span::new(hint.at, hint.at), units)
            .start,
        label: InlayHintLabel::String(hint.text),
        kind: Some(InlayHintKind::TYPE),
        text_edits: None,
        tooltip: Some(InlayHintTooltip::String(hint.explanation.to_owned())),
        padding_left: None,
        padding_right: Some(true),
        data: None,
    };
    Ok(Some(hints::hints(document, range).into_iter().map(one).collect()))
}

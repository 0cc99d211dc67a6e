//! Turns what `editor` says into the protocol's types, and places of the protocol into bytes.

use super::files;
use crate::base::{self, Edit, Severity, Span};
use crate::editor::Document;
use crate::editor::complete::{Icon, Proposal};
use crate::editor::outline::Entry;
use crate::editor::paint::{Paint, Painted};
use crate::editor::position::{Lines, Place, Units};
use crate::experiment::Kind;
use crate::experiment::index::Sort;
use crate::syntax::ast::ItemKind;
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Diagnostic, DiagnosticRelatedInformation,
    DiagnosticSeverity, DiagnosticTag, DocumentSymbol, Documentation, InsertTextFormat, Location, MarkupContent,
    MarkupKind, NumberOrString, Position, Range, SemanticToken, SemanticTokenModifier, SemanticTokenType, SymbolKind,
    TextEdit, Uri,
};
use std::path::Path;

pub const SOURCE: &str = "agx";

/// Codes about what could be left out: editors show it faded.
const UNNECESSARY: [&str; 4] = ["W0201", "W0202", "W0203", "W0204"];

pub fn span(lines: &Lines, text: &str, range: Range, units: Units) -> Span {
    let place = |position: Position| Place { line: position.line, column: position.character };
    lines.span(text, place(range.start), place(range.end), units)
}

pub fn offset(document: &Document, position: Position, units: Units) -> usize {
    let place = Place { line: position.line, column: position.character };
    document.lines.offset(&document.text, place, units)
}

pub fn range(lines: &Lines, text: &str, span: Span, units: Units) -> Range {
    let position = |at: u32| {
        let Place { line, column } = lines.place(text, at as usize, units);
        Position::new(line, column)
    };
    Range::new(position(span.start), position(span.end))
}

/// A place of the text, or of a file that it imports.
pub fn location(document: &Document, uri: &Uri, span: Span, units: Units) -> Location {
    if document.is_own(span) {
        return Location::new(uri.clone(), range(&document.lines, &document.text, span, units));
    }
    let (source, span) = document.sources.locate(span);
    let there = files::uri(Path::new(&source.name)).unwrap_or_else(|| uri.clone());
    Location::new(there, range(&Lines::of(&source.text), &source.text, span, units))
}

/// What is wrong in an imported file is told where it is imported.
pub fn diagnostic(document: &Document, uri: &Uri, diagnostic: &base::Diagnostic, units: Units) -> Diagnostic {
    let own = document.is_own(diagnostic.primary());
    let primary = if own { diagnostic.primary() } else { import(document) };
    let range = |span| range(&document.lines, &document.text, span, units);
    let related = diagnostic.labels[usize::from(own)..].iter().map(|label| DiagnosticRelatedInformation {
        location: location(document, uri, label.span, units),
        message: label.text.clone(),
    });
    let related: Vec<DiagnosticRelatedInformation> = related.collect();
    let label = Some(diagnostic.labels[0].text.as_str()).filter(|text| !text.is_empty());
    let help = diagnostic.help.as_ref().map(|help| format!("help: {help}"));
    let parts = [Some(diagnostic.message.clone()), label.map(str::to_owned), help];
    Diagnostic {
        range: range(primary),
        severity: Some(match diagnostic.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(diagnostic.code.to_owned())),
        source: Some(SOURCE.to_owned()),
        message: parts.into_iter().flatten().collect::<Vec<_>>().join("\n"),
        related_information: (!related.is_empty()).then_some(related),
        tags: UNNECESSARY.contains(&diagnostic.code).then(|| vec![DiagnosticTag::UNNECESSARY]),
        ..Diagnostic::default()
    }
}

/// Where the file imports others: the first of its imports.
fn import(document: &Document) -> Span {
    let path = document.file.items.iter().find_map(|item| match &item.kind {
        ItemKind::Import { path, .. } => Some(path.span),
        _ => None,
    });
    path.unwrap_or_default()
}

pub fn edits(lines: &Lines, text: &str, edits: &[Edit], units: Units) -> Vec<TextEdit> {
    let one = |edit: &Edit| TextEdit::new(range(lines, text, edit.span, units), edit.text.clone());
    edits.iter().map(one).collect()
}

pub fn markdown(value: impl Into<String>) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value: value.into() }
}

pub fn symbol_kind(sort: Sort) -> SymbolKind {
    match sort {
        Sort::Item(Kind::Env) | Sort::Environment => SymbolKind::NAMESPACE,
        Sort::Item(Kind::Module) => SymbolKind::MODULE,
        Sort::Item(Kind::Dataset) | Sort::Rows | Sort::Offer => SymbolKind::ARRAY,
        Sort::Item(Kind::Model) => SymbolKind::CLASS,
        Sort::Item(Kind::Prompt) => SymbolKind::STRING,
        Sort::Item(Kind::Critic) => SymbolKind::INTERFACE,
        Sort::Item(Kind::Rule) | Sort::Filter => SymbolKind::FUNCTION,
        Sort::Item(Kind::Trainer) => SymbolKind::CONSTRUCTOR,
        Sort::Item(Kind::Experiment | Kind::Matrix) => SymbolKind::PACKAGE,
        Sort::Item(Kind::Param | Kind::Constant) | Sort::Evaluation | Sort::Metric => SymbolKind::CONSTANT,
        Sort::Split | Sort::Answer | Sort::Column => SymbolKind::FIELD,
        Sort::Version => SymbolKind::OBJECT,
        Sort::Type => SymbolKind::TYPE_PARAMETER,
        Sort::Parameter | Sort::Variable | Sort::Iteration | Sort::Unknown => SymbolKind::VARIABLE,
    }
}

#[expect(deprecated, reason = "the protocol's type has a field that nobody sets any more")]
pub fn symbol(lines: &Lines, text: &str, entry: Entry, units: Units) -> DocumentSymbol {
    let children: Vec<DocumentSymbol> =
        entry.inside.into_iter().map(|inside| symbol(lines, text, inside, units)).collect();
    DocumentSymbol {
        name: entry.name,
        detail: Some(entry.detail).filter(|detail| !detail.is_empty()),
        kind: symbol_kind(entry.sort),
        tags: None,
        deprecated: None,
        range: range(lines, text, entry.span, units),
        selection_range: range(lines, text, entry.name_span, units),
        children: (!children.is_empty()).then_some(children),
    }
}

/// Where a client knows no snippets it gets the text without its places to go on.
pub fn completion(order: usize, proposal: Proposal, replace: Range, snippets: bool) -> CompletionItem {
    let kind = match proposal.icon {
        Icon::Keyword => CompletionItemKind::KEYWORD,
        Icon::Field => CompletionItemKind::PROPERTY,
        Icon::Word => CompletionItemKind::ENUM_MEMBER,
        Icon::Function => CompletionItemKind::FUNCTION,
        Icon::Type => CompletionItemKind::TYPE_PARAMETER,
        Icon::Name(Sort::Item(Kind::Env)) => CompletionItemKind::MODULE,
        Icon::Name(Sort::Item(Kind::Model)) => CompletionItemKind::CLASS,
        Icon::Name(Sort::Item(Kind::Param | Kind::Constant) | Sort::Metric) => CompletionItemKind::CONSTANT,
        Icon::Name(Sort::Split | Sort::Answer | Sort::Column | Sort::Offer) => CompletionItemKind::FIELD,
        Icon::Name(Sort::Item(_)) => CompletionItemKind::REFERENCE,
        Icon::Name(_) => CompletionItemKind::VARIABLE,
    };
    let goes_on = snippets && proposal.snippet.contains('$');
    let text = if snippets { proposal.snippet } else { plain(&proposal.snippet) };
    CompletionItem {
        label: proposal.label,
        kind: Some(kind),
        detail: Some(proposal.detail).filter(|detail| !detail.is_empty()),
        documentation: Some(proposal.doc)
            .filter(|doc| !doc.is_empty())
            .map(|doc| Documentation::MarkupContent(markdown(doc))),
        sort_text: Some(format!("{order:04}")),
        insert_text_format: Some(if goes_on { InsertTextFormat::SNIPPET } else { InsertTextFormat::PLAIN_TEXT }),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit::new(replace, text))),
        ..CompletionItem::default()
    }
}

/// `lr = ${1:5e-4}$0` as `lr = 5e-4`.
fn plain(snippet: &str) -> String {
    let mut text = String::new();
    let mut rest = snippet;
    while let Some((before, place)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(dollar) = before.strip_suffix('\\') {
            text.truncate(text.len() - (before.len() - dollar.len()));
            text.push('$');
            rest = place;
        } else if let Some((inside, after)) = place.strip_prefix('{').and_then(|place| place.split_once('}')) {
            text.push_str(inside.split_once(':').map_or("", |(_, default)| default));
            rest = after;
        } else {
            rest = place.trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    text + rest
}

/// In the order of [`Paint`].
pub const TOKEN_TYPES: [SemanticTokenType; 13] = [
    SemanticTokenType::KEYWORD,
    SemanticTokenType::COMMENT,
    SemanticTokenType::STRING,
    SemanticTokenType::NUMBER,
    SemanticTokenType::OPERATOR,
    SemanticTokenType::NAMESPACE,
    SemanticTokenType::TYPE,
    SemanticTokenType::FUNCTION,
    SemanticTokenType::VARIABLE,
    SemanticTokenType::PARAMETER,
    SemanticTokenType::PROPERTY,
    SemanticTokenType::ENUM_MEMBER,
    SemanticTokenType::MACRO,
];

pub const TOKEN_MODIFIERS: [SemanticTokenModifier; 3] =
    [SemanticTokenModifier::DECLARATION, SemanticTokenModifier::DEFAULT_LIBRARY, SemanticTokenModifier::DOCUMENTATION];

/// Each by its distance from the one before.
pub fn tokens(document: &Document, painted: &[Painted], units: Units) -> Vec<SemanticToken> {
    let mut last = Position::new(0, 0);
    let mut tokens = Vec::with_capacity(painted.len());
    for one in painted {
        let Range { start, end } = range(&document.lines, &document.text, one.span, units);
        let same_line = start.line == last.line;
        tokens.push(SemanticToken {
            delta_line: start.line - last.line,
            delta_start: if same_line { start.character - last.character } else { start.character },
            length: end.character - start.character,
            token_type: token_type(one.paint),
            token_modifiers_bitset: u32::from(one.declares)
                | u32::from(one.brought) << 1
                | u32::from(one.documentation) << 2,
        });
        last = start;
    }
    tokens
}

fn token_type(paint: Paint) -> u32 {
    paint as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_for_who_knows_none_is_its_text() {
        assert_eq!(plain("lr = ${1:5e-4}, batch = $2$0"), "lr = 5e-4, batch = ");
        assert_eq!(plain("\\$x ${1}"), "$x ");
        assert_eq!(plain("none"), "none");
    }

    #[test]
    fn every_paint_has_the_name_of_its_type() {
        assert_eq!(TOKEN_TYPES[Paint::Keyword as usize], SemanticTokenType::KEYWORD);
        assert_eq!(TOKEN_TYPES[Paint::Property as usize], SemanticTokenType::PROPERTY);
        assert_eq!(TOKEN_TYPES[Paint::Macro as usize], SemanticTokenType::MACRO);
        assert_eq!(TOKEN_TYPES.len(), Paint::Macro as usize + 1);
    }
}

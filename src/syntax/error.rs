//! What can be wrong with the writing of a file.

use crate::base::{Diagnostic, Span};
use crate::syntax::foreign::called_here;
use crate::syntax::similar::{did_you_mean, join, with_edit};
use crate::syntax::words::Class;

#[derive(Clone, Debug)]
pub enum SyntaxError {
    NotUtf8 {
        span: Span,
        byte: u8,
    },
    Binary,
    Control {
        span: Span,
        character: char,
    },
    TooLarge {
        bytes: usize,
    },
    Unexpected {
        span: Span,
        found: String,
        expected: Vec<&'static str>,
    },
    /// As `Unexpected`, where it is known what was meant.
    Advised {
        span: Span,
        message: String,
        label: String,
        help: String,
        edit: Option<(Span, String)>,
    },
    /// `at`: where its end was due, if that is certain.
    UnclosedString {
        span: Span,
        at: Option<usize>,
    },
    UnclosedTemplate {
        span: Span,
        closing: String,
    },
    Unclosed {
        span: Span,
        bracket: char,
        met: Option<Span>,
    },
    /// `span` is the opening bracket, `met` the other kind that stands where `due` should.
    WrongClose {
        span: Span,
        bracket: char,
        met: Span,
        due: &'static str,
    },
    LostBrace {
        span: Span,
        found: String,
    },
    ForeignComment {
        span: Span,
        one_line: bool,
    },
    Stray {
        span: Span,
        bracket: char,
    },
    TooDeep {
        span: Span,
        most: usize,
    },
    TooLong {
        span: Span,
        most: usize,
    },
    Tabs {
        first: Span,
        all: Vec<Span>,
    },
    BadEscape {
        span: Span,
        escape: String,
    },
    MissingComma {
        span: Span,
        after: Span,
    },
    BadNumber {
        span: Span,
        why: &'static str,
        help: String,
        edit: Option<String>,
    },
    UnknownItem {
        span: Span,
        word: String,
        near: Vec<String>,
    },
    UnknownStatement {
        span: Span,
        word: String,
        near: Vec<String>,
    },
    UnknownStage {
        span: Span,
        word: String,
        near: Vec<String>,
    },
    UnknownLine {
        span: Span,
        word: String,
        near: Vec<String>,
    },
    /// What stands in its braces says what it is.
    UnknownPart {
        span: Span,
        word: String,
        due: &'static str,
    },
    Twice {
        span: Span,
        first: Span,
        what: &'static str,
    },
    HeadTwice {
        span: Span,
        first: Span,
        name: String,
        item: bool,
    },
    NameCase {
        span: Span,
        name: String,
    },
    UnknownUnit {
        span: Span,
        class: Class,
        unit: String,
        near: Vec<String>,
    },
    LeftOfMargin {
        span: Span,
        margin: usize,
        quotes: Span,
    },
    NoEnd {
        span: Span,
        what: &'static str,
    },
    EndWithout {
        span: Span,
    },
    BadPiece {
        span: Span,
        found: String,
        expected: Vec<&'static str>,
        /// What was meant, and the text to write instead of a place.
        meant: Option<(String, Option<(Span, String)>)>,
    },
    /// `{ path }` or `path }}` in a text: `whole` is with its braces.
    HalfHole {
        span: Span,
        path: String,
        opened: usize,
        closed: usize,
    },
    TooMany {
        span: Span,
        most: usize,
    },
    /// The year alone begins the file.
    EditionWord {
        span: Span,
    },
    /// A guarantee of the formatter does not hold.
    NotFormatted {
        why: &'static str,
    },
}

impl SyntaxError {
    pub fn span(&self) -> Span {
        match self {
            Self::Binary | Self::TooLarge { .. } | Self::NotFormatted { .. } => Span::default(),
            Self::Tabs { first, .. } => *first,
            Self::NotUtf8 { span, .. }
            | Self::Control { span, .. }
            | Self::Unexpected { span, .. }
            | Self::Advised { span, .. }
            | Self::EditionWord { span }
            | Self::UnclosedString { span, .. }
            | Self::UnclosedTemplate { span, .. }
            | Self::Unclosed { span, .. }
            | Self::WrongClose { span, .. }
            | Self::LostBrace { span, .. }
            | Self::ForeignComment { span, .. }
            | Self::Stray { span, .. }
            | Self::TooDeep { span, .. }
            | Self::TooLong { span, .. }
            | Self::BadEscape { span, .. }
            | Self::MissingComma { span, .. }
            | Self::BadNumber { span, .. }
            | Self::UnknownItem { span, .. }
            | Self::UnknownStatement { span, .. }
            | Self::UnknownStage { span, .. }
            | Self::UnknownLine { span, .. }
            | Self::UnknownPart { span, .. }
            | Self::Twice { span, .. }
            | Self::HeadTwice { span, .. }
            | Self::NameCase { span, .. }
            | Self::UnknownUnit { span, .. }
            | Self::LeftOfMargin { span, .. }
            | Self::NoEnd { span, .. }
            | Self::EndWithout { span }
            | Self::BadPiece { span, .. }
            | Self::HalfHole { span, .. }
            | Self::TooMany { span, .. } => *span,
        }
    }
}

/// What other languages write, and this one does not.
fn habit(found: &str) -> Option<&'static str> {
    Some(match found.split("`, U+").next().unwrap_or(found).trim_matches('`') {
        "#" | "/*" => "a comment begins with `//`",
        "'" | "\u{201c}" | "\u{201d}" | "\u{2018}" | "\u{2019}" => "a string stands between `\"` and `\"`",
        "&&" => "write `and`",
        "!" => "write `not`",
        ";" => "nothing ends a line: leave `;` out",
        "==" => "a field is given by one `=`",
        _ => return None,
    })
}

fn partner(bracket: char) -> char {
    match bracket {
        '{' => '}',
        '(' => ')',
        '[' => ']',
        '}' => '{',
        ')' => '(',
        _ => '[',
    }
}

/// "`a`, `b` or a value"
fn alternatives(expected: &[&str]) -> String {
    match expected {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// Every word of a class, of which one is due.
fn any(class: Class) -> String {
    join(&class.names().collect::<Vec<_>>(), "or")
}

fn near_or(diagnostic: Diagnostic, span: Span, near: &[String], otherwise: &str) -> Diagnostic {
    let diagnostic = with_edit(diagnostic, span, near);
    diagnostic.help(did_you_mean(near).unwrap_or_else(|| otherwise.to_owned()))
}

impl From<SyntaxError> for Diagnostic {
    fn from(error: SyntaxError) -> Self {
        let span = error.span();
        match error {
            SyntaxError::NotUtf8 { byte, .. } => Diagnostic::error(
                "E0003",
                "the file is not UTF-8",
                span,
                format!("byte 0x{byte:02X} starts no character"),
            )
            .help("save the file as UTF-8"),
            SyntaxError::EditionWord { .. } => {
                Diagnostic::error("E0006", "the file does not name its edition", span, "the word before it is missing")
                    .help("begin the file with `agx 2026`")
                    .edit(Span { start: span.start, end: span.start }, "agx ")
            }
            SyntaxError::Binary => {
                Diagnostic::error("E0004", "the file is binary, not text", span, "it holds NUL bytes")
            }
            SyntaxError::Control { character, .. } => {
                let label = format!("character U+{:04X}", character as u32);
                Diagnostic::error("E0004", "a control character, which text does not hold", span, label)
                    .help("remove it; in a string write `\\u{…}`")
            }
            SyntaxError::TooLarge { bytes } => {
                let most = crate::syntax::MAX_BYTES >> 20;
                Diagnostic::error("E0005", format!("the file has {bytes} bytes"), span, "too large")
                    .help(format!("an `.agx` file holds at most {most} MiB; data belongs in a data set"))
            }
            SyntaxError::Unexpected { found, expected, .. } => {
                let message = match expected.len() {
                    0 | 8.. => format!("{found} does not belong here"),
                    _ => format!("expected {}, found {found}", alternatives(&expected)),
                };
                let label = match expected.as_slice() {
                    [one] => format!("{one} is missing"),
                    _ => "cannot be read".to_owned(),
                };
                let diagnostic = Diagnostic::error("E0101", message, span, label);
                match habit(&found) {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            }
            SyntaxError::Advised { message, label, help, edit, .. } => {
                let diagnostic = Diagnostic::error("E0101", message, span, label).help(help);
                match edit {
                    Some((place, text)) => diagnostic.edit(place, text),
                    None => diagnostic,
                }
            }
            SyntaxError::UnclosedString { at, .. } => {
                let diagnostic =
                    Diagnostic::error("E0102", "the string has no end", span, "opened here, and the line ends")
                        .help("close it with `\"`; for text of several lines use `\"\"\"`");
                match at {
                    Some(at) => diagnostic.edit(Span::new(at, at), "\""),
                    None => diagnostic,
                }
            }
            SyntaxError::UnclosedTemplate { closing, .. } => {
                Diagnostic::error("E0103", "the text block has no end", span, "opened here")
                    .help(format!("close it with `{closing}` on a line of its own"))
            }
            SyntaxError::Unclosed { bracket, met, .. } => {
                let message = format!("`{bracket}` is never closed");
                let diagnostic = Diagnostic::error("E0104", message, span, "opened here");
                let diagnostic = match met {
                    Some(met) => diagnostic.label(met, format!("`{}` was due before this", partner(bracket))),
                    None => diagnostic,
                };
                diagnostic.help(format!("add the missing `{}`", partner(bracket)))
            }
            SyntaxError::WrongClose { bracket, met, due, .. } => {
                let open = if due == ")" { '(' } else { '[' };
                Diagnostic::error("E0104", format!("`{open}` is closed by `{bracket}`"), span, "opened here")
                    .label(met, format!("`{due}` is due here"))
                    .edit(met, due)
            }
            SyntaxError::LostBrace { found, .. } => {
                Diagnostic::error("E0101", format!("expected `{{`, found {found}"), span, "`{` is missing before this")
                    .help("the block that ends on this line has no `{`")
            }
            SyntaxError::ForeignComment { one_line, .. } => {
                let diagnostic = Diagnostic::error("E0101", "a comment begins with `//`", span, "begins here")
                    .help("write `//` before each line of the comment");
                if one_line { diagnostic.edit(span, "//") } else { diagnostic }
            }
            SyntaxError::Stray { bracket, .. } => {
                let message = format!("`{bracket}` closes nothing");
                Diagnostic::error("E0105", message, span, format!("no `{}` is open here", partner(bracket)))
                    .help("remove it, or look for a bracket closed too early above")
            }
            SyntaxError::TooDeep { most, .. } => {
                Diagnostic::error("E0106", "brackets are nested too deeply", span, format!("more than {most} are open"))
            }
            SyntaxError::TooLong { most, .. } => Diagnostic::error(
                "E0106",
                "the expression is too long",
                span,
                format!("more than {most} operators follow"),
            )
            .help("name parts of it with `let`"),
            SyntaxError::Tabs { all, .. } => {
                let lines = if all.len() == 1 { "one line".to_owned() } else { format!("{} lines", all.len()) };
                let label = format!("{lines} of the file, this one first");
                let start =
                    Diagnostic::error("E0107", "tabs do not indent", span, label).help("use two spaces for each");
                all.into_iter().fold(start, |diagnostic, tab| diagnostic.edit(tab, "  ".repeat(tab.len())))
            }
            SyntaxError::BadEscape { escape, .. } => {
                Diagnostic::error("E0108", format!("`{escape}` is no escape"), span, "unknown")
                    .help("a string knows `\\n`, `\\t`, `\\\"`, `\\\\` and `\\u{…}`")
            }
            SyntaxError::MissingComma { after, .. } => Diagnostic::error(
                "E0109",
                "a comma is missing between two things on one line",
                span,
                "this one begins here",
            )
            .edit(Span { start: after.end, end: after.end }, ",")
            .help("write `,` between them, or begin a new line"),
            SyntaxError::BadNumber { why, help, edit, .. } => {
                let diagnostic = Diagnostic::error("E0110", "the number cannot be read", span, why).help(help);
                match edit {
                    Some(text) => diagnostic.edit(span, text),
                    None => diagnostic,
                }
            }
            SyntaxError::UnknownItem { word, near, .. } => {
                let diagnostic = Diagnostic::error("E0111", format!("no item begins with `{word}`"), span, "unknown");
                match called_here(Class::Item, &word) {
                    Some(here) => diagnostic.help(format!("here it is called `{here}`")).edit(span, here),
                    None => near_or(diagnostic, span, &near, &format!("an item begins with {}", any(Class::Item))),
                }
            }
            SyntaxError::UnknownStatement { word, near, .. } => {
                let diagnostic =
                    Diagnostic::error("E0112", format!("no statement begins with `{word}`"), span, "unknown");
                match called_here(Class::Statement, &word) {
                    _ if word == "until" => diagnostic.help("`until` stands behind the `}` of its loop"),
                    Some(here) => diagnostic.help(format!("here it is called `{here}`")),
                    None => {
                        near_or(diagnostic, span, &near, &format!("a statement begins with {}", any(Class::Statement)))
                    }
                }
            }
            SyntaxError::UnknownLine { word, near, .. } => {
                let message = format!("no line of a report begins with `{word}`");
                let near: Vec<String> = near.into_iter().filter(|word| word == "plot" || word == "table").collect();
                let diagnostic = Diagnostic::error("E0101", message, span, "unknown");
                near_or(diagnostic, span, &near, "a line begins with `plot` or `table`")
            }
            SyntaxError::UnknownPart { word, due, .. } => {
                let message = format!("an experiment has no field `{word}`");
                Diagnostic::error("E0204", message, span, "unknown field")
                    .help(format!("did you mean `{due}`?"))
                    .edit(span, due)
            }
            SyntaxError::UnknownStage { word, near, .. } => {
                let diagnostic = Diagnostic::error("E0113", format!("`{word}` is no stage of a rule"), span, "unknown");
                match called_here(Class::Stage, &word) {
                    Some(here) => diagnostic.help(format!("here it is called `{here}`")),
                    None => near_or(diagnostic, span, &near, &format!("a stage begins with {}", any(Class::Stage))),
                }
            }
            SyntaxError::Twice { first, what, .. } => {
                Diagnostic::error("E0114", format!("{what} is given twice"), span, "again here")
                    .label(first, "first here")
            }
            SyntaxError::HeadTwice { first, name, item, .. } => {
                let (code, what) = if item { ("E0202", "declared") } else { ("E0206", "given") };
                Diagnostic::error(code, format!("`{name}` is {what} twice"), span, "again here")
                    .label(first, "first here")
                    .help("this head has no body: remove one of the two lines")
            }
            SyntaxError::NameCase { name, .. } => {
                let lower = name.to_ascii_lowercase();
                Diagnostic::error("E0115", format!("`{name}` is not in lower case"), span, "declared here")
                    .help(format!("names are `[a-z_][a-z0-9_]*`: write `{lower}`"))
            }
            SyntaxError::UnknownUnit { class, unit, near, .. } => {
                let diagnostic = Diagnostic::error("E0301", format!("`{unit}` is no unit"), span, "unknown");
                let place = if class == Class::Period { "after `per` stands" } else { "a unit is" };
                near_or(diagnostic, span, &near, &format!("{place} {}", any(class)))
            }
            SyntaxError::LeftOfMargin { margin, quotes, .. } => Diagnostic::error(
                "E0401",
                "text left of the margin",
                span,
                format!("begins before column {}", margin + 1),
            )
            .label(quotes, "the closing quotes set the margin")
            .help("indent the line, or move the closing quotes to the left"),
            SyntaxError::NoEnd { what, .. } => {
                Diagnostic::error("E0402", format!("`{{% {what} %}}` has no `{{% end %}}`"), span, "opened here")
            }
            SyntaxError::EndWithout { .. } => {
                Diagnostic::error("E0402", "`{% end %}` ends nothing", span, "no `{% for %}` or `{% if %}` is open")
            }
            SyntaxError::BadPiece { found, expected, meant, .. } => {
                let message = match expected.len() {
                    0 | 8.. => format!("{found} does not belong into a template's hole"),
                    _ => format!("expected {}, found {found}", alternatives(&expected)),
                };
                let diagnostic = Diagnostic::error("E0403", message, span, "cannot be read");
                match meant {
                    Some((help, Some((place, text)))) => diagnostic.help(help).edit(place, text),
                    Some((help, None)) => diagnostic.help(help),
                    None => diagnostic.help(
                        "a hole is `{{ path | filter }}`, `{% for x in list %}`, `{% if path is known %}` or `{% end %}`; \
                         for braces as text put `#` before the quotes",
                    ),
                }
            }
            SyntaxError::HalfHole { path, opened, closed, .. } => {
                let whole = format!("{{{{ {path} }}}}");
                let help = format!("write `{whole}`; for braces as text put `#` before the quotes");
                let diagnostic = if opened == 1 && closed == 1 {
                    let message = format!("`{{{path}}}` is text: a hole has two braces");
                    Diagnostic::warning("W0403", message, span, "stays as it is written")
                } else {
                    let lost = if opened == 0 { "`{{`" } else { "`{`" };
                    Diagnostic::error("E0403", format!("{lost} is missing before `{path}`"), span, "half a hole")
                };
                diagnostic.help(help).edit(span, whole)
            }
            SyntaxError::TooMany { most, .. } => Diagnostic::error(
                "E0116",
                format!("more than {most} mistakes of writing"),
                span,
                "the rest is not read",
            ),
            SyntaxError::NotFormatted { why } => Diagnostic::error("E0117", "the formatter has a bug", span, why)
                .help("the file stays as it is: please report this, with the file"),
        }
    }
}

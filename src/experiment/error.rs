//! What can be wrong with the meaning of a file.

use super::Origin;
use super::scope::Kind;
use super::value::number_text;
use super::vocabulary::{Field, Owner};
use crate::base::{Diagnostic, Label, Span};
use crate::syntax::similar::{did_you_mean, join, with_edit};

#[derive(Clone, Debug)]
pub enum CheckError {
    // The file.
    NoEdition { span: Span, begin: Span },
    UnknownEdition { span: Span, edition: String },
    EditionTwice { span: Span, first: Span },
    EditionLate { span: Span },
    NotBuilt { what: String, places: Vec<Span> },
    UnknownFeature { span: Span, feature: String },
    UnusedFeature { span: Span, feature: String },
    NoFile { span: Span, path: String },
    NoExperiment { span: Span },
    // Names.
    Unknown { span: Span, name: String, what: String, near: Vec<String> },
    Duplicate { span: Span, name: String, first: Span },
    WrongKind { span: Span, name: String, found: Kind, wanted: Kind, declared: Span },
    WrongBinding { span: Span, name: String, found: &'static str, wanted: &'static str, declared: Span },
    UnknownField { span: Span, name: String, owner: &'static str, near: Vec<String>, known: Vec<&'static str> },
    MissingField { span: Span, name: &'static str, owner: &'static Owner },
    FieldTwice { span: Span, name: String, first: Span },
    UnknownSplit { span: Span, name: String, env: String, near: Vec<String>, known: Vec<String> },
    UnknownWord { span: Span, of: String, found: Option<String>, near: Vec<String>, known: Vec<String> },
    UnknownOffer { span: Span, name: String, env: String, near: Vec<String>, known: Vec<String> },
    SetUnknown { span: Span, name: String, origin: Origin, near: Vec<String>, known: Vec<String> },
    SetValue { span: Span, name: String, origin: Origin, given: String, why: String },
    WrongForm { span: Span, name: String, wanted: String },
    Arguments { span: Span, wanted: String, name: String },
    NotSource { span: Span },
    OneSource { span: Span },
    NotName { span: Span, what: &'static str },
    NotSplit { span: Span },
    SecretOutside { span: Span },
    OtherKind { span: Span, name: &'static str },
    NotHeld { span: Span },
    NoWeights { span: Span },
    NotOnGpu { span: Span, device: &'static str },
    NothingGives { span: Span, message: String, help: String },
    UnnamedFile { span: Span, name: String },
    Undated { span: Span, name: String },
    SecretInAddress { span: Span },
    KeyInTheClear { span: Span },
    BadLine { span: Span, path: String, line: u64, why: String },
    PanelToo { span: Span, name: &'static str },
    PanelMember { span: Span, why: &'static str },
    MemberTwice { span: Span, name: String, first: Span },
    CaseAlone { span: Span, name: String, first: Span, known: String },
    OwnColumn { span: Span, name: String },
    Circular { span: Span, name: String, declared: Span },
    Unused { span: Span, name: String, what: &'static str },
    UnusedRows { span: Span, name: String },
    // Types and units.
    Mismatch { span: Span, found: &'static str, wanted: &'static str, of: String },
    MissingUnit { span: Span, of: String, unit: &'static str, edit: String },
    Range { span: Span, of: String, value: f64, low: f64, high: f64, declared: Option<Span> },
    UnknownType { span: Span, name: String, near: Vec<String>, known: Vec<&'static str> },
    EmptyRange { span: Span, low: f64, high: f64 },
    NoValue { span: Span },
    Fraction { span: Span, unit: String },
    Shape { span: Span, of: &'static str, whole: u32, name: &'static str, part: u32 },
    NotList { span: Span, of: String },
    NoClause { span: Span, clause: &'static str, of: &'static str },
    EmptyList { span: Span, of: String },
    NotCommit { span: Span, repo: String },
    TextForm { span: Span, of: String, what: &'static str, wanted: &'static str },
    BadCase { span: Span },
    CaseTwice { span: Span },
    NoOtherwise { span: Span },
    NoScale { span: Span, name: String },
    NoAnswer { span: Span },
    NotDigits { span: Span },
    NoChoice { span: Span, name: Option<String> },
    NothingBeside { span: Span, name: String },
    // Prompts.
    NotProvided { span: Span, name: String, prompt: String, near: Vec<String>, known: Vec<String> },
    NoPath { span: Span, name: String, path: String, near: Vec<String>, known: Vec<String> },
    Hidden { span: Span, path: String, env: String },
    HiddenFrom { span: Span, field: String, reader: &'static str, used: Span },
    NotOne { span: Span, name: String },
    NotText { span: Span, path: String, found: &'static str, suggestion: &'static str },
    UnknownFilter { span: Span, name: String, near: Vec<String> },
    FilterMisfit { span: Span, name: String, wanted: &'static str, path: String, found: &'static str },
    MayBeAbsent { span: Span, path: String },
    AlwaysKnown { span: Span, path: String },
    NotIterable { span: Span, path: String, found: &'static str },
    PromptMisfit { span: Span, name: String, why: &'static str, help: &'static str },
    ShowsNoTask { span: Span, name: String },
    SaysNoAnswer { span: Span, name: String },
    ShowsNoId { span: Span, name: String },
    SystemLate { span: Span },
    EmptyPrompt { span: Span, name: String },
    PromptTooLong { span: Span, name: String, words: u64, context: u64 },
    PromptMayBeTooLong { span: Span, name: String, words: u64, cut: u64, context: u64 },
    // Rules and schedule.
    UnknownColumn { span: Span, name: String, near: Vec<String>, known: Vec<String> },
    NotJudged { span: Span, name: String },
    NotCondition { span: Span, found: &'static str },
    Operand { span: Span, found: &'static str, wanted: &'static str, of: String },
    NoOrder { span: Span, name: String },
    NeverPasses { span: Span, why: String },
    AlwaysPasses { span: Span, why: String },
    NeverEnough { span: Span, count: u32, most: u64 },
    NoEffect { span: Span, why: String, first: Option<Span> },
    NeedsOracle { span: Span, what: String },
    NeedsThrough { span: Span, name: String },
    ThroughRows { span: Span },
    NotLabelled { span: Span, name: String },
    MissingClause { span: Span, end: Span, clause: &'static str, help: &'static str, edit: Option<&'static str> },
    MayBeEmpty { span: Span, name: String, declared: Option<Span> },
    TrainsHeldOut { span: Span, split: String },
    HeldOutDecides { span: Span, path: String, use_: &'static str, declared: Span },
    EvaluatesTraining { span: Span, split: String },
    TrainsEvaluation { span: Span, what: String },
    JudgesItself { span: Span, name: String },
    NoVersion { span: Span, help: String },
    TooEarly { span: Span, name: String, declared: Span },
    OnlyInLoop { span: Span, name: String, declared: Span },
    NeedsName { span: Span, word: &'static str },
    NameForNothing { span: Span, word: &'static str },
    NeedsPrompt { span: Span, word: &'static str, several: bool },
    DecodeTwice { span: Span, name: &'static str },
    SameSamples { span: Span, samples: u32 },
    TrainerMisfit { span: Span, name: String, why: &'static str, help: &'static str, declared: Option<Span> },
    NoReference { span: Span, name: String },
    TrainsRemote { span: Span, name: String },
    AddLacks { span: Span, name: String },
    StageMisfit { span: Span, why: &'static str, help: &'static str },
    NothingToAudit { span: Span, name: String },
    UnknownMetric { span: Span, name: String, of: String, near: Vec<String>, known: Vec<String> },
    NotAudited { span: Span, name: String, metric: String },
    NotMeasured { span: Span, name: String, metric: String, critic: bool },
    NotInLoop { span: Span, path: String, declared: Span, stop: bool },
    UntilCost { span: Span, name: String },
    NotUntil { span: Span },
    NeverEnds { span: Span, path: String, low: f64, high: f64, gain: bool, percent: Option<Span> },
    EndsAtOnce { span: Span, path: String, low: f64, high: f64 },
    Again { span: Span, what: String, first: Span },
    NeverStalls { span: Span, rounds: u32, times: u32 },
    MeasuresOther { span: Span, name: String, model: String, measured: Option<String>, declared: Span },
    UnknownIndex { span: Span, name: String, near: Vec<String>, known: Vec<String> },
}

impl CheckError {
    /// Of a stage that does nothing: where it is.
    pub fn idle(&self) -> Option<Span> {
        match self {
            CheckError::AlwaysPasses { span, .. } | CheckError::NoEffect { span, .. } => Some(*span),
            _ => None,
        }
    }
}

/// Adds the names that may have been meant, as an edit where there is one; or else what there is.
fn meant(diagnostic: Diagnostic, span: Span, near: &[String], known: &[impl AsRef<str>], all: &str) -> Diagnostic {
    let diagnostic = with_edit(diagnostic, span, near);
    match did_you_mean(near) {
        Some(help) => diagnostic.help(help),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!("{all} {}", join(known, "and"))),
    }
}

const NOTHING: [&str; 0] = [];

/// The note on a feature that this version checks and plans, and does not run.
pub const NOT_BUILT: &str = "W0009";

/// What it says of the feature.
const ONLY_PLANNED: &str = " is part of the language, but not built yet";

/// What keeps a file that checks from being run: for each place that uses a feature which this version only checks and
/// plans, the error that running it is.
pub fn not_built(diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
    let notes = diagnostics.iter().filter(|diagnostic| diagnostic.code == NOT_BUILT);
    let refuse = |note: &Diagnostic| -> Vec<Diagnostic> {
        let place = |label: &Label| Diagnostic::error("E0009", &note.message, label.span, "not in this version");
        note.labels.iter().map(place).collect()
    };
    notes.flat_map(refuse).collect()
}

impl From<CheckError> for Diagnostic {
    fn from(error: CheckError) -> Self {
        match error {
            error @ (CheckError::NoEdition { .. }
            | CheckError::UnknownEdition { .. }
            | CheckError::EditionTwice { .. }
            | CheckError::EditionLate { .. }
            | CheckError::NotBuilt { .. }
            | CheckError::UnknownFeature { .. }
            | CheckError::UnusedFeature { .. }
            | CheckError::NoFile { .. }
            | CheckError::NoExperiment { .. }) => file(error),
            CheckError::Unknown { span, name, what, near } => {
                let is = if what == "rows" { "are" } else { "is" };
                let message = format!("no {what} {is} called `{name}`");
                let diagnostic = Diagnostic::error("E0201", message, span, "not declared");
                meant(diagnostic, span, &near, &NOTHING, "")
            }
            CheckError::Duplicate { span, name, first } => {
                Diagnostic::error("E0202", format!("`{name}` is declared twice"), span, "again here")
                    .label(first, "first here")
                    .help("a name means one thing in a file: rename one of them")
            }
            CheckError::WrongKind { span, name, found, wanted, declared } => {
                let message = format!("`{name}` is {}, not {}", found.words(), wanted.words());
                Diagnostic::error("E0203", message, span, format!("{} is due here", wanted.words()))
                    .label(declared, format!("declared as {} here", found.words()))
            }
            CheckError::WrongBinding { span, name, found, wanted, declared } => {
                let message = format!("`{name}` is {found}, not {wanted}");
                let label =
                    if wanted == "rows" { "rows are due here".to_owned() } else { format!("{wanted} is due here") };
                Diagnostic::error("E0203", message, span, label).label(declared, "declared here")
            }
            CheckError::UnknownField { span, name, owner, near, known } => {
                let diagnostic =
                    Diagnostic::error("E0204", format!("{owner} has no field `{name}`"), span, "unknown field");
                meant(diagnostic, span, &near, &known, "its fields are")
            }
            CheckError::MissingField { span, name, owner } => {
                let open = Span { start: span.start, end: span.start + 1 };
                Diagnostic::error(
                    "E0205",
                    format!("{} needs `{name}`", owner.words),
                    open,
                    format!("`{name}` is missing in this block"),
                )
                .help(owner.field(name).map_or_else(|| owner.doc.to_owned(), Field::due))
            }
            CheckError::FieldTwice { span, name, first } => {
                Diagnostic::error("E0206", format!("`{name}` is given twice"), span, "again here")
                    .label(first, "first here")
            }
            CheckError::CaseAlone { span, name, first, known } => {
                let message = format!("`{name}` differs from `{known}` in case alone");
                Diagnostic::error("E0206", message, span, "the same name in a reply")
                    .label(first, "first here")
                    .help("a reply is read whatever the case of its letters: give one of them another name")
            }
            CheckError::OwnColumn { span, name } => {
                Diagnostic::error("E0226", format!("`{name}` is a column of every row"), span, "no rule could read it")
                    .help("give the answer's field another name")
            }
            CheckError::MemberTwice { span, name, first } => Diagnostic::error(
                "E0514",
                format!("`{name}` is in the panel already"),
                span,
                "the same reply each time",
            )
            .label(first, "first here")
            .help("ask it more often by its own `votes = 3 by median`, or name another critic"),
            CheckError::UnknownSplit { span, name, env, near, known } => {
                let diagnostic =
                    Diagnostic::error("E0207", format!("`{env}` has no split `{name}`"), span, "unknown split");
                meant(diagnostic, span, &near, &known, "its splits are")
            }
            CheckError::UnknownWord { span, of, found, near, known } => {
                let message = match found {
                    Some(found) => format!("{of} cannot be `{found}`"),
                    None => format!("{of} is one of a few words"),
                };
                let diagnostic = Diagnostic::error("E0208", message, span, "unknown");
                meant(diagnostic, span, &near, &known, "there are")
            }
            CheckError::UnknownOffer { span, name, env, near, known } => {
                let message = format!("`{env}` offers no dataset `{name}`");
                let diagnostic = Diagnostic::error("E0209", message, span, "not offered");
                meant(diagnostic, span, &near, &known, "it offers")
            }
            CheckError::SetUnknown { span, name, origin, near, known } => {
                let given = origin.words(&name, "…");
                let diagnostic =
                    Diagnostic::error("E0210", format!("{given}: the file has no such param"), span, "this file");
                match did_you_mean(&near) {
                    Some(help) => diagnostic.help(help),
                    None if known.is_empty() => diagnostic.help("the file has no params"),
                    None => diagnostic.help(format!("its params are {}", join(&known, "and"))),
                }
            }
            CheckError::SetValue { span, name, origin, given, why } => Diagnostic::error(
                "E0211",
                format!("{} does not fit: it {why}", origin.words(&name, &given)),
                span,
                "the param is declared here",
            ),
            CheckError::WrongForm { span, name, wanted } => {
                Diagnostic::error("E0212", format!("`{name}` is not written like this"), span, "in another form")
                    .help(format!("write `{wanted}`"))
            }
            CheckError::Arguments { span, wanted, name } => {
                Diagnostic::error("E0213", format!("`{name}` wants other arguments"), span, "does not fit")
                    .help(format!("write `{wanted}`"))
            }
            CheckError::NotSource { span } => {
                Diagnostic::error("E0214", "this is no source of data", span, "cannot be read from")
                    .help("write what an environment offers, `desk.dialogues(512)`, or `jsonl(\"file.jsonl\")`")
            }
            CheckError::OneSource { span } => {
                Diagnostic::error("E0215", "a model has one source", span, "a second one")
                    .help("keep one of `weights`, `remote` and `scripted`")
            }
            CheckError::NotHeld { span } => {
                Diagnostic::error("E0225", "calls cannot be held well-formed here", span, "only a local model's can")
                    .help("leave it out: a broken call is told to the agent, which may mend it")
            }
            CheckError::NoWeights { span } => {
                Diagnostic::error("E0227", "an adapter lies over weights", span, "this model has none here")
                    .help("write the `weights` that it was trained over, or leave it out")
            }
            CheckError::NotOnGpu { span, device } => Diagnostic::error(
                "E0228",
                "eight bits are the processor's",
                span,
                format!("not with `device = {device}`"),
            )
            .help("write `dtype = bf16`, or leave `device` out"),
            CheckError::NotName { span, what } => {
                Diagnostic::error("E0216", format!("the name of {what} is due here"), span, "no name")
            }
            CheckError::NotSplit { span } => {
                Diagnostic::error("E0217", "a split is named by its environment", span, "no `ENV.SPLIT`")
                    .help("write the environment before it: `desk.dev`")
            }
            CheckError::SecretOutside { span } => {
                Diagnostic::error("E0219", "a secret stands only in a model's `key`", span, "would become a value")
                    .help("`key = secret(\"NAME\")`: the name of an environment variable, read when the run starts")
            }
            CheckError::OtherKind { span, name } => {
                let message = format!("`{name}` is for environments outside the program");
                Diagnostic::error("E0220", message, span, "does not belong here")
                    .help("an environment that comes with the program brings its own")
            }
            CheckError::UnnamedFile { span, name } => {
                let file = format!("path(\"{name}\")");
                Diagnostic::warning("W0207", format!("`{name}` is a file that nothing is held against"), span, "a text")
                    .help(format!("`{file}`: what is in it is then part of what the environment is"))
                    .edit(span, file)
            }
            CheckError::NothingGives { span, message, help } => {
                Diagnostic::error("E0224", message, span, "declared here").help(help)
            }
            CheckError::BadLine { span, path, line, why } => {
                Diagnostic::error("E0223", format!("line {line} of {path} is no row: {why}"), span, "reads this file")
                    .help("JSON lines are one object a line")
            }
            CheckError::PanelToo { span, name } => {
                let message = format!("`{name}` beside `panel`");
                Diagnostic::error("E0221", message, span, "the members have their own")
                    .help("a panel has its members, and nothing else")
            }
            CheckError::PanelMember { span, why } => {
                Diagnostic::error("E0222", format!("this member of the panel {why}"), span, "cannot be a member")
                    .help("members are critics with one model each and the same `answer`")
            }
            CheckError::Undated { span, name } => {
                let message = format!("`{name}` names no fixed version of a model");
                Diagnostic::warning("W0205", message, span, "may be another model tomorrow")
                    .help("name a dated version, such as `gpt-4o-2024-08-06`")
            }
            CheckError::SecretInAddress { span } => {
                Diagnostic::error("E0219", "an address holds no user or password", span, "would stand in every report")
                    .help("write the host alone, and `key = secret(\"NAME\")` for what opens it")
            }
            CheckError::KeyInTheClear { span } => {
                Diagnostic::warning("W0206", "the key is sent unencrypted", span, "whoever is on the way can read it")
                    .help("write the address with `https://`")
            }
            CheckError::Circular { span, name, declared } => Diagnostic::error(
                "E0218",
                format!("the value of `{name}` needs itself"),
                span,
                "goes round in a circle",
            )
            .label(declared, "declared here"),
            CheckError::Unused { span, name, what } => {
                Diagnostic::warning("W0201", format!("nothing uses the {what} `{name}`"), span, "declared here")
                    .help("remove it, or begin its name with `_`")
            }
            CheckError::UnusedRows { span, name } => {
                Diagnostic::warning("W0202", format!("nothing uses the rows `{name}`"), span, "made here, at a cost")
            }
            other => super::error_detail::detail(other),
        }
    }
}

fn file(error: CheckError) -> Diagnostic {
    match error {
        CheckError::NoEdition { span, begin } => {
            Diagnostic::error("E0006", "the file does not name its edition", span, "due before this")
                .help("begin the file with `agx 2026`")
                .edit(begin, "agx 2026\n")
        }
        CheckError::UnknownEdition { span, edition } => {
            Diagnostic::error("E0007", format!("there is no edition {edition}"), span, "unknown")
                .help("this program reads edition 2026")
                .edit(span, "2026")
        }
        CheckError::EditionTwice { span, first } => {
            Diagnostic::error("E0008", "the edition is named twice", span, "again here").label(first, "first here")
        }
        CheckError::EditionLate { span } => {
            Diagnostic::error("E0008", "the edition is the first item of a file", span, "other items stand before it")
        }
        CheckError::NotBuilt { what, places } => {
            let mut places = places.into_iter();
            let first = places.next().expect("a feature is noted where it is used");
            let message = format!("{what}{ONLY_PLANNED}");
            let note = Diagnostic::warning(NOT_BUILT, message, first, "checked and planned, not run");
            places.fold(note, |note, place| note.label(place, "and here"))
        }
        CheckError::UnknownFeature { span, feature } => {
            Diagnostic::error("E0010", format!("there is no unstable feature `{feature}`"), span, "unknown")
                .help("there is `oracle`: ground truth may select and train")
        }
        CheckError::UnusedFeature { span, feature } => {
            let message = format!("the file allows `{feature}` and does not need it");
            Diagnostic::warning("W0203", message, span, "remove it: without it, ground truth cannot reach training")
        }
        CheckError::NoFile { span, path } => {
            Diagnostic::error("E0011", format!("{path} does not exist"), span, "names it")
                .help("a path is relative to the file that it stands in")
        }
        CheckError::NoExperiment { span } => {
            Diagnostic::error("E0012", "the file holds no experiment", span, "the file ends here")
                .help("add `experiment name { seed = 7, schedule { … } }`")
        }
        other => unreachable!("told elsewhere: {other:?}"),
    }
}

/// Where a value must lie that lies elsewhere. One that is refused at the lower end is refused for that end.
pub(super) fn due(value: f64, low: f64, high: f64) -> String {
    let is_open = high >= f64::from(u32::MAX);
    match (value == low, value > high) {
        (true, _) if is_open => format!("more than {}", number_text(low)),
        (true, _) => format!("more than {} and at most {}", number_text(low), number_text(high)),
        (_, true) if is_open => format!("at most {}", number_text(high)),
        _ => bounds(low, high),
    }
}

/// `low to high`, or what one bound says.
pub(super) fn bounds(low: f64, high: f64) -> String {
    if high >= f64::from(u32::MAX) {
        return format!("at least {}", number_text(low));
    }
    if low == high {
        return number_text(low);
    }
    format!("{} to {}", number_text(low), number_text(high))
}

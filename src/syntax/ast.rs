//! The tree of one file: what was written, with places, before anything is resolved.
//!
//! # Invariants
//! Every node knows its span. What could not be read is in the tree as `Broken`, with the names it would have given, so
//! that nothing which uses them is blamed. No node holds source text that a later floor must parse again.

use crate::base::{Span, Spanned};
use crate::syntax::words::Class;
use serde::Serialize;

pub type Name = Spanned<String>;

#[derive(Clone, Debug, Default, Serialize)]
pub struct File {
    /// Where the text begins, behind a byte order mark.
    pub begin: Span,
    pub items: Vec<Item>,
    pub comments: Vec<Comment>,
    /// Lines of `//!`.
    pub doc: String,
    /// Part of the text was not read at all: what is absent may stand there.
    pub cut: bool,
    /// Nothing is wrong with the writing. A tree that is not sound gives no experiment.
    pub sound: bool,
}

/// Comments are not in the tree: they lie beside it in source order, and the formatter puts them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comment {
    pub span: Span,
    pub kind: CommentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CommentKind {
    /// `//`
    Plain,
    /// `///`: of the next item.
    Doc,
    /// `//!`: of the file.
    File,
}

#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub span: Span,
    pub doc: String,
    /// A bracket in it has no partner, so its fields may have landed in the wrong block: only its name can be trusted.
    pub unreliable: bool,
    pub kind: ItemKind,
}

#[derive(Clone, Debug, Serialize)]
#[allow(clippy::large_enum_variant, reason = "a file has few items; boxes would cost every reader")]
pub enum ItemKind {
    Edition {
        year: Spanned<String>,
        unstable: Vec<Name>,
    },
    Import {
        path: Spanned<String>,
        names: Imported,
    },
    Param {
        name: Name,
        ty: Box<Type>,
        default: Expr,
    },
    Let {
        name: Name,
        value: Expr,
    },
    Declaration {
        kind: Declared,
        name: Name,
        body: Block,
    },
    Prompt(Prompt),
    Rule(Rule),
    Experiment(Experiment),
    Matrix(Matrix),
    /// Not readable. `declares` is what a file's later references may mean by it.
    Broken {
        declares: Vec<(Option<ItemWord>, Name)>,
        word: Option<ItemWord>,
    },
}

#[derive(Clone, Debug, Serialize)]
pub enum Imported {
    As(Name),
    Names(Vec<Name>),
}

/// The items that are a name and a block of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Declared {
    Env,
    Dataset,
    Model,
    Critic,
    Trainer,
}

/// Every word that may open an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ItemWord {
    Agx,
    Import,
    Param,
    Let,
    Env,
    Dataset,
    Model,
    Prompt,
    Critic,
    Rule,
    Trainer,
    Experiment,
    Matrix,
}

impl ItemWord {
    /// In the order of [`Class::Item`].
    pub const ALL: [Self; 13] = [
        Self::Agx,
        Self::Import,
        Self::Param,
        Self::Let,
        Self::Env,
        Self::Dataset,
        Self::Model,
        Self::Prompt,
        Self::Critic,
        Self::Rule,
        Self::Trainer,
        Self::Experiment,
        Self::Matrix,
    ];

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.as_str() == word)
    }

    pub fn as_str(self) -> &'static str {
        Class::Item.words()[self as usize].text
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// With its braces.
    pub span: Span,
    pub entries: Vec<Entry>,
    /// Something in it could not be read or has no end: what is absent may only be unreadable.
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub span: Span,
    /// Usually one word; `except` blocks of a matrix write `trainer.sft.lr`.
    pub key: Path,
    pub kind: EntryKind,
}

#[derive(Clone, Debug, Serialize)]
#[allow(clippy::large_enum_variant, reason = "most entries are values")]
pub enum EntryKind {
    /// `key = value`
    Value(Expr),
    /// `key { … }`
    Block(Block),
    /// `key: type`
    Type(Box<Type>),
    /// The key could be read, the rest not.
    Broken,
}

/// `a.b.c`
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    pub span: Span,
    pub parts: Vec<Name>,
}

impl Path {
    pub fn text(&self) -> String {
        self.parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".")
    }

    pub fn single(&self) -> Option<&Name> {
        match self.parts.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// With its `@`.
    pub span: Span,
    pub kind: VersionKind,
}

#[derive(Clone, Debug, Serialize)]
pub enum VersionKind {
    Number(u32),
    /// `prev`, `start`, `last`, `all`, `best(m)`: which are meant where is checked later.
    Word {
        word: Name,
        argument: Option<Path>,
    },
}

/// A name, and maybe which version or iterations of it: `policy@0`, `kept@all`.
#[derive(Clone, Debug, Serialize)]
pub struct Slot {
    pub span: Span,
    pub path: Path,
    pub version: Option<Version>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

#[derive(Clone, Debug, Serialize)]
pub enum ExprKind {
    Quantity(Quantity),
    Text(String),
    Template(Template),
    Bool(bool),
    List(Vec<Expr>),
    /// `{ 1 => a, _ => b }`
    Cases(Vec<Case>),
    /// `path`, `path@version`, `path(arguments)`, `path { … }` and what these give together.
    Apply(Apply),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Binary {
        operator: Spanned<Operator>,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `left is [not] known`
    Known {
        of: Box<Expr>,
        negated: bool,
    },
    /// `of stalls times [by margin] [since since]`
    Stalls {
        of: Box<Expr>,
        times: Box<Expr>,
        margin: Option<Box<Expr>>,
        since: Option<Path>,
    },
    /// `value by name`: `3 by median`, `[a, b] by mean`
    By {
        of: Box<Expr>,
        by: Name,
    },
    /// `128 held_out`
    Marked {
        of: Box<Expr>,
        mark: Name,
    },
    /// A diagnostic has been given.
    Broken,
}

#[derive(Clone, Debug, Serialize)]
pub struct Apply {
    pub path: Path,
    pub version: Option<Version>,
    pub arguments: Option<Vec<Argument>>,
    pub block: Option<Block>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// `None` is `_`.
    pub when: Option<Expr>,
    pub value: Expr,
}

/// A number as written, with what was written behind it.
#[derive(Clone, Debug, Serialize)]
pub struct Quantity {
    /// Digits without `_`.
    pub digits: Spanned<String>,
    pub percent: bool,
    pub unit: Option<Name>,
    /// `task` in `4 per task`.
    pub per: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

/// `list<call> in RANGE <= LIMIT by expectation visible to agent, critic`
#[derive(Clone, Debug, Serialize)]
pub struct Type {
    pub span: Span,
    pub name: TypeName,
    pub within: Option<Expr>,
    pub limit: Option<Expr>,
    pub by: Option<Name>,
    pub visible: Option<Vec<Name>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TypeName {
    pub span: Span,
    pub path: Path,
    pub of: Option<Box<TypeName>>,
    pub optional: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Parameter {
    pub name: Name,
    pub ty: Type,
}

#[derive(Clone, Debug, Serialize)]
pub struct Prompt {
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub messages: Vec<PromptMessage>,
    pub body: Span,
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct PromptMessage {
    pub role: Name,
    pub template: Template,
}

/// Text with holes, its margin already taken off.
#[derive(Clone, Debug, Serialize)]
pub struct Template {
    /// With its quotes.
    pub span: Span,
    pub pieces: Vec<Piece>,
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub enum Piece {
    Text(String),
    /// `{{ path | filter(arguments) }}`
    Value {
        span: Span,
        path: Path,
        filters: Vec<Filter>,
    },
    /// `{% for name in list %} … {% end %}`
    For {
        span: Span,
        name: Name,
        list: Path,
        body: Vec<Piece>,
    },
    /// `{% if path is [not] known %} … {% end %}`
    If {
        span: Span,
        path: Path,
        negated: bool,
        body: Vec<Piece>,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Filter {
    pub name: Name,
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    pub span: Span,
    pub kind: StageKind,
}

#[derive(Clone, Debug, Serialize)]
pub enum StageKind {
    Where(Expr),
    Top { share: Expr, per_task: bool, by: Vec<Path>, options: Option<Block> },
    Best { count: Expr, per_task: bool, by: Vec<Path> },
    Worst { count: Expr, per_task: bool, by: Vec<Path> },
    Sample { count: Expr, per_task: bool },
    Dedup { by: Vec<Path> },
    Majority { by: Vec<Path> },
    Cap { count: Expr, tokens: bool },
    Balance { by: Vec<Path>, max: Expr },
    Add { dataset: Path, options: Option<Block> },
    Pair { by: Vec<Path>, margin: Option<Expr> },
    Truncate { field: Path, to: Expr },
    Weight(Expr),
    Require { at_least: Expr, otherwise: Option<Name> },
    Broken,
}

#[derive(Clone, Debug, Serialize)]
pub struct Experiment {
    pub name: Name,
    /// All entries but the schedule and the report: `seed = …`, `budget { … }`.
    pub body: Block,
    pub schedules: Vec<Statements>,
    pub reports: Vec<Report>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Statements {
    pub span: Span,
    pub list: Vec<Statement>,
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    pub span: Span,
    /// `let name =`
    pub name: Option<Name>,
    pub kind: StatementKind,
}

#[derive(Clone, Debug, Serialize)]
pub enum StatementKind {
    Rollout {
        model: Slot,
        split: Path,
        options: Option<Block>,
    },
    Judge {
        rows: Slot,
        critic: Path,
        options: Option<Block>,
    },
    Select {
        rows: Slot,
        rule: Path,
        arguments: Option<Vec<Argument>>,
    },
    Audit {
        rows: Slot,
        against: Option<Path>,
    },
    Calibrate {
        critic: Path,
        dataset: Slot,
    },
    Train(Box<Train>),
    Evaluate {
        model: Slot,
        split: Slot,
        options: Option<Block>,
    },
    Repeat(Box<Repeat>),
    Pick {
        model: Path,
        by: Path,
        including: Vec<Path>,
    },
    /// Not readable; `declares` are the names that later statements may use.
    Broken {
        declares: Vec<Name>,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct Train {
    pub model: Path,
    pub on: Slot,
    pub mixed: Vec<Mixed>,
    /// The critic whose prompt and answer turn a labelled dataset into rows.
    pub through: Option<Path>,
    pub with: Option<Path>,
    pub from: Option<Version>,
    pub reference: Option<Version>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Mixed {
    pub share: Expr,
    pub dataset: Path,
}

#[derive(Clone, Debug, Serialize)]
pub struct Repeat {
    /// `None` when the head could not be read.
    pub times: Option<Expr>,
    pub index: Option<Name>,
    pub body: Statements,
    pub until: Option<Expr>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub span: Span,
    pub lines: Vec<ReportLine>,
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct ReportLine {
    pub span: Span,
    /// `plot` or `table`.
    pub form: Name,
    pub series: Vec<Path>,
    pub by: Option<Name>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    pub name: Name,
    pub of: Name,
    pub axes: Vec<MatrixPart>,
    pub broken: bool,
}

#[derive(Clone, Debug, Serialize)]
pub enum MatrixPart {
    /// `path in [ … ]`
    Axis { path: Path, values: Expr },
    /// `zip { path in [ … ] … }`
    Zip(Vec<(Path, Expr)>),
    /// `except { path = value, … }`
    Except(Block),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_own_word() {
        assert_eq!(ItemWord::ALL.len(), Class::Item.words().len());
        for item in ItemWord::ALL {
            assert_eq!(format!("{item:?}").to_lowercase(), item.as_str());
            assert_eq!(ItemWord::from_word(item.as_str()), Some(item));
        }
    }
}

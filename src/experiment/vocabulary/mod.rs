//! The table of every block of the language: which fields it has, what each takes, what it means when it is left out.
//!
//! The checker reads blocks by it, the editor completes and explains by it, the book's reference is printed from it. A word
//! of the language that is a field, or a value of one, stands here and nowhere else.
//!
//! # Invariants
//! Plain data: nothing here checks. Names are unique in their block; [`ALL`] lists every block once.

mod judging;
mod metrics;
mod models;
mod schedule;
mod training;
mod world;

pub use judging::{ANSWER, BY_EXPECTATION, CRITIC};
pub use metrics::{column, metric};
pub use models::{FRESH, LIMITS, LORA, MODEL, PRICE, REMOTE};
pub use schedule::{ADD, BUDGET, ELSE, EVALUATE, EXPERIMENT, JUDGE, ROLLOUT, SAMPLE, TOP};
pub use training::{DECAY, DPO, GRPO, KTO, SFT, TRAINER, WEIGHTED};
pub use world::{API_BANK, DATASET, ENV, ENV_LIMITS, METRICS, PATH, SPLITS, TASK};

use super::scope::Kind;
use super::value::number_text;
use crate::syntax::similar::join;

/// Every block, in the order of a file.
pub const ALL: &[&Owner] = &[
    &ENV,
    &ENV_LIMITS,
    &API_BANK,
    &SPLITS,
    &TASK,
    &METRICS,
    &DATASET,
    &MODEL,
    &FRESH,
    &REMOTE,
    &PRICE,
    &LIMITS,
    &LORA,
    &CRITIC,
    &ANSWER,
    &TOP,
    &ADD,
    &TRAINER,
    &SFT,
    &WEIGHTED,
    &DPO,
    &KTO,
    &GRPO,
    &DECAY,
    &EXPERIMENT,
    &BUDGET,
    &ROLLOUT,
    &SAMPLE,
    &JUDGE,
    &EVALUATE,
];

/// A block, and what may stand in it.
#[derive(Debug)]
pub struct Owner {
    /// As a sentence begins: "a model".
    pub words: &'static str,
    pub doc: &'static str,
    pub fields: &'static [Field],
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub need: Need,
    pub takes: Takes,
    /// `{ 1 => a, _ => b }` may stand in the value's place.
    pub per_iteration: bool,
    /// `false`: it is read, checked and planned, but this version does not run it.
    pub built: bool,
    /// What holds where it is left out, as it would be written.
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
    /// One of the fields marked so is due: a model has one source.
    OneOf,
}

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `name = value`
    Value,
    /// `name { … }`
    Block,
}

/// What a field's value is.
#[derive(Debug)]
pub enum Takes {
    /// A whole number; both ends belong to it.
    Whole {
        low: u64,
        high: u64,
    },
    /// Any number; both ends belong to it.
    Real {
        low: f64,
        high: f64,
    },
    /// `40%`, above nothing and at most all.
    Share,
    /// `3` or `1%`: some of the items, or a share of them.
    Some,
    /// A number with its unit.
    Quantity(Unit),
    /// `4 per task`
    PerTask,
    Bool,
    Text,
    /// A list of texts: a command and its arguments.
    Texts,
    /// One of a few words.
    Words(&'static [Word]),
    /// A list of such words.
    WordList(&'static [Word]),
    /// The name of a declaration.
    Name(Kind),
    /// `3 by median`: a number, and how many become one.
    Votes(&'static [Word]),
    /// `[a, b, c] by mean`: names of declarations, and how many become one.
    Panel(Kind, &'static [Word]),
    /// A nested block.
    Block(&'static Owner),
    /// A block whose names are the file's own, each as the owner's doc says.
    Own(&'static Owner),
    /// The statements of a schedule, or the lines of a report.
    Statements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Tokens,
    Time,
    Money,
    /// Money a number of tokens.
    Price,
    /// So many in a time.
    Rate,
    Memory,
}

/// A word that a field may be, and what may stand behind it.
#[derive(Debug)]
pub struct Word {
    pub name: &'static str,
    /// As it is written with all that belongs to it: `path("base/policy")`.
    pub form: &'static str,
    pub block: Option<&'static Owner>,
    pub built: bool,
    pub doc: &'static str,
}

impl Owner {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.fields.iter().map(|field| field.name)
    }
}

impl Field {
    /// What to write where it is missing.
    pub fn due(&self) -> String {
        let form = match self.form() {
            Form::Value => "= …",
            Form::Block => "{ … }",
        };
        format!("write `{} {form}`, {}: {}", self.name, self.takes.words(), self.doc)
    }

    pub fn form(&self) -> Form {
        match self.takes {
            Takes::Block(_) | Takes::Own(_) | Takes::Statements => Form::Block,
            _ => Form::Value,
        }
    }

    const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    const fn one_of(mut self) -> Self {
        self.need = Need::OneOf;
        self
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn per_iteration(mut self) -> Self {
        self.per_iteration = true;
        self
    }

    const fn later(mut self) -> Self {
        self.built = false;
        self
    }
}

impl Word {
    const fn written(mut self, form: &'static str) -> Self {
        self.form = form;
        self
    }

    const fn with(mut self, block: &'static Owner) -> Self {
        self.block = Some(block);
        self
    }

    const fn later(mut self) -> Self {
        self.built = false;
        self
    }
}

/// An optional field; what follows in the table says more.
const fn field(name: &'static str, takes: Takes, doc: &'static str) -> Field {
    Field { name, need: Need::Optional, takes, per_iteration: false, built: true, default: None, doc }
}

const fn word(name: &'static str, doc: &'static str) -> Word {
    Word { name, form: name, block: None, built: true, doc }
}

impl Unit {
    /// As a value of it is called, and as one is written.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Unit::Tokens => ("a number of tokens", "512 tokens"),
            Unit::Time => ("a time", "30 min"),
            Unit::Money => ("an amount of money", "2.50 USD"),
            Unit::Price => ("a price", "2.50 USD per Mtok"),
            Unit::Rate => ("a rate", "300 per min"),
            Unit::Memory => ("an amount of memory", "8 GiB"),
        }
    }

    /// What stands behind a number of it.
    pub fn suffix(self) -> &'static str {
        match self {
            Unit::Tokens => " tokens",
            Unit::Time => " s",
            Unit::Money => " USD",
            Unit::Price => " USD per Mtok",
            Unit::Rate => " per min",
            Unit::Memory => " GiB",
        }
    }
}

impl Takes {
    /// In words: "a whole number, 1 to 1000".
    pub fn words(&self) -> String {
        let between = |low: f64, high: f64| match (low, high) {
            (low, high) if high >= f64::from(u32::MAX) => format!(", at least {}", number_text(low)),
            (low, high) => format!(", {} to {}", number_text(low), number_text(high)),
        };
        let by = |words: &[Word]| join(&words.iter().map(|word| word.name).collect::<Vec<_>>(), "or");
        match self {
            Takes::Whole { low, high } => format!("a whole number{}", between(*low as f64, *high as f64)),
            Takes::Real { low, high } => format!("a number{}", between(*low, *high)),
            Takes::Share => "a percentage, such as `40%`".to_owned(),
            Takes::Some => "a whole number or a percentage, such as `3` or `1%`".to_owned(),
            Takes::Quantity(unit) => format!("{}, such as `{}`", unit.words().0, unit.words().1),
            Takes::PerTask => "a number per task, such as `4 per task`".to_owned(),
            Takes::Bool => "true or false".to_owned(),
            Takes::Text => "text".to_owned(),
            Takes::Texts => "a list of texts".to_owned(),
            Takes::Words(words) => join(&words.iter().map(|word| word.form).collect::<Vec<_>>(), "or"),
            Takes::WordList(words) => format!("a list of {}", by(words)),
            Takes::Name(kind) => format!("the name of {}", kind.words()),
            Takes::Votes(words) => format!("a number by {}", by(words)),
            Takes::Panel(kind, words) => format!("a list of {}s by {}", kind.word(), by(words)),
            Takes::Block(owner) => format!("a block: {}", owner.words),
            Takes::Own(owner) => format!("a block of {}", owner.words),
            Takes::Statements => "a block of statements".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_everything_is_explained() {
        for owner in ALL {
            assert!(!owner.doc.is_empty(), "{} has no doc", owner.words);
            let mut names: Vec<_> = owner.names().collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{} has a field twice", owner.words);
            for field in owner.fields {
                assert!(!field.doc.is_empty(), "`{}` of {} has no doc", field.name, owner.words);
                assert!(
                    field.need == Need::Optional || field.default.is_none(),
                    "{} is due and has a default",
                    field.name
                );
            }
        }
    }

    /// A block that a field or a word leads to is in the list, so that whoever prints the list prints everything.
    #[test]
    fn every_block_is_listed() {
        let listed = |owner: &Owner| ALL.iter().filter(|known| known.words == owner.words).count() == 1;
        for owner in ALL {
            assert!(listed(owner), "{} is listed once", owner.words);
            for field in owner.fields {
                match &field.takes {
                    Takes::Block(inner) | Takes::Own(inner) => assert!(listed(inner), "{} is not listed", inner.words),
                    Takes::Words(words) => {
                        let inner = words.iter().filter_map(|word| word.block);
                        inner.for_each(|inner| assert!(listed(inner), "{} is not listed", inner.words));
                    }
                    _ => {}
                }
            }
        }
    }
}

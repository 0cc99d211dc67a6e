//! Turns comparisons of a task's samples into a verdict on each of them: two at a time and in both orders, or all at once.
//!
//! # Invariants
//! A verdict is on the sample whose id it names, never on the one whose turn it would be. What goes by the place where a
//! sample is shown is no verdict: two orders that disagree make a tie, and the order of a group is drawn. What cannot be read
//! has no figure.

use super::answer;
use super::ballot;
use super::judge::{self, JudgeReply};
use super::metric::{Metric, mean};
use super::spec::{AnswerField, AnswerKind, AnswerSchema, AnswerValue, CriticKind, Verdict};
use crate::base::{Digest, Seed};
use crate::model::Likely;
use litemap::LiteMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Why a row has no verdict that nobody could have given.
const ALONE: &str = "no other sample of its task is there to compare it with";

/// Whether a row has no verdict for want of another to compare it with, in all votes.
pub fn is_alone(unparsed: &str) -> bool {
    unparsed.strip_prefix(ALONE).is_some_and(|rest| !rest.contains(';'))
}

/// A verdict, or why none could be read.
pub type Judged = Result<Verdict, String>;

/// Which rows the questions to a critic show: a question after the other, each as often as it has votes.
#[derive(Debug)]
pub struct Layout {
    kind: CriticKind,
    rows: usize,
    votes: usize,
    /// Of each question in the order in which they are shown; none of a critic that sees one row at a time.
    shown: Vec<Vec<usize>>,
    /// Of comparisons whose two rows render to the same text, the first question: a tie, whatever is said.
    alike: BTreeSet<usize>,
    tie: Preferred,
}

/// What one reply says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Each(Judged),
    Pair(Result<Preferred, String>),
    /// In the order in which they were shown.
    Group(Vec<Judged>),
}

/// Of each field, which of the two it speaks for.
pub type Preferred = LiteMap<String, Prefers>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefers {
    First,
    Second,
    Neither,
}

impl Prefers {
    /// The same where the two change places.
    fn turned(self) -> Self {
        match self {
            Prefers::First => Prefers::Second,
            Prefers::Second => Prefers::First,
            Prefers::Neither => Prefers::Neither,
        }
    }
}

/// The instructions for a question that shows so many.
pub fn format(kind: CriticKind, schema: &AnswerSchema, shown: usize) -> String {
    match kind {
        CriticKind::Each => answer::format(schema),
        CriticKind::Pairs => answer::lines(schema.fields.iter().map(|field| match field.kind {
            AnswerKind::Bool => format!("{}: a, b or tie", field.name),
            AnswerKind::Int { .. } | AnswerKind::Text => answer::instruction(field),
        })),
        CriticKind::Group => {
            let fields = (1..=shown).flat_map(|id| of_id(schema, id).fields);
            answer::lines(fields.map(|field| answer::instruction(&field)))
        }
    }
}

/// What a verdict on a row holds: a comparison's yes or no becomes the share that it wins.
pub fn row_schema(kind: CriticKind, schema: &AnswerSchema) -> AnswerSchema {
    if kind != CriticKind::Pairs {
        return schema.clone();
    }
    let share = AnswerKind::Int { min: 0, max: 1 };
    let field = |name: &str| AnswerField { name: name.to_owned(), kind: share.clone(), expectation: true };
    AnswerSchema { fields: decided(schema).map(field).collect() }
}

/// Whether verdicts say which of a task's samples are better, and nothing of how good any is: all shares of comparisons, and of a
/// group what is decided by a boolean. A number on a scale stays one, whatever is beside it.
pub fn is_relative(kind: CriticKind, schema: &AnswerSchema) -> bool {
    match kind {
        CriticKind::Each => false,
        CriticKind::Pairs => true,
        CriticKind::Group => answer::deciding(schema).is_some_and(|field| field.kind == AnswerKind::Bool),
    }
}

/// The fields in which one of two is preferred.
fn decided(schema: &AnswerSchema) -> impl Iterator<Item = &str> {
    schema.fields.iter().filter(|field| field.kind == AnswerKind::Bool).map(|field| field.name.as_str())
}

/// The answer about the one that is shown under this id: `score 2`.
fn of_id(schema: &AnswerSchema, id: usize) -> AnswerSchema {
    let field = |field: &AnswerField| AnswerField { name: format!("{} {id}", field.name), ..field.clone() };
    AnswerSchema { fields: schema.fields.iter().map(field).collect() }
}

/// Reads the reply to a question that showed so many.
pub fn read(reply: &JudgeReply, kind: CriticKind, schema: &AnswerSchema, shown: usize) -> Said {
    match kind {
        CriticKind::Each => Said::Each(judge::read(reply, schema)),
        CriticKind::Pairs => Said::Pair(judge::read_with(reply, |text| parse_pair(text, schema))),
        CriticKind::Group => {
            let all = judge::read_with(reply, |text| parse_group(text, schema, shown, &reply.likely));
            Said::Group(all.unwrap_or_else(|why| vec![Err(why); shown]))
        }
    }
}

impl Said {
    /// Of each verdict that it is to give, why that cannot be read.
    pub fn unread(&self) -> Vec<Option<&String>> {
        match self {
            Said::Each(judged) => vec![judged.as_ref().err()],
            Said::Pair(preferred) => vec![preferred.as_ref().err()],
            Said::Group(all) => all.iter().map(|judged| judged.as_ref().err()).collect(),
        }
    }

    /// Whether nothing of it can be read.
    pub fn is_unread(&self) -> bool {
        self.unread().iter().all(Option::is_some)
    }
}

/// `better: a`
fn parse_pair(text: &str, schema: &AnswerSchema) -> Result<Preferred, String> {
    let mut preferred = Preferred::new();
    for field in &schema.fields {
        if field.kind != AnswerKind::Bool {
            answer::read_field(text, field, &[])?;
            continue;
        }
        let prefers = match answer::given(text, &field.name)?.to_ascii_lowercase().as_str() {
            "a" => Prefers::First,
            "b" => Prefers::Second,
            "tie" => Prefers::Neither,
            _ => return Err(format!("`{}` is neither a, b nor tie", field.name)),
        };
        preferred.insert(field.name.clone(), prefers);
    }
    Ok(preferred)
}

/// `score 1: 3`, `score 2: 0`. One that is missing has no verdict, and the others keep theirs. Where an id is given twice, or one that
/// nothing was shown under, all are doubtful: whoever counts from 0 means others than it names.
fn parse_group(text: &str, schema: &AnswerSchema, shown: usize, likely: &[Likely]) -> Result<Vec<Judged>, String> {
    for AnswerField { name, .. } in &schema.fields {
        let mut seen = vec![false; shown];
        for rest in answer::named(text, name) {
            // `scores:` is another word, and no `score` of something.
            if !rest.starts_with([' ', '\t']) && !rest.starts_with(|letter: char| letter.is_numeric()) {
                continue;
            }
            let rest = rest.trim_start_matches([' ', '\t']);
            let id = &rest[..rest.find(|letter| !answer::in_word(letter)).unwrap_or(rest.len())];
            if id.is_empty() || !answer::claims(&rest[id.len()..]) {
                continue;
            }
            let place = (1..=shown).find(|known| known.to_string() == id);
            let Some(place) = place else { return Err(format!("`{name} {id}` is of nothing that was shown")) };
            if std::mem::replace(&mut seen[place - 1], true) {
                return Err(format!("`{name} {id}` is given more than once"));
            }
        }
    }
    let judged = |id: usize| {
        let own = of_id(schema, id);
        let field = |(field, own): (&AnswerField, &AnswerField)| {
            Ok((field.name.clone(), answer::read_field(text, own, likely)?))
        };
        schema.fields.iter().zip(&own.fields).map(field).collect()
    };
    Ok((1..=shown).map(judged).collect())
}

/// An order of a group for each vote: drawn, and none twice while there are others, since a greedy critic says of the same
/// question the same.
fn orders(group: &[usize], votes: usize, seed: &dyn Fn(usize, u32) -> Seed) -> Vec<Vec<usize>> {
    // Of more than twenty rows, more than can be counted.
    let there_are = (1..=group.len()).try_fold(1usize, usize::checked_mul).unwrap_or(usize::MAX);
    let mut orders: Vec<Vec<usize>> = Vec::with_capacity(votes);
    for vote in 0..votes {
        let mut rng = seed(group[0], vote as u32).derive("order").rng();
        let mut order = group.to_vec();
        let seen = &orders[vote - vote % there_are..];
        loop {
            rng.shuffle(&mut order);
            if !seen.contains(&order) {
                break;
            }
        }
        orders.push(order);
    }
    orders
}

impl Layout {
    /// Of rows that belong to these tasks. `seed` is of the order in which a group is shown, by its first row and the vote.
    pub fn of(kind: CriticKind, tasks: &[&str], votes: usize, seed: &dyn Fn(usize, u32) -> Seed) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        if kind != CriticKind::Each {
            let mut places: BTreeMap<&str, usize> = BTreeMap::new();
            for (row, task) in tasks.iter().enumerate() {
                let place = *places.entry(task).or_insert(groups.len());
                if place == groups.len() {
                    groups.push(Vec::new());
                }
                groups[place].push(row);
            }
        }
        let mut shown = Vec::new();
        for group in groups {
            if kind == CriticKind::Group {
                shown.extend(orders(&group, votes, seed));
                continue;
            }
            for (at, &a) in group.iter().enumerate() {
                for &b in &group[at + 1..] {
                    shown.extend([vec![a, b], vec![b, a]].into_iter().flat_map(|pair| vec![pair; votes]));
                }
            }
        }
        Self { kind, rows: tasks.len(), votes, shown, alike: BTreeSet::new(), tie: Preferred::new() }
    }

    /// Notes which comparisons show the same text in both orders, by what each question says.
    pub fn note_alike(&mut self, said: &[Digest], schema: &AnswerSchema) {
        if self.kind != CriticKind::Pairs {
            return;
        }
        self.tie = decided(schema).map(|field| (field.to_owned(), Prefers::Neither)).collect();
        let first = |question: &usize| (question / self.votes).is_multiple_of(2);
        let alike = |question: &usize| said[*question] == said[question + self.votes];
        self.alike = (0..self.shown.len()).filter(first).filter(alike).collect();
    }

    /// How many questions there are, every vote counted.
    pub fn questions(&self) -> usize {
        if self.kind == CriticKind::Each { self.rows * self.votes } else { self.shown.len() }
    }

    /// The rows that a question shows, in their order.
    pub fn shown(&self, question: usize) -> Cow<'_, [usize]> {
        match self.kind {
            CriticKind::Each => Cow::Owned(vec![question / self.votes]),
            CriticKind::Pairs | CriticKind::Group => Cow::Borrowed(&self.shown[question]),
        }
    }

    /// Which of several votes a question is.
    pub fn vote(&self, question: usize) -> u32 {
        (question % self.votes) as u32
    }

    /// The verdict of one vote on each row; nothing where all questions about it are missing.
    pub fn verdicts<'s>(&'s self, vote: u32, said: &dyn Fn(usize) -> Option<&'s Said>) -> Vec<Option<Judged>> {
        let mut verdicts: Vec<Option<Judged>> = vec![None; self.rows];
        if self.kind == CriticKind::Pairs {
            return self.shares(vote, said);
        }
        for question in (vote as usize..self.questions()).step_by(self.votes) {
            match said(question) {
                Some(Said::Each(judged)) => verdicts[question / self.votes] = Some(judged.clone()),
                Some(Said::Group(all)) => {
                    for (row, judged) in self.shown[question].iter().zip(all) {
                        verdicts[*row] = Some(judged.clone());
                    }
                }
                Some(Said::Pair(_)) | None => {}
            }
        }
        verdicts
    }

    /// Of each row the share of its comparisons that it wins, of which a tie is a half.
    fn shares<'s>(&'s self, vote: u32, said: &dyn Fn(usize) -> Option<&'s Said>) -> Vec<Option<Judged>> {
        #[derive(Clone, Default)]
        struct Tally {
            compared: usize,
            won: LiteMap<String, Vec<f64>>,
            unread: Vec<String>,
        }
        let mut tallies = vec![Tally::default(); self.rows];
        for Compared { start: _, rows: [a, b], orders } in self.compared(vote, said) {
            for (row, side) in [(a, Prefers::First), (b, Prefers::Second)] {
                let tally = &mut tallies[row];
                tally.compared += 1;
                match &orders {
                    None => {}
                    Some(Err(why)) => tally.unread.push(why.clone()),
                    Some(Ok((first, second))) => {
                        for (field, prefers) in first.iter() {
                            let agreed = second.get(field) == Some(&prefers.turned());
                            let won = match *prefers {
                                _ if !agreed => 0.5,
                                Prefers::Neither => 0.5,
                                winner => f64::from(u8::from(winner == side)),
                            };
                            tally.won.entry(field.clone()).or_insert_with(Vec::new).push(won);
                        }
                    }
                }
            }
        }
        let verdict = |Tally { compared, won, unread }: Tally| {
            if !won.is_empty() {
                let share = |(field, won): (&String, &Vec<f64>)| (field.clone(), AnswerValue::Number(mean(won)));
                return Some(Ok(won.iter().map(share).collect()));
            }
            match (compared, unread.is_empty()) {
                (0, _) => Some(Err(ALONE.to_owned())),
                (_, true) => None,
                (_, false) => Some(Err(ballot::unread(&unread))),
            }
        };
        tallies.into_iter().map(verdict).collect()
    }

    /// Each two rows with what was said of them in the one order and in the other; nothing where an order is missing.
    fn compared<'s>(&'s self, vote: u32, said: &dyn Fn(usize) -> Option<&'s Said>) -> Vec<Compared<'s>> {
        let both = |start: usize| {
            let preferred = |question: usize| match said(question) {
                Some(Said::Pair(preferred)) => Some(preferred),
                _ => None,
            };
            let orders = preferred(start).zip(preferred(start + self.votes)).map(|orders| match orders {
                _ if self.alike.contains(&start) => Ok((&self.tie, &self.tie)),
                (Ok(first), Ok(second)) => Ok((first, second)),
                (Err(why), _) | (_, Err(why)) => Err(why.clone()),
            });
            Compared { start, rows: [self.shown[start][0], self.shown[start][1]], orders }
        };
        (vote as usize..self.shown.len()).step_by(2 * self.votes).map(both).collect()
    }

    /// The comparisons of two texts that could be read in both orders, of all votes.
    pub fn in_both_orders<'s>(&'s self, said: &dyn Fn(usize) -> Option<&'s Said>) -> Vec<Orders<'s>> {
        if self.kind != CriticKind::Pairs {
            return Vec::new();
        }
        let all = (0..self.votes as u32).flat_map(|vote| self.compared(vote, said));
        all.filter(|it| !self.alike.contains(&it.start)).filter_map(|it| it.orders?.ok()).collect()
    }
}

/// Two rows with what was said of them in both orders, if that is there and can be read.
struct Compared<'s> {
    /// The first question about them.
    start: usize,
    rows: [usize; 2],
    orders: Option<Result<Orders<'s>, String>>,
}

/// What was said of two in the one order, and in the other.
pub type Orders<'s> = (&'s Preferred, &'s Preferred);

/// `FIELD.flips`: the share of comparisons of two texts in which the two orders disagree, so that the place decided.
pub fn flips(schema: &AnswerSchema, compared: &[Orders<'_>]) -> Vec<Metric> {
    let flips = |field: &str| {
        let flipped = |(first, second): &&Orders<'_>| {
            first.get(field).map(|prefers| prefers.turned()) != second.get(field).copied()
        };
        Metric::share(&format!("{field}.flips"), compared.iter().filter(flipped).count(), compared.len())
    };
    decided(schema).filter_map(flips).collect()
}

#[cfg(test)]
mod tests;

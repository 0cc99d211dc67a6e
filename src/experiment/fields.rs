//! Turns a block into its fields: unknown, doubled and missing ones told, forms checked.

use super::Checker;
use super::error::CheckError;
use super::index::Meaning;
use super::value::Value;
use super::vocabulary::{Field, Form, Need, Owner, Takes, Unit, Word};
use crate::base::Span;
use crate::model::Rate;
use crate::syntax::ast::{Apply, Block, Entry, EntryKind, Expr, ExprKind, Name, Operator, Path};
use crate::syntax::similar::similar;
use std::collections::BTreeMap;

/// What a block says of a field: `None` where it is left out, `Some(None)` where a diagnostic has told what is wrong.
pub type Given<T> = Option<Option<T>>;

/// How an address of the web begins.
pub const HTTP: [&str; 2] = ["http://", "https://"];
pub const WEB: &str = "a web address";

/// The entries of one block by name.
pub struct Fields<'b> {
    owner: &'static Owner,
    entries: BTreeMap<&'b str, &'b Entry>,
    /// Something in the block may be any field.
    any: bool,
    /// Fields that misspelt ones may be.
    meant: Vec<String>,
}

impl<'b> Fields<'b> {
    pub fn value(&self, name: &str) -> Option<&'b Expr> {
        match &self.entries.get(name)?.kind {
            EntryKind::Value(value) => Some(value),
            _ => None,
        }
    }

    pub fn block(&self, name: &str) -> Option<&'b Block> {
        match &self.entries.get(name)?.kind {
            EntryKind::Block(block) => Some(block),
            _ => None,
        }
    }

    /// A field's value, and what the table says of it.
    pub fn given(&self, name: &str) -> Option<(&'b Expr, &'static Field)> {
        let field = self.owner.field(name).expect("the checker asks for fields of the table");
        self.value(name).map(|value| (value, field))
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether it is there, or something that nobody could read or knows may be it.
    pub fn may_have(&self, name: &str) -> bool {
        self.any || self.has(name) || self.meant.iter().any(|meant| meant == name)
    }

    /// Where its name stands.
    pub fn key(&self, name: &str) -> Option<Span> {
        self.entries.get(name).map(|entry| entry.key.span)
    }

    pub fn span(&self, name: &str) -> Option<Span> {
        self.entries.get(name).map(|entry| entry.span)
    }
}

impl Checker<'_> {
    /// Reads a block by the table.
    pub(super) fn fields<'b>(&mut self, block: &'b Block, owner: &'static Owner) -> Fields<'b> {
        let mut entries: BTreeMap<&'b str, &'b Entry> = BTreeMap::new();
        for entry in &block.entries {
            let broken = matches!(entry.kind, EntryKind::Broken);
            let known = entry.key.single().and_then(|name| Some((name, owner.field(&name.value)?)));
            let Some((name, field)) = known else {
                // What cannot be read has been told already.
                if !broken {
                    self.unknown_field(entry, owner);
                }
                continue;
            };
            self.index.note(name.span, Meaning::Field(owner, field));
            if let Some(first) = entries.get(field.name) {
                if !broken && !matches!(first.kind, EntryKind::Broken) {
                    let first = first.key.span;
                    self.error(CheckError::FieldTwice { span: name.span, name: name.value.clone(), first });
                    continue;
                }
                if broken {
                    continue;
                }
            }
            entries.insert(field.name, entry);
            let fits = match (&entry.kind, field.form()) {
                (EntryKind::Broken, _) => true,
                (EntryKind::Value(_), form) => form == Form::Value,
                (EntryKind::Block(_), form) => form == Form::Block,
                (EntryKind::Type(_), _) => false,
            };
            if !fits {
                let wanted = match field.form() {
                    Form::Block => format!("{} {{ … }}", field.name),
                    Form::Value => format!("{} = …", field.name),
                };
                self.error(CheckError::WrongForm { span: entry.span, name: name.value.clone(), wanted });
            } else if !field.built && !broken {
                self.later(name.span, format!("`{}` of {}", field.name, owner.words));
            }
        }
        // A name close to a field was that field; one that is close to none may be any.
        let unknown = block.entries.iter().map(|entry| entry.key.text()).filter(|name| owner.field(name).is_none());
        let meant: Vec<Vec<String>> = unknown.map(|name| similar(&name, owner.names())).collect();
        let any = block.broken || meant.iter().any(Vec::is_empty);
        let fields = Fields { owner, entries, any, meant: meant.concat() };
        // A schedule is no entry of its block: whoever reads it knows whether it is there.
        let due = |field: &&Field| field.need == Need::Required && !matches!(field.takes, Takes::Statements);
        for field in owner.fields.iter().filter(due) {
            self.due_field(block, &fields, field.name);
        }
        fields
    }

    /// Tells that a field is missing, unless something in its block may have been it.
    pub(super) fn due_field(&mut self, block: &Block, fields: &Fields, name: &'static str) {
        if !fields.may_have(name) {
            self.error(CheckError::MissingField { span: block.span, name, owner: fields.owner });
        }
    }

    fn unknown_field(&mut self, entry: &Entry, owner: &'static Owner) {
        let span = entry.key.single().map_or(entry.key.span, |name| name.span);
        let name = entry.key.text();
        let known = owner.fields.iter().filter(|field| field.built).map(|field| field.name).collect();
        let near = similar(&name, owner.names());
        self.error(CheckError::UnknownField { span, name, owner: owner.words, near, known });
    }

    /// A whole number, within what the table says.
    pub(super) fn small_of(&mut self, fields: &Fields, name: &str) -> Given<u32> {
        let (value, field) = fields.given(name)?;
        Some(self.small_as(value, field))
    }

    pub(super) fn small_as(&mut self, value: &Expr, field: &Field) -> Option<u32> {
        let Takes::Whole { low, high } = field.takes else { unreachable!("`{}` is a whole number", field.name) };
        self.whole(value, &format!("`{}`", field.name), low..=high.min(u64::from(u32::MAX))).map(|number| number as u32)
    }

    /// One whole number, or a range of them.
    pub(super) fn small_range_of(&mut self, fields: &Fields, name: &str) -> Given<(u32, u32)> {
        let (value, field) = fields.given(name)?;
        let Takes::Whole { low, high } = field.takes else { unreachable!("`{name}` is a whole number") };
        if let Some(Value::Range(from, to)) = self.constant_range(value) {
            let (least, most) = (low as f64, high as f64);
            if from <= to && from >= least && to <= most && from.fract() == 0.0 && to.fract() == 0.0 {
                return Some(Some((from as u32, to as u32)));
            }
            let of = format!("`{name}`");
            let span = value.span;
            let value = if from < least { from } else { to };
            self.error(CheckError::Range { span, of, value, low: least, high: most, declared: None });
            return Some(None);
        }
        Some(self.small_as(value, field).map(|number| (number, number)))
    }

    fn constant_range(&mut self, value: &Expr) -> Option<Value> {
        let ExprKind::Binary { operator, .. } = &value.kind else { return None };
        (operator.value == Operator::Range).then(|| self.value(value)).flatten()
    }

    pub(super) fn whole_of(&mut self, fields: &Fields, name: &str) -> Given<u64> {
        let (value, field) = fields.given(name)?;
        let Takes::Whole { low, high } = field.takes else { unreachable!("`{name}` is a whole number") };
        Some(self.whole(value, &format!("`{name}`"), low..=high))
    }

    pub(super) fn real_of(&mut self, fields: &Fields, name: &str) -> Given<f64> {
        let (value, field) = fields.given(name)?;
        Some(self.real_as(value, field))
    }

    pub(super) fn real_as(&mut self, value: &Expr, field: &Field) -> Option<f64> {
        let Takes::Real { low, high } = field.takes else { unreachable!("`{}` is a number", field.name) };
        self.real_or_percent(value, &format!("`{}`", field.name), (low, high), high <= 1.0)
    }

    pub(super) fn tokens_of(&mut self, fields: &Fields, name: &str) -> Given<u32> {
        let (value, field) = fields.given(name)?;
        debug_assert!(matches!(field.takes, Takes::Quantity(Unit::Tokens)), "`{name}` is a number of tokens");
        Some(self.tokens(value, &format!("`{name}`")))
    }

    pub(super) fn text_of(&mut self, fields: &Fields, name: &str) -> Given<String> {
        let (value, field) = fields.given(name)?;
        debug_assert!(matches!(field.takes, Takes::Text), "`{name}` is text");
        Some(self.text(value, &format!("`{name}`")))
    }

    pub(super) fn bool_of(&mut self, fields: &Fields, name: &str) -> Given<bool> {
        let (value, field) = fields.given(name)?;
        debug_assert!(matches!(field.takes, Takes::Bool), "`{name}` is true or false");
        Some(self.value(value).and_then(|found| match found {
            Value::Bool(value) => Some(value),
            other => {
                let (found, of) = (other.words(), format!("`{name}`"));
                self.error(CheckError::Mismatch { span: value.span, found, wanted: "true or false", of });
                None
            }
        }))
    }

    /// The declaration that a field names.
    pub(super) fn name_of(&mut self, fields: &Fields, name: &str) -> Given<usize> {
        let (value, field) = fields.given(name)?;
        let Takes::Name(kind) = field.takes else { unreachable!("`{name}` is a name") };
        Some(self.named(value, kind))
    }

    /// One of the words that the table has, as what it stands for here.
    pub(super) fn word_of<T: Copy>(&mut self, fields: &Fields, name: &str, words: &[(&str, T)]) -> Given<T> {
        let (value, field) = fields.given(name)?;
        let Takes::Words(known) = field.takes else { unreachable!("`{name}` is one of a few words") };
        debug_assert!(
            known.iter().map(|word| word.name).eq(words.iter().map(|(word, _)| *word)),
            "the words of `{name}` are those of the table"
        );
        let word = self.word(value, &format!("`{name}`"), known);
        Some(word.and_then(|chosen| words.iter().find(|(word, _)| *word == chosen.name)).map(|(_, value)| *value))
    }

    /// A single name that is one of a few words: `else stop`, `by median`.
    pub(super) fn name_as<T: Copy>(
        &mut self,
        of: &str,
        name: &Name,
        known: &'static [Word],
        words: &[(&str, T)],
    ) -> Option<T> {
        let path = Path { span: name.span, parts: vec![name.clone()] };
        let kind = ExprKind::Apply(Apply { path, version: None, arguments: None, block: None });
        let chosen = self.word(&Expr { span: name.span, kind }, of, known)?;
        words.iter().find(|(word, _)| *word == chosen.name).map(|(_, value)| *value)
    }

    /// An amount in a unit, in the unit's base: milliseconds, micro-dollars a million tokens.
    pub(super) fn amount_of(&mut self, fields: &Fields, name: &str) -> Given<u64> {
        let (value, field) = fields.given(name)?;
        let Takes::Quantity(unit) = field.takes else { unreachable!("`{name}` is a quantity") };
        let of = format!("`{name}`");
        Some(self.value(value).and_then(|found| match (unit, &found) {
            (Unit::Time, Value::Time(amount))
            | (Unit::Money, Value::Money(amount))
            | (Unit::Price, Value::Price(amount))
            | (Unit::Memory, Value::Memory(amount))
            | (Unit::Tokens, Value::Tokens(amount)) => Some(*amount),
            (_, Value::Int(number)) => {
                let edit = format!("{number}{}", unit.suffix());
                self.error(CheckError::MissingUnit { span: value.span, of, unit: unit.words().0, edit });
                None
            }
            _ => {
                let (found, wanted) = (found.words(), unit.words().0);
                self.error(CheckError::Mismatch { span: value.span, found, wanted, of });
                None
            }
        }))
    }

    /// A time in which something is to happen, in milliseconds: in none, nothing does.
    pub(super) fn time_of(&mut self, fields: &Fields, name: &str) -> Given<u64> {
        let time = self.amount_of(fields, name)?;
        let none = fields.value(name).filter(|_| time == Some(0));
        none.into_iter().for_each(|value| self.out_of_range(value.span, &format!("`{name}`"), 0.0, 0.0, f64::INFINITY));
        Some(time.filter(|time| *time > 0))
    }

    pub(super) fn rate_of(&mut self, fields: &Fields, name: &str) -> Given<Rate> {
        let (value, _) = fields.given(name)?;
        Some(self.value(value).and_then(|found| match found {
            Value::Rate { count, each } => Some(Rate { count, each }),
            Value::Int(number) => {
                let (of, edit) = (format!("`{name}`"), format!("{number} per min"));
                self.error(CheckError::MissingUnit { span: value.span, of, unit: Unit::Rate.words().0, edit });
                None
            }
            other => {
                let (found, wanted, of) = (other.words(), Unit::Rate.words().0, format!("`{name}`"));
                self.error(CheckError::Mismatch { span: value.span, found, wanted, of });
                None
            }
        }))
    }

    /// An address that begins in one of these ways: what it is, and how one is written.
    pub(super) fn address(
        &mut self,
        value: &Expr,
        of: &str,
        schemes: [&str; 2],
        (what, wanted): (&'static str, &'static str),
    ) -> Option<String> {
        let text = self.text(value, of)?;
        let fits = schemes.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|host| !host.is_empty()));
        let what = if !fits {
            what
        } else if !has_host(&text) {
            "a host, and behind it no port or one from 1 to 65535"
        } else {
            return Some(text);
        };
        self.error(CheckError::TextForm { span: value.span, of: of.to_owned(), what, wanted });
        None
    }

    /// A list of texts: a command and its arguments.
    pub(super) fn texts(&mut self, value: &Expr, of: &str) -> Option<Vec<String>> {
        let ExprKind::List(items) = &value.kind else {
            if !matches!(value.kind, ExprKind::Broken) {
                self.error(CheckError::NotList { span: value.span, of: of.to_owned() });
            }
            return None;
        };
        let texts: Vec<Option<String>> = items.iter().map(|item| self.text(item, of)).collect();
        texts.into_iter().collect::<Option<Vec<_>>>().filter(|texts| {
            if texts.is_empty() {
                self.error(CheckError::EmptyList { span: value.span, of: of.to_owned() });
            }
            !texts.is_empty()
        })
    }

    /// One of the words that the table has, with what stands behind it.
    pub(super) fn choice_of<'b>(&mut self, fields: &Fields<'b>, name: &str) -> Given<(&'b Apply, &'static Word)> {
        let (value, field) = fields.given(name)?;
        let Takes::Words(words) = field.takes else { unreachable!("`{name}` is one of a few words") };
        Some(self.choice(value, &format!("`{name}`"), words))
    }

    /// The block behind a word, which cannot do without.
    pub(super) fn due_block<'b>(&mut self, apply: &'b Apply, word: &'static Word) -> Option<&'b Block> {
        if apply.block.is_none() {
            let (name, wanted) = (word.name.to_owned(), word.form.to_owned());
            self.error(CheckError::Arguments { span: apply.path.span, wanted, name });
        }
        apply.block.as_ref()
    }

    /// One of a few words with nothing behind it: `drop` or `fail`.
    fn word(&mut self, expr: &Expr, of: &str, words: &'static [Word]) -> Option<&'static Word> {
        let (apply, word) = self.choice(expr, of, words)?;
        if apply.arguments.is_some() || apply.block.is_some() {
            self.error(CheckError::NoValue { span: expr.span });
            return None;
        }
        Some(word)
    }

    /// One of a few words, maybe with arguments or a block behind it: `cosine { warmup = 3% }`.
    pub(super) fn choice<'e>(
        &mut self,
        expr: &'e Expr,
        of: &str,
        words: &'static [Word],
    ) -> Option<(&'e Apply, &'static Word)> {
        let (found, span) = match &expr.kind {
            ExprKind::Broken => return None,
            ExprKind::Apply(apply) => {
                let text = apply.path.text();
                if let Some(word) = words.iter().find(|word| word.name == text) {
                    self.index.note(apply.path.span, Meaning::Word(word));
                    if !word.built {
                        let field = of.trim_matches('`');
                        let sign = if field == "by" { " " } else { " = " };
                        self.later(apply.path.span, format!("`{field}{sign}{text}`"));
                    }
                    return Some((apply, word));
                }
                (Some(text), apply.path.span)
            }
            _ => (None, expr.span),
        };
        let known: Vec<String> = words.iter().map(|word| word.name.to_owned()).collect();
        let near = found.as_deref().map(|found| similar(found, known.iter().map(String::as_str))).unwrap_or_default();
        self.error(CheckError::UnknownWord { span, of: of.to_owned(), found, near, known });
        None
    }

    /// The one text in the parentheses: `path("base/policy")`.
    pub(super) fn text_argument(&mut self, apply: &Apply) -> Option<String> {
        match apply.arguments.as_deref() {
            Some([argument]) if argument.name.is_none() => {
                self.text(&argument.value, &format!("`{}(…)`", apply.path.text()))
            }
            _ => {
                let name = apply.path.text();
                self.error(CheckError::Arguments { span: apply.path.span, wanted: format!("{name}(\"…\")"), name });
                None
            }
        }
    }
}

/// What stands between an address's scheme and its path.
pub(super) fn authority(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// A host, and what is written for its port; of one in brackets nothing else may follow.
pub(super) fn host(place: &str) -> (&str, Option<&str>) {
    match place.find(']') {
        Some(end) => (&place[..=end], place[end + 1..].strip_prefix(':').or((place.len() > end + 1).then_some(""))),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    }
}

/// Whether an address names a host, and a port that there can be: whoever asks would else take the usual one without a word.
fn has_host(address: &str) -> bool {
    let authority = authority(address);
    let (host, port) = host(authority.rsplit_once('@').map_or(authority, |(_, place)| place));
    let is_port = |port: &str| port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0);
    !host.is_empty() && !host.contains(char::is_whitespace) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port_that_there_can_be() {
        for sound in
            ["http://a", "http://a:1", "https://a.b:65535/v1", "ws://[::1]/x", "http://[::1]:80", "http://u:p@a:8/"]
        {
            assert!(has_host(sound), "{sound}");
        }
        let wrong = [
            "http://",
            "http:///v1",
            "http://:80",
            "http://a:",
            "http://a:/v1",
            "http://a:0",
            "http://a:65536",
            "http://a:99999/v1",
            "http://a:abc",
            "http://a:-1",
            "http://a:+1",
            "http://a:1:2",
            "http://[::1]:",
            "http://[::1]x",
            "http://a b",
            "http://[::1]:99999",
        ];
        for wrong in wrong {
            assert!(!has_host(wrong), "{wrong}");
        }
    }
}

//! Values as the original's language has them: ordered dictionaries, whole numbers of any length, `==` and `repr`.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub type Text = Arc<str>;

/// Cheap to clone: what is large is shared, and copied by who writes to it.
#[derive(Clone, Debug)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Decimal digits of a whole number that `Int` has no room for.
    Big(Text),
    Float(f64),
    Str(Text),
    List(Arc<Vec<Value>>),
    Tuple(Arc<Vec<Value>>),
    Dict(Arc<Dict>),
}

/// A table keeps `1` and `"1"` apart: some tools write the one where the data has the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Text(Text),
    Int(i64),
}

impl Key {
    pub fn text(&self) -> Option<&str> {
        match self {
            Key::Text(text) => Some(text),
            Key::Int(_) => None,
        }
    }
}

/// In order of insertion.
#[derive(Clone, Debug, Default)]
pub struct Dict(Vec<(Key, Value)>);

/// From here on a dictionary is compared and built through an index.
const SMALL: usize = 16;

impl Dict {
    pub fn of<const N: usize>(rows: [(&str, Value); N]) -> Self {
        Self(rows.map(|(key, value)| (Key::Text(key.into()), value)).into())
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(it, _)| it.text() == Some(key)).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(it, _)| it.text() == Some(key)).map(|(_, value)| value)
    }

    pub fn insert(&mut self, key: Key, value: Value) {
        match self.0.iter_mut().find(|(it, _)| *it == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn set(&mut self, key: &str, value: Value) {
        self.insert(Key::Text(key.into()), value);
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.0.iter().position(|(it, _)| it.text() == Some(key))?;
        Some(self.0.remove(place).1)
    }

    pub fn remove_at(&mut self, place: usize) {
        self.0.remove(place);
    }

    pub fn at_mut(&mut self, place: usize) -> &mut Value {
        &mut self.0[place].1
    }

    pub fn rows(&self) -> &[(Key, Value)] {
        &self.0
    }

    /// As what a tool is called with: the rows whose keys are texts.
    pub fn arguments(&self) -> Vec<(Text, Value)> {
        self.0.iter().filter_map(|(key, value)| Some((key.text()?.into(), value.clone()))).collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of two rows with one key the later value stays, at the earlier one's place.
    pub fn from_rows(rows: Vec<(Key, Value)>) -> Self {
        let mut dict = Self(Vec::with_capacity(rows.len()));
        let mut places = BTreeMap::new();
        for (key, value) in rows {
            let place = *places.entry(key.clone()).or_insert(dict.0.len());
            match dict.0.get_mut(place) {
                Some((_, old)) => *old = value,
                None => dict.0.push((key, value)),
            }
        }
        dict
    }
}

impl PartialEq for Dict {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.len() <= SMALL {
            let found = |key: &Key| other.0.iter().find(|(it, _)| it == key).map(|(_, value)| value);
            return self.0.iter().all(|(key, value)| found(key) == Some(value));
        }
        let index = |dict: &Dict| -> BTreeMap<Key, Value> { dict.0.iter().cloned().collect() };
        index(self) == index(other)
    }
}

/// As the original's `==`: a number is a number, true is one.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Big(a), Value::Big(b)) => a == b,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => a == b,
            (Value::Dict(a), Value::Dict(b)) => a == b,
            _ => match (self.whole(), other.whole()) {
                (Some(a), Some(b)) => a == b,
                _ => match (self.number(), other.number()) {
                    (Some(a), Some(b)) => a == b,
                    _ => false,
                },
            },
        }
    }
}

impl Value {
    pub fn str(text: impl Into<Text>) -> Self {
        Value::Str(text.into())
    }

    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Arc::new(items))
    }

    pub fn dict<const N: usize>(rows: [(&str, Value); N]) -> Self {
        Value::Dict(Arc::new(Dict::of(rows)))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// A field of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_dict()?.get(key)
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Value::Bool(it) => Some(i64::from(*it)),
            Value::Int(it) => Some(*it),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Float(it) => Some(*it),
            Value::Big(digits) => digits.parse().ok(),
            _ => self.whole().map(|it| it as f64),
        }
    }

    /// What counts as true in an `if`.
    pub fn truthy(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(it) => *it,
            Value::Int(it) => *it != 0,
            Value::Big(_) => true,
            Value::Float(it) => *it != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
        }
    }

    /// The name of its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
        }
    }

    pub fn repr(&self) -> String {
        let mut out = String::new();
        write(self, Style::Repr, &mut out);
        out
    }

    /// As `str()`: text is itself.
    pub fn display(&self) -> String {
        match self {
            Value::Str(text) => text.to_string(),
            other => other.repr(),
        }
    }

    /// As `json.dumps`: ASCII, a blank after comma and colon.
    pub fn json(&self) -> String {
        let mut out = String::new();
        write(self, Style::Json, &mut out);
        out
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Repr,
    Json,
}

fn write(value: &Value, style: Style, out: &mut String) {
    let json = style == Style::Json;
    match value {
        Value::None => out.push_str(if json { "null" } else { "None" }),
        Value::Bool(true) => out.push_str(if json { "true" } else { "True" }),
        Value::Bool(false) => out.push_str(if json { "false" } else { "False" }),
        Value::Int(it) => out.push_str(&it.to_string()),
        Value::Big(digits) => out.push_str(digits),
        Value::Float(it) => out.push_str(&float(*it, json)),
        Value::Str(text) if json => json_text(text, out),
        Value::Str(text) => out.push_str(&quoted(text)),
        Value::List(items) => write_items(items, ["[", "]"], style, out),
        Value::Tuple(items) if json => write_items(items, ["[", "]"], style, out),
        Value::Tuple(items) => write_items(items, ["(", if items.len() == 1 { ",)" } else { ")" }], style, out),
        Value::Dict(dict) => {
            out.push('{');
            for (place, (key, value)) in dict.rows().iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { "" });
                match key {
                    Key::Text(text) if json => json_text(text, out),
                    Key::Text(text) => out.push_str(&quoted(text)),
                    Key::Int(it) if json => json_text(&it.to_string(), out),
                    Key::Int(it) => out.push_str(&it.to_string()),
                }
                out.push_str(": ");
                write(value, style, out);
            }
            out.push('}');
        }
    }
}

fn write_items(items: &[Value], [open, close]: [&str; 2], style: Style, out: &mut String) {
    out.push_str(open);
    for (place, item) in items.iter().enumerate() {
        out.push_str(if place > 0 { ", " } else { "" });
        write(item, style, out);
    }
    out.push_str(close);
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
}

/// As the original's `repr` of a text.
pub fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c as u32 == 0xad => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// As the original writes a float: the shortest digits, with an exponent outside 1e-4 to 1e16. JSON has nothing for what is
/// not finite.
pub fn float(it: f64, json: bool) -> String {
    if !it.is_finite() && json {
        return "null".to_owned();
    }
    if it.is_nan() {
        return "nan".to_owned();
    }
    if it.is_infinite() {
        return if it < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let exponential = format!("{it:e}");
    let (digits, exponent) = exponential.split_once('e').expect("it was written with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if it == 0.0 || (-4..16).contains(&exponent) {
        let plain = it.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E: Error>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E: Error>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Int(it))
    }

    fn visit_u64<E: Error>(self, it: u64) -> Result<Value, E> {
        Ok(i64::try_from(it).map_or_else(|_| Value::Big(it.to_string().into()), Value::Int))
    }

    fn visit_f64<E: Error>(self, it: f64) -> Result<Value, E> {
        Ok(Value::Float(it))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Value, E> {
        Ok(Value::str(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::list(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Value, A::Error> {
        let mut dict = Vec::new();
        while let Some((key, value)) = rows.next_entry::<String, Value>()? {
            dict.push((Key::Text(key.into()), value));
        }
        Ok(Value::Dict(Arc::new(Dict::from_rows(dict))))
    }
}

//! Turns literals, params and constants into values with a type and a unit, and values into what a field asks for.

use super::error::CheckError;
use super::scope::Kind;
use super::{Checker, Given};
use crate::base::Span;
use crate::syntax::ast::{self, Apply, Expr, ExprKind, File, ItemKind, Operator, Type};
use crate::syntax::similar::similar;
use crate::syntax::words::Class;
use std::ops::RangeInclusive;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Real(f64),
    /// As a share: `40%` is 0.4.
    Percent(f64),
    Tokens(u64),
    /// Milliseconds.
    Time(u64),
    /// Micro-dollars.
    Money(u64),
    /// Bytes.
    Memory(u64),
    /// Micro-dollars a million tokens.
    Price(u64),
    /// So many in so many milliseconds.
    Rate {
        count: u64,
        each: u64,
    },
    /// `4 per task`
    PerTask(i64),
    Text(String),
    Bool(bool),
    Range(f64, f64),
}

impl Value {
    pub fn words(&self) -> &'static str {
        match self {
            Value::Int(_) => "a whole number",
            Value::Real(_) => "a number with a fraction",
            Value::Percent(_) => "a percentage",
            Value::Tokens(_) => "a number of tokens",
            Value::Time(_) => "a time",
            Value::Money(_) => "an amount of money",
            Value::Memory(_) => "an amount of memory",
            Value::Price(_) => "a price",
            Value::Rate { .. } => "a rate",
            Value::PerTask(_) => "a number per task",
            Value::Text(_) => "text",
            Value::Bool(_) => "true or false",
            Value::Range(..) => "a range",
        }
    }

    /// The number in its own unit.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Value::Int(number) | Value::PerTask(number) => Some(number as f64),
            Value::Real(number) | Value::Percent(number) => Some(number),
            Value::Tokens(number) | Value::Time(number) | Value::Money(number) | Value::Memory(number) => {
                Some(number as f64)
            }
            Value::Text(_) | Value::Bool(_) | Value::Range(..) | Value::Price(_) | Value::Rate { .. } => None,
        }
    }
}

/// `let`s that wait for each other; deeper is not readable, and the stack ends somewhere.
const MOST_WAITING: usize = 100;

/// The largest whole number a file may write: beyond it `f64` no longer counts by ones.
pub(super) const MOST: f64 = 9_007_199_254_740_992.0;

impl Checker<'_> {
    pub(super) fn params(&mut self, file: &File, given: &[Given]) {
        let mut last: Vec<&str> = Vec::new();
        for item in &file.items {
            if let ItemKind::Param { name, ty, default } = &item.kind {
                last.push(&name.value);
                let value = if item.unreliable { None } else { self.param(name, ty, default, given) };
                self.constants.insert(name.value.clone(), value);
            }
        }
        for item in &file.items {
            if let ItemKind::Let { name, value } = &item.kind {
                if item.unreliable {
                    self.constants.insert(name.value.clone(), None);
                } else {
                    self.pending.insert(name.value.clone(), value.clone());
                }
            }
        }
        while let Some((name, value)) = self.pending.pop_first() {
            let value = self.value(&value);
            self.constants.insert(name, value);
        }
        let place = file.items.first().map_or(Span::default(), |item| item.span);
        for given in given {
            if !last.contains(&given.name.as_str()) && !self.symbols.is_poisoned(&given.name) {
                let near = similar(&given.name, last.iter().copied());
                let known = last.iter().map(|name| (*name).to_owned()).collect();
                let (name, origin) = (given.name.clone(), given.origin.clone());
                self.error(CheckError::SetUnknown { span: place, name, origin, near, known });
            }
        }
    }

    fn param(&mut self, name: &ast::Name, ty: &Type, default: &Expr, given: &[Given]) -> Option<Value> {
        let kind = ty.name.path.text();
        if ty.name.of.is_some() || ty.name.optional || !Class::Type.has(&kind) {
            let near = similar(&kind, Class::Type.names());
            let known = Class::Type.names().collect();
            self.error(CheckError::UnknownType { span: ty.name.span, name: kind, near, known });
            return None;
        }
        let range = match &ty.within {
            None => None,
            Some(within) => {
                let (low, high) = self.range(within)?;
                Some((low, high, within.span))
            }
        };
        let value = self.value(default)?;
        let fits = |value: &Value, place: Span| match cast(value, &kind) {
            None => Err(CheckError::Mismatch {
                span: place,
                found: value.words(),
                wanted: wanted(&kind),
                of: format!("`{}`", name.value),
            }),
            Some(value) => match (range, value.number()) {
                (Some((low, high, range)), Some(number)) if !(low..=high).contains(&number) => Err(CheckError::Range {
                    span: place,
                    of: format!("`{}`", name.value),
                    value: number,
                    low,
                    high,
                    declared: Some(range),
                }),
                _ => Ok(value),
            },
        };
        let value = match fits(&value, default.span) {
            Ok(value) => value,
            Err(error) => {
                self.error(error);
                return None;
            }
        };
        let Some(outside) = given.iter().rev().find(|given| given.name == name.value) else { return Some(value) };
        let given = &outside.value;
        let refuse = |why: String| {
            let (name, span, origin) = (name.value.clone(), name.span, outside.origin.clone());
            CheckError::SetValue { span, name, origin, given: given.clone(), why }
        };
        let text = if kind == "text" && !given.starts_with('"') { format!("{given:?}") } else { given.clone() };
        let Some(expr) = crate::syntax::value(&text) else {
            self.error(refuse(format!("cannot be read as {}", wanted(&kind))));
            return None;
        };
        let before = self.errors.len();
        let given = self.value(&expr);
        // Places in the command line mean nothing in the file.
        self.errors.truncate(before);
        let checked = match given.as_ref().map(|given| fits(given, name.span)) {
            Some(Ok(value)) => return Some(value),
            Some(Err(CheckError::Range { low, high, .. })) => {
                format!("is not within {} and {}", number_text(low), number_text(high))
            }
            _ => format!("is not {}", wanted(&kind)),
        };
        self.error(refuse(checked));
        None
    }

    /// A range whose ends are numbers.
    pub(super) fn range(&mut self, expr: &Expr) -> Option<(f64, f64)> {
        match self.value(expr)? {
            Value::Range(low, high) if low <= high => Some((low, high)),
            Value::Range(low, high) => {
                self.error(CheckError::EmptyRange { span: expr.span, low, high });
                None
            }
            other => {
                self.mismatch(expr.span, &other, "a range such as `1..5`", "this");
                None
            }
        }
    }

    fn mismatch(&mut self, span: Span, found: &Value, wanted: &'static str, of: &str) {
        self.error(CheckError::Mismatch { span, found: found.words(), wanted, of: of.to_owned() });
    }

    /// The value of an expression that is known before anything runs.
    pub(super) fn value(&mut self, expr: &Expr) -> Option<Value> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Quantity(quantity) => self.quantity(quantity, span),
            ExprKind::Text(text) => Some(Value::Text(text.clone())),
            ExprKind::Bool(value) => Some(Value::Bool(*value)),
            ExprKind::Apply(apply) => self.constant(apply, span),
            ExprKind::Negative(inner) => match self.value(inner)? {
                Value::Int(number) => Some(Value::Int(-number)),
                Value::Real(number) => Some(Value::Real(-number)),
                other => {
                    self.mismatch(inner.span, &other, "a number", "`-`");
                    None
                }
            },
            ExprKind::Not(inner) => match self.value(inner)? {
                Value::Bool(value) => Some(Value::Bool(!value)),
                other => {
                    self.mismatch(inner.span, &other, "true or false", "`not`");
                    None
                }
            },
            ExprKind::Binary { operator, left, right } => {
                let (a, b) = (self.value(left), self.value(right));
                self.binary(operator.value, (a?, left.span), (b?, right.span), span)
            }
            ExprKind::Broken => None,
            ExprKind::Template(_)
            | ExprKind::List(_)
            | ExprKind::Cases(_)
            | ExprKind::Known { .. }
            | ExprKind::Stalls { .. }
            | ExprKind::By { .. }
            | ExprKind::Marked { .. } => {
                self.error(CheckError::NoValue { span });
                None
            }
        }
    }

    fn binary(&mut self, operator: Operator, left: (Value, Span), right: (Value, Span), span: Span) -> Option<Value> {
        let (Some(a), Some(b)) = (left.0.number(), right.0.number()) else {
            let (value, place) = if left.0.number().is_none() { left } else { right };
            self.mismatch(place, &value, "a number", &format!("`{}`", operator.as_str()));
            return None;
        };
        let result = match operator {
            Operator::Range => return Some(Value::Range(a, b)),
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide if b == 0.0 => {
                self.error(CheckError::NoValue { span });
                return None;
            }
            Operator::Divide => a / b,
            Operator::Equal => return Some(Value::Bool(a == b)),
            Operator::Unequal => return Some(Value::Bool(a != b)),
            Operator::Less => return Some(Value::Bool(a < b)),
            Operator::LessOrEqual => return Some(Value::Bool(a <= b)),
            Operator::Greater => return Some(Value::Bool(a > b)),
            Operator::GreaterOrEqual => return Some(Value::Bool(a >= b)),
            Operator::Or | Operator::And | Operator::In => {
                self.error(CheckError::NoValue { span });
                return None;
            }
        };
        let whole = result.fract() == 0.0 && result.abs() < MOST;
        Some(match (&left.0, &right.0, operator) {
            (Value::Int(_), Value::Int(_), Operator::Divide) if !whole => Value::Real(result),
            (Value::Int(_), Value::Int(_), _) if whole => Value::Int(result as i64),
            (Value::Tokens(_), Value::Tokens(_), Operator::Divide) => Value::Real(result),
            (Value::Tokens(_), _, _) | (_, Value::Tokens(_), _) if whole && result >= 0.0 => {
                Value::Tokens(result as u64)
            }
            (Value::Percent(_), Value::Percent(_), _) => Value::Percent(result),
            _ => Value::Real(result),
        })
    }

    pub(super) fn is_constant(&mut self, path: &ast::Path) -> bool {
        let name = self.symbols.long(&path.text(), path.span);
        self.constants.contains_key(&name)
    }

    /// A param, a `let`, an argument, or `min` and `max` of such.
    fn constant(&mut self, apply: &Apply, span: Span) -> Option<Value> {
        if apply.version.is_some() || apply.block.is_some() {
            self.error(CheckError::NoValue { span });
            return None;
        }
        let text = apply.path.text();
        if let Some(arguments) = &apply.arguments {
            let pick: fn(f64, f64) -> f64 = match text.as_str() {
                "min" => f64::min,
                "max" => f64::max,
                "secret" => {
                    self.error(CheckError::SecretOutside { span });
                    return None;
                }
                _ => {
                    let near = similar(&text, ["min", "max"]);
                    let what = "function".to_owned();
                    self.error(CheckError::Unknown { span: apply.path.span, name: text, what, near });
                    return None;
                }
            };
            let values: Option<Vec<Value>> = arguments.iter().map(|argument| self.value(&argument.value)).collect();
            let values = values?;
            let numbers: Option<Vec<f64>> = values.iter().map(Value::number).collect();
            let best = numbers.and_then(|numbers| numbers.into_iter().reduce(pick));
            return match best {
                Some(best) => values.into_iter().find(|value| value.number() == Some(best)),
                None => {
                    self.error(CheckError::NoValue { span });
                    None
                }
            };
        }
        let local = self.locals.contains_key(&text);
        let text = if local { text } else { self.symbols.long(&text, span) };
        if !local && let Some(expr) = self.pending.remove(&text) {
            self.mark(&text, span);
            self.waiting += 1;
            let value = if self.waiting > MOST_WAITING {
                self.error(CheckError::NoValue { span });
                None
            } else {
                self.value(&expr)
            };
            self.waiting -= 1;
            self.constants.insert(text, value.clone());
            return value;
        }
        if let Some(value) = self.locals.get(&text) {
            let value = value.clone();
            self.index.member_here(span, &text);
            self.symbols.mark(&text);
            return value;
        }
        if let Some(value) = self.constants.get(&text) {
            let value = value.clone();
            self.mark(&text, span);
            return value;
        }
        match self.symbols.find(&text) {
            Some((None, _)) => None,
            Some((Some(Kind::Constant), declared)) => {
                self.error(CheckError::Circular { span, name: text, declared });
                None
            }
            Some((Some(found), declared)) => {
                self.mark(&text, span);
                let wanted = Kind::Param;
                self.error(CheckError::WrongKind { span, name: text, found, wanted, declared });
                None
            }
            None if self.symbols.may_be_lost(Kind::Param) || self.symbols.may_be_lost(Kind::Constant) => None,
            None => {
                let short = |name| self.symbols.short(name, span);
                let names: Vec<String> =
                    self.constants.keys().filter_map(|name| short(name)).map(str::to_owned).collect();
                let text = short(&text).unwrap_or(&text).to_owned();
                let near = similar(&text, names.iter().map(String::as_str));
                for name in &near {
                    let name = self.symbols.long(name, span);
                    self.symbols.mark(&name);
                }
                self.error(CheckError::Unknown { span, name: text, what: "param or constant".to_owned(), near });
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn whole(&mut self, expr: &Expr, of: &str, range: RangeInclusive<u64>) -> Option<u64> {
        match self.value(expr)? {
            Value::Int(number) => {
                let (low, high) = (*range.start() as f64, *range.end() as f64);
                if number < 0 || !range.contains(&(number as u64)) {
                    self.out_of_range(expr.span, of, number as f64, low, high);
                    return None;
                }
                Some(number as u64)
            }
            other => {
                self.mismatch(expr.span, &other, "a whole number", of);
                None
            }
        }
    }

    pub(super) fn small(&mut self, expr: &Expr, of: &str, range: RangeInclusive<u32>) -> Option<u32> {
        self.whole(expr, of, u64::from(*range.start())..=u64::from(*range.end())).map(|number| number as u32)
    }

    pub(super) fn out_of_range(&mut self, span: Span, of: &str, value: f64, low: f64, high: f64) {
        self.error(CheckError::Range { span, of: of.to_owned(), value, low, high, declared: None });
    }

    /// Any number in a range; its ends belong to it.
    pub(super) fn real(&mut self, expr: &Expr, of: &str, low: f64, high: f64) -> Option<f64> {
        self.real_or_percent(expr, of, (low, high), true)
    }

    /// Any number in a range; a percentage only of what may be called a share.
    pub(super) fn real_or_percent(
        &mut self,
        expr: &Expr,
        of: &str,
        (low, high): (f64, f64),
        percent: bool,
    ) -> Option<f64> {
        let value = self.value(expr)?;
        let number = match value {
            Value::Int(number) => number as f64,
            Value::Real(number) => number,
            Value::Percent(number) if percent => number,
            other => {
                self.mismatch(expr.span, &other, "a number", of);
                return None;
            }
        };
        if !(low..=high).contains(&number) {
            self.out_of_range(expr.span, of, number, low, high);
            return None;
        }
        Some(number)
    }

    /// `40%` or `0.4`, above 0 and at most 1.
    pub(super) fn share(&mut self, expr: &Expr, of: &str) -> Option<f64> {
        match self.value(expr)? {
            Value::Percent(share) if share > 0.0 && share <= 1.0 => Some(share),
            Value::Percent(share) => {
                self.error(CheckError::Range {
                    span: expr.span,
                    of: format!("{of}, in percent,"),
                    value: share * 100.0,
                    low: 0.0,
                    high: 100.0,
                    declared: None,
                });
                None
            }
            Value::Real(share) if share > 0.0 && share < 1.0 => Some(share),
            Value::Int(number) => {
                let edit = format!("{number}%");
                self.error(CheckError::MissingUnit { span: expr.span, of: of.to_owned(), unit: "a percentage", edit });
                None
            }
            other => {
                self.mismatch(expr.span, &other, "a percentage", of);
                None
            }
        }
    }

    pub(super) fn tokens(&mut self, expr: &Expr, of: &str) -> Option<u32> {
        match self.value(expr)? {
            Value::Tokens(count) => {
                if !(1..=u64::from(u32::MAX)).contains(&count) {
                    self.out_of_range(expr.span, of, count as f64, 1.0, f64::from(u32::MAX));
                    return None;
                }
                Some(count as u32)
            }
            Value::Int(number) => {
                let edit = format!("{number} tokens");
                self.error(CheckError::MissingUnit {
                    span: expr.span,
                    of: of.to_owned(),
                    unit: "a number of tokens",
                    edit,
                });
                None
            }
            other => {
                self.mismatch(expr.span, &other, "a number of tokens", of);
                None
            }
        }
    }

    pub(super) fn text(&mut self, expr: &Expr, of: &str) -> Option<String> {
        match self.value(expr)? {
            Value::Text(text) => Some(text),
            other => {
                self.mismatch(expr.span, &other, "text", of);
                None
            }
        }
    }
}

/// A value as a param's type takes it.
pub(super) fn cast(value: &Value, kind: &str) -> Option<Value> {
    match (kind, value) {
        ("int", Value::Int(_))
        | ("float", Value::Real(_))
        | ("ratio", Value::Percent(_))
        | ("text", Value::Text(_))
        | ("bool", Value::Bool(_))
        | ("tokens", Value::Tokens(_))
        | ("duration", Value::Time(_))
        | ("money", Value::Money(_))
        | ("memory", Value::Memory(_)) => Some(value.clone()),
        ("float", Value::Int(number)) => Some(Value::Real(*number as f64)),
        ("ratio", Value::Real(share)) if (0.0..=1.0).contains(share) => Some(Value::Percent(*share)),
        ("ratio", Value::Int(share @ 0..=1)) => Some(Value::Percent(*share as f64)),
        _ => None,
    }
}

pub(super) fn wanted(kind: &str) -> &'static str {
    match kind {
        "int" => "a whole number",
        "float" => "a number",
        "ratio" => "a percentage",
        "text" => "text",
        "bool" => "true or false",
        "tokens" => "a number of tokens",
        "duration" => "a time",
        "money" => "an amount of money",
        _ => "an amount of memory",
    }
}

pub fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "any size".to_owned() } else { "any size below zero".to_owned() };
    }
    match number.abs() {
        0.0 | 1e-4..1e16 => format!("{number}"),
        _ => format!("{number:e}"),
    }
}

//! Turns a condition and what is known of its columns into whether it can hold, and what is known where it does.
//!
//! Interval arithmetic over the columns of a row; a column keeps the interval that earlier stages left it.
//!
//! # Invariants
//! `Never` and `Always` are proofs; everything else is `Maybe`. Columns are taken as independent of each other.

use crate::select::{BinaryOp, Column, Expr};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// Only whole numbers occur.
    pub whole: bool,
}

impl Interval {
    pub const ANY: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY, whole: false };
    pub const BOOL: Self = Self { low: 0.0, high: 1.0, whole: true };
    pub const SHARE: Self = Self { low: 0.0, high: 1.0, whole: false };

    pub fn whole(low: f64, high: f64) -> Self {
        Self { low, high, whole: true }
    }

    fn point(value: f64) -> Self {
        Self { low: value, high: value, whole: value.fract() == 0.0 }
    }

    fn is_empty(self) -> bool {
        self.low > self.high
    }
}

pub type Known = BTreeMap<Column, Interval>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Never,
    Maybe,
    Always,
}

impl Holds {
    fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }
}

/// Whether `condition` can hold for rows of which `known` is known.
pub fn holds(condition: &Expr, known: &Known) -> Holds {
    match condition {
        Expr::Bool(true) => Holds::Always,
        Expr::Bool(false) => Holds::Never,
        Expr::Column(column) => match known.get(column) {
            Some(interval) if interval.low >= 1.0 => Holds::Always,
            Some(interval) if interval.high <= 0.0 => Holds::Never,
            _ => Holds::Maybe,
        },
        Expr::Not(inner) => holds(inner, known).not(),
        Expr::Binary { op: BinaryOp::And, left, right } => {
            let narrowed = narrow(left, known, true);
            match (holds(left, known), holds(right, &narrowed)) {
                (Holds::Never, _) | (_, Holds::Never) => Holds::Never,
                (Holds::Always, Holds::Always) => Holds::Always,
                _ => Holds::Maybe,
            }
        }
        Expr::Binary { op: BinaryOp::Or, left, right } => {
            let narrowed = narrow(left, known, false);
            match (holds(left, known), holds(right, &narrowed)) {
                (Holds::Always, _) | (_, Holds::Always) => Holds::Always,
                (Holds::Never, Holds::Never) => Holds::Never,
                _ => Holds::Maybe,
            }
        }
        Expr::Binary { op, left, right } => compare(*op, range(left, known), range(right, known)),
        Expr::Number(_) | Expr::Text(_) | Expr::Negate(_) => Holds::Maybe,
    }
}

fn compare(op: BinaryOp, a: Interval, b: Interval) -> Holds {
    let decide = |always: bool, never: bool| match (always, never) {
        (true, _) => Holds::Always,
        (_, true) => Holds::Never,
        _ => Holds::Maybe,
    };
    match op {
        BinaryOp::Lt => decide(a.high < b.low, a.low >= b.high),
        BinaryOp::Le => decide(a.high <= b.low, a.low > b.high),
        BinaryOp::Gt => decide(a.low > b.high, a.high <= b.low),
        BinaryOp::Ge => decide(a.low >= b.high, a.high < b.low),
        BinaryOp::Eq | BinaryOp::Ne => {
            let apart = a.high < b.low || b.high < a.low || never_whole(a, b) || never_whole(b, a);
            let same = a.low == a.high && b.low == b.high && a.low == b.low;
            let equal = decide(same, apart);
            if op == BinaryOp::Eq { equal } else { equal.not() }
        }
        _ => Holds::Maybe,
    }
}

/// A whole column never equals a broken number.
fn never_whole(a: Interval, b: Interval) -> bool {
    a.whole && b.low == b.high && b.low.fract() != 0.0
}

fn range(expr: &Expr, known: &Known) -> Interval {
    match expr {
        Expr::Number(value) => Interval::point(*value),
        Expr::Bool(value) => Interval::point(f64::from(u8::from(*value))),
        Expr::Column(column) => known.get(column).copied().unwrap_or(Interval::ANY),
        Expr::Negate(inner) => {
            let inner = range(inner, known);
            Interval { low: -inner.high, high: -inner.low, whole: inner.whole }
        }
        Expr::Binary { op, left, right } => arithmetic(*op, range(left, known), range(right, known)),
        Expr::Text(_) | Expr::Not(_) => Interval::ANY,
    }
}

fn arithmetic(op: BinaryOp, a: Interval, b: Interval) -> Interval {
    let whole = a.whole && b.whole;
    let hull = |corners: [f64; 4]| {
        if corners.iter().any(|corner| corner.is_nan()) {
            return Interval::ANY;
        }
        let low = corners.iter().copied().fold(f64::INFINITY, f64::min);
        Interval { low, high: corners.iter().copied().fold(f64::NEG_INFINITY, f64::max), whole }
    };
    match op {
        BinaryOp::Add => Interval { low: a.low + b.low, high: a.high + b.high, whole },
        BinaryOp::Sub => Interval { low: a.low - b.high, high: a.high - b.low, whole },
        BinaryOp::Mul => hull([a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]),
        BinaryOp::Div if b.low > 0.0 || b.high < 0.0 => {
            let quotient = hull([a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high]);
            Interval { whole: false, ..quotient }
        }
        BinaryOp::Min => Interval { low: a.low.min(b.low), high: a.high.min(b.high), whole },
        BinaryOp::Max => Interval { low: a.low.max(b.low), high: a.high.max(b.high), whole },
        _ => Interval::ANY,
    }
}

/// What is known of the rows for which `condition` is `wanted`.
pub fn narrow(condition: &Expr, known: &Known, wanted: bool) -> Known {
    let mut result = known.clone();
    tighten(condition, &mut result, wanted);
    result
}

fn tighten(condition: &Expr, known: &mut Known, wanted: bool) {
    match condition {
        Expr::Not(inner) => tighten(inner, known, !wanted),
        Expr::Column(column) => cut(column, known, Interval::point(f64::from(u8::from(wanted)))),
        Expr::Binary { op: BinaryOp::And, left, right } if wanted => {
            tighten(left, known, true);
            tighten(right, known, true);
        }
        Expr::Binary { op: BinaryOp::Or, left, right } if !wanted => {
            tighten(left, known, false);
            tighten(right, known, false);
        }
        Expr::Binary { op, left, right } => {
            let op = if wanted { Some(*op) } else { negated(*op) };
            let Some(op) = op else { return };
            if let Expr::Column(column) = &**left {
                let bound = range(right, known);
                cut(column, known, bounded(op, bound, column_whole(column, known)));
            }
            if let (Expr::Column(column), Some(op)) = (&**right, mirrored(op)) {
                let bound = range(left, known);
                cut(column, known, bounded(op, bound, column_whole(column, known)));
            }
        }
        _ => {}
    }
}

fn column_whole(column: &Column, known: &Known) -> bool {
    known.get(column).is_some_and(|interval| interval.whole)
}

fn cut(column: &Column, known: &mut Known, to: Interval) {
    let old = known.get(column).copied().unwrap_or(Interval::ANY);
    let new = Interval { low: old.low.max(to.low), high: old.high.min(to.high), whole: old.whole };
    // A contradiction is told by `holds`; what follows it would only repeat it.
    if !new.is_empty() {
        known.insert(column.clone(), new);
    }
}

/// The interval of a column for which `column op bound` can hold.
fn bounded(op: BinaryOp, bound: Interval, whole: bool) -> Interval {
    let any = Interval::ANY;
    let above = |value: f64| if whole { value.floor() + 1.0 } else { value.next_up() };
    let below = |value: f64| if whole { value.ceil() - 1.0 } else { value.next_down() };
    match op {
        BinaryOp::Ge => Interval { low: bound.low, ..any },
        BinaryOp::Gt => Interval { low: above(bound.low), ..any },
        BinaryOp::Le => Interval { high: bound.high, ..any },
        BinaryOp::Lt => Interval { high: below(bound.high), ..any },
        BinaryOp::Eq => bound,
        _ => any,
    }
}

fn negated(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Eq => BinaryOp::Ne,
        BinaryOp::Ne => BinaryOp::Eq,
        BinaryOp::Lt => BinaryOp::Ge,
        BinaryOp::Le => BinaryOp::Gt,
        BinaryOp::Gt => BinaryOp::Le,
        BinaryOp::Ge => BinaryOp::Lt,
        _ => return None,
    })
}

fn mirrored(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        BinaryOp::Eq | BinaryOp::Ne => op,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score() -> Column {
        Column::Answer("score".to_owned())
    }

    fn at(op: BinaryOp, value: f64) -> Expr {
        Expr::Binary { op, left: Box::new(Expr::Column(score())), right: Box::new(Expr::Number(value)) }
    }

    fn both(left: Expr, right: Expr) -> Expr {
        Expr::Binary { op: BinaryOp::And, left: Box::new(left), right: Box::new(right) }
    }

    #[test]
    fn what_can_hold_is_found() {
        let known = Known::from([(score(), Interval::whole(0.0, 4.0))]);
        assert_eq!(holds(&at(BinaryOp::Ge, 3.0), &known), Holds::Maybe);
        assert_eq!(holds(&at(BinaryOp::Ge, 5.0), &known), Holds::Never);
        assert_eq!(holds(&at(BinaryOp::Ge, 0.0), &known), Holds::Always);
        assert_eq!(holds(&at(BinaryOp::Eq, 2.5), &known), Holds::Never);
        assert_eq!(holds(&both(at(BinaryOp::Gt, 2.0), at(BinaryOp::Lt, 3.0)), &known), Holds::Never);
        assert_eq!(holds(&both(at(BinaryOp::Gt, 2.0), at(BinaryOp::Lt, 4.0)), &known), Holds::Maybe);
        assert_eq!(holds(&Expr::Not(Box::new(at(BinaryOp::Ge, 5.0))), &known), Holds::Always);
    }

    #[test]
    fn a_stage_leaves_what_it_lets_through() {
        let known = Known::from([(score(), Interval::whole(0.0, 4.0))]);
        let after = narrow(&at(BinaryOp::Gt, 2.0), &known, true);
        assert_eq!(after[&score()], Interval::whole(3.0, 4.0));
        assert_eq!(holds(&at(BinaryOp::Ge, 3.0), &after), Holds::Always);
    }
}

//! Turns numbers as written into values: whole, broken, or in the base of their unit.
//!
//! # Invariants
//! No digit is lost: what is finer than the base, or larger than `f64` counts by ones, is refused.

use super::Checker;
use super::error::CheckError;
use super::value::{MOST, Value};
use crate::base::Span;
use crate::syntax::ast::Quantity;

impl Checker<'_> {
    pub(super) fn quantity(&mut self, quantity: &Quantity, span: Span) -> Option<Value> {
        let digits = &quantity.digits.value;
        let number: f64 = digits.parse().unwrap_or(f64::INFINITY);
        // As `f64` the next number is the largest one again.
        let is_beyond = digits.parse::<u64>().is_ok_and(|exact| exact > MOST as u64);
        if number > MOST || is_beyond {
            self.out_of_range(span, "a number", number.max(MOST.next_up()), 0.0, MOST);
            return None;
        }
        let whole = number.fract() == 0.0 && !digits.contains(['e', 'E']);
        if let Some(per) = &quantity.per {
            let fits = per.value == "task" && whole && !quantity.percent && quantity.unit.is_none();
            if fits {
                return Some(Value::PerTask(number as i64));
            }
            return self.rate(quantity, number, &per.value, span);
        }
        let scaled = |factor: f64| {
            let base = number * factor;
            (base.fract() == 0.0 && base <= MOST).then_some(base as u64)
        };
        let Some(unit) = &quantity.unit else {
            return Some(match (quantity.percent, whole && !digits.contains('.')) {
                (true, _) => Value::Percent(number / 100.0),
                (false, true) => Value::Int(number as i64),
                (false, false) => Value::Real(number),
            });
        };
        let value = match unit.value.as_str() {
            "tokens" | "token" => scaled(1.0).map(Value::Tokens),
            "ms" => scaled(1.0).map(Value::Time),
            "s" => scaled(1e3).map(Value::Time),
            "min" => scaled(6e4).map(Value::Time),
            "h" => scaled(3.6e6).map(Value::Time),
            "day" | "days" => scaled(8.64e7).map(Value::Time),
            "USD" => micro(number, 1e6).map(Value::Money),
            "KB" => scaled(1e3).map(Value::Memory),
            "MB" => scaled(1e6).map(Value::Memory),
            "GB" => scaled(1e9).map(Value::Memory),
            "TB" => scaled(1e12).map(Value::Memory),
            "KiB" => scaled(1024.0).map(Value::Memory),
            "MiB" => scaled(1_048_576.0).map(Value::Memory),
            "GiB" => scaled(1_073_741_824.0).map(Value::Memory),
            _ => scaled(1_099_511_627_776.0).map(Value::Memory),
        };
        if value.is_none() {
            self.error(CheckError::Fraction { span, unit: unit.value.clone() });
        }
        value
    }

    /// `2.50 USD per Mtok`, `300 per min`.
    fn rate(&mut self, quantity: &Quantity, number: f64, per: &str, span: Span) -> Option<Value> {
        let unit = quantity.unit.as_ref().map(|unit| unit.value.as_str());
        let each = match per {
            "s" => Some(1000),
            "min" => Some(60_000),
            "h" => Some(3_600_000),
            "day" => Some(86_400_000),
            _ => None,
        };
        let value = match (unit, per, each) {
            (Some("USD"), "Mtok", _) => micro(number, 1e6).map(Value::Price),
            (Some("USD"), "token" | "tokens", _) => micro(number, 1e12).map(Value::Price),
            (None, _, Some(each)) if number.fract() == 0.0 && number >= 1.0 && !quantity.percent => {
                Some(Value::Rate { count: number as u64, each })
            }
            _ => None,
        };
        if value.is_none() {
            self.error(CheckError::Fraction { span, unit: format!("this per {per}") });
        }
        value
    }
}

/// So many dollars in a base of which there are `factor` in one; `None` for a part of it. Decimal fractions are not exact.
fn micro(number: f64, factor: f64) -> Option<u64> {
    let whole = (number * factor).round();
    let is_whole = (number * factor - whole).abs() <= 1e-9 * whole.max(1.0);
    (is_whole && whole <= MOST).then_some(whole as u64)
}

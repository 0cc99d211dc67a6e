//! Turns the `budget` of an experiment into amounts.
//!
//! # Invariants
//! A budget pauses a run. It is in no key, and no result depends on it.

use super::error::CheckError;
use super::model::Budget;
use super::value::Value;
use super::{Checker, vocabulary};
use crate::base::Spanned;
use crate::base::units::{MicroUsd, Millis, TokenCount};
use crate::syntax::ast::{Block, Expr};

impl Checker<'_> {
    pub(super) fn budget(&mut self, block: &Block) -> Option<Budget> {
        let fields = self.fields(block, &vocabulary::BUDGET);
        let given = |name: &str| fields.value(name);
        if block.entries.is_empty() && !block.broken {
            self.error(CheckError::MissingField {
                span: block.span,
                name: "spend`, `wall` or `tokens",
                owner: &vocabulary::BUDGET,
            });
            return None;
        }
        let spend = given("spend").map(|value| self.budgeted(value, ("`spend`", "an amount of money", "USD"), money));
        let wall = given("wall").map(|value| self.budgeted(value, ("`wall`", "a time", "min"), time));
        let tokens =
            given("tokens").map(|value| self.budgeted(value, ("`tokens`", "a number of tokens", "tokens"), tokens));
        // What is left out bounds nothing; what is wrong has been told.
        Some(Budget {
            spend: spend.map_or(Some(None), |it| it.map(Some))?,
            wall: wall.map_or(Some(None), |it| it.map(Some))?,
            tokens: tokens.map_or(Some(None), |it| it.map(Some))?,
        })
    }

    fn budgeted<T>(
        &mut self,
        expr: &Expr,
        (of, wanted, unit): (&str, &'static str, &str),
        read: fn(&Value) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let (value, span, of) = (self.value(expr)?, expr.span, of.to_owned());
        if value.number() == Some(0.0) && read(&value).is_some() {
            let (low, high) = (0.0, f64::INFINITY);
            self.error(CheckError::Range { span, of, value: 0.0, low, high, declared: None });
            return None;
        }
        match (read(&value), value) {
            (Some(amount), _) => return Some(Spanned::new(amount, span)),
            (None, Value::Int(number)) => {
                self.error(CheckError::MissingUnit { span, of, unit: wanted, edit: format!("{number} {unit}") });
            }
            (None, other) => self.error(CheckError::Mismatch { span, found: other.words(), wanted, of }),
        }
        None
    }
}

fn money(value: &Value) -> Option<MicroUsd> {
    if let Value::Money(amount) = value { Some(MicroUsd(*amount)) } else { None }
}

fn time(value: &Value) -> Option<Millis> {
    if let Value::Time(amount) = value { Some(Millis(*amount)) } else { None }
}

fn tokens(value: &Value) -> Option<TokenCount> {
    if let Value::Tokens(amount) = value { Some(TokenCount(*amount)) } else { None }
}

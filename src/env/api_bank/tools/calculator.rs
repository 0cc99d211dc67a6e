//! A calculator with the original's slips, without its endless loop.
//!
//! The original replaces an operator and its neighbours in a list by their result, over and over. An operator that stands
//! first takes the last of the list for its left neighbour and stays where it is: that never ends. Here it is refused.

use super::check::{Pair, Verdict};
use super::{Call, Fault, Output, Tool};
use crate::env::api_bank::value::Value;

pub const TOOLS: &[Tool] = &[Tool::new("Calculator", calculate, check)];

#[derive(Clone, Copy, PartialEq)]
enum Item {
    Number(f64),
    Sign(char),
}

fn calculate(call: &mut Call) -> Output {
    let formula = call.text("formula", "replace")?.replace(' ', "");
    let count = |of: &[char]| formula.chars().filter(|c| of.contains(c)).count();
    let operators = count(&['+', '-', '*', '/']);
    let valid = !formula.is_empty()
        && formula.chars().all(|c| c.is_ascii_digit() || "+-*/()".contains(c))
        && count(&['(']) == count(&[')'])
        && operators > 0
        && operators + 1 != formula.len();
    if !valid {
        return Err("invalid formula".into());
    }
    value(&without_brackets(&items(&formula))?).map(Value::Float)
}

fn items(formula: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = formula;
    while let Some(first) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let length = if digits > 0 {
            items.push(Item::Number(rest[..digits].parse().expect("digits are a number")));
            digits
        } else {
            items.push(Item::Sign(first));
            1
        };
        rest = &rest[length..];
    }
    items
}

/// The first opening bracket goes with the first closing one: nested ones are an error, and so is one that closes first.
fn without_brackets(items: &[Item]) -> Result<Vec<Item>, Fault> {
    let mut out = Vec::new();
    let mut rest = items;
    while let Some(open) = rest.iter().position(|item| *item == Item::Sign('(')) {
        let close = rest.iter().position(|item| *item == Item::Sign(')')).ok_or("')' is not in list")?;
        let inside = rest.get(open + 1..close).unwrap_or_default();
        if inside.contains(&Item::Sign('(')) {
            return Err("')' is not in list".into());
        }
        out.extend_from_slice(&rest[..open]);
        out.push(Item::Number(value(inside)?));
        rest = &rest[close + 1..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

const OUT_OF_RANGE: &str = "list index out of range";

fn value(items: &[Item]) -> Result<f64, Fault> {
    let products = pass(items, ['*', '/'])?;
    match pass(&products, ['+', '-'])?.first() {
        Some(Item::Number(number)) => Ok(*number),
        Some(Item::Sign(_)) | None => Err(OUT_OF_RANGE.into()),
    }
}

/// Both operators from left to right.
fn pass(items: &[Item], operators: [char; 2]) -> Result<Vec<Item>, Fault> {
    let mut out: Vec<Item> = Vec::new();
    let mut at = 0;
    while let Some(&item) = items.get(at) {
        match item {
            Item::Sign(operator) if operators.contains(&operator) => {
                let right = *items.get(at + 1).ok_or(OUT_OF_RANGE)?;
                let Some(left) = out.pop() else {
                    operation(*items.last().expect("it has the operator"), operator, right)?;
                    return Err("invalid formula".into());
                };
                out.push(operation(left, operator, right)?);
                at += 2;
            }
            _ => {
                out.push(item);
                at += 1;
            }
        }
    }
    Ok(out)
}

fn operation(left: Item, operator: char, right: Item) -> Result<Item, Fault> {
    let kind = |item: Item| if matches!(item, Item::Number(_)) { "float" } else { "str" };
    if let (Item::Number(a), Item::Number(b)) = (left, right) {
        return match operator {
            '+' => Ok(Item::Number(a + b)),
            '-' => Ok(Item::Number(a - b)),
            '*' => Ok(Item::Number(a * b)),
            _ if b == 0.0 => Err("float division by zero".into()),
            _ => Ok(Item::Number(a / b)),
        };
    }
    let (a, b) = (kind(left), kind(right));
    match operator {
        '+' if a == "str" && b == "str" => Ok(left),
        '+' if a == "str" => Err(format!("can only concatenate str (not \"{b}\") to str").into()),
        '*' => {
            let other = if a == "str" { b } else { a };
            Err(format!("can't multiply sequence by non-int of type '{other}'").into())
        }
        _ => Err(format!("unsupported operand type(s) for {operator}: '{a}' and '{b}'").into()),
    }
}

fn check(pair: &Pair) -> Verdict {
    Ok(pair.alike("formula", |it| Ok::<_, ()>(it.replace(' ', "")))? && pair.result()?)
}

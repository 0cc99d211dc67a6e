//! Turns an expression and a row into a value.
//!
//! # Invariants
//! Strict: where any part has no value (a missing column, a division by zero, types that do not fit), the whole has none.
//! No value is a NaN or an infinity.

use super::{BinaryOp, CellValue, Column, Expr, Row};

pub(super) fn value(expr: &Expr, row: &Row) -> Option<CellValue> {
    match expr {
        Expr::Number(number) => finite(*number),
        Expr::Text(text) => Some(CellValue::Text(text.clone())),
        Expr::Bool(value) => Some(CellValue::Bool(*value)),
        Expr::Column(column) => cell(column, row),
        Expr::Not(inner) => match value(inner, row)? {
            CellValue::Bool(value) => Some(CellValue::Bool(!value)),
            _ => None,
        },
        Expr::Negate(inner) => match value(inner, row)? {
            CellValue::Number(number) => finite(-number),
            _ => None,
        },
        Expr::Binary { op, left, right } => binary(*op, value(left, row)?, value(right, row)?),
    }
}

pub(super) fn cell(column: &Column, row: &Row) -> Option<CellValue> {
    match (row.cells.get(column), column) {
        (Some(CellValue::Number(number)), _) => finite(*number),
        (Some(value), _) => Some(value.clone()),
        (None, Column::Iteration) => Some(CellValue::Number(f64::from(row.iteration))),
        (None, Column::Added) => Some(CellValue::Bool(false)),
        (None, _) => None,
    }
}

fn binary(op: BinaryOp, left: CellValue, right: CellValue) -> Option<CellValue> {
    use CellValue::{Bool, Number, Text};
    let truth = |value: bool| Some(Bool(value));
    match (op, left, right) {
        (BinaryOp::Or, Bool(a), Bool(b)) => truth(a || b),
        (BinaryOp::And, Bool(a), Bool(b)) => truth(a && b),
        (BinaryOp::Eq, Bool(a), Bool(b)) => truth(a == b),
        (BinaryOp::Eq, Text(a), Text(b)) => truth(a == b),
        (BinaryOp::Ne, Bool(a), Bool(b)) => truth(a != b),
        (BinaryOp::Ne, Text(a), Text(b)) => truth(a != b),
        (op, Number(a), Number(b)) => match op {
            BinaryOp::Or | BinaryOp::And => None,
            BinaryOp::Eq => truth(a == b),
            BinaryOp::Ne => truth(a != b),
            BinaryOp::Lt => truth(a < b),
            BinaryOp::Le => truth(a <= b),
            BinaryOp::Gt => truth(a > b),
            BinaryOp::Ge => truth(a >= b),
            BinaryOp::Add => finite(a + b),
            BinaryOp::Sub => finite(a - b),
            BinaryOp::Mul => finite(a * b),
            BinaryOp::Div => finite(a / b),
            BinaryOp::Min => finite(a.min(b)),
            BinaryOp::Max => finite(a.max(b)),
        },
        _ => None,
    }
}

fn finite(number: f64) -> Option<CellValue> {
    number.is_finite().then_some(CellValue::Number(number))
}

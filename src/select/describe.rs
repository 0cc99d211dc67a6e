//! Turns a stage back into the text that a file would hold: for the funnel and for people.

use super::{BinaryOp, CellValue, Column, Expr, Otherwise, Stage, Ties};
use std::fmt;

impl Stage {
    /// As the file would write it: `top 40% by score`.
    pub fn describe(&self) -> String {
        let per = |per_task: &bool| if *per_task { " per task" } else { "" };
        match self {
            Stage::Where { condition } => format!("where {condition}"),
            Stage::Top { share, per_task, by, ties } => {
                let ties = if *ties == Ties::Sample { " { ties = sample }" } else { "" };
                format!("top {}%{} by {by}{ties}", percent(*share), per(per_task))
            }
            Stage::Best { count, per_task, by } => format!("best {count}{} by {}", per(per_task), list(by)),
            Stage::Worst { count, per_task, by } => format!("worst {count}{} by {}", per(per_task), list(by)),
            Stage::Sample { count, per_task } => format!("sample {count}{}", per(per_task)),
            Stage::Dedup { by } => format!("dedup by {}", list(by)),
            Stage::CapRows { count } => format!("cap {count}"),
            Stage::CapTokens { tokens } => format!("cap {tokens} tokens"),
            Stage::Balance { by, max } => format!("balance by {by} max {max}"),
            Stage::Majority { by } => format!("majority by {}", list(by)),
            Stage::Add { dataset, cells } => {
                let cell = |(column, value): (&Column, &CellValue)| match value {
                    CellValue::Bool(value) => format!("{column} = {value}"),
                    CellValue::Number(value) => format!("{column} = {value}"),
                    CellValue::Text(value) => format!("{column} = {value:?}"),
                };
                let cells: Vec<String> = cells.iter().map(cell).collect();
                format!("add #{} {{ {} }}", dataset + 1, cells.join(", "))
            }
            Stage::Pair { by, margin } => {
                let margin = margin.map_or(String::new(), |margin| format!(" margin at least {margin}"));
                format!("pair best with worst per task by {}{margin}", list(by))
            }
            Stage::Truncate { side, to } => format!("truncate {} to {to}", side.as_str()),
            Stage::Weight { by } => format!("weight by {by}"),
            Stage::Require { count, otherwise } => {
                let otherwise = match otherwise {
                    Otherwise::Fail => "",
                    Otherwise::Stop => " else stop",
                    Otherwise::Skip => " else skip",
                };
                format!("require at least {count}{otherwise}")
            }
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Task(name) => write!(f, "task.{name}"),
            Column::Traj(name) => write!(f, "traj.{name}"),
            Column::Answer(name) => f.write_str(name),
            Column::Truth(name) => write!(f, "truth.{name}"),
            Column::Iteration => f.write_str("iteration"),
            Column::Added => f.write_str("added"),
            Column::Of(side, column) => write!(f, "{}.{column}", side.as_str()),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_expr(self, 0, f)
    }
}

impl BinaryOp {
    /// How it is written, and how tightly it binds.
    fn spelling(self) -> (&'static str, u8) {
        match self {
            BinaryOp::Or => ("or", 1),
            BinaryOp::And => ("and", 2),
            BinaryOp::Eq => ("==", 3),
            BinaryOp::Ne => ("!=", 3),
            BinaryOp::Lt => ("<", 3),
            BinaryOp::Le => ("<=", 3),
            BinaryOp::Gt => (">", 3),
            BinaryOp::Ge => (">=", 3),
            BinaryOp::Add => ("+", 4),
            BinaryOp::Sub => ("-", 4),
            BinaryOp::Mul => ("*", 5),
            BinaryOp::Div => ("/", 5),
            BinaryOp::Min => ("min", 7),
            BinaryOp::Max => ("max", 7),
        }
    }
}

/// In brackets where it binds less tightly than `above`.
fn write_expr(expr: &Expr, above: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const PREFIX: u8 = 6;
    match expr {
        Expr::Number(number) => write!(f, "{number}"),
        Expr::Text(text) => write!(f, "{text:?}"),
        Expr::Bool(value) => write!(f, "{value}"),
        Expr::Column(column) => write!(f, "{column}"),
        Expr::Not(inner) => {
            f.write_str("not ")?;
            write_expr(inner, PREFIX, f)
        }
        Expr::Negate(inner) => {
            f.write_str("-")?;
            write_expr(inner, PREFIX, f)
        }
        Expr::Binary { op: op @ (BinaryOp::Min | BinaryOp::Max), left, right } => {
            write!(f, "{}({left}, {right})", op.spelling().0)
        }
        Expr::Binary { op, left, right } => {
            let (word, binds) = op.spelling();
            let brackets = binds < above;
            if brackets {
                f.write_str("(")?;
            }
            write_expr(left, binds, f)?;
            write!(f, " {word} ")?;
            write_expr(right, binds + 1, f)?;
            if brackets {
                f.write_str(")")?;
            }
            Ok(())
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// A share in hundredths, without the noise of binary fractions: 0.07 is 7, not 7.000000000000001.
fn percent(share: f64) -> f64 {
    (share * 100.0 * 1e9).round() / 1e9
}

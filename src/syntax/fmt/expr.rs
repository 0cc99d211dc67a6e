//! How values, types and blocks of fields are written.

use super::layout::Break;
use super::writer::{Form, INDENT, Writer};
use crate::syntax::ast::*;

impl Writer<'_> {
    pub fn block(&mut self, block: &Block) {
        self.bracketed(Form::Block, &block.entries, Self::entry);
    }

    /// A block that may follow what is written.
    pub fn options(&mut self, block: Option<&Block>) {
        if let Some(block) = block {
            self.space();
            self.block(block);
        }
    }

    pub fn entry(&mut self, entry: &Entry) {
        self.token();
        match &entry.kind {
            EntryKind::Value(value) => {
                self.cell();
                self.words(&["="]);
                self.space();
                self.expr(value);
                self.row();
            }
            EntryKind::Block(block) => {
                self.cell();
                self.space();
                self.block(block);
                self.row();
            }
            EntryKind::Type(ty) => {
                self.due(":");
                self.space();
                self.type_expr(ty);
            }
            EntryKind::Broken => self.lost = true,
        }
    }

    pub fn expr(&mut self, expr: &Expr) {
        self.expr_in(expr, None);
    }

    /// `around`: how tightly the operator binds whose left operand this is.
    fn expr_in(&mut self, expr: &Expr, around: Option<u8>) {
        self.grouped(expr, self.last_of(expr.span), around);
    }

    /// Parentheses are not in the tree: an expression with them is one whose first and last token are partners.
    fn grouped(&mut self, expr: &Expr, last: usize, around: Option<u8>) {
        if self.brackets(last) {
            self.parenthesised(|this| this.grouped(expr, last - 1, None));
        } else {
            self.bare(expr, around);
        }
    }

    fn bare(&mut self, expr: &Expr, around: Option<u8>) {
        match &expr.kind {
            ExprKind::Quantity(quantity) => self.quantity(quantity),
            ExprKind::Text(_) | ExprKind::Template(_) | ExprKind::Bool(_) => self.token(),
            ExprKind::List(list) => self.bracketed(Form::List, list, Self::expr),
            ExprKind::Cases(cases) => self.bracketed(Form::Cases, cases, Self::case),
            ExprKind::Apply(apply) => self.apply(apply),
            ExprKind::Not(of) => {
                self.due("not");
                self.space();
                self.expr(of);
            }
            ExprKind::Negative(of) => {
                self.due("-");
                self.expr(of);
            }
            ExprKind::Binary { operator, left, right } => self.binary(operator.value, left, right, around),
            ExprKind::Known { of, negated } => {
                self.expr(of);
                self.words(if *negated { &["is", "not", "known"] } else { &["is", "known"] });
            }
            ExprKind::Stalls { of, times, margin, since } => {
                self.expr(of);
                self.words(&["stalls"]);
                self.space();
                self.expr(times);
                if let Some(margin) = margin {
                    self.words(&["by"]);
                    self.space();
                    self.expr(margin);
                }
                if since.is_some() {
                    self.words(&["since"]);
                    self.space();
                    self.token();
                }
            }
            ExprKind::By { of, by: _ } => {
                self.expr(of);
                self.words(&["by"]);
                self.space();
                self.token();
            }
            ExprKind::Marked { of, mark: _ } => {
                self.expr(of);
                self.space();
                self.token();
            }
            ExprKind::Broken => self.lost = true,
        }
    }

    /// A chain of operators that bind alike breaks before each of them, or nowhere.
    fn binary(&mut self, operator: Operator, left: &Expr, right: &Expr, around: Option<u8>) {
        let strength = strength(operator);
        if operator == Operator::Range {
            self.expr(left);
            self.due("..");
            self.expr(right);
            return;
        }
        let begins = around != Some(strength);
        if begins {
            self.begin(false);
            self.indent(INDENT);
        }
        self.expr_in(left, Some(strength));
        self.line(Break { space: true, ..Break::default() });
        self.due(operator.as_str());
        self.space();
        self.expr(right);
        if begins {
            self.dedent(INDENT);
            self.end();
        }
    }

    fn quantity(&mut self, quantity: &Quantity) {
        let Quantity { digits: _, percent: _, unit, per } = quantity;
        self.token();
        if unit.is_some() {
            self.space();
            self.token();
        }
        if per.is_some() {
            self.words(&["per"]);
            self.space();
            self.token();
        }
    }

    fn case(&mut self, case: &Case) {
        match &case.when {
            Some(when) => self.expr(when),
            None => self.due("_"),
        }
        self.words(&["=>"]);
        self.space();
        self.expr(&case.value);
    }

    fn apply(&mut self, apply: &Apply) {
        let Apply { path: _, version, arguments, block } = apply;
        self.token();
        self.version(version.as_ref());
        match (version, arguments) {
            // `x@best(a)` would be a version with an argument: what is not one has lines.
            (Some(_), Some(arguments)) => self.bracketed_in(Form::List, arguments, true, Self::argument),
            _ => self.arguments(arguments.as_deref()),
        }
        self.options(block.as_ref());
    }

    pub fn arguments(&mut self, arguments: Option<&[Argument]>) {
        if let Some(arguments) = arguments {
            self.bracketed(Form::List, arguments, Self::argument);
        }
    }

    fn argument(&mut self, argument: &Argument) {
        if argument.name.is_some() {
            self.token();
            self.words(&["="]);
            self.space();
        }
        self.expr(&argument.value);
    }

    pub fn version(&mut self, version: Option<&Version>) {
        let Some(version) = version else { return };
        self.token();
        if let VersionKind::Word { word: _, argument: Some(_) } = &version.kind {
            self.due("(");
            self.token();
            self.due(")");
        }
    }

    pub fn slot(&mut self, slot: &Slot) {
        self.token();
        self.version(slot.version.as_ref());
    }

    /// Paths or names on one line.
    pub fn names<T>(&mut self, names: &[T]) {
        for at in 0..names.len() {
            if at > 0 {
                self.comma();
                self.space();
            }
            self.token();
        }
    }

    pub fn type_expr(&mut self, ty: &Type) {
        let Type { span: _, name, within, limit, by, visible } = ty;
        self.type_name(name);
        for (word, value) in [("in", within), ("<=", limit)] {
            if let Some(value) = value {
                self.words(&[word]);
                self.space();
                self.expr(value);
            }
        }
        if by.is_some() {
            self.words(&["by"]);
            self.space();
            self.token();
        }
        if let Some(audiences) = visible {
            self.words(&["visible", "to"]);
            self.space();
            self.names(audiences);
        }
    }

    fn type_name(&mut self, name: &TypeName) {
        self.token();
        if let Some(of) = &name.of {
            self.due("<");
            self.type_name(of);
            self.due(">");
        }
        if name.optional {
            self.due("?");
        }
    }
}

/// Higher binds tighter.
fn strength(operator: Operator) -> u8 {
    match operator {
        Operator::Or => 0,
        Operator::And => 1,
        Operator::Equal
        | Operator::Unequal
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::Greater
        | Operator::GreaterOrEqual
        | Operator::In => 2,
        Operator::Range => 3,
        Operator::Add | Operator::Subtract => 4,
        Operator::Multiply | Operator::Divide => 5,
    }
}

//! Walks over a tree and gives a [`Visitor`] every place and every path in it: what shifts the places of an imported file,
//! and what resolves the names of one.
//!
//! # Invariants
//! Every field of every node is listed here: a new one does not compile until someone has said what is in it.

use super::ast::*;
use crate::base::{Span, Spanned};

pub trait Visitor {
    fn span(&mut self, _span: &mut Span) {}
    /// A path that may name a declaration. Not those of templates: they begin with a prompt's parameters.
    fn path(&mut self, _path: &mut Path) {}
}

pub trait Walk {
    fn walk(&mut self, visitor: &mut dyn Visitor);
}

impl Walk for Span {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        visitor.span(self);
    }
}

impl<T: Walk> Walk for Vec<T> {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        self.iter_mut().for_each(|part| part.walk(visitor));
    }
}

impl<T: Walk> Walk for Option<T> {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        self.iter_mut().for_each(|part| part.walk(visitor));
    }
}

impl<T: Walk> Walk for Box<T> {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        (**self).walk(visitor);
    }
}

impl<T: Walk, U: Walk> Walk for (T, U) {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        self.0.walk(visitor);
        self.1.walk(visitor);
    }
}

impl<T: Walk> Walk for Spanned<T> {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        let Spanned { value, span } = self;
        value.walk(visitor);
        span.walk(visitor);
    }
}

impl Path {
    /// Its places alone.
    fn places(&mut self, visitor: &mut dyn Visitor) {
        let Path { span, parts } = self;
        span.walk(visitor);
        parts.walk(visitor);
    }
}

impl Walk for Path {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        visitor.path(self);
        self.places(visitor);
    }
}

impl Walk for Piece {
    fn walk(&mut self, visitor: &mut dyn Visitor) {
        match self {
            Piece::Text(_) => {}
            Piece::Value { span, path, filters } => {
                span.walk(visitor);
                path.places(visitor);
                filters.walk(visitor);
            }
            Piece::For { span, name, list, body } => {
                span.walk(visitor);
                name.walk(visitor);
                list.places(visitor);
                body.walk(visitor);
            }
            Piece::If { span, path, negated: _, body } => {
                span.walk(visitor);
                path.places(visitor);
                body.walk(visitor);
            }
        }
    }
}

macro_rules! leaves {
    ($($name:ty),* $(,)?) => {$(
        impl Walk for $name {
            fn walk(&mut self, _: &mut dyn Visitor) {}
        }
    )*};
}

macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Walk for $name {
            fn walk(&mut self, visitor: &mut dyn Visitor) {
                let $name { $($field),* } = self;
                $($field.walk(visitor);)*
            }
        }
    )*};
}

macro_rules! enums {
    ($($name:ident { $($variant:ident $(($($part:ident),*))? $({ $($field:ident),* })?),* })*) => {$(
        impl Walk for $name {
            fn walk(&mut self, visitor: &mut dyn Visitor) {
                match self {
                    $($name::$variant $(($($part),*))? $({ $($field),* })? => {
                        $($($part.walk(visitor);)*)?
                        $($($field.walk(visitor);)*)?
                    })*
                }
                // A node without parts leaves it unused.
                let _ = visitor;
            }
        }
    )*};
}

leaves!(String, bool, u32, CommentKind, Declared, ItemWord, Operator);

structs! {
    File { begin, items, comments, doc, cut, sound }
    Comment { span, kind }
    Item { span, doc, unreliable, kind }
    Block { span, entries, broken }
    Entry { span, key, kind }
    Version { span, kind }
    Slot { span, path, version }
    Expr { span, kind }
    Apply { path, version, arguments, block }
    Argument { name, value }
    Case { when, value }
    Quantity { digits, percent, unit, per }
    Type { span, name, within, limit, by, visible }
    TypeName { span, path, of, optional }
    Parameter { name, ty }
    Prompt { name, parameters, messages, body, broken }
    PromptMessage { role, template }
    Template { span, pieces, broken }
    Filter { name, arguments }
    Rule { name, parameters, stages }
    Stage { span, kind }
    Experiment { name, body, schedules, reports }
    Statements { span, list, broken }
    Statement { span, name, kind }
    Train { model, on, mixed, through, with, from, reference }
    Mixed { share, dataset }
    Repeat { times, index, body, until }
    Report { span, lines, broken }
    ReportLine { span, form, series, by }
    Matrix { name, of, axes, broken }
}

enums! {
    ItemKind {
        Edition { year, unstable }, Import { path, names }, Param { name, ty, default }, Let { name, value },
        Declaration { kind, name, body }, Prompt(prompt), Rule(rule), Experiment(experiment), Matrix(matrix),
        Broken { declares, word }
    }
    Imported { As(name), Names(names) }
    EntryKind { Value(value), Block(block), Type(ty), Broken }
    VersionKind { Number(number), Word { word, argument } }
    ExprKind {
        Quantity(quantity), Text(text), Template(template), Bool(value), List(items), Cases(cases), Apply(apply), Not(of),
        Negative(of), Binary { operator, left, right }, Known { of, negated }, Stalls { of, times, margin, since },
        By { of, by }, Marked { of, mark }, Broken
    }
    StageKind {
        Where(condition), Top { share, per_task, by, options }, Best { count, per_task, by }, Worst { count, per_task, by },
        Sample { count, per_task }, Dedup { by }, Majority { by }, Cap { count, tokens }, Balance { by, max }, Add { dataset, options },
        Pair { by, margin }, Truncate { field, to }, Weight(by), Require { at_least, otherwise }, Broken
    }
    StatementKind {
        Rollout { model, split, options }, Judge { rows, critic, options }, Select { rows, rule, arguments },
        Audit { rows, against }, Calibrate { critic, dataset }, Train(train), Evaluate { model, split, options },
        Repeat(repeat), Pick { model, by, including }, Broken { declares }
    }
    MatrixPart { Axis { path, values }, Zip(axes), Except(block) }
}

/// Every place moves by as many bytes: a file that stands behind others in one address space.
pub fn shift(file: &mut File, by: u32) {
    struct Shift(u32);
    impl Visitor for Shift {
        fn span(&mut self, span: &mut Span) {
            *span = span.shifted(self.0);
        }
    }
    if by > 0 {
        file.walk(&mut Shift(by));
    }
}

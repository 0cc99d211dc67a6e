//! Blocks of fields, and the values in them.

use super::{Builder, Parts, Rule, inside, span, trimmed};
use crate::base::{Span, Spanned};
use crate::syntax::ast::*;
use crate::syntax::error::SyntaxError;
use crate::syntax::similar::similar;
use crate::syntax::words::Class;
use pest::iterators::Pair;
use pest::pratt_parser::{Assoc, Op, PrattParser};
use std::sync::LazyLock;

/// Operators in one expression. Their tree is as deep as they are many.
const MOST_OPERATORS: usize = 200;

/// Weakest first.
static PRECEDENCE: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    let left = |rule| Op::infix(rule, Assoc::Left);
    PrattParser::new()
        .op(left(Rule::or))
        .op(left(Rule::and))
        .op(Op::prefix(Rule::not))
        .op(left(Rule::compare))
        .op(Op::postfix(Rule::known) | Op::postfix(Rule::stalls))
        .op(left(Rule::range))
        .op(left(Rule::add) | left(Rule::subtract))
        .op(left(Rule::multiply) | left(Rule::divide))
        .op(Op::prefix(Rule::negative))
});

impl Builder<'_> {
    pub(super) fn block(&mut self, pair: Pair<Rule>) -> Block {
        let mut block = Block { span: span(&pair), entries: Vec::new(), broken: false };
        for part in pair.into_inner() {
            self.entry(part, &mut block);
        }
        block
    }

    /// One part of a block: a field, or something that is none.
    pub(super) fn entry(&mut self, part: Pair<Rule>, block: &mut Block) {
        match part.as_rule() {
            Rule::field => {
                let entry = self.field(part);
                if let Some(before) = block.entries.last() {
                    self.separated(before.span, entry.span);
                }
                block.broken |= matches!(entry.kind, EntryKind::Broken);
                block.entries.push(entry);
            }
            Rule::unclosed => block.broken = true,
            _ => {
                let region = trimmed(&part);
                // `lr =` has told its name: it is not missing.
                let key = self.key_of_broken(region);
                if let Some(before) = self.decimal_comma(region, block) {
                    before.kind = EntryKind::Broken;
                } else {
                    self.broken(Rule::only_field, region);
                    block.broken |= key.is_none();
                }
                block.entries.extend(key.map(|name| {
                    let key = Path { span: name.span, parts: vec![name] };
                    Entry { span: region, key, kind: EntryKind::Broken }
                }));
            }
        }
    }

    /// The name at the start of a field that cannot be read; `let lr = 3` gives `lr`.
    fn key_of_broken(&self, region: Span) -> Option<Name> {
        let text = self.text[region.range()].trim_start_matches(['-', '"', ' ']);
        let lead = self.text[region.range()].len() - text.len();
        let foreign = |word: &Name| matches!(word.value.as_str(), "let" | "var" | "const" | "mut");
        let mut words = super::words(self.text, region).into_iter();
        let first = words.next()?;
        if first.span.start as usize != region.start as usize + lead {
            return None;
        }
        let name = if foreign(&first) { words.find(|word| !foreign(word))? } else { first };
        (!name.value.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
    }

    /// `lr = 0,001`: the field before, if a decimal comma has cut its number in two.
    fn decimal_comma<'b>(&mut self, region: Span, block: &'b mut Block) -> Option<&'b mut Entry> {
        let before = block.entries.last_mut()?;
        let whole = match &before.kind {
            EntryKind::Value(Expr { kind: ExprKind::Quantity(quantity), .. }) => quantity.digits.span,
            _ => return None,
        };
        let text = &self.text[region.range()];
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 || whole.end + 1 != region.start || !self.text[whole.end as usize..].starts_with(',') {
            return None;
        }
        let span = Span { start: whole.end, end: region.start };
        self.error(SyntaxError::Advised {
            span,
            message: "a number has a decimal point, not a comma".to_owned(),
            label: "found here".to_owned(),
            help: "write `.`; a comma begins the next field".to_owned(),
            edit: Some((span, ".".to_owned())),
        });
        Some(before)
    }

    /// Two neighbours need a comma or a line's end between them.
    pub(super) fn separated(&mut self, before: Span, after: Span) {
        let between = &self.text[before.end.min(after.start) as usize..after.start as usize];
        // After a bracket that was put where it was due, the line's end stands only in what the grammar has read.
        if !between.contains([',', '\n']) && !self.text[..before.end as usize].ends_with([' ', '\n', '\r']) {
            self.error(SyntaxError::MissingComma { span: after, after: before });
        }
    }

    fn field(&mut self, pair: Pair<Rule>) -> Entry {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let key = parts.due();
        let key = self.path(key);
        let next = parts.due();
        let kind = match next.as_rule() {
            Rule::assign => {
                let value = parts.due();
                EntryKind::Value(self.value(value))
            }
            Rule::lost_assign => {
                let value = parts.due();
                self.error(SyntaxError::Advised {
                    span: Span { end: value.as_span().start() as u32 + 1, ..span(&value) },
                    message: "`=` is missing before the cases".to_owned(),
                    label: "begin here".to_owned(),
                    help: "write `= { … }`".to_owned(),
                    edit: Some((Span { end: span(&value).start, ..span(&value) }, "= ".to_owned())),
                });
                self.value(value);
                EntryKind::Broken
            }
            Rule::colon => {
                let ty = parts.due();
                EntryKind::Type(Box::new(self.type_expr(ty)))
            }
            _ => EntryKind::Block(self.block(next)),
        };
        let Some(tail) = parts.take(Rule::tail) else {
            return Entry { span: place, key, kind };
        };
        self.tail(&kind, trimmed(&tail), place);
        Entry { span: place, key, kind: EntryKind::Broken }
    }

    /// Something stands behind a complete field.
    fn tail(&mut self, kind: &EntryKind, tail: Span, field: Span) {
        // A number that could not be read has been told.
        let told = matches!(kind, EntryKind::Value(Expr { kind: ExprKind::Broken, .. }));
        if !told {
            self.broken_tail(Rule::only_field, field, tail);
        }
    }

    fn near_units(&self, unit: &str) -> Vec<String> {
        let spelled = match unit {
            "sec" | "secs" | "second" | "seconds" => "s",
            "minute" | "minutes" | "mins" => "min",
            "hour" | "hours" | "hr" | "hrs" => "h",
            "tok" | "toks" => "tokens",
            "usd" | "dollar" | "dollars" => "USD",
            _ => return similar(unit, Class::Unit.names()),
        };
        vec![spelled.to_owned()]
    }

    fn value(&mut self, pair: Pair<Rule>) -> Expr {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let mut value = self.expr(parts.due());
        if let Some(by) = parts.take(Rule::value_by) {
            let by = self.name(Parts::of(by).due());
            value = Expr { span: place, kind: ExprKind::By { of: Box::new(value), by } };
        }
        if let Some(mark) = parts.take(Rule::mark) {
            let mark = self.name(mark);
            value = Expr { span: place, kind: ExprKind::Marked { of: Box::new(value), mark } };
        }
        value
    }

    pub(super) fn expr(&mut self, pair: Pair<Rule>) -> Expr {
        let place = span(&pair);
        let operators = pair.clone().into_inner().filter(|part| is_operator(part.as_rule())).count();
        if operators > MOST_OPERATORS {
            let span = Span { end: place.start + 1, ..place };
            self.error(SyntaxError::TooLong { span, most: MOST_OPERATORS });
            return Expr { span: place, kind: ExprKind::Broken };
        }
        let this = std::cell::RefCell::new(self);
        PRECEDENCE
            .map_primary(|pair| this.borrow_mut().primary(pair))
            .map_prefix(|operator, value| {
                let span = span(&operator).to(value.span);
                let kind = match operator.as_rule() {
                    Rule::not => ExprKind::Not(Box::new(value)),
                    _ => ExprKind::Negative(Box::new(value)),
                };
                Expr { span, kind }
            })
            .map_postfix(|value, operator| this.borrow_mut().postfix(value, operator))
            .map_infix(|left, operator, right| {
                let span_of = span(&operator);
                let operator = Spanned::new(operator_of(&operator), span_of);
                let span = left.span.to(right.span);
                Expr { span, kind: ExprKind::Binary { operator, left: Box::new(left), right: Box::new(right) } }
            })
            .parse(pair.into_inner())
    }

    fn postfix(&mut self, of: Expr, operator: Pair<Rule>) -> Expr {
        let place = of.span.to(span(&operator));
        let rule = operator.as_rule();
        let mut parts = Parts::of(operator);
        let kind = if rule == Rule::known {
            ExprKind::Known { of: Box::new(of), negated: parts.has(Rule::absent) }
        } else {
            let times = parts.due();
            let times = Box::new(self.amount(times));
            let margin = parts.take(Rule::stalls_by).map(|by| Box::new(self.amount(Parts::of(by).due())));
            let since = parts.take(Rule::stalls_since).map(|since| self.path(Parts::of(since).due()));
            ExprKind::Stalls { of: Box::new(of), times, margin, since }
        };
        Expr { span: place, kind }
    }

    fn primary(&mut self, pair: Pair<Rule>) -> Expr {
        let place = span(&pair);
        let kind = match pair.as_rule() {
            Rule::quantity => self.quantity(Parts::of(pair)),
            Rule::string => match self.string(pair) {
                Some(text) => ExprKind::Text(text),
                None => ExprKind::Broken,
            },
            Rule::template => ExprKind::Template(self.template(pair)),
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::list => ExprKind::List(inside(pair).map(|item| self.expr(item)).collect()),
            Rule::cases => ExprKind::Cases(inside(pair).map(|case| self.case(case)).collect()),
            Rule::group => return Expr { span: place, ..self.expr(Parts::of(pair).due()) },
            _ => ExprKind::Apply(self.apply(pair)),
        };
        Expr { span: place, kind }
    }

    fn case(&mut self, pair: Pair<Rule>) -> Case {
        let mut parts = Parts::of(pair);
        let when = parts.due();
        let when = (when.as_rule() != Rule::otherwise).then(|| self.expr(when));
        parts.has(Rule::arrow);
        let value = parts.due();
        Case { when, value: self.expr(value) }
    }

    fn apply(&mut self, pair: Pair<Rule>) -> Apply {
        let mut parts = Parts::of(pair);
        let path = parts.due();
        let path = self.path(path);
        let version = parts.take(Rule::version).map(|version| self.version(version));
        let arguments = parts.take(Rule::arguments).map(|list| self.arguments(list));
        let block = parts.take(Rule::block).map(|block| self.block(block));
        Apply { path, version, arguments, block }
    }

    pub(super) fn arguments(&mut self, list: Pair<Rule>) -> Vec<Argument> {
        let one = |argument: Pair<Rule>| {
            let mut parts = Parts::of(argument);
            let name = parts.take(Rule::ident).map(|name| self.name(name));
            let value = parts.due();
            Argument { name, value: self.expr(value) }
        };
        inside(list).map(one).collect()
    }

    /// A number, a name or something in parentheses: what a stage or a clause counts with.
    pub(super) fn amount(&mut self, pair: Pair<Rule>) -> Expr {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let first = parts.0.peek().map(Pair::as_rule);
        let kind = match first {
            Some(Rule::number) => self.quantity(parts),
            Some(Rule::group) => return Expr { span: place, ..self.expr(Parts::of(parts.due()).due()) },
            _ => {
                let Slot { path, version, .. } = self.slot(parts.due());
                let arguments = parts.take(Rule::arguments).map(|list| self.arguments(list));
                ExprKind::Apply(Apply { path, version, arguments, block: None })
            }
        };
        Expr { span: place, kind }
    }

    /// A number and its unit; `Broken` where one of them is none.
    fn quantity(&mut self, mut parts: Parts) -> ExprKind {
        let number = parts.due();
        let written = number.as_str();
        let digits = Spanned::new(written.replace('_', ""), span(&number));
        let errors = self.errors.len();
        if written.ends_with('_') || written.contains("__") || written.contains("_.") {
            let help = "write `_` only between two digits: `1_000`".to_owned();
            self.error(SyntaxError::BadNumber { span: digits.span, why: "a `_` too many", help, edit: None });
        } else if written.starts_with('0') && written[1..].starts_with(|c: char| c.is_ascii_digit()) {
            let decimal = written.trim_start_matches('0');
            let help = format!("write `{decimal}`");
            let edit = Some(decimal.to_owned());
            self.error(SyntaxError::BadNumber { span: digits.span, why: "begins with a `0`", help, edit });
        }
        let mut quantity = Quantity { digits, percent: parts.has(Rule::percent), unit: None, per: None };
        if let Some(glued) = parts.take(Rule::glued) {
            self.glued(&quantity, &glued);
        }
        if let Some(word) = parts.take(Rule::no_unit) {
            self.no_unit(&quantity, &word);
        }
        if let Some(unit) = parts.take(Rule::unit) {
            quantity.unit = Some(self.name(unit));
        }
        if let Some(per) = parts.take(Rule::per) {
            let per = self.name(Parts::of(per).due());
            if !Class::Period.has(&per.value) {
                let (class, unit) = (Class::Period, per.value);
                let near = similar(&unit, class.names());
                self.error(SyntaxError::UnknownUnit { span: per.span, class, unit, near });
            } else {
                quantity.per = Some(per);
            }
        }
        if self.errors.len() > errors { ExprKind::Broken } else { ExprKind::Quantity(quantity) }
    }

    /// `300 toks`: a word where a unit may stand.
    fn no_unit(&mut self, quantity: &Quantity, word: &Pair<Rule>) {
        let (class, unit, span) = (Class::Unit, word.as_str().to_owned(), span(word));
        if unit == "percent" {
            let written = format!("{}%", quantity.digits.value);
            self.error(SyntaxError::Advised {
                span,
                message: "a percentage is written with `%`".to_owned(),
                label: "found here".to_owned(),
                help: format!("write `{written}`"),
                edit: Some((quantity.digits.span.to(span), written)),
            });
            return;
        }
        let near = self.near_units(&unit);
        self.error(SyntaxError::UnknownUnit { span, class, unit, near });
    }

    /// `512tokens` and `4k`: letters stuck to a number.
    fn glued(&mut self, quantity: &Quantity, glued: &Pair<Rule>) {
        let (digits, letters) = (&quantity.digits.value, glued.as_str());
        let span = quantity.digits.span.to(span(glued));
        if let Some(minus) = letters.find('\u{2212}') {
            let at = span.end as usize - letters.len() + minus;
            let place = Span::new(at, at + '\u{2212}'.len_utf8());
            self.error(SyntaxError::Advised {
                span: place,
                message: "`\u{2212}`, U+2212, is not of this language".to_owned(),
                label: "found here".to_owned(),
                help: "write `-`".to_owned(),
                edit: Some((place, "-".to_owned())),
            });
            return;
        }
        let (why, help, edit) = if Class::Unit.has(letters) || letters == "per" {
            let spaced = format!("{digits} {letters}");
            ("a number and its unit stand apart", format!("write `{spaced}`"), Some(spaced))
        } else if let Some((thousands, binary)) = thousands(digits, letters) {
            ("is this a power of ten or of two?", format!("write `{thousands}` or `{binary}`"), None)
        } else if letters.ends_with(['-', '+']) {
            ("the exponent is missing", format!("write its digits: `{digits}{letters}3`"), None)
        } else if digits == "0" && letters.starts_with(['x', 'b', 'o']) {
            ("numbers are decimal", "write it with the digits 0 to 9".to_owned(), None)
        } else {
            ("letters in a number", "a unit stands behind the number, after a space: `512 tokens`".to_owned(), None)
        };
        self.error(SyntaxError::BadNumber { span, why, help, edit });
    }

    /// `None`: it holds something that is no escape.
    pub(super) fn string(&mut self, pair: Pair<Rule>) -> Option<String> {
        let inner = Parts::of(pair).due();
        let start = span(&inner).start as usize;
        let text = inner.as_str();
        let mut value = String::with_capacity(text.len());
        let mut sound = true;
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            value.push_str(&rest[..at]);
            let escape = &rest[at..];
            let (read, length) = unescape(escape);
            match read {
                Some(character) => value.push(character),
                None => {
                    sound = false;
                    let from = start + (text.len() - escape.len());
                    let span = Span::new(from, from + length);
                    let escape = escape[..length].to_owned();
                    self.error(SyntaxError::BadEscape { span, escape });
                }
            }
            rest = &escape[length..];
        }
        value.push_str(rest);
        sound.then_some(value)
    }
}

/// The character an escape stands for, and how many bytes it takes.
fn unescape(escape: &str) -> (Option<char>, usize) {
    let Some(letter) = escape[1..].chars().next() else { return (None, 1) };
    let plain = match letter {
        'n' => Some('\n'),
        't' => Some('\t'),
        '"' => Some('"'),
        '\\' => Some('\\'),
        'u' => {
            let Some(close) = escape.find('}').filter(|close| escape[2..].starts_with('{') && *close <= 10) else {
                return (None, 2);
            };
            let code = u32::from_str_radix(&escape[3..close], 16).ok();
            return (code.and_then(char::from_u32), close + 1);
        }
        _ => None,
    };
    (plain, 1 + letter.len_utf8())
}

/// What `4k` may mean.
fn thousands(digits: &str, letters: &str) -> Option<(u64, u64)> {
    let power = match letters {
        "k" | "K" => 1,
        "m" | "M" => 2,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    Some((number.checked_mul(1000_u64.pow(power))?, number.checked_mul(1024_u64.pow(power))?))
}

fn is_operator(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::or
            | Rule::and
            | Rule::compare
            | Rule::range
            | Rule::add
            | Rule::subtract
            | Rule::multiply
            | Rule::divide
            | Rule::known
            | Rule::stalls
    )
}

fn operator_of(pair: &Pair<Rule>) -> Operator {
    match (pair.as_rule(), pair.as_str()) {
        (Rule::or, _) => Operator::Or,
        (Rule::and, _) => Operator::And,
        (Rule::range, _) => Operator::Range,
        (Rule::add, _) => Operator::Add,
        (Rule::subtract, _) => Operator::Subtract,
        (Rule::multiply, _) => Operator::Multiply,
        (Rule::divide, _) => Operator::Divide,
        (_, "==") => Operator::Equal,
        (_, "!=") => Operator::Unequal,
        (_, "<") => Operator::Less,
        (_, "<=") => Operator::LessOrEqual,
        (_, ">") => Operator::Greater,
        (_, ">=") => Operator::GreaterOrEqual,
        _ => Operator::In,
    }
}

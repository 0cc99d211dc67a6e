//! Rules' stages, experiments with their schedules and reports, and matrices.

use super::{Builder, Parts, Rule, let_names, near, span, trimmed, words};
use crate::base::Span;
use crate::syntax::ast::*;
use crate::syntax::error::SyntaxError;
use crate::syntax::words::Class;
use pest::iterators::Pair;

impl Builder<'_> {
    /// A stage, or what is wrong with the `|` before it.
    pub(super) fn joined_stage(&mut self, pair: Pair<Rule>) -> Option<Stage> {
        let place = trimmed(&pair);
        let at = Span { end: place.start, ..place };
        match pair.as_rule() {
            Rule::lost_pipe => {
                let word = words(self.text, Span { end: self.line_end(at.start), ..at }).swap_remove(0);
                self.error(SyntaxError::Advised {
                    span: word.span,
                    message: format!("`|` is missing before `{}`", word.value),
                    label: "a stage begins here".to_owned(),
                    help: "stages are joined by `|`".to_owned(),
                    edit: Some((at, "| ".to_owned())),
                });
                None
            }
            Rule::extra_pipe => {
                self.error(SyntaxError::Advised {
                    span: place,
                    message: "a `|` too many".to_owned(),
                    label: "no stage stands before this".to_owned(),
                    help: "one `|` joins two stages".to_owned(),
                    edit: Some((place, String::new())),
                });
                None
            }
            Rule::no_stage => {
                let end = self.text[..place.start as usize].trim_end().rfind('|').unwrap_or(0);
                let span = Span::new(end, end + 1);
                if !self.is_blamed(span) {
                    self.error(SyntaxError::Advised {
                        span,
                        message: "a stage is missing after `|`".to_owned(),
                        label: "nothing follows".to_owned(),
                        help: "write the stage, or leave this `|` out".to_owned(),
                        edit: None,
                    });
                }
                Some(Stage { span, kind: StageKind::Broken })
            }
            _ => Some(self.stage(pair)),
        }
    }

    fn line_end(&self, at: u32) -> u32 {
        let at = at as usize;
        (at + self.text[at..].find('\n').unwrap_or(self.text.len() - at)) as u32
    }

    pub(super) fn stage(&mut self, pair: Pair<Rule>) -> Stage {
        let place = trimmed(&pair);
        if pair.as_rule() == Rule::broken_stage {
            match self.unknown_word(place, Class::Stage) {
                Some((span, word, near)) => self.error(SyntaxError::UnknownStage { span, word, near }),
                None => self.broken(Rule::only_stage, place),
            }
            return Stage { span: place, kind: StageKind::Broken };
        }
        let mut parts = Parts::of(pair);
        let stage = parts.due();
        if let Some(tail) = parts.take(Rule::stage_tail) {
            self.broken_tail(Rule::only_stage, place, trimmed(&tail));
            return Stage { span: place, kind: StageKind::Broken };
        }
        let rule = stage.as_rule();
        let mut parts = Parts::of(stage);
        let kind = match rule {
            Rule::where_stage => StageKind::Where(self.expr(parts.due())),
            Rule::weight => StageKind::Weight(self.expr(parts.due())),
            Rule::top => {
                let share = self.amount(parts.due());
                let per_task = parts.has(Rule::per_task);
                let by = self.paths(parts.due());
                let options = parts.next().map(|block| self.block(block));
                StageKind::Top { share, per_task, by, options }
            }
            Rule::best | Rule::worst => {
                let count = self.amount(parts.due());
                let per_task = parts.has(Rule::per_task);
                let by = self.paths(parts.due());
                match rule {
                    Rule::best => StageKind::Best { count, per_task, by },
                    _ => StageKind::Worst { count, per_task, by },
                }
            }
            Rule::sample => {
                let count = self.amount(parts.due());
                StageKind::Sample { count, per_task: parts.has(Rule::per_task) }
            }
            Rule::dedup => StageKind::Dedup { by: self.paths(parts.due()) },
            Rule::majority => StageKind::Majority { by: self.paths(parts.due()) },
            Rule::cap => {
                let count = self.amount(parts.due());
                StageKind::Cap { count, tokens: parts.has(Rule::cap_tokens) }
            }
            Rule::balance => {
                let by = self.paths(parts.due());
                let max = Parts::of(parts.due()).due();
                StageKind::Balance { by, max: self.amount(max) }
            }
            Rule::add_data => {
                let dataset = self.path(parts.due());
                StageKind::Add { dataset, options: parts.next().map(|block| self.block(block)) }
            }
            Rule::pair => {
                parts.has(Rule::per_task);
                let by = self.paths(parts.due());
                let margin = parts.next().map(|margin| self.amount(Parts::of(margin).due()));
                StageKind::Pair { by, margin }
            }
            Rule::truncate => {
                let field = self.path(parts.due());
                StageKind::Truncate { field, to: self.expr(parts.due()) }
            }
            _ => {
                let at_least = Parts::of(parts.due()).due();
                let at_least = self.amount(at_least);
                let otherwise = parts.next().map(|word| self.name(Parts::of(word).due()));
                StageKind::Require { at_least, otherwise }
            }
        };
        Stage { span: place, kind }
    }

    /// The first word of a region, if it is none of `class`, and what it may have meant.
    fn unknown_word(&self, region: Span, class: Class) -> Option<(Span, String, Vec<String>)> {
        let first = words(self.text, region).into_iter().next().filter(|word| word.span.start == region.start)?;
        if class.has(&first.value) || self.is_blamed(region) {
            return None;
        }
        let near = near(class, &first.value);
        Some((first.span, first.value, near))
    }

    pub(super) fn experiment(&mut self, name: Name, pair: Pair<Rule>) -> Experiment {
        let body = Block { span: span(&pair), entries: Vec::new(), broken: false };
        let mut experiment = Experiment { name, body, schedules: Vec::new(), reports: Vec::new() };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::schedule => {
                    let statements = Parts::of(part).due();
                    experiment.schedules.push(self.statements(statements));
                }
                Rule::report => {
                    let body = Parts::of(part).due();
                    experiment.reports.push(self.report(body));
                }
                Rule::lost_schedule => self.lost_schedule(part, &mut experiment),
                Rule::lost_report => self.lost_report(part, &mut experiment),
                _ => self.entry(part, &mut experiment.body),
            }
        }
        experiment
    }

    /// `shedule { … }`, or statements without a head.
    fn lost_schedule(&mut self, pair: Pair<Rule>, experiment: &mut Experiment) {
        let mut parts = Parts::of(pair);
        let head = parts.take(Rule::ident);
        let body = parts.due();
        let place = trimmed(&body);
        self.lost_head(head, "schedule", place);
        let statements = self.statements(body);
        match experiment.schedules.last_mut() {
            Some(schedule) => schedule.list.extend(statements.list),
            None => experiment.schedules.push(statements),
        }
    }

    fn lost_report(&mut self, pair: Pair<Rule>, experiment: &mut Experiment) {
        let mut parts = Parts::of(pair);
        let head = parts.take(Rule::ident);
        let body = parts.due();
        let place = trimmed(&body);
        self.lost_head(head, "report", place);
        let report = self.report(body);
        match experiment.reports.last_mut() {
            Some(before) => before.lines.extend(report.lines),
            None => experiment.reports.push(report),
        }
    }

    fn lost_head(&mut self, head: Option<Pair<Rule>>, due: &'static str, body: Span) {
        match head {
            Some(head) => {
                self.error(SyntaxError::UnknownPart { span: span(&head), word: head.as_str().to_owned(), due })
            }
            None => {
                let first = words(self.text, Span { end: self.line_end(body.start), ..body }).swap_remove(0);
                let what = if due == "schedule" { "a statement" } else { "a line of a report" };
                self.error(SyntaxError::Advised {
                    span: first.span,
                    message: format!("{what} stands in `{due} {{ … }}`"),
                    label: format!("`{due} {{` is missing before this"),
                    help: format!("put `{due} {{` before it and `}}` after the last one"),
                    edit: None,
                });
            }
        }
    }

    fn report(&mut self, pair: Pair<Rule>) -> Report {
        let mut report = Report { span: span(&pair), lines: Vec::new(), broken: false };
        for part in pair.into_inner() {
            let place = trimmed(&part);
            if part.as_rule() != Rule::report_line {
                report.broken = true;
                if part.as_rule() != Rule::unclosed {
                    self.broken_report_line(place);
                }
                continue;
            }
            let mut parts = Parts::of(part);
            let form = self.name(parts.due());
            let mut series = Vec::new();
            while let Some(path) = parts.take(Rule::path) {
                series.push(self.path(path));
            }
            let by = parts.take(Rule::report_by).map(|by| self.name(Parts::of(by).due()));
            if let Some(tail) = parts.take(Rule::report_tail) {
                report.broken = true;
                self.report_tail(place, trimmed(&tail), series.last());
                continue;
            }
            report.lines.push(ReportLine { span: place, form, series, by });
        }
        report
    }

    fn broken_report_line(&mut self, place: Span) {
        match self.unknown_word(place, Class::Part) {
            Some((span, word, near)) => self.error(SyntaxError::UnknownLine { span, word, near }),
            None => self.broken(Rule::only_report, place),
        }
    }

    /// A name behind a name has lost its comma; anything else does not belong there.
    fn report_tail(&mut self, line: Span, tail: Span, last: Option<&Path>) {
        let name = self.text[tail.range()].starts_with(|c: char| c.is_ascii_lowercase());
        match last {
            Some(last) if name && !self.text[tail.range()].starts_with("by ") => {
                let name = words(self.text, tail).swap_remove(0);
                self.error(SyntaxError::MissingComma { span: name.span, after: last.span });
            }
            _ => self.broken_tail(Rule::only_report, line, tail),
        }
    }

    fn statements(&mut self, pair: Pair<Rule>) -> Statements {
        let mut statements = Statements { span: span(&pair), list: Vec::new(), broken: false };
        for part in pair.into_inner() {
            let place = trimmed(&part);
            match part.as_rule() {
                Rule::statement => {
                    let statement = self.statement(part);
                    if let Some(before) = statements.list.last() {
                        self.separated(before.span, statement.span);
                    }
                    statements.list.push(statement);
                }
                Rule::unclosed => statements.broken = true,
                Rule::lost_loop => statements.list.push(self.lost_loop(part)),
                _ => {
                    let declares = let_names(self.text, &words(self.text, place));
                    let after_let = declares.first().filter(|_| self.text[place.range()].starts_with("let "));
                    let head = match after_let {
                        None => place,
                        Some(_) => {
                            let text = &self.text[place.range()];
                            let after = text.find('=').map_or(0, |at| at + 1);
                            let skip = after + (text[after..].len() - text[after..].trim_start().len());
                            Span { start: place.start + skip as u32, ..place }
                        }
                    };
                    match self.unknown_word(head, Class::Statement) {
                        Some((span, word, near)) => self.error(SyntaxError::UnknownStatement { span, word, near }),
                        None => self.broken(Rule::only_statement, place),
                    }
                    let kind = StatementKind::Broken { declares };
                    statements.list.push(Statement { span: place, name: None, kind });
                }
            }
        }
        statements
    }

    /// `for i in range(3) { … }`: a loop all the same.
    fn lost_loop(&mut self, pair: Pair<Rule>) -> Statement {
        let place = trimmed(&pair);
        let mut parts = Parts::of(pair);
        let word = parts.due();
        let head = parts.due();
        if !self.is_blamed(span(&word).to(trimmed(&head))) {
            let near = near(Class::Statement, word.as_str());
            let near = if near.is_empty() { vec!["repeat".to_owned()] } else { near };
            let (span, word) = (span(&word), word.as_str().to_owned());
            self.error(SyntaxError::UnknownStatement { span, word, near });
        }
        let index = loop_index(&words(self.text, span(&word).to(trimmed(&head))));
        let body = parts.due();
        let body = self.statements(body);
        let until = parts.next().map(|until| self.expr(Parts::of(until).due()));
        let kind = StatementKind::Repeat(Box::new(Repeat { times: None, index, body, until }));
        Statement { span: place, name: None, kind }
    }

    fn statement(&mut self, pair: Pair<Rule>) -> Statement {
        let place = trimmed(&pair);
        let mut parts = Parts::of(pair);
        let name = parts.take(Rule::let_head).map(|head| self.declared(Parts::of(head).due()));
        let operation = parts.due();
        let kind = self.operation(operation);
        let Some(tail) = parts.take(Rule::statement_tail) else {
            return Statement { span: place, name, kind };
        };
        self.broken_tail(Rule::only_statement, place, trimmed(&tail));
        let kind = match kind {
            // What follows the body could not be read; the body was.
            StatementKind::Repeat(mut repeat) => {
                repeat.until = Some(Expr { span: place, kind: ExprKind::Broken });
                StatementKind::Repeat(repeat)
            }
            _ => StatementKind::Broken { declares: name.iter().cloned().collect() },
        };
        Statement { span: place, name, kind }
    }

    fn operation(&mut self, pair: Pair<Rule>) -> StatementKind {
        let place = span(&pair);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        match rule {
            Rule::rollout => {
                let model = self.slot(parts.due());
                let split = self.path(Parts::of(parts.due()).due());
                StatementKind::Rollout { model, split, options: parts.next().map(|block| self.block(block)) }
            }
            Rule::judge => {
                let rows = self.slot(parts.due());
                let critic = self.path(Parts::of(parts.due()).due());
                StatementKind::Judge { rows, critic, options: parts.next().map(|block| self.block(block)) }
            }
            Rule::select => {
                let rows = self.slot(parts.due());
                let mut by = Parts::of(parts.due());
                let rule = self.path(by.due());
                StatementKind::Select { rows, rule, arguments: by.next().map(|list| self.arguments(list)) }
            }
            Rule::audit => {
                let rows = self.slot(parts.due());
                let against = parts.next().map(|against| self.path(Parts::of(against).due()));
                StatementKind::Audit { rows, against }
            }
            Rule::calibrate => {
                let critic = self.path(parts.due());
                StatementKind::Calibrate { critic, dataset: self.slot(Parts::of(parts.due()).due()) }
            }
            Rule::train => StatementKind::Train(Box::new(self.train(parts))),
            Rule::evaluate => {
                let model = self.slot(parts.due());
                let split = self.slot(Parts::of(parts.due()).due());
                StatementKind::Evaluate { model, split, options: parts.next().map(|block| self.block(block)) }
            }
            Rule::repeat => StatementKind::Repeat(Box::new(self.repeat(parts))),
            Rule::pick => {
                let model = self.path(parts.due());
                let by = self.path(Parts::of(parts.due()).due());
                let including = parts.next().map(|list| self.paths(list)).unwrap_or_default();
                StatementKind::Pick { model, by, including }
            }
            other => unreachable!("the grammar gives no statement {other:?} at {place:?}"),
        }
    }

    fn train(&mut self, mut parts: Parts) -> Train {
        let model = self.path(parts.due());
        let on = self.slot(Parts::of(parts.due()).due());
        let mut train = Train { model, on, mixed: Vec::new(), through: None, with: None, from: None, reference: None };
        let mut seen: Vec<(Rule, Span)> = Vec::new();
        while let Some(clause) = parts.next() {
            let (rule, place) = (clause.as_rule(), span(&clause));
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == rule && rule != Rule::mixed) {
                let what = match rule {
                    Rule::through => "`through`",
                    Rule::with_name => "`with`",
                    Rule::from_version => "`from`",
                    _ => "`reference`",
                };
                let first = *first;
                self.error(SyntaxError::Twice { span: place, first, what });
                continue;
            }
            seen.push((rule, place));
            let mut inner = Parts::of(clause);
            let first = inner.due();
            match rule {
                Rule::mixed => {
                    let mut share = self.amount(first);
                    if let (Some(unit), ExprKind::Quantity(quantity)) = (inner.take(Rule::unit), &mut share.kind) {
                        quantity.unit = Some(self.name(unit));
                    }
                    train.mixed.push(Mixed { share, dataset: self.path(inner.due()) });
                }
                Rule::through => train.through = Some(self.path(first)),
                Rule::with_name => train.with = Some(self.path(first)),
                Rule::from_version => train.from = Some(self.version(first)),
                _ => train.reference = Some(self.version(first)),
            }
        }
        train
    }

    fn repeat(&mut self, mut parts: Parts) -> Repeat {
        let head = parts.due();
        let (times, index);
        if head.as_rule() == Rule::repeat_head {
            let mut head = Parts::of(head);
            times = Some(self.expr(head.due()));
            head.has(Rule::times);
            index = head.next().map(|name| self.declared(Parts::of(name).due()));
        } else {
            let place = trimmed(&head);
            times = None;
            // Its index keeps its name: `as i` is read even where the rest is not.
            index = loop_index(&words(self.text, place));
            self.broken(Rule::only_head, place);
        }
        let body = parts.due();
        let body = self.statements(body);
        let until = parts.next().map(|until| self.expr(Parts::of(until).due()));
        Repeat { times, index, body, until }
    }

    pub(super) fn matrix_parts(&mut self, pair: Pair<Rule>) -> (Vec<MatrixPart>, bool) {
        let (mut axes, mut broken) = (Vec::new(), false);
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::axis => {
                    let (path, values) = self.axis(part);
                    axes.push(MatrixPart::Axis { path, values });
                }
                Rule::except => axes.push(MatrixPart::Except(self.block(Parts::of(part).due()))),
                Rule::zip => {
                    let mut zipped = Vec::new();
                    for axis in part.into_inner() {
                        match axis.as_rule() {
                            Rule::axis => zipped.push(self.axis(axis)),
                            Rule::unclosed => broken = true,
                            _ => {
                                broken = true;
                                self.broken(Rule::only_axis, trimmed(&axis));
                            }
                        }
                    }
                    axes.push(MatrixPart::Zip(zipped));
                }
                Rule::unclosed => broken = true,
                _ => {
                    broken = true;
                    self.broken(Rule::only_axis, trimmed(&part));
                }
            }
        }
        (axes, broken)
    }

    fn axis(&mut self, pair: Pair<Rule>) -> (Path, Expr) {
        let mut parts = Parts::of(pair);
        let path = self.path(parts.due());
        (path, self.expr(parts.due()))
    }
}

/// What a loop counts with, in a head that cannot be read: the name behind `as`, or behind `times` or `for`.
fn loop_index(words: &[Name]) -> Option<Name> {
    let behind = |before: &str| {
        let place = words.iter().position(|word| word.value == before)?;
        words.get(place + 1).filter(|name| name.value != "as" && !name.value.starts_with(|c: char| c.is_ascii_digit()))
    };
    behind("as").or_else(|| behind("times")).or_else(|| behind("for")).cloned()
}

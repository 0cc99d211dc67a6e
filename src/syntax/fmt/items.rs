//! How items, stages and statements are written.

use super::layout::Break;
use super::writer::{Form, INDENT, Writer};
use crate::syntax::ast::*;

/// How far in the stages of a rule stand that has a line for each; `| ` stands before them.
const STAGE_INDENT: usize = 4;

/// What may stand in an experiment.
enum Part<'a> {
    Entry(&'a Entry),
    Schedule(&'a Statements),
    Report(&'a Report),
}

impl Writer<'_> {
    pub fn file(&mut self, file: &File) {
        self.items(&file.items, |this, item| this.item(&item.kind));
    }

    fn item(&mut self, item: &ItemKind) {
        match item {
            ItemKind::Edition { year: _, unstable } => {
                self.due("agx");
                self.space();
                self.token();
                if !unstable.is_empty() || self.next() == "unstable" {
                    self.words(&["unstable"]);
                    self.bracketed(Form::List, unstable, |this, _| this.token());
                }
            }
            ItemKind::Import { path: _, names } => {
                self.due("import");
                self.space();
                self.token();
                match names {
                    Imported::As(_) => {
                        self.words(&["as"]);
                        self.space();
                        self.token();
                    }
                    Imported::Names(names) => {
                        self.space();
                        self.bracketed(Form::Cases, names, |this, _| this.token());
                    }
                }
            }
            ItemKind::Param { name: _, ty, default } => {
                self.head("param");
                self.cell();
                self.words(&[":"]);
                self.space();
                self.type_expr(ty);
                self.words(&["="]);
                self.space();
                self.expr(default);
                self.row();
            }
            ItemKind::Let { name: _, value } => {
                self.head("let");
                self.cell();
                self.words(&["="]);
                self.space();
                self.expr(value);
                self.row();
            }
            ItemKind::Declaration { kind, name: _, body } => {
                self.head(match kind {
                    Declared::Env => "env",
                    Declared::Dataset => "dataset",
                    Declared::Model => "model",
                    Declared::Critic => "critic",
                    Declared::Trainer => "trainer",
                });
                self.cell();
                self.space();
                self.block(body);
                self.row();
            }
            ItemKind::Prompt(prompt) => {
                self.head("prompt");
                self.parameters(&prompt.parameters);
                self.space();
                self.bracketed(Form::Block, &prompt.messages, |this, _| {
                    this.token();
                    this.space();
                    this.token();
                });
            }
            ItemKind::Rule(rule) => self.rule(rule),
            ItemKind::Experiment(experiment) => self.experiment(experiment),
            ItemKind::Matrix(matrix) => {
                self.head("matrix");
                self.words(&["of"]);
                self.space();
                self.token();
                self.space();
                self.bracketed(Form::Block, &matrix.axes, Self::matrix_part);
            }
            ItemKind::Broken { .. } => self.lost = true,
        }
    }

    fn head(&mut self, word: &'static str) {
        self.due(word);
        self.space();
        self.token();
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        self.bracketed(Form::List, parameters, |this, parameter| {
            this.token();
            this.due(":");
            this.space();
            this.type_expr(&parameter.ty);
        });
    }

    fn matrix_part(&mut self, part: &MatrixPart) {
        match part {
            MatrixPart::Axis { path: _, values } => self.axis(values),
            MatrixPart::Zip(axes) => {
                self.due("zip");
                self.space();
                self.bracketed(Form::Block, axes, |this, (_, values)| this.axis(values));
            }
            MatrixPart::Except(block) => {
                self.due("except");
                self.space();
                self.block(block);
            }
        }
    }

    fn axis(&mut self, values: &Expr) {
        self.token();
        self.cell();
        self.words(&["in"]);
        self.space();
        self.expr(values);
        self.row();
    }

    /// On one line if the author wrote it there and it fits; otherwise a line for each stage.
    fn rule(&mut self, rule: &Rule) {
        self.head("rule");
        if self.next() == "(" {
            self.parameters(&rule.parameters);
        }
        self.words(&["="]);
        let last = rule.stages.last().map_or(0, |stage| self.last_of(stage.span));
        let broken = self.is_broken_before(last);
        self.indent(STAGE_INDENT);
        // A comment before the first stage stands where the stage does.
        self.ops.push(super::layout::Op::Begin { broken });
        for (at, stage) in rule.stages.iter().enumerate() {
            let out = if at == 0 { 0 } else { INDENT };
            self.line(Break { space: true, blank: false, out });
            if at > 0 {
                self.due("|");
                self.space();
            }
            self.stage(&stage.kind);
        }
        self.end();
        self.dedent(STAGE_INDENT);
    }

    fn stage(&mut self, stage: &StageKind) {
        match stage {
            StageKind::Where(condition) => {
                self.due("where");
                self.space();
                self.expr(condition);
            }
            StageKind::Top { share, per_task, by, options } => {
                self.ranked("top", share, *per_task, by);
                self.options(options.as_ref());
            }
            StageKind::Best { count, per_task, by } => self.ranked("best", count, *per_task, by),
            StageKind::Worst { count, per_task, by } => self.ranked("worst", count, *per_task, by),
            StageKind::Sample { count, per_task } => self.ranked("sample", count, *per_task, &[]),
            StageKind::Dedup { by } => {
                self.due("dedup");
                self.by(by);
            }
            StageKind::Majority { by } => {
                self.due("majority");
                self.by(by);
            }
            StageKind::Cap { count, tokens } => {
                self.due("cap");
                self.space();
                self.expr(count);
                if *tokens {
                    self.words(&["tokens"]);
                }
            }
            StageKind::Balance { by, max } => {
                self.due("balance");
                self.by(by);
                self.words(&["max"]);
                self.space();
                self.expr(max);
            }
            StageKind::Add { dataset: _, options } => {
                self.due("add");
                self.space();
                self.token();
                self.options(options.as_ref());
            }
            StageKind::Pair { by, margin } => {
                self.due("pair");
                self.words(&["best", "with", "worst", "per", "task"]);
                self.by(by);
                if let Some(margin) = margin {
                    self.words(&["margin", "at", "least"]);
                    self.space();
                    self.expr(margin);
                }
            }
            StageKind::Truncate { field: _, to } => {
                self.due("truncate");
                self.space();
                self.token();
                self.words(&["to"]);
                self.space();
                self.expr(to);
            }
            StageKind::Weight(by) => {
                self.due("weight");
                self.words(&["by"]);
                self.space();
                self.expr(by);
            }
            StageKind::Require { at_least, otherwise } => {
                self.due("require");
                self.words(&["at", "least"]);
                self.space();
                self.expr(at_least);
                if otherwise.is_some() {
                    self.words(&["else"]);
                    self.space();
                    self.token();
                }
            }
            StageKind::Broken => self.lost = true,
        }
    }

    fn ranked(&mut self, word: &'static str, count: &Expr, per_task: bool, by: &[Path]) {
        self.due(word);
        self.space();
        self.expr(count);
        if per_task {
            self.words(&["per", "task"]);
        }
        if !by.is_empty() {
            self.by(by);
        }
    }

    fn by(&mut self, keys: &[Path]) {
        self.words(&["by"]);
        self.space();
        self.names(keys);
    }

    fn experiment(&mut self, experiment: &Experiment) {
        let Experiment { name: _, body, schedules, reports } = experiment;
        let entries = body.entries.iter().map(|entry| (entry.span, Part::Entry(entry)));
        let schedules = schedules.iter().map(|schedule| (schedule.span, Part::Schedule(schedule)));
        let reports = reports.iter().map(|report| (report.span, Part::Report(report)));
        let mut parts: Vec<_> = entries.chain(schedules).chain(reports).collect();
        parts.sort_by_key(|(span, _)| *span);
        self.head("experiment");
        self.space();
        self.bracketed(Form::Block, &parts, |this, (_, part)| match part {
            Part::Entry(entry) => this.entry(entry),
            Part::Schedule(statements) => {
                this.due("schedule");
                this.statements(statements);
                this.new_run();
            }
            Part::Report(report) => {
                this.due("report");
                this.space();
                this.bracketed(Form::Block, &report.lines, Self::report_line);
                this.new_run();
            }
        });
    }

    fn report_line(&mut self, line: &ReportLine) {
        let ReportLine { span: _, form: _, series, by } = line;
        self.token();
        self.space();
        self.begin(false);
        self.indent(INDENT);
        for at in 0..series.len() {
            if at > 0 {
                self.comma();
                self.close_line(true);
            }
            self.token();
        }
        self.dedent(INDENT);
        self.end();
        if by.is_some() {
            self.words(&["by"]);
            self.space();
            self.token();
        }
    }

    fn statements(&mut self, statements: &Statements) {
        self.space();
        self.bracketed(Form::Block, &statements.list, Self::statement);
    }

    fn statement(&mut self, statement: &Statement) {
        if statement.name.is_some() {
            self.head("let");
            self.cell();
            self.words(&["="]);
            self.space();
        }
        self.operation(&statement.kind);
        if statement.name.is_some() {
            self.row();
        }
    }

    fn operation(&mut self, operation: &StatementKind) {
        match operation {
            StatementKind::Rollout { model, split: _, options } => {
                self.due("rollout");
                self.space();
                self.slot(model);
                self.words(&["in"]);
                self.space();
                self.token();
                self.options(options.as_ref());
            }
            StatementKind::Judge { rows, critic: _, options } => {
                self.due("judge");
                self.space();
                self.slot(rows);
                self.words(&["with"]);
                self.space();
                self.token();
                self.options(options.as_ref());
            }
            StatementKind::Select { rows, rule: _, arguments } => {
                self.due("select");
                self.space();
                self.slot(rows);
                self.words(&["by"]);
                self.space();
                self.token();
                self.arguments(arguments.as_deref());
            }
            StatementKind::Audit { rows, against } => {
                self.due("audit");
                self.space();
                self.slot(rows);
                if against.is_some() {
                    self.words(&["against"]);
                    self.space();
                    self.token();
                }
            }
            StatementKind::Calibrate { critic: _, dataset } => {
                self.due("calibrate");
                self.space();
                self.token();
                self.on(dataset);
            }
            StatementKind::Train(train) => self.train(train),
            StatementKind::Evaluate { model, split, options } => {
                self.due("evaluate");
                self.space();
                self.slot(model);
                self.on(split);
                self.options(options.as_ref());
            }
            StatementKind::Repeat(repeat) => self.repeat(repeat),
            StatementKind::Pick { model: _, by: _, including } => {
                self.due("pick");
                self.space();
                self.token();
                self.words(&["best", "by"]);
                self.space();
                self.token();
                if !including.is_empty() {
                    self.words(&["including"]);
                    self.space();
                    self.names(including);
                }
            }
            StatementKind::Broken { .. } => self.lost = true,
        }
    }

    fn on(&mut self, slot: &Slot) {
        self.words(&["on"]);
        self.space();
        self.slot(slot);
    }

    /// The clauses stay on the line if the author wrote them there and they fit; otherwise each has its own.
    fn train(&mut self, train: &Train) {
        let Train { model: _, on, mixed, through, with, from, reference } = train;
        self.due("train");
        self.space();
        self.token();
        self.on(on);
        let places = mixed.iter().map(|mixed| mixed.dataset.span);
        let places = places.chain(through.iter().chain(with).map(|path| path.span));
        let places: Vec<_> = places.chain(from.iter().chain(reference).map(|version| version.span)).collect();
        let Some(end) = places.iter().copied().reduce(|all, place| all.to(place)) else { return };
        let broken = self.is_broken_before(self.last_of(end));
        self.ops.push(super::layout::Op::Begin { broken });
        self.indent(INDENT);
        let mut mixed = mixed.iter();
        for _ in places {
            self.line(Break { space: true, ..Break::default() });
            match self.next() {
                "mixed" => {
                    self.due("mixed");
                    self.words(&["with"]);
                    self.space();
                    match mixed.next() {
                        Some(mixed) => self.expr(&mixed.share),
                        None => self.lost = true,
                    }
                    self.space();
                    self.token();
                }
                "from" => self.clause(from.as_ref()),
                "reference" => self.clause(reference.as_ref()),
                // `with` and `through`
                _ => self.clause(None),
            }
        }
        self.dedent(INDENT);
        self.end();
    }

    /// A word, and a name or a version.
    fn clause(&mut self, version: Option<&Version>) {
        self.token();
        self.space();
        match version {
            Some(version) => self.version(Some(version)),
            None => self.token(),
        }
    }

    fn repeat(&mut self, repeat: &Repeat) {
        let Repeat { times, index, body, until } = repeat;
        self.due("repeat");
        self.space();
        match times {
            Some(times) => self.expr(times),
            None => self.lost = true,
        }
        self.words(&["times"]);
        if index.is_some() {
            self.words(&["as"]);
            self.space();
            self.token();
        }
        self.statements(body);
        if let Some(until) = until {
            self.words(&["until"]);
            self.space();
            self.expr(until);
        }
        self.new_run();
    }
}

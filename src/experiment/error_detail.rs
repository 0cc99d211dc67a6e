//! The second half of [`CheckError`]'s diagnostics: types and units, prompts, rules and schedule.

use super::error::{CheckError, bounds, due};
use super::value::{MOST, number_text};
use crate::base::{Diagnostic, Span};
use crate::syntax::similar::{did_you_mean, join, with_edit};
use crate::syntax::words::Class;

fn choose(diagnostic: Diagnostic, span: Span, near: &[String], known: &[impl AsRef<str>], all: &str) -> Diagnostic {
    let diagnostic = with_edit(diagnostic, span, near);
    match did_you_mean(near) {
        Some(help) => diagnostic.help(help),
        None if known.is_empty() => diagnostic,
        None => diagnostic.help(format!("{all} {}", join(known, "and"))),
    }
}

pub(super) fn detail(error: CheckError) -> Diagnostic {
    match error {
        CheckError::Mismatch { span, found, wanted, of } => {
            Diagnostic::error("E0303", format!("{of} wants {wanted}, not {found}"), span, format!("this is {found}"))
        }
        CheckError::MissingUnit { span, of, unit, edit } => {
            let message = format!("{of} is {unit}, which a bare number is not");
            let diagnostic = Diagnostic::error("E0302", message, span, "has no unit");
            // Which of several units is meant, nobody but the author knows.
            if unit == "a time" {
                return diagnostic.help(format!("write `{edit}`: a time is in `s`, `min` or `h`"));
            }
            diagnostic.help(format!("write `{edit}`")).edit(span, edit)
        }
        CheckError::Range { span, of, value, low, high, declared } => {
            let message = format!("{of} must be {}", due(value, low, high));
            // Beyond it, digits are lost.
            let found =
                if value > MOST { "this is larger".to_owned() } else { format!("this is {}", number_text(value)) };
            let diagnostic = Diagnostic::error("E0304", message, span, found);
            match declared {
                Some(declared) => diagnostic.label(declared, "the range is declared here"),
                None => diagnostic,
            }
        }
        CheckError::UnknownType { span, name, near, known } => {
            let diagnostic =
                Diagnostic::error("E0305", format!("there is no type `{name}` here"), span, "unknown type");
            choose(diagnostic, span, &near, &known, "types here are")
        }
        CheckError::EmptyRange { span, low, high } => {
            let label = format!("from {} to {}", number_text(low), number_text(high));
            Diagnostic::error("E0306", "the range holds nothing to choose from", span, label)
        }
        CheckError::NoValue { span } => {
            Diagnostic::error("E0307", "this has no value before the run", span, "not a value")
                .help("numbers, text, params, `let`s and arithmetic on them are values")
        }
        CheckError::Fraction { span, unit } => Diagnostic::error(
            "E0308",
            format!("no such amount in {unit}"),
            span,
            "too large, or a part of the smallest unit",
        ),
        CheckError::NoOtherwise { span } => {
            Diagnostic::error("E0309", "the other iterations have no value", span, "`_ => …` is missing")
                .help("add a case for all other iterations: `_ => value`")
        }
        CheckError::Shape { span, of, whole, name, part } => Diagnostic::error(
            "E0310",
            format!("`{of}` must divide by {name}"),
            span,
            format!("{whole} does not divide by {part}"),
        ),
        CheckError::NotList { span, of } => {
            Diagnostic::error("E0311", format!("{of} wants a list"), span, "no list").help("write `[a, b]`")
        }
        CheckError::NoClause { span, clause, of } => {
            Diagnostic::error("E0303", format!("only {of} has {clause}"), span, "does not belong here")
        }
        CheckError::EmptyList { span, of } => {
            Diagnostic::error("E0311", format!("{of} lists nothing"), span, "an empty list").help("name at least one")
        }
        CheckError::TextForm { span, of, what, wanted } => {
            Diagnostic::error("E0315", format!("{of} wants {what}"), span, "written otherwise")
                .help(format!("write it like `{wanted}`"))
        }
        CheckError::NotCommit { span, repo } => {
            let label = "a branch or a tag may be something else tomorrow";
            Diagnostic::error("E0315", "`revision` wants a commit: its 40 hexadecimal digits", span, label).help(format!(
                "`git ls-remote https://huggingface.co/{repo}` tells it; so does “History” beside the files on the hub's page"
            ))
        }
        CheckError::BadCase { span } => {
            Diagnostic::error("E0312", "this is no iteration", span, "iterations count from 1")
                .help("write `1 => …`, `2..3 => …` or `_ => …`")
        }
        CheckError::CaseTwice { span } => {
            Diagnostic::error("E0312", "an iteration has two values", span, "a case before has it too")
        }
        CheckError::NoScale { span, name } => {
            Diagnostic::error("E0313", format!("`{name}` has no scale"), span, "any number could come back")
                .help("say which numbers the critic may answer: `int in 1..5`")
        }
        CheckError::NoAnswer { span } => {
            Diagnostic::error("E0314", "the critic has nothing to answer", span, "no field")
                .help("add one: `answer { score: int in 1..5 }`")
        }
        CheckError::NotDigits { span } => Diagnostic::error(
            "E0317",
            "an expectation is over single digits",
            span,
            "has values of other lengths",
        )
        .help("write a scale within `0..9`: a longer number is several tokens, whose probabilities are not its own"),
        CheckError::NoChoice { span, name } => {
            let found = name.map_or_else(
                || "no field says which of the two".to_owned(),
                |name| format!("`{name}` is a number on one trajectory"),
            );
            Diagnostic::error("E0316", "a critic of pairs says which of two is preferred", span, found)
                .help("ask for it with a `bool`: `answer { better: bool }` is answered with a, b or tie")
        }
        CheckError::NothingBeside { span, name } => {
            let message = format!("`{name}` compares samples of one task");
            Diagnostic::error("E0535", message, span, "labelled trajectories stand alone")
                .help("measure it on rows of a rollout: `audit` what it has judged")
        }
        error @ (CheckError::NotProvided { .. }
        | CheckError::NoPath { .. }
        | CheckError::Hidden { .. }
        | CheckError::HiddenFrom { .. }
        | CheckError::NotText { .. }
        | CheckError::NotOne { .. }
        | CheckError::UnknownFilter { .. }
        | CheckError::FilterMisfit { .. }
        | CheckError::MayBeAbsent { .. }
        | CheckError::AlwaysKnown { .. }
        | CheckError::NotIterable { .. }
        | CheckError::PromptMisfit { .. }
        | CheckError::ShowsNoTask { .. }
        | CheckError::SaysNoAnswer { .. }
        | CheckError::ShowsNoId { .. }
        | CheckError::SystemLate { .. }
        | CheckError::EmptyPrompt { .. }
        | CheckError::PromptTooLong { .. }
        | CheckError::PromptMayBeTooLong { .. }) => prompt(error),
        error @ (CheckError::UnknownColumn { .. }
        | CheckError::NotJudged { .. }
        | CheckError::NotCondition { .. }
        | CheckError::Operand { .. }
        | CheckError::NoOrder { .. }
        | CheckError::NeverPasses { .. }
        | CheckError::AlwaysPasses { .. }
        | CheckError::NeverEnough { .. }
        | CheckError::NoEffect { .. }) => rule(error),
        error @ (CheckError::UnknownMetric { .. }
        | CheckError::NotAudited { .. }
        | CheckError::NotMeasured { .. }
        | CheckError::NotInLoop { .. }
        | CheckError::UntilCost { .. }
        | CheckError::NotUntil { .. }
        | CheckError::NeverEnds { .. }
        | CheckError::EndsAtOnce { .. }
        | CheckError::NeverStalls { .. }
        | CheckError::MeasuresOther { .. }
        | CheckError::UnknownIndex { .. }) => metric(error),
        other => schedule(other),
    }
}

fn prompt(error: CheckError) -> Diagnostic {
    match error {
        CheckError::NotProvided { span, name, prompt, near, known } => {
            let message = format!("the prompt `{prompt}` is not given `{name}`");
            let diagnostic = Diagnostic::error("E0404", message, span, "not a parameter");
            choose(diagnostic, span, &near, &known, "it may name")
        }
        CheckError::Hidden { span, path, env } => {
            let message = format!("`{path}` is ground truth: visible to none");
            Diagnostic::error("E0405", message, span, "would leak the truth")
                .help(format!("only metrics and audits of `{env}` may read it"))
        }
        CheckError::HiddenFrom { span, field, reader, used } => {
            Diagnostic::error("E0405", format!("`{field}` is not visible to the {reader}"), span, "would be shown")
                .label(used, format!("the {reader} reads this prompt"))
        }
        CheckError::NotText { span, path, found, suggestion } => {
            let end = Span { start: span.end, end: span.end };
            Diagnostic::error(
                "E0406",
                format!("`{path}` is {found}, which is not text"),
                span,
                "cannot be printed as it is",
            )
            .help(format!("say how: `{{{{ {path} | {suggestion} }}}}`"))
            .edit(end, format!(" | {suggestion}"))
        }
        CheckError::NotOne { span, name } => Diagnostic::error(
            "E0406",
            format!("`{name}` is a list, which is not text"),
            span,
            "cannot be printed as it is",
        )
        .help(format!("print each: `{{% for t in {name} %}}{{{{ t | transcript }}}}{{% end %}}`")),
        CheckError::UnknownFilter { span, name, near } => {
            let diagnostic = Diagnostic::error("E0407", format!("there is no filter `{name}`"), span, "unknown filter");
            choose(diagnostic, span, &near, &Class::Filter.names().collect::<Vec<_>>(), "filters are")
        }
        CheckError::FilterMisfit { span, name, wanted, path, found } => {
            Diagnostic::error("E0408", format!("`{name}` takes {wanted}"), span, format!("`{path}` is {found} here"))
        }
        CheckError::MayBeAbsent { span, path } => {
            Diagnostic::error("E0409", format!("`{path}` may be absent"), span, "used as if it were known")
                .help(format!("write `{{% if {path} is known %}}` … `{{% end %}}` around it"))
        }
        CheckError::NotIterable { span, path, found } => {
            Diagnostic::error("E0410", format!("`{path}` is {found}, not a list"), span, "cannot be gone through")
        }
        CheckError::PromptMisfit { span, name, why, help } => {
            Diagnostic::error("E0411", format!("the prompt `{name}` does not fit here: {why}"), span, "used here")
                .help(help)
        }
        CheckError::ShowsNoTask { span, name } => {
            let message = format!("the prompt `{name}` shows nothing of the task");
            Diagnostic::warning("W0402", message, span, "says the same for every task")
                .help("print what is to be done: `{{ task.request }}`")
        }
        CheckError::SaysNoAnswer { span, name } => {
            let message = format!("the prompt `{name}` never says how to answer");
            Diagnostic::warning("W0404", message, span, "names neither `answer.format` nor a field of the answer")
                .help("print `{{ answer.format }}`: it is made from the critic's `answer`")
        }
        CheckError::ShowsNoId { span, name } => {
            let message = format!("the prompt `{name}` never prints the trajectories' ids");
            Diagnostic::warning("W0405", message, span, "the critic answers by ids: `score 2: 4`")
                .help("print them: `{% for t in trajs %}Trajectory {{ t.id }}: …{% end %}`")
        }
        CheckError::SystemLate { span } => {
            Diagnostic::error("E0412", "a system message comes first", span, "other messages stand before it")
        }
        CheckError::NoPath { span, name, path, near, known } => {
            let diagnostic =
                Diagnostic::error("E0413", format!("`{path}` does not exist"), span, format!("no `{name}` here"));
            choose(diagnostic, span, &near, &known, "there are")
        }
        CheckError::PromptTooLong { span, name, words, context } => {
            let message = format!("the prompt `{name}` is longer than its model's context of {context} tokens");
            Diagnostic::error("E0702", message, span, format!("{words} words of fixed text, each a token or more"))
                .help("shorten the prompt, or raise `context` if the model can hold more")
        }
        CheckError::PromptMayBeTooLong { span, name, words, cut, context } => {
            let message = format!("the prompt `{name}` may be longer than its model's context of {context} tokens");
            let label = format!("{words} words of fixed text, and values of up to {cut} tokens");
            Diagnostic::warning("W0702", message, span, label)
                .help("cut values earlier by a lower `max`, or shorten the text")
        }
        CheckError::EmptyPrompt { span, name } => {
            Diagnostic::error("E0414", format!("the prompt `{name}` says nothing"), span, "no message")
                .help("add `user \"\"\"` … `\"\"\"`")
        }
        CheckError::AlwaysKnown { span, path } => {
            Diagnostic::warning("W0401", format!("`{path}` is always known"), span, "the condition always holds")
        }
        other => unreachable!("told elsewhere: {other:?}"),
    }
}

fn rule(error: CheckError) -> Diagnostic {
    match error {
        CheckError::UnknownColumn { span, name, near, known } => {
            let diagnostic =
                Diagnostic::error("E0501", format!("rows have no column `{name}`"), span, "unknown column");
            choose(diagnostic, span, &near, &known, "there are")
        }
        CheckError::NotJudged { span, name } => {
            let message = format!("`{name}` is a critic's answer, and these rows were not judged");
            Diagnostic::error("E0501", message, span, "unknown column")
                .help("`judge` the rows before selecting from them")
        }
        CheckError::NotCondition { span, found } => {
            Diagnostic::error("E0502", "`where` wants a condition", span, format!("this is {found}"))
                .help("compare it: `score >= 3`")
        }
        CheckError::Operand { span, found, wanted, of } => Diagnostic::error(
            "E0502",
            format!("{of} wants {wanted} here, not {found}"),
            span,
            format!("this is {found}"),
        ),
        CheckError::NoOrder { span, name } => Diagnostic::error(
            "E0502",
            format!("`{name}` has no order and is no single value"),
            span,
            "cannot be compared",
        ),
        CheckError::NeverPasses { span, why } => {
            let diagnostic = Diagnostic::error("E0503", "no row can ever pass this stage", span, "always false");
            if why.is_empty() { diagnostic } else { diagnostic.help(why) }
        }
        CheckError::NeverEnough { span, count, most } => {
            let message = format!("`require` can never hold: at most {most} rows reach it");
            Diagnostic::error("E0504", message, span, format!("asks for {count}"))
        }
        CheckError::AlwaysPasses { span, why } => {
            let diagnostic = Diagnostic::warning("W0501", "every row passes this stage", span, "always true");
            if why.is_empty() { diagnostic } else { diagnostic.help(why) }
        }
        CheckError::NoEffect { span, why, first } => {
            let diagnostic = Diagnostic::warning("W0502", "this stage has no effect", span, why);
            match first {
                Some(first) => diagnostic.label(first, "by this stage"),
                None => diagnostic,
            }
        }
        other => unreachable!("told elsewhere: {other:?}"),
    }
}

fn metric(error: CheckError) -> Diagnostic {
    match error {
        CheckError::UnknownMetric { span, name, of, near, known } => {
            let diagnostic = Diagnostic::error("E0520", format!("{of} gives no metric `{name}`"), span, "not measured");
            choose(diagnostic, span, &near, &known, "it gives")
        }
        CheckError::NotAudited { span, name, metric } => {
            let message = format!("`{name}.{metric}` compares with the truth, and nothing audits `{name}`");
            Diagnostic::error("E0520", message, span, "not measured").help(format!("add `audit {name}`"))
        }
        CheckError::NotMeasured { span, name, metric, critic } => {
            let (work, help) = match critic {
                true => ("a calibration", format!("add `calibrate {name} on …`")),
                false => ("a training", format!("there is no `train {name}` before")),
            };
            let message = format!("`{name}.{metric}` is measured by {work}, and there is none");
            Diagnostic::error("E0520", message, span, "not measured").help(help)
        }
        CheckError::NotInLoop { span, path, declared, stop } => {
            let message = format!("`{path}` is not made in the loop, so it is the same in every iteration");
            let diagnostic =
                Diagnostic::error("E0521", message, span, "never changes").label(declared, "made here, outside");
            match stop {
                true => diagnostic.help("name something that the loop measures; compare with others by `since`"),
                false => diagnostic.help("leave `by` out, or name something that the loop measures"),
            }
        }
        CheckError::UntilCost { span, name } => {
            let message = format!("`until` reads results, never time or spend: `{name}`");
            Diagnostic::error("E0522", message, span, "differs from machine to machine")
                .help("a `budget { … }` of the experiment pauses the run instead")
        }
        CheckError::NotUntil { span } => {
            Diagnostic::error("E0523", "this does not say when to end the loop", span, "no condition over metrics")
                .help("write `dev.success >= 0.9` or `dev.success stalls 2 by 0.01 since base`")
        }
        CheckError::NeverEnds { span, path, low, high, gain: false, percent } => {
            let label = format!("`{path}` is {}", bounds(low, high));
            let diagnostic = Diagnostic::error("E0533", "this never ends the loop", span, label);
            match percent {
                Some(number) => diagnostic
                    .help("a share in percent has its sign: `90%`")
                    .edit(Span { start: number.end, end: number.end }, "%"),
                None => diagnostic,
            }
        }
        CheckError::NeverEnds { span, path, low, high, gain: true, .. } => {
            let label = format!("`{path}` is {}", bounds(low, high));
            Diagnostic::error("E0533", "nothing can gain so much: this would only count rounds", span, label)
                .help("a margin is a small part of what the metric may be: `by 0.01`")
        }
        CheckError::EndsAtOnce { span, path, low, high } => {
            let label = format!("`{path}` is {}", bounds(low, high));
            Diagnostic::warning("W0505", "this never keeps the loop going", span, label)
        }
        CheckError::NeverStalls { span, rounds, times } => {
            Diagnostic::error("E0524", "the loop ends before this can hold", span, format!("waits for {rounds} rounds"))
                .help(format!("the loop has at most {times}"))
        }
        CheckError::MeasuresOther { span, name, model, measured, declared } => {
            let label = match &measured {
                Some(measured) => format!("measures `{measured}`"),
                None => "no evaluation".to_owned(),
            };
            Diagnostic::error(
                "E0525",
                format!("`{name}` does not measure `{model}`"),
                span,
                "cannot compare its versions",
            )
            .label(declared, label)
            .help(format!("evaluate `{model}`, and name the evaluation with `let`"))
        }
        CheckError::UnknownIndex { span, name, near, known } => {
            let diagnostic = Diagnostic::error("E0526", format!("no loop counts with `{name}`"), span, "unknown index");
            choose(diagnostic, span, &near, &known, "there is")
        }
        other => unreachable!("told elsewhere: {other:?}"),
    }
}

fn schedule(error: CheckError) -> Diagnostic {
    match error {
        CheckError::NeedsOracle { span, what } => {
            Diagnostic::error("E0505", what, span, "only metrics and audits may read it")
                .help("an experiment with definitive feedback says so in its first line: `agx 2026 unstable(oracle)`")
        }
        CheckError::NeedsThrough { span, name } => Diagnostic::error(
            "E0506",
            format!("`{name}` holds verdicts, not conversations"),
            span,
            "cannot be trained on alone",
        )
        .help("train the critic's model `through` the critic, whose prompt and answer make the rows"),
        CheckError::ThroughRows { span } => {
            Diagnostic::error("E0506", "`through` reads labelled datasets", span, "these are rows of the run")
        }
        CheckError::NotLabelled { span, name } => {
            Diagnostic::error("E0507", format!("`{name}` has no labels"), span, "a labelled dataset is due here")
                .help("for example `dataset verdicts { from = desk.verdicts(256) }`")
        }
        CheckError::MissingClause { span, end, clause, help, edit } => {
            let diagnostic = Diagnostic::error(
                "E0508",
                format!("`train` without `{clause}`"),
                span,
                format!("`{clause}` is missing"),
            );
            let diagnostic = diagnostic.help(help);
            match edit {
                Some(edit) => diagnostic.edit(end, edit),
                None => diagnostic,
            }
        }
        CheckError::MayBeEmpty { span, name, declared } => {
            let message = format!("`{name}` may be empty, and `train` needs rows");
            let diagnostic = Diagnostic::error("E0509", message, span, "may hold no row");
            let diagnostic = match declared {
                Some(declared) => diagnostic.label(declared, "made here"),
                None => diagnostic,
            };
            diagnostic.help("end the rule with `| require at least 1`, and say what happens `else`: stop, skip or fail")
        }
        CheckError::TrainsHeldOut { span, split } => Diagnostic::error(
            "E0510",
            format!("`{split}` is held out: nothing may be trained on it"),
            span,
            "rows of a held-out split",
        ),
        CheckError::HeldOutDecides { span, path, use_, declared } => Diagnostic::error(
            "E0511",
            format!("`{path}` is measured on a held-out split and may not {use_}"),
            span,
            "decides here",
        )
        .label(declared, "measured here")
        .help("decide by a development split; keep the held-out one for the end"),
        CheckError::TrainsEvaluation { span, what } => {
            Diagnostic::error("E0534", format!("training rows are evaluated: {what}"), span, "trains on these")
                .help("take the row out of the training rows: what is trained on measures nothing")
        }
        CheckError::NoVersion { span, help } => {
            Diagnostic::error("E0512", "there is no such version", span, "unknown version").help(help)
        }
        CheckError::OnlyInLoop { span, name, declared } => Diagnostic::error(
            "E0513",
            format!("`{name}` is made anew in each iteration"),
            span,
            "used outside the loop",
        )
        .label(declared, "made here")
        .help(format!("`{name}@all` is what all iterations have made")),
        CheckError::TooEarly { span, name, declared } => {
            Diagnostic::error("E0527", format!("`{name}` is made later"), span, "used before it is made")
                .label(declared, "made here")
        }
        CheckError::TrainerMisfit { span, name, why, help, declared } => {
            let diagnostic =
                Diagnostic::error("E0528", format!("`{name}` {why}"), span, "does not fit the rows").help(help);
            match declared {
                Some(declared) => diagnostic.label(declared, "the rows are made here"),
                None => diagnostic,
            }
        }
        CheckError::NoReference { span, name } => {
            let message = format!("`{name}` is held to no reference model");
            Diagnostic::error("E0529", message, span, "a reference for nothing")
                .help("leave it out: only `dpo`, `kto` and `grpo` have one")
        }
        CheckError::TrainsRemote { span, name } => {
            Diagnostic::error("E0530", format!("`{name}` is behind an endpoint and cannot be trained"), span, "remote")
                .help("train a model with `weights`")
        }
        CheckError::AddLacks { span, name } => {
            let message = format!("rows that are added have no `{name}`");
            Diagnostic::error("E0532", message, span, "a rule that reads it would drop them")
                .help(format!("give it here: `{{ {name} = … }}`"))
        }
        CheckError::StageMisfit { span, why, help } => {
            Diagnostic::error("E0531", why, span, "does not fit what comes before it").help(help)
        }
        CheckError::SameSamples { span, samples } => Diagnostic::error(
            "E0514",
            "greedy decoding gives the same reply each time",
            span,
            format!("{samples} equal samples"),
        )
        .help("raise the temperature, or take one sample"),
        CheckError::NeedsName { span, word } => {
            let start = Span { start: span.start, end: span.start + word.len() as u32 };
            Diagnostic::error("E0515", format!("what `{word}` makes has no name"), start, "its result is lost")
                .help(format!("write `let name = {word} …`"))
        }
        CheckError::NameForNothing { span, word } => Diagnostic::error(
            "E0516",
            format!("`{word}` makes nothing that could be named"),
            span,
            "a name for nothing",
        )
        .help("leave `let … =` out"),
        CheckError::NeedsPrompt { span, word, several } => Diagnostic::error(
            "E0517",
            format!("which prompt does `{word}` use?"),
            span,
            if several { "several would do" } else { "none is named" },
        )
        .help(format!("name it: `{word} … {{ prompt = act }}`")),
        CheckError::DecodeTwice { span, name } => {
            Diagnostic::error("E0518", format!("`{name}` beside `decode`"), span, "said twice")
                .help("put it inside: `decode = sample { temperature = 0.7 }`")
        }
        CheckError::NothingToAudit { span, name } => Diagnostic::error(
            "E0519",
            format!("`{name}` was neither judged nor selected"),
            span,
            "nothing to compare with the truth",
        )
        .help("audit what `judge` or `select` has made"),
        CheckError::Again { span, what, first } => {
            Diagnostic::warning("W0506", format!("{what} again"), span, "changes nothing").label(first, "first here")
        }
        CheckError::EvaluatesTraining { span, split } => {
            Diagnostic::warning("W0503", format!("`{split}` is trained on, too"), span, "measures memory, not skill")
        }
        CheckError::JudgesItself { span, name } => Diagnostic::warning(
            "W0504",
            format!("`{name}` judges its own trajectories"),
            span,
            "the critic is the policy",
        ),
        other => unreachable!("told elsewhere: {other:?}"),
    }
}

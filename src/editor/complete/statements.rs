//! Turns a place in a schedule or a report into statements, the clause that is due, and the names that fit there.

use super::context::{Context, path};
use super::{Icon, Proposal, brought, constants, items_of, keyword, names, words};
use crate::base::Span;
use crate::experiment::Kind;
use crate::experiment::index::{Declaration, Sort};
use crate::syntax::words::Class;

/// What has metrics.
const MEASURED: [Sort; 4] = [Sort::Evaluation, Sort::Rows, Sort::Item(Kind::Critic), Sort::Item(Kind::Model)];

/// What is due next in a statement.
enum Due {
    Words(&'static [&'static str]),
    Models,
    Rows,
    Data,
    Splits,
    Items(Kind),
    Metrics,
    /// Metrics of evaluations.
    Measured,
    Evaluations,
    Constants,
    Version,
    Nothing,
}

pub fn propose(context: &Context) -> Vec<Proposal> {
    let all: Vec<&str> = context.entry_texts().collect();
    if context.after(".") {
        return members(context);
    }
    let statement = match all.as_slice() {
        ["let", _, "=", rest @ ..] => rest,
        ["let", ..] => return Vec::new(),
        other => other,
    };
    if statement.is_empty() {
        return verbs(all.is_empty());
    }
    match due(statement) {
        Due::Words(texts) => texts.iter().map(|text| keyword(Class::Clause, text)).collect(),
        Due::Models => {
            let mut list = items_of(context, Kind::Model);
            list.extend(made(context, &[Sort::Version]));
            list
        }
        Due::Rows => made(context, &[Sort::Rows]),
        Due::Data => {
            let mut list = made(context, &[Sort::Rows]);
            list.extend(items_of(context, Kind::Dataset));
            list
        }
        Due::Splits => splits(context),
        Due::Items(kind) => items_of(context, kind),
        Due::Metrics => metrics(context, &MEASURED),
        Due::Measured => metrics(context, &[Sort::Evaluation]),
        Due::Evaluations => made(context, &[Sort::Evaluation]),
        Due::Constants => constants(context),
        Due::Version => ["prev", "start", "0", "best(…)"]
            .map(|text| Proposal::new(&format!("@{text}"), Icon::Word, "", "the version it starts from"))
            .map(|it| if it.label == "@best(…)" { it.snippet("@best($1)") } else { it })
            .to_vec(),
        Due::Nothing => Vec::new(),
    }
}

/// By the verb and the words after it.
fn due(statement: &[&str]) -> Due {
    let last = statement.last().copied().unwrap_or("");
    let has = |word: &str| statement.contains(&word);
    match (statement[0], last) {
        (_, "until") | (_, "and" | "or" | "not") if has("until") => Due::Metrics,
        (_, "since") | ("pick", "including") => Due::Evaluations,
        ("rollout" | "evaluate" | "train" | "pick", verb) if verb == statement[0] => Due::Models,
        ("judge" | "select" | "audit", verb) if verb == statement[0] => Due::Rows,
        ("calibrate", "calibrate") => Due::Items(Kind::Critic),
        ("rollout", "in") | ("evaluate", "on") => Due::Splits,
        ("judge", "with") | ("train", "through") => Due::Items(Kind::Critic),
        ("select", "by") => Due::Items(Kind::Rule),
        ("calibrate", "on") | ("train", "%") => Due::Items(Kind::Dataset),
        ("train", "on") => Due::Data,
        ("train", "with") if statement.len() > 1 && statement[statement.len() - 2] == "mixed" => Due::Constants,
        ("train", "with") => Due::Items(Kind::Trainer),
        ("train", "from" | "reference") => Due::Version,
        ("train", "mixed") => Due::Words(&["with"]),
        ("pick", "by") => Due::Measured,
        ("pick", "best") => Due::Words(&["by"]),
        ("repeat", "repeat") => Due::Constants,
        ("repeat", "}") | ("}", _) => Due::Words(&["until"]),
        ("rollout", _) if !has("in") => Due::Words(&["in"]),
        ("judge", _) if !has("with") => Due::Words(&["with"]),
        ("select", _) if !has("by") => Due::Words(&["by"]),
        ("audit", _) if !has("against") => Due::Words(&["against"]),
        ("calibrate" | "evaluate", _) if !has("on") => Due::Words(&["on"]),
        ("train", _) if !has("on") => Due::Words(&["on"]),
        ("train", _) => Due::Words(&["mixed", "with", "from", "through"]),
        ("pick", _) if !has("by") => Due::Words(&["best"]),
        ("pick", _) => Due::Words(&["including"]),
        ("repeat", "times") => Due::Words(&["as"]),
        ("repeat", _) if !has("times") => Due::Words(&["times"]),
        _ => Due::Nothing,
    }
}

/// The words that open a statement, as far as possible with all that belongs to it.
fn verbs(begins: bool) -> Vec<Proposal> {
    let mut list = words(Class::Statement, Icon::Keyword, |word| {
        let (name, shape) = match word.text {
            "rollout" => {
                ("trajs", "rollout ${2:policy} in ${3:desk.train} { prompt = ${4:act}, samples = ${5:4} per task }")
            }
            "judge" => ("graded", "judge ${2:trajs} with $0"),
            "select" => ("kept", "select ${2:graded} by $0"),
            "evaluate" => ("dev", "evaluate ${2:policy} on ${3:desk.dev} { decode = greedy }"),
            "pick" => ("winner", "pick ${2:policy} best by $0"),
            "audit" => ("", "audit $0"),
            "calibrate" => ("", "calibrate ${1:grader} on $0"),
            "train" => ("", "train ${1:policy} on ${2:kept} with ${3:sft} from @${4:prev}"),
            "repeat" => ("", "repeat ${1:3} times as ${2:i} {\n  $0\n}"),
            "let" => ("", "let ${1:name} = $0"),
            other => ("", other),
        };
        if begins && !name.is_empty() { format!("let ${{1:{name}}} = {shape}") } else { shape.to_owned() }
    });
    if !begins {
        // What has no result has no name.
        list.retain(|it| ["rollout", "judge", "select", "evaluate", "pick"].contains(&it.label.as_str()));
    }
    list
}

/// Names that the schedule has given before the place.
fn made(context: &Context, sorts: &[Sort]) -> Vec<Proposal> {
    let before = given(context, sorts).filter(|(span, _)| span.end <= context.prefix.start);
    let before: Vec<&str> = before.map(|(_, it)| it.name.as_str()).collect();
    names(context, |it| (sorts.contains(&it.sort) || it.sort == Sort::Unknown) && before.contains(&it.name.as_str()))
}

/// What the experiment around gives a name, of some sorts, or of a sort that cannot be told.
fn given<'d>(context: &Context<'d>, sorts: &[Sort]) -> impl Iterator<Item = (Span, &'d Declaration)> {
    let document = context.document;
    let around = document.item_at(context.prefix).map(|item| item.span);
    let within = move |span: Span| around.is_none_or(|around| around.start <= span.start && span.end <= around.end);
    let fits = move |span, sort| matches!(sort, Sort::Item(_)) || within(span);
    let declared = document.index.declarations().filter(move |(span, it)| it.owner.is_none() && fits(*span, it.sort));
    declared.filter(move |(_, it)| sorts.contains(&it.sort) || it.sort == Sort::Unknown)
}

/// `desk.train`, ready to use.
fn splits(context: &Context) -> Vec<Proposal> {
    let index = &context.document.index;
    let envs = index.declarations().filter(|(_, it)| it.sort == Sort::Item(Kind::Env));
    let paths = envs.flat_map(|(span, env)| {
        let members = index.members_of(span).filter(|(_, it)| it.sort == Sort::Split);
        members.map(move |(_, split)| {
            Proposal::new(&format!("{}.{}", env.name, split.name), Icon::Name(Sort::Split), &*split.ty, "")
        })
    });
    paths.chain(items_of(context, Kind::Env)).collect()
}

/// Everything measured, with each of its metrics.
pub fn metrics(context: &Context, sorts: &[Sort]) -> Vec<Proposal> {
    if context.after(".") {
        return members(context);
    }
    let declared = given(context, sorts);
    let one = |name: &str, metric| {
        let mut proposal = brought(metric);
        proposal.label = format!("{name}.{}", proposal.label);
        proposal.snippet.clone_from(&proposal.label);
        proposal
    };
    declared.flat_map(|(_, it)| it.metrics.iter().map(move |metric| one(&it.name, metric))).collect()
}

/// What may stand behind `name.`: splits of an environment, metrics of what is measured.
fn members(context: &Context) -> Vec<Proposal> {
    let path = path(&context.entry, &context.document.text);
    let Some((first, rest)) = path.split_first() else { return Vec::new() };
    let index = &context.document.index;
    let near = given(context, &[Sort::Evaluation, Sort::Rows]).find(|(_, it)| it.name == *first);
    let far = || index.declarations().find(|(span, it)| it.owner.is_none() && index.written(*span) == Some(first));
    let Some((span, declared)) = near.or_else(far) else { return Vec::new() };
    let splits = index.members_of(span).filter(|(_, it)| it.sort == Sort::Split && rest.is_empty());
    let splits = splits.map(|(_, it)| Proposal::new(&it.name, Icon::Name(it.sort), &*it.ty, &*it.doc));
    let begun = rest.iter().map(|part| format!("{part}.")).collect::<String>();
    let metrics = declared.metrics.iter().filter_map(|metric| {
        let left = metric.name.strip_prefix(&begun)?;
        let mut proposal = brought(metric);
        (proposal.label, proposal.snippet) = (left.to_owned(), left.to_owned());
        Some(proposal)
    });
    splits.chain(metrics).collect()
}

/// `plot dev.success by i`
pub fn report(context: &Context) -> Vec<Proposal> {
    let all: Vec<&str> = context.entry_texts().collect();
    match all.as_slice() {
        // After a comma: another series of the same line, or another line.
        [] => {
            let forms = ["plot", "table"].map(|text| keyword(Class::Part, text).snippet(format!("{text} $0")));
            let more = if context.listed { metrics(context, &MEASURED) } else { Vec::new() };
            more.into_iter().chain(forms).collect()
        }
        [.., "by"] => names(context, |it| it.sort == Sort::Iteration),
        [.., "."] => members(context),
        ["plot" | "table"] => metrics(context, &MEASURED),
        _ => vec![keyword(Class::Clause, "by")],
    }
}

//! `agx show prompt NAME`: the messages that a model gets, as they are sent.

use crate::cli::args::ShowArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt::end_on_interrupt;
use crate::cli::object::Subject;
use crate::cli::place::wire;
use crate::cli::reading::{is_item, read, turn};
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::env::{Env, Labelled, Task, schema};
use crate::experiment::{Critic, Experiment, ModelId, PromptId, Statement};
use crate::model::{LanguageModel, Message};
use crate::node::spec::CriticKind;
use crate::node::template::{Filter, Piece, Scope, Template, render, token_counter};
use crate::node::{compare, judge, labels, trajectory::Trajectory};
use crate::report::Report;
use crate::run::manifest::{Manifest, RowEntry, RowSet};
use crate::run::{Project, directory};
use serde_json::json;
use std::sync::Arc;

pub fn show(args: &ShowArgs, subject: &Subject, name: &str, terminal: &Terminal) -> Result<(), Failure> {
    end_on_interrupt();
    let experiment = &subject.experiment;
    let index =
        experiment.prompts.iter().position(|prompt| prompt.name == name).expect("the name is one of those listed");
    let (id, template) = (PromptId(index), &experiment.prompts[index].it);
    let mut soles = experiment.critics.iter().filter_map(|critic| match &critic.it {
        Critic::Sole(sole) => Some(sole),
        Critic::Panel(_) => None,
    });
    let messages = match soles.find(|sole| sole.prompt == id) {
        Some(critic) => {
            let model = reading(experiment, template, critic.model)?;
            let count = counter(model.as_deref())?;
            let (scope, shown) = judged(args, subject, critic.kind, terminal)?;
            let instructions = compare::format(critic.kind, &critic.answer, shown);
            judge::messages(template, instructions, scope, &*count)
        }
        None => {
            let model = reading(experiment, template, reader(experiment, id)?)?;
            let count = counter(model.as_deref())?;
            render(template, &Scope::new().task(&task(subject, args.task.as_deref())?), &*count)
        }
    };
    if terminal.json() {
        terminal.value(&json!(messages))
    } else {
        terminal.data(&text(&messages))
    }
    Ok(())
}

/// What a critic reads, and how many trajectories that are: those of a task of the run; where there is no run, some of those
/// that a critic is calibrated on.
fn judged(
    args: &ShowArgs,
    subject: &Subject,
    kind: CriticKind,
    terminal: &Terminal,
) -> Result<(Scope, usize), Failure> {
    if let Some((project, run)) = &subject.run {
        let mut rows = rows(project, &fold(project, run)?, args)?;
        match kind {
            CriticKind::Each => rows.truncate(1),
            CriticKind::Pairs if rows.len() < 2 => {
                return Err(usage(format!(
                    "there is one trajectory of `{}`, and none to compare it with",
                    rows[0].task
                )));
            }
            CriticKind::Pairs => rows.truncate(2),
            CriticKind::Group => rows.sort_by_key(|row| row.sample),
        }
        let trajectories = rows.iter().map(|row| read(&project.store, &row.trajectory));
        let trajectories: Vec<Trajectory> = trajectories.collect::<Result<_, _>>()?;
        let task = task(subject, Some(&rows[0].task))?;
        return Ok((Scope::new().task(&task).shown(kind, &trajectories), trajectories.len()));
    }
    let env = subject.experiment.envs.first().ok_or_else(|| usage("the file has no environment"))?;
    let offer = schema(&env.it.kind).offers.iter().find(|offer| offer.labelled);
    let offer = offer.ok_or_else(|| usage("nothing to judge yet").help("name a run with `--run`"))?;
    let wanted = match (&args.task, &args.item) {
        (Some(task), _) => task.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0),
        (None, item) => item.as_ref().and_then(|item| item.parse().ok()).unwrap_or(0),
    };
    let first = u32::try_from(wanted).ok().filter(|first| *first < MOST_EXAMPLES).unwrap_or(0);
    let shown = match kind {
        CriticKind::Each => 1,
        CriticKind::Pairs | CriticKind::Group => 2,
    };
    let examples = Env::open(&env.it, &wire()).map_err(usage)?.examples(&offer.name, first + shown).into_iter();
    let examples: Vec<Labelled> = examples.skip(first as usize).filter_map(|example| example.labelled).collect();
    let example = examples.first().ok_or_else(|| usage(format!("`{}.{}` is empty", env.name, offer.name)))?;
    if args.task.as_ref().is_some_and(|task| *task != example.task.id) {
        let problem = usage("without a run there are only the labelled trajectories of the environment");
        return Err(problem.help(format!("`--task {}`, or `--run RUN`", example.task.id)));
    }
    let (what, stand) = if shown == 1 { ("a trajectory", "stands") } else { ("two trajectories", "stand") };
    terminal.say(&format!("no run is named: {what} of `{}.{}` {stand} in\n", env.name, offer.name));
    let trajectories: Vec<Trajectory> = examples.iter().map(labels::trajectory).collect();
    Ok((Scope::new().task(&example.task).shown(kind, &trajectories), trajectories.len()))
}

/// The model whose tokens are counted. Only a filter with a limit asks for them, so only then one is opened.
fn reading(
    experiment: &Experiment,
    template: &Template,
    model: ModelId,
) -> Result<Option<Arc<dyn LanguageModel>>, Failure> {
    let counted = template.messages.iter().any(|message| counts(&message.pieces));
    counted.then(|| open(experiment, model)).transpose()
}

type Count<'m> = Box<dyn Fn(&str) -> usize + 'm>;

fn counter(model: Option<&dyn LanguageModel>) -> Result<Count<'_>, Failure> {
    Ok(match model {
        Some(model) => Box::new(token_counter(model).map_err(usage)?),
        None => Box::new(|_| 0),
    })
}

fn counts(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Text(_) => false,
        Piece::Value { filters, .. } => filters
            .iter()
            .any(|filter| matches!(filter, Filter::Transcript { max_tokens: Some(_) } | Filter::Truncate { .. })),
        Piece::For { body, .. } | Piece::IfKnown { body, .. } | Piece::IfUnknown { body, .. } => counts(body),
    })
}

/// Labelled trajectories to choose from, at most: making the n-th makes all before it.
const MOST_EXAMPLES: u32 = 10_000;

fn text(messages: &[Message]) -> String {
    messages.iter().map(|message| format!("── {}\n{}\n", message.role.as_str(), turn(message))).collect()
}

fn usage(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, problem.to_string())
}

/// A judged trajectory of the task that is asked for, else the first there is, and behind it the others of its task.
fn rows(project: &Project, report: &Report, args: &ShowArgs) -> Result<Vec<RowEntry>, Failure> {
    for node in report.nodes.iter().filter(|node| matches!(node.info.op.as_str(), "judge" | "rollout")) {
        let Some(output) = node.output else { continue };
        let manifest: Manifest = read(&project.store, &output)?;
        let Some(rows) = manifest.output else { continue };
        let RowSet { rows, .. } = read(&project.store, &rows)?;
        let wanted = rows.iter().enumerate().find(|(index, row)| match (&args.task, &args.item) {
            (Some(task), _) => row.task == *task,
            (None, Some(item)) => is_item(item, *index, row),
            (None, None) => true,
        });
        if let Some((_, row)) = wanted {
            let others = rows.iter().filter(|other| other.task == row.task && other.sample != row.sample);
            return Ok([row].into_iter().chain(others).cloned().collect());
        }
    }
    Err(usage("no trajectory of that task has been rolled out yet"))
}

fn task(Subject { experiment, run, .. }: &Subject, id: Option<&str>) -> Result<Task, Failure> {
    // Of a run that was imported, no program is started to look.
    let brought = run.as_ref().is_some_and(|(project, run)| directory::is_brought(project, run));
    for env in experiment.envs.iter().filter(|env| !brought || env.it.kind.program().is_none()) {
        // One that cannot be opened has no task to show.
        let Ok(open) = Env::open(&env.it, &wire()) else { continue };
        for split in &env.it.splits {
            let mut tasks = open.tasks(&split.name).into_iter();
            if let Some(task) = tasks.find(|task| id.is_none_or(|id| task.id == id)) {
                return Ok(task);
            }
        }
    }
    Err(usage(format!("no environment has a task `{}`", id.unwrap_or_default())))
}

/// The model that a prompt for agents is rendered for: the first that a statement gives it to.
fn reader(experiment: &Experiment, prompt: PromptId) -> Result<ModelId, Failure> {
    fn find(statements: &[Statement], wanted: PromptId) -> Option<ModelId> {
        statements.iter().find_map(|statement| match statement {
            Statement::Rollout { model, prompt, .. } | Statement::Evaluate { model, prompt, .. }
                if *prompt == wanted =>
            {
                Some(model.model)
            }
            Statement::Repeat { body, .. } => find(body, wanted),
            _ => None,
        })
    }
    find(&experiment.schedule, prompt).ok_or_else(|| usage("nothing in the schedule uses this prompt"))
}

fn open(experiment: &Experiment, model: ModelId) -> Result<Arc<dyn LanguageModel>, Failure> {
    let model = &experiment.models[model.0];
    crate::model::open(&model.it, None, &wire()).map_err(|problem| usage(format!("model `{}`: {problem}", model.name)))
}

//! `agx show prompt NAME`: the messages that a model gets, as they are sent.

use crate::cli::args::ShowArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::report::fold;
use crate::cli::show::{read, turn};
use crate::cli::terminal::Terminal;
use crate::env::{Env, Task};
use crate::experiment::{Critic, Experiment, ModelId, PromptId, Statement};
use crate::model::{LanguageModel, Message};
use crate::node::template::{Scope, render, token_counter};
use crate::node::{judge, trajectory::Trajectory};
use crate::report::Report;
use crate::run::manifest::{Manifest, RowEntry, RowSet};
use crate::run::{Project, directory};
use serde_json::json;
use std::sync::Arc;

pub fn show(
    args: &ShowArgs,
    place: &Place,
    project: &Project,
    name: &str,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let run = place.run(project, args.run.as_deref())?;
    let experiment = directory::experiment(project, &run)?;
    let Some(index) = experiment.prompts.iter().position(|prompt| prompt.name == name) else {
        let names: Vec<&str> = experiment.prompts.iter().map(|prompt| prompt.name.as_str()).collect();
        let failure = Failure::new(Exit::Usage, format!("run `{run}` has no prompt `{name}`"));
        return Err(failure.help(format!("it has {}", names.join(", "))));
    };
    let id = PromptId(index);
    let mut soles = experiment.critics.iter().filter_map(|critic| match &critic.it {
        Critic::Sole(sole) => Some(sole),
        Critic::Panel(_) => None,
    });
    let critic = soles.find(|sole| sole.prompt == id);
    let messages = match critic {
        Some(critic) => {
            let row = row(project, &fold(project, &run)?, args)?;
            let trajectory: Trajectory = read(&project.store, &row.trajectory)?;
            let task = task(&experiment, Some(&row.task))?;
            let scope = Scope::new().task(&task).trajectory(&trajectory);
            let model = open(&experiment, critic.model)?;
            let count = token_counter(model.as_ref()).map_err(usage)?;
            judge::messages(&experiment.prompts[index].it, &critic.answer, scope, &count)
        }
        None => {
            let task = task(&experiment, args.task.as_deref())?;
            let model = open(&experiment, reader(&experiment, id)?)?;
            let count = token_counter(model.as_ref()).map_err(usage)?;
            render(&experiment.prompts[index].it, &Scope::new().task(&task), &count)
        }
    };
    if terminal.json() {
        terminal.value(&json!(messages))
    } else {
        terminal.data(&text(&messages))
    }
    Ok(Exit::Ok)
}

fn text(messages: &[Message]) -> String {
    messages.iter().map(|message| format!("── {}\n{}\n", message.role.as_str(), turn(message))).collect()
}

fn usage(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, problem.to_string())
}

/// A judged trajectory of the task that is asked for, else the first there is.
fn row(project: &Project, report: &Report, args: &ShowArgs) -> Result<RowEntry, Failure> {
    for node in report.nodes.iter().filter(|node| matches!(node.info.op.as_str(), "judge" | "rollout")) {
        let Some(output) = node.output else { continue };
        let manifest: Manifest = read(&project.store, &output)?;
        let Some(rows) = manifest.output else { continue };
        let RowSet { rows, .. } = read(&project.store, &rows)?;
        let wanted = rows.into_iter().enumerate().find(|(index, row)| match (&args.task, args.item) {
            (Some(task), _) => row.task == *task,
            (None, Some(item)) => *index == item,
            (None, None) => true,
        });
        if let Some((_, row)) = wanted {
            return Ok(row);
        }
    }
    Err(usage("no trajectory of that task has been rolled out yet"))
}

fn task(experiment: &Experiment, id: Option<&str>) -> Result<Task, Failure> {
    for env in &experiment.envs {
        // One that this version does not open has no task to show.
        let Ok(open) = Env::open(&env.it) else { continue };
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
    crate::model::open(&model.it, None).map_err(|problem| usage(format!("model `{}`: {problem}", model.name)))
}

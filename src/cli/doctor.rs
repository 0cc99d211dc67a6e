//! `agx doctor`: whether the machine, and what a file names, are fit to run.

use crate::cli::args::{Only, Sets};
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt::end_on_interrupt;
use crate::cli::load;
use crate::cli::machine;
use crate::cli::place::{Place, wire};
use crate::cli::terminal::Terminal;
use crate::env::Env;
use crate::experiment::Experiment;
use crate::model::{self, ModelSpec, Source, hub};
use crate::report::text::{bytes, counted, plain};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look into what this file names as well.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub sets: Sets,
    #[command(flatten)]
    pub only: Only,
}

/// What was looked into, and what is found of it, or what is wrong.
struct Finding {
    of: String,
    found: Result<Vec<String>, String>,
}

pub fn doctor(args: &DoctorArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut findings = vec![build(), store(place)];
    end_on_interrupt();
    if let Some(file) = &args.file {
        let loaded = load::load_to_show(file, &args.sets, terminal)?;
        let experiment = loaded.experiment(&args.only.clone().into())?;
        findings.extend(named(experiment));
    }
    let wrong = findings.iter().filter(|finding| finding.found.is_err()).count();
    if terminal.json() {
        let told = |Finding { of, found }: &Finding| match found {
            Ok(said) => json!({ "of": of, "ok": true, "said": said }),
            Err(problem) => json!({ "of": of, "ok": false, "problem": problem }),
        };
        terminal.value(&json!({ "findings": findings.iter().map(told).collect::<Vec<_>>(), "wrong": wrong }));
    } else {
        findings.iter().for_each(|finding| terminal.data(&shown(finding)));
        if wrong > 0 {
            terminal.say(&format!("{} not fit", counted(wrong, "thing")));
        }
    }
    Ok(if wrong == 0 { Exit::Ok } else { Exit::Diagnostics })
}

fn shown(Finding { of, found }: &Finding) -> String {
    let (mark, lines) = match found {
        Ok(said) => ("ok   ", said.clone()),
        Err(problem) => ("WRONG", vec![problem.clone()]),
    };
    let mut text = format!("{mark} {}\n", plain(of));
    lines.iter().for_each(|line| text.push_str(&format!("        {}\n", plain(line))));
    text
}

#[expect(clippy::disallowed_methods, reason = "the edge tells how many threads there are")]
fn build() -> Finding {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let built = |is: bool| if is { "in this build" } else { "not in this build" };
    let mut said = vec![
        format!("agx {} for {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH),
        counted(threads, "thread"),
        format!("local models are {}", built(cfg!(feature = "local"))),
        format!("CUDA is {}", built(cfg!(feature = "cuda"))),
        format!("endpoints over TLS are {}", built(cfg!(feature = "https"))),
    ];
    said.extend(machine::instructions().map(|set| format!("local models compute with {set}")));
    Finding { of: "the machine".to_owned(), found: Ok(said) }
}

/// That it can be written is tried where it is there already: nothing is made to look.
fn store(place: &Place) -> Finding {
    let path = place.store();
    let found = match path.is_dir() {
        false => Ok(vec!["not there yet; a run makes it".to_owned()]),
        true => match tempfile::NamedTempFile::new_in(path) {
            Ok(_) => Ok(vec!["it can be written".to_owned()]),
            Err(problem) => Err(format!("it cannot be written: {}", crate::base::file::reason(&problem))),
        },
    };
    Finding { of: format!("the store {}", path.display()), found }
}

fn named(experiment: &Experiment) -> Vec<Finding> {
    let models = experiment
        .models
        .iter()
        .map(|named| Finding { of: format!("model {}", named.name), found: of_model(&named.it) });
    let envs = experiment.envs.iter().map(|named| {
        let found = Env::open(&named.it, &wire()).map_err(|problem| problem.to_string()).and_then(|env| {
            let mut said = Vec::new();
            for split in &named.it.splits {
                said.push(format!("{}: {}", split.name, counted(env.count(&split.name) as usize, "task")));
            }
            let first = named.it.splits.first().map(|split| env.examine(&split.name)).transpose();
            said.extend(first.map_err(|problem| problem.to_string())?.unwrap_or_default());
            Ok(said)
        });
        Finding { of: format!("env {}", named.name), found }
    });
    models.chain(envs).collect()
}

fn of_model(spec: &ModelSpec) -> Result<Vec<String>, String> {
    if let Source::Remote(remote) = &spec.source {
        return match model::remote::has_model(remote, &wire()) {
            Ok(true) => Ok(vec![format!("{} has {}", remote.base_url, remote.name)]),
            Ok(false) => Err(format!("{} does not list a model {}", remote.base_url, remote.name)),
            Err(problem) => Err(format!("{}: {problem}", remote.base_url)),
        };
    }
    let mut said = Vec::new();
    if let Source::Hub { .. } = spec.source {
        let wire = wire();
        let known = if (wire.hub.token)()?.is_some() { "a token is known" } else { "no token is known" };
        said.push(format!("{}; {known}; files are kept in {}", wire.hub.address(), wire.hub.cache.display()));
        if let Some(missing) = hub::missing(spec, &wire).map_err(|problem| problem.to_string())? {
            said.push(format!("{} are not here yet: a run fetches them first, or `agx fetch FILE`", bytes(missing)));
            return Ok(said);
        }
        hub::hold(spec, &wire.hub).map_err(|problem| problem.to_string())?;
        said.push("all of its files are here, and are what the hub gave".to_owned());
    }
    let digest = model::identity(spec).map_err(|problem| problem.to_string())?;
    model::open(spec, None, &wire()).map_err(|problem| problem.to_string())?;
    said.push(format!("it opens; its identity is {}", digest.short()));
    Ok(said)
}

//! `agx fetch`: models of the hub, brought here; and the same before a run.

use crate::base::file;
use crate::cli::args::{Sets, Which};
use crate::cli::exit::{Exit, Failure};
use crate::cli::live::Screen;
use crate::cli::load;
use crate::cli::place::wire;
use crate::cli::run::Worker;
use crate::cli::sweep;
use crate::cli::terminal::Terminal;
use crate::experiment::{Experiment, ModelId, Named};
use crate::model::hub::{self, Heard};
use crate::model::{self, ModelError, ModelSpec, Source};
use crate::plan::{Plan, Work};
use crate::report::text::{bytes, duration, plain};
use crate::run::{Project, SurveyStatus, directory, survey};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The experiment's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub sets: Sets,
}

pub fn fetch(args: &FetchArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load_to_show(&args.file, &args.sets, terminal)?;
    let experiments = match sweep::chosen(&loaded, &args.which)? {
        Some(chosen) => chosen.cells.iter().map(|(_, cell)| &cell.experiment).collect(),
        None => vec![loaded.experiment(&args.which)?],
    };
    let worker = Worker::watching(None, *terminal)?;
    let mut found: BTreeMap<(String, String), PathBuf> = BTreeMap::new();
    for experiment in experiments {
        for model in &experiment.models {
            let Source::Hub { repo, revision } = &model.it.source else { continue };
            if let Some(directory) = bring(model, &worker)? {
                found.insert((repo.clone(), revision.clone()), directory);
            }
        }
    }
    if terminal.json() {
        let told = |((repo, revision), directory): (&(String, String), &PathBuf)| json!({ "repo": repo, "revision": revision, "directory": directory, "bytes": size(directory) });
        terminal.value(&json!({ "models": found.iter().map(told).collect::<Vec<Value>>() }));
    } else if found.is_empty() {
        terminal.say(&format!("{} names no model of the hub", args.file.display()));
    } else {
        for ((repo, revision), directory) in &found {
            terminal.data(&format!(
                "{repo} at {}  {}  {}\n",
                revision.get(..12).unwrap_or_default(),
                bytes(size(directory)),
                directory.display()
            ));
        }
    }
    Ok(Exit::Ok)
}

/// What a run of an experiment needs and lacks here, brought from the hub or told: before its first node works, so that no run
/// fails after hours. Where everything is cached, no model is needed.
pub fn before(experiment: &Experiment, project: &Project, worker: &Worker) -> Result<(), Failure> {
    let may_lack = |spec: &ModelSpec| matches!(spec.source, Source::Hub { .. }) || spec.device.is_gpu();
    if !experiment.models.iter().any(|model| may_lack(&model.it)) {
        return Ok(());
    }
    let planned = load::plan(experiment)?;
    let needed: Vec<&Named<ModelSpec>> =
        used(experiment, &planned.plan).into_iter().map(|model| &experiment.models[model.0]).collect();
    let wire = wire();
    let lacks = |spec: &ModelSpec| hub::placed(spec, &wire.hub).is_err() || model::computes(spec).is_err();
    if needed.iter().any(|model| lacks(&model.it)) {
        let nodes = survey(project, experiment, &planned.identities, &planned.plan, wire.clone())?;
        if nodes.iter().all(|node| matches!(node.status, SurveyStatus::Cached | SurveyStatus::Skipped)) {
            return Ok(());
        }
    }
    for model in needed {
        model::computes(&model.it)
            .map_err(|problem| Failure::new(Exit::Diagnostics, format!("model `{}`: {problem}", model.name)))?;
        bring(model, worker)?;
    }
    Ok(())
}

/// Whether the models that a run asks and trains are here: whoever proves a run brings none.
pub fn required(project: &Project, run: &str) -> Result<(), Failure> {
    let experiment = directory::experiment(project, run)?;
    let planned = load::plan(&experiment)?;
    used(&experiment, &planned.plan).into_iter().map(|model| &experiment.models[model.0]).try_for_each(|model| {
        hub::hold(&model.it, &wire().hub).map_err(|problem| {
            let file = project.run_dir(run).join("source");
            Failure::new(Exit::Usage, format!("model `{}`: {problem}", model.name))
                .help(format!("the file of the run lies in {}", file.display()))
        })
    })
}

/// The models that a plan asks or trains, each once.
fn used(experiment: &Experiment, plan: &Plan) -> Vec<ModelId> {
    let of = |work: &Work| {
        let mut models = work.answer(experiment);
        if let Work::Train { start, .. } = work {
            models.push(start.model);
        }
        models
    };
    let mut all: Vec<ModelId> = plan.steps.iter().flat_map(|step| of(&step.work)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Where a model of the hub is, now that it is here.
fn bring(model: &Named<ModelSpec>, worker: &Worker) -> Result<Option<PathBuf>, Failure> {
    let Source::Hub { repo, .. } = &model.it.source else { return Ok(None) };
    let wire = worker.control().pausing(&wire());
    let mut coming = Coming::new(repo, worker.screen().clone());
    hub::fetch(&model.it, &wire, &mut |heard| coming.hear(heard)).map_err(|problem| {
        coming.end();
        match problem {
            ModelError::Paused => {
                worker.screen().say("paused: what has come is kept; the same command goes on");
                Failure::Told(Exit::Paused)
            }
            problem => Failure::new(Exit::Diagnostics, format!("model `{}`: {problem}", model.name)),
        }
    })
}

/// A model on its way, as it is shown.
struct Coming<'a> {
    repo: &'a str,
    screen: Screen,
    begun: Instant,
    bar: Option<ProgressBar>,
    /// When it was told last, in seconds.
    told: Option<f64>,
    /// What was there when these files were begun, and when that was.
    from: Option<(u64, f64)>,
    total: u64,
}

impl<'a> Coming<'a> {
    #[expect(clippy::disallowed_methods, reason = "the edge reads the clock")]
    fn new(repo: &'a str, screen: Screen) -> Self {
        Self { repo, screen, begun: Instant::now(), bar: None, told: None, from: None, total: 0 }
    }

    fn hear(&mut self, heard: Heard<'_>) {
        match heard {
            Heard::Come { file, done, total } => self.come(file, done, total, self.begun.elapsed().as_secs_f64()),
            Heard::Again { problem } => self.screen.say(&format!("{}: {problem}; trying again", self.repo)),
            Heard::Other { file } => {
                self.screen.say(&format!("{}: another process brings {}; waiting for it", self.repo, plain(file)));
            }
        }
    }

    fn come(&mut self, file: &str, done: u64, total: u64, now: f64) {
        // Others than before: what describes the model comes first, and by itself.
        if total != self.total {
            (self.total, self.from, self.told) = (total, None, None);
        }
        let (first, since) = *self.from.get_or_insert((done, now));
        if self.told.is_some_and(|told| now - told < self.screen.gap()) && done < total {
            return;
        }
        if self.told.is_none() {
            self.screen.say(&format!("{}: {} to fetch", self.repo, bytes(total.saturating_sub(done))));
        }
        let rate = (now > since && done > first).then(|| (done - first) as f64 / (now - since));
        let mut parts = vec![format!("{} of {}", bytes(done), bytes(total))];
        if let Some(rate) = rate.filter(|_| done < total) {
            parts.push(format!("{}/s", bytes(rate as u64)));
            parts.push(format!("{} left", duration((total - done) as f64 / rate)));
        }
        parts.push(plain(file));
        let figures = parts.join(" · ");
        if self.bar.is_none() {
            self.bar = self.screen.bar(self.repo, total);
        }
        match &self.bar {
            Some(bar) => self.screen.draw(bar, done, total, &figures),
            None if self.told.is_some() => self.screen.say(&format!("    {} {figures}", self.repo)),
            None => {}
        }
        self.told = Some(now);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            self.screen.end(&bar);
        }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

fn size(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|entry| file::open(&entry.path()).ok()?.metadata().ok()).map(|found| found.len()).sum()
}

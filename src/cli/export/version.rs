//! Turns a version of a model into a directory that others open, with where it comes from beside it.

use super::is_stdout;
use crate::base::file;
use crate::cli::args::{ExportArgs, ExportForm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::{self, Place};
use crate::cli::reading::find;
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::cli::version::{Asked, changed, training, wanted};
use crate::model::{self, ModelError, hub};
use crate::run::lineage::{self, Origin};
use crate::run::worked::{trained, worked};
use serde_json::json;

/// Lies beside the weights.
const ORIGIN: &str = "agx.json";

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    if is_stdout(&args.to) {
        return Err(Failure::new(Exit::Usage, "it is a directory of files, which stdout cannot be").help("`--to DIR`"));
    }
    let holds_something = std::fs::read_dir(&args.to).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !args.force {
        let message = format!("{} holds something already", args.to.display());
        return Err(Failure::new(Exit::Usage, message).help("name another directory, or write into it with `--force`"));
    }
    let run = place.run(&project, args.run.as_deref())?;
    let report = fold(&project, &run)?;
    let worked = worked(&project, &run)?;
    let experiment = &worked.past.experiment;
    let asked = match &args.node {
        Some(id) => {
            find(&report, &run, id)?;
            Asked::Training(training(&worked, id)?)
        }
        None => wanted(args.model.as_deref(), &report, &worked)?,
    };
    let (version, maker) = asked.version(&worked);
    let name = lineage::version(experiment, &version);
    if let Asked::Training(step) = asked
        && !trained(step)
    {
        terminal.say(&format!("{} had nothing to train on: what it left is {name}", worked.step(step).id));
    }
    let weights = version.weights.map(|digest| project.store.get(&digest));
    let weights = weights.transpose().map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let spec = &experiment.models[version.model.0].it;
    // An adapter stands for itself; what it is merged into must be what it was trained over.
    if args.form != ExportForm::Peft {
        let failed = |problem: ModelError| Failure::new(Exit::Usage, problem.to_string());
        hub::hold(spec, &place::wire().hub).map_err(failed)?;
        if model::identity(spec).map_err(failed)? != worked.past.identities.models[version.model.0] {
            return Err(changed(&name, &run));
        }
    }
    let written = match (args.form, &weights) {
        (ExportForm::Peft, Some(weights)) => model::export_adapter(spec, weights, &args.to),
        (ExportForm::Peft, None) => Err(ModelError::NoAdapter),
        _ => model::export(spec, weights.as_deref(), &args.to, true, &place::wire().hub),
    };
    let form = if args.form == ExportForm::Peft { "peft" } else { "hf" };
    written.map_err(|problem| match problem {
        ModelError::NoAdapter if maker.is_none() => {
            Failure::new(Exit::Usage, format!("{name} is as declared: there is no adapter of it"))
        }
        ModelError::NoAdapter => {
            Failure::new(Exit::Usage, format!("{name}: {problem}")).help("`--as hf` writes it whole")
        }
        ModelError::NoWeights => Failure::new(Exit::Usage, format!("{name} cannot be exported: {problem}")),
        _ => Failure::new(Exit::Usage, problem.to_string()),
    })?;
    let origin: Origin = lineage::origin(&project, &worked, &version, maker)?;
    let text = serde_json::to_string_pretty(&origin).expect("plain data");
    let path = args.to.join(ORIGIN);
    std::fs::write(&path, text + "\n").map_err(|problem| {
        Failure::new(Exit::Usage, format!("{} cannot be written: {}", path.display(), file::reason(&problem)))
    })?;
    if terminal.json() {
        let model = &experiment.models[version.model.0].name;
        terminal.value(&json!({
            "run": run, "model": model, "version": version.number, "as": form, "to": args.to, "origin": origin,
        }));
    } else {
        terminal.say(&format!("wrote {name} to {}", args.to.display()));
    }
    Ok(Exit::Ok)
}

//! `agx graph`: the plan drawn by other programs.

use crate::cli::args::GraphArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::Terminal;
use crate::cli::{load, sweep};
use crate::plan;

pub fn graph(args: &GraphArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    if terminal.json() && (args.form.dot || args.form.mermaid) {
        let form = if args.form.dot { "--dot" } else { "--mermaid" };
        return Err(Failure::new(Exit::Usage, format!("`{form}` and `--format json` are two forms: choose one")));
    }
    let loaded = load::load(&args.file, &args.sets, terminal)?;
    let experiment = match sweep::chosen(&loaded, &args.which)? {
        None => loaded.experiment(&args.which)?,
        Some(chosen) => match chosen.cells.as_slice() {
            [(_, only)] => &only.experiment,
            cells => {
                let message = format!("a graph is of one cell, and {} are meant", cells.len());
                return Err(Failure::new(Exit::Usage, message).help("choose one with `--cell`"));
            }
        },
    };
    let planned = load::plan(experiment)?;
    let text = if args.form.json || terminal.json() {
        plan::to_json(&planned.plan)
    } else if args.form.dot {
        plan::to_dot(&planned.plan)
    } else {
        plan::to_mermaid(&planned.plan)
    };
    terminal.data(&format!("{}\n", text.trim_end()));
    Ok(Exit::Ok)
}

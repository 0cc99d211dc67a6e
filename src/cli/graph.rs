//! `agx graph`: the plan drawn by other programs.

use crate::cli::args::GraphArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load;
use crate::cli::terminal::Terminal;
use crate::plan;

pub fn graph(args: &GraphArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load::load(&args.file, &args.sets, terminal)?;
    let planned = load::plan(&loaded.experiment)?;
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

//! Turns a run into one file for others to check, or to play again.

use super::{free, is_stdout};
use crate::base::file;
use crate::cli::args::{ExportArgs, ExportForm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use crate::report::text::count;
use crate::run::archive::{self, Form, Packed};
use serde_json::json;

pub fn export(args: &ExportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    let to = &args.to;
    if is_stdout(to) {
        return Err(Failure::new(Exit::Usage, "an archive is written to a file, not to stdout").help("`--to FILE`"));
    }
    free(to, args.force)?;
    let run = place.run(&project, args.run.as_deref())?;
    if Place::is_held(&project, &run) {
        let message = format!("run `{run}` is under way");
        return Err(
            Failure::new(Exit::Usage, message).help("`agx status` follows it; pack it when it has ended or paused")
        );
    }
    let form = if args.form == ExportForm::Cassette { Form::Cassette } else { Form::Run };
    let compress = to.extension().is_none_or(|extension| extension != "tar");
    let fail = |problem: std::io::Error| {
        Failure::new(Exit::Usage, format!("{} cannot be written: {}", to.display(), file::reason(&problem)))
    };
    let mut fresh = file::temporary(to.parent().unwrap_or(to)).map_err(fail)?;
    let out = std::io::BufWriter::new(fresh.as_file_mut());
    let Packed { blobs, records, files } = archive::pack(&project, &run, form, compress, to, out)?;
    fresh.persist(to).map_err(|problem| fail(problem.error))?;
    if terminal.json() {
        terminal.value(&json!({
            "run": run, "as": form, "blobs": blobs, "records": records, "files": files, "to": to,
        }));
    } else {
        let parts = format!("{} blobs, {} records, {} files", count(blobs), count(records), count(files));
        terminal.say(&format!("wrote run {run} to {}: {parts}", to.display()));
        terminal.say(&format!("{} takes it in", place.command(&format!("import {}", to.display()))));
    }
    Ok(Exit::Ok)
}

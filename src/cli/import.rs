//! `agx import`: a run, or what models said in one, that somebody else packed.

use crate::base::file;
use crate::cli::args::ImportArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use crate::cli::verify;
use crate::report::text::count;
use crate::run::archive::{self, ArchiveError, Asked, Form, Unpacked};
use serde_json::json;

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let message = error.to_string();
        match error {
            ArchiveError::Run(error) => error.into(),
            ArchiveError::TooLarge { most, .. } => Self::new(Exit::Usage, message)
                .help(format!("if that is to be expected, `--most {}` takes more", most * 4)),
            ArchiveError::Diverges(_) => {
                Self::new(Exit::Usage, message).help("take it into a store of its own: `--store DIR`")
            }
            ArchiveError::Changed(_) => {
                Self::new(Exit::Usage, message).help("bring the files back as they were, and pack it again")
            }
            ArchiveError::Damaged { .. } => Self::new(Exit::Usage, message).help("copy it again"),
            ArchiveError::File { .. }
            | ArchiveError::Foreign { .. }
            | ArchiveError::Entry { .. }
            | ArchiveError::Unsound { .. }
            | ArchiveError::Store(_) => Self::new(Exit::Usage, message),
        }
    }
}

pub fn import(args: &ImportArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    // Before a store is made for it.
    file::open(&args.file)
        .map_err(|problem| Failure::new(Exit::Usage, format!("{}: {}", args.file.display(), file::reason(&problem))))?;
    let project = place.make()?;
    let asked = Asked { archive: &args.file, most: args.most, expand: &verify::expand };
    let unpacked = archive::unpack(&project, &asked)?;
    let Unpacked { was, run, form, known, blobs, records, files } = &unpacked;
    if terminal.json() {
        terminal.value(&json!({
            "run": run, "was": was, "form": form, "known": known, "blobs": blobs, "records": records, "files": files,
        }));
        return Ok(Exit::Ok);
    }
    let parts = format!("{} blobs, {} records, {} files", count(*blobs), count(*records), count(*files));
    terminal.say(&match (known, run == was) {
        (true, true) => format!("run {run} is here already; {parts}"),
        (true, false) => format!("run {was} is here already, as {run}; {parts}"),
        (false, true) => format!("took in run {run}: {parts}"),
        (false, false) => format!("took in run {was} as {run}, for there is another {was} here: {parts}"),
    });
    let command = |verb: &str| place.command(&format!("{verb} {run}"));
    terminal.say(&match form {
        Form::Run => format!("{} shows what it found, {} proves it", command("report"), command("verify")),
        Form::Cassette => format!(
            "{} shows what it found; {} plays it again, with the experiment's own models beside it",
            command("report"),
            place.command("run FILE --frozen")
        ),
    });
    if !known {
        terminal.say("runs in this store take what it holds for made; to keep it apart, import it with `--store DIR`");
    }
    Ok(Exit::Ok)
}

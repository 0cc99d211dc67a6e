//! `agx cache`: what the store holds, and what of it may go.

use crate::base::Digest;
use crate::cli::args::CacheCommand;
use crate::cli::exit::{Exit, Failure};
use crate::cli::place::Place;
use crate::cli::terminal::Terminal;
use crate::report::text::{Cell, Table, bytes, count, counted, plain};
use crate::run::keep::{self, Kept};
use crate::run::{Project, RunError};
use crate::store::{Record, StoreError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub fn cache(command: &CacheCommand, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        CacheCommand::Ls => ls(&place.open()?, place, terminal),
        CacheCommand::Gc { dry_run } => gc(&place.open()?, *dry_run, place, terminal),
        CacheCommand::Forget { run, node } => forget(run.as_deref(), node.as_deref(), place, terminal),
        CacheCommand::Over { below, none: _ } => over(below.as_deref(), place, terminal),
    }
}

fn unusable(problem: StoreError) -> Failure {
    RunError::from(problem).into()
}

fn kept(project: &Project, records: &[Record]) -> Result<Kept, Failure> {
    keep::kept(project, records).map_err(|problem| match problem {
        problem @ (RunError::Journal { .. } | RunError::Blank(_)) => Failure::from(problem).help(
            "what this run made is not known, so nothing is removed: see to its journal, or remove its directory with all it made",
        ),
        problem => problem.into(),
    })
}

/// What no run names.
struct Loose {
    records: usize,
    blobs: usize,
    bytes: u64,
}

impl Loose {
    fn of(records: &[Record], sizes: &BTreeMap<Digest, u64>, kept: &BTreeSet<Digest>) -> Self {
        let blobs: Vec<u64> = sizes.iter().filter(|(blob, _)| !kept.contains(blob)).map(|(_, size)| *size).collect();
        let records = records.iter().filter(|record| !kept.contains(&record.key)).count();
        Self { records, blobs: blobs.len(), bytes: blobs.iter().sum() }
    }
}

/// All records, and all blobs with their sizes: everything is read once.
fn contents(project: &Project) -> Result<(Vec<Record>, BTreeMap<Digest, u64>), Failure> {
    let blobs = project.store.blobs().map_err(unusable)?;
    Ok((project.store.records().map_err(unusable)?, blobs.into_iter().collect()))
}

fn ls(project: &Project, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let (all, sizes) = contents(project)?;
    let mut made: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for record in &all {
        let (records, size) = made.entry(record.op.clone()).or_default();
        *records += 1;
        *size += record.blobs().filter_map(|blob| sizes.get(blob)).sum::<u64>();
    }
    let size = project.store.size().map_err(unusable)?;
    let root = project.store.root();
    let below = project.store.below().map(|below| below.root());
    let kept = kept(project, &all);
    let loose = kept.as_ref().ok().map(|kept| Loose::of(&all, &sizes, &kept.names));
    if terminal.json() {
        let made: BTreeMap<_, _> =
            made.iter().map(|(op, (records, bytes))| (op, json!({ "records": records, "bytes": bytes }))).collect();
        let loose =
            loose.map(|Loose { records, blobs, bytes }| json!({ "records": records, "blobs": blobs, "bytes": bytes }));
        terminal.value(&json!({
            "store": root, "over": below, "disk_bytes": size, "blobs": sizes.len(), "operations": made,
            "named_by_no_run": loose, "kept_for_open_runs": kept.as_ref().ok().map(open_json),
        }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::with_head([Cell::left("operation"), Cell::right("records"), Cell::right("made")]);
    for (op, (records, size)) in &made {
        table.push([Cell::left(op), Cell::right(count(*records)), Cell::right(bytes(*size))]);
    }
    let blobs = counted(sizes.len(), "blob");
    terminal.data(&format!("{}: {} on the disk, {blobs}\n\n{}", root.display(), bytes(size), table.text()));
    if let Some(below) = below {
        terminal.data(&format!("\nWhat is not here is read in {}", below.display()));
    }
    if let Err(failure) = &kept {
        terminal.fail(failure);
    }
    if let Some(Loose { records, blobs, bytes: size }) = loose
        && records + blobs > 0
    {
        let (records, blobs, gc) = (counted(records, "record"), counted(blobs, "blob"), place.command("cache gc"));
        terminal.say(&format!("\nNamed by no run: {records}, {blobs} of {}; {gc} removes them", bytes(size)));
    }
    kept.iter().for_each(|kept| tell_open(kept, place, terminal));
    Ok(Exit::Ok)
}

fn open_json(Kept { names: _, open, perhaps }: &Kept) -> Value {
    json!({ "runs": open, "records": perhaps })
}

/// Which runs may have made what no run names.
fn tell_open(Kept { names: _, open, perhaps }: &Kept, place: &Place, terminal: &Terminal) {
    if *perhaps > 0 {
        let resume: Vec<String> = open.iter().map(|run| place.command(&format!("resume {}", plain(run)))).collect();
        terminal.say(&format!(
            "{} that no run names may be what a run made last that has not come to its end, and stay: {} settles it; to be rid of \
             the run, remove its directory",
            counted(*perhaps, "record"),
            resume.join(" and ")
        ));
    }
}

fn gc(project: &Project, dry_run: bool, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    // Held before it is asked what is named, or a run could end in between.
    let sweep = if dry_run { None } else { Some(project.store.sweep().map_err(unusable)?) };
    let (all, sizes) = contents(project)?;
    let kept = kept(project, &all)?;
    let Loose { records, blobs, bytes: size } = Loose::of(&all, &sizes, &kept.names);
    let freed = sweep.map(|sweep| sweep.keep(|name| kept.names.contains(name))).transpose().map_err(unusable)?;
    if terminal.json() {
        terminal.value(&json!({
            "records": records, "blobs": blobs, "bytes": size, "freed_disk_bytes": freed, "kept_for_open_runs": open_json(&kept),
        }));
        return Ok(Exit::Ok);
    }
    let nothing = (records, blobs) == (0, 0);
    let (records, blobs) = (counted(records, "record"), counted(blobs, "blob"));
    terminal.say(&match freed {
        _ if nothing && kept.perhaps > 0 => "there is nothing to remove".to_owned(),
        Some(0) | None if nothing => "a run names each record and blob: there is nothing to remove".to_owned(),
        // What was kept lies closer now, or something was there twice.
        Some(freed) if nothing => {
            format!("a run names each record and blob; written anew, they take {} less", bytes(freed))
        }
        None => format!("would remove {records} and {blobs} of {} that no run names", bytes(size)),
        Some(freed) => format!("removed {records} and {blobs} that no run names: {} of disk came free", bytes(freed)),
    });
    tell_open(&kept, place, terminal);
    Ok(Exit::Ok)
}

fn forget(run: Option<&str>, node: Option<&str>, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.open()?;
    let run = place.run(&project, run)?;
    let forgotten = keep::forget(&project, &run, node)?;
    if forgotten == 0
        && let Some(node) = node
    {
        let message = format!("run `{run}` has no results of `{node}`");
        return Err(Failure::new(Exit::Usage, message).help(format!("{} lists its nodes", place.command("status"))));
    }
    if terminal.json() {
        terminal.value(&json!({ "run": run, "node": node, "records": forgotten }));
    } else {
        let of = node.map_or_else(|| format!("run `{run}`"), |node| format!("`{node}` of run `{run}`"));
        let records = counted(forgotten, "record");
        terminal.say(&format!(
            "forgot {records} of {of}: the next run works them again; until then it, and any run that took them, can be shown \
             and does not verify"
        ));
    }
    Ok(Exit::Ok)
}

fn over(below: Option<&Path>, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = place.alone()?;
    let before = project.lay_over(below)?;
    let root = project.store.root().display();
    if terminal.json() {
        terminal.value(&json!({ "store": project.store.root(), "over": below }));
    } else {
        terminal.say(&match below {
            Some(below) => format!(
                "{root} lies over {}: what is found there is not made again; nothing is written there",
                below.display()
            ),
            None => format!("{root} stands for itself"),
        });
        if let Some(before) = before.filter(|before| Some(before.as_path()) != below) {
            let back = place.command(&format!("cache over {}", before.display()));
            terminal.say(&format!(
                "runs that took something from {} cannot show or verify it now; {back} brings it back",
                before.display()
            ));
        }
    }
    Ok(Exit::Ok)
}

//! Turns arguments into one typed command.

use crate::cli::doctor::DoctorArgs;
use crate::cli::env::EnvCommand;
use crate::cli::fetch::FetchArgs;
use crate::cli::score::ScoreCommand;
use crate::cli::serve::ServeArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0 ok   1 the file is wrong, or what is compared differs
  2 bad usage, nothing to work on, or output that cannot be written
  3 a node failed   4 paused: go on with `agx resume`   5 `agx verify` found a difference
  70 a bug in agx

Environment:
  AGX_STORE            where results live (as --store)
  RAYON_NUM_THREADS    threads (as --jobs); results do not depend on it
  HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE
                       the Hugging Face hub, as `huggingface_hub` has them
  AGX_ISA              instruction set of the kernels; results do not depend on it
  AGX_MEMORY           what a local model keeps of what it has read, such as 8GiB; `auto`, a quarter of what is free
  NO_COLOR             no colours
  NO_GRAPHICS          diagnostics in sentences (as --narrate)";

/// Train language-model agents by a critic's verdicts, from one file that says everything.
#[derive(Debug, Parser)]
#[command(name = "agx", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Human words, or JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Diagnostics in sentences instead of drawings, for screen readers.
    #[arg(long, global = true)]
    pub narrate: bool,
    /// Where results live; without it the nearest `.agx` above this directory, else `.agx` here.
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a project to start from: an experiment and the models it begins with.
    #[command(after_help = "Examples:\n  agx init first\n  agx init --from paper\n  agx init --list")]
    Init(InitArgs),
    /// Find every mistake in a file, before a token is spent.
    #[command(
        after_help = "Examples:\n  agx check experiments/quickstart.agx\n  agx check experiments/*.agx --format json"
    )]
    Check(CheckArgs),
    /// Put files into the canonical style.
    #[command(
        after_help = "Examples:\n  agx fmt experiments/quickstart.agx\n  agx fmt --check experiments/*.agx\n  agx fmt < draft.agx > tidy.agx\n\nA file with mistakes of writing is refused; comments and the bytes of prompts stay."
    )]
    Fmt(FmtArgs),
    /// Mend what diagnostics know how to mend.
    #[command(
        after_help = "Examples:\n  agx fix experiments/quickstart.agx\n  agx fix --check draft.agx\n  agx fix --code E0107 --code E0302 draft.agx\n\nA file never has more errors afterwards than before."
    )]
    Fix(FixArgs),
    /// Show what would run: what is cached, what would be worked, how many items.
    #[command(
        after_help = "Examples:\n  agx plan experiments/quickstart.agx\n  agx plan experiments/quickstart.agx --set threshold=4 --json\n  agx plan experiments/quickstart.agx --set threshold=4 --why\n  agx plan experiments/quickstart.agx --why --against quickstart-2\n\n`--why` compares with the newest run of the same experiment, as that was when it was started: of each node whose key is another, the first thing that differs, under the name that the file gives it; below it, the node that it differs because of."
    )]
    Plan(PlanArgs),
    /// Draw the plan as a graph.
    #[command(
        after_help = "Examples:\n  agx graph experiments/quickstart.agx --mermaid\n  agx graph experiments/quickstart.agx --dot | dot -Tsvg > plan.svg"
    )]
    Graph(GraphArgs),
    /// Run an experiment; what is cached is not worked again.
    #[command(
        after_help = "Examples:\n  agx run experiments/quickstart.agx\n  agx run experiments/quickstart.agx --set seed=8 --set rounds=4\n  agx run experiments/quickstart.agx --locked\n  agx run sweep.agx --matrix rates\n\nCtrl-C pauses after what is in flight; a second Ctrl-C ends at once, and loses only that."
    )]
    Run(RunArgs),
    /// Bring the models of the Hugging Face hub that a file names here, and run nothing.
    #[command(
        after_help = "Examples:\n  agx fetch experiments/quickstart.agx\n  agx fetch sweep.agx --matrix models\n  HF_TOKEN=… agx fetch gated.agx               a model that wants its terms agreed to\n  HF_ENDPOINT=https://mirror.example agx fetch a.agx\n\n`agx run` brings what is missing as well; this is for a machine with a network that prepares one without. What was interrupted is gone on with. Files lie where `huggingface_hub` has them, and what it brought is used."
    )]
    Fetch(FetchArgs),
    /// Go on with a paused, failed or killed run, from its own frozen source.
    #[command(
        after_help = "Examples:\n  agx resume\n  agx resume quickstart-3 --jobs 1\n  agx resume quickstart-3 --no-budget\n\nA run that a budget paused has that budget still. With a larger one in the file, `agx run` starts a run that takes what is done from the store: a budget is in no key, and what is cached costs nothing."
    )]
    Resume(ResumeArgs),
    /// Show where each node of a run stands, also while it runs.
    #[command(
        after_help = "Examples:\n  agx status\n  agx status quickstart-3 --format json\n  agx status --watch\n\n`--watch` ends with the run, and as the run does: 0 finished, 3 a node failed, 4 paused or interrupted. With `--format json` it gives one event a line."
    )]
    Status(StatusArgs),
    /// Show what a run found.
    #[command(
        after_help = "Examples:\n  agx report\n  agx report quickstart-3 --html report.html\n  agx report --md >> notes.md\n  agx report quickstart-1 --with random-1 --with oracle-1 --svg curves.svg\n  agx report --json | jq .metrics"
    )]
    Report(ReportArgs),
    /// Show what differs between two runs, two files, or one of each.
    #[command(
        after_help = "Examples:\n  agx diff quickstart-1 quickstart-2\n  agx diff quickstart-1 quickstart.agx\n  agx diff paper.agx quickstart.agx --format json\n\nIt ends with 0 where they are the same, with 1 where they differ, and with 2 where one cannot be read."
    )]
    Diff(DiffArgs),
    /// Show one object: of a file, what it declares; of a run, a node, what it came of, a trajectory, a record, a blob.
    #[command(
        after_help = "Examples:\n  agx show --file a.agx                     what the file declares\n  agx show rule good --file a.agx           one thing in it, with what it leaves out\n  agx show prompt act --task dev-0003       a prompt as it is sent\n  agx show rollout@1                        a node of the newest run: figures, items, files\n  agx show rollout@1 --task train-0012      its trajectories of one task\n  agx show judge@1 --item 3                 one item\n  agx show train@1                          what it made, of which rows, verdicts and prompts\n  agx show trajectory 3f9a0c12              what became of it, in all runs: kept, trained on\n  agx show 3f9a0c12                         a record or blob, by the start of its digest\n\nWhat a file declares is `param`, `env`, `dataset`, `model`, `prompt`, `critic`, `rule`, `trainer`, `experiment` or `matrix`, then its name; without `--file`, of the file that the run has frozen."
    )]
    Show(ShowArgs),
    /// Prove what can be proven of a run: that nothing was changed, that its results follow, that they come out again.
    #[command(
        after_help = "Examples:\n  agx verify                              the newest run, without asking a model\n  agx verify quickstart-3 --level 0       only whether what is stored is whole\n  agx verify --sample 5%                  a part of what models made, made again\n  agx verify --level 3                    everything made again\n  agx verify --against quickstart-2       bit by bit against another run of the same\n  agx verify experiments/quickstart.agx   run anew from nothing, held against its lock\n\nNothing of the run is written; a level is only begun when the one below found nothing."
    )]
    Verify(VerifyArgs),
    /// Write down beside a file what it names and what came of it, so that anybody can hold against it.
    #[command(
        after_help = "Examples:\n  agx lock experiments/quickstart.agx             its inputs\n  agx lock experiments/quickstart.agx --results   and what the newest finished run of it gave\n  agx lock quickstart.agx --update policy         one input that was changed on purpose\n  agx run quickstart.agx --locked                 runs if all is as locked, and compares the results\n\nThe lock of `a.agx` is `a.lock`; keep it in git."
    )]
    Lock(LockArgs),
    /// Serve editors: diagnostics, completion, hover, rename over the language server protocol.
    #[command(
        after_help = "Examples:\n  agx lsp\n\nEditors start it for `.agx` files and speak with it on standard input and output."
    )]
    Lsp(LspArgs),
    /// Explain a diagnostic's code.
    #[command(after_help = "Examples:\n  agx explain E0201\n  agx explain --all")]
    Explain(ExplainArgs),
    /// Write what a run made in a form that other programs read.
    #[command(
        after_help = "Examples:\n  agx export --as hf --to policy-best --model policy@best\n  agx export base_policy-1 --as hf --to experiments/base/policy --model policy@1\n  agx export --as peft --to adapter --node train@3\n  agx export --as jsonl --to kept.jsonl\n  agx export --as jsonl --to all.jsonl --node select@2 --dropped\n  agx export quickstart-3 --as tar --to quickstart-3.tar.zst\n  agx export --as cassette --to quickstart.cassette"
    )]
    Export(ExportArgs),
    /// Take in a run that somebody packed with `agx export --as tar` or `--as cassette`.
    #[command(
        after_help = "Examples:\n  agx import quickstart-3.tar.zst\n  agx import quickstart-3.tar.zst --store elsewhere\n  agx import quickstart.cassette && agx run quickstart.agx --frozen\n\nNothing of the file is believed: all of it is looked at before anything reaches the store. A run whose name is taken gets the next number of its series."
    )]
    Import(ImportArgs),
    /// Offer a model to programs that speak OpenAI's protocol, over HTTP.
    #[command(
        after_help = "Examples:\n  agx serve base/policy                         a directory in the Hugging Face layout\n  agx serve model.gguf                          a GGUF file\n  agx serve policy.json                         a script, for tests\n  agx serve quickstart.agx:policy               a model as a file declares it\n  agx serve quickstart-3:policy@best            what a run picked\n  agx serve quickstart-3:policy@2 --port 0 --format json\n  AGX_KEY=… agx serve base/policy --host 0.0.0.0 --api-key-env AGX_KEY\n\nThe address is printed once it can be asked; Ctrl-C answers what was asked and ends, a second one ends at once."
    )]
    Serve(ServeArgs),
    /// Look into the store, and free what no run needs.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Score replies from anywhere, as a benchmark scores them.
    #[command(subcommand)]
    Score(ScoreCommand),
    /// Look whether the machine, and what a file names, are fit to run: models, endpoints, environments.
    #[command(
        after_help = "Examples:\n  agx doctor                              the machine and this build\n  agx doctor experiments/quickstart.agx   and all that the file names\n  agx doctor shop.agx --format json\n\nEnvironments are started or reached, and the first task of each is begun; endpoints are asked which models they have, which costs nothing. It ends with 1 where something is not as the file says."
    )]
    Doctor(DoctorArgs),
    /// Offer an environment to other programs, on standard input and output.
    #[command(subcommand)]
    Env(EnvCommand),
}

#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// What the store holds by operation, and what of it no run names.
    #[command(after_help = "Examples:\n  agx cache ls\n  agx cache ls --format json")]
    Ls,
    /// Remove records and blobs that no run names.
    #[command(
        after_help = "Examples:\n  agx cache gc --dry-run\n  rm -r .agx/runs/lab-1 && agx cache gc    a run, with what it alone made\n\nRefused while a run is working on the store."
    )]
    Gc {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Let what a run made be worked again by the next run of it.
    #[command(
        after_help = "Examples:\n  agx cache forget --node judge@2            of the newest run\n  agx cache forget quickstart-3 --node train@1\n  agx cache forget quickstart-3              all that it made or took from the store\n\nThe run itself stays as it is, and can be shown."
    )]
    Forget {
        /// Without it, the newest.
        run: Option<String>,
        /// One of its nodes, like `judge@2`; without it, all.
        #[arg(long)]
        node: Option<String>,
    },
    /// Lay this store over another, which is only read: what is found there is not made again.
    #[command(after_help = "Examples:\n  agx cache over /shared/lab/.agx\n  agx cache over --none")]
    Over {
        /// The store below; it may be one that cannot be written.
        #[arg(value_name = "DIR", required_unless_present = "none")]
        below: Option<PathBuf>,
        /// No store below.
        #[arg(long, conflicts_with = "below")]
        none: bool,
    },
}

/// Whether a command line that is wrong asks for JSON all the same.
pub fn wants_json(args: impl IntoIterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.into_iter().collect();
    args.iter().any(|arg| arg == "--format=json")
        || args.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// Values for params: `--set` goes before `--params`, which goes before what the file says.
#[derive(Clone, Debug, Default, Args)]
pub struct Sets {
    /// Give a `param` another value.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = set)]
    pub sets: Vec<(String, String)>,
    /// Take values of `param`s from a TOML file; of several files the last counts.
    #[arg(long, value_name = "FILE")]
    pub params: Vec<PathBuf>,
}

impl Sets {
    pub fn is_empty(&self) -> bool {
        let Self { sets, params } = self;
        sets.is_empty() && params.is_empty()
    }
}

/// One of a file's experiments.
#[derive(Clone, Debug, Default, Args)]
pub struct Only {
    /// The experiment, where the file has several.
    #[arg(long, short, value_name = "NAME")]
    pub experiment: Option<String>,
}

impl From<Only> for Which {
    fn from(only: Only) -> Self {
        Self { experiment: only.experiment, ..Self::default() }
    }
}

/// Which of a file's experiments.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// The experiment, where the file has several.
    #[arg(long, short, value_name = "NAME")]
    pub experiment: Option<String>,
    /// All cells of a matrix, one after another.
    #[arg(long, value_name = "NAME", conflicts_with = "experiment")]
    pub matrix: Option<String>,
    /// Only this cell of the matrix: its number, or values that name it: `lr=1e-4`, as often as needed.
    #[arg(long, value_name = "N|AXIS=VALUE", requires = "matrix")]
    pub cell: Vec<String>,
}

fn set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write NAME=VALUE, like `--set seed=8`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Where; made when absent.
    #[arg(value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub directory: PathBuf,
    /// What to start from.
    #[arg(long, value_enum, default_value_t = Start::Quickstart, value_name = "NAME")]
    pub from: Start,
    /// What there is to start from.
    #[arg(long, conflicts_with_all = ["directory", "from", "force"])]
    pub list: bool,
    /// Overwrite what is there.
    #[arg(long)]
    pub force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// One evaluation: the least that runs.
    Minimal,
    /// The whole loop at a desk, with a critic that is measured and an early end.
    Quickstart,
    /// The paper's method and nothing else; what it leaves open is a param.
    Paper,
    /// Preference pairs (ETO) by a critic's scores; this version checks and plans them.
    Eto,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files to check, each alone with what it imports; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub sets: Sets,
}

/// What is rewritten, and whether it is.
#[derive(Debug, Args)]
pub struct Rewriting {
    /// Without any, or for `-`, standard input to standard output.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write nothing: show the differences, and end with 1 if there are any.
    #[arg(long, visible_alias = "diff")]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct FmtArgs {
    #[command(flatten)]
    pub rewriting: Rewriting,
}

#[derive(Debug, Args)]
pub struct FixArgs {
    #[command(flatten)]
    pub rewriting: Rewriting,
    /// Mend only this, as often as wanted.
    #[arg(long = "code", value_name = "CODE")]
    pub codes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The experiment's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub sets: Sets,
    /// Say why each node is to run, or is another than it was.
    #[arg(long)]
    pub why: bool,
    /// Compare with this run; without it, with the newest of the same experiment.
    #[arg(long, value_name = "RUN", requires = "why")]
    pub against: Option<String>,
    /// One JSON object (as `--format json`).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[group(id = "form", multiple = false)]
pub struct GraphForm {
    /// Graphviz.
    #[arg(long, group = "form")]
    pub dot: bool,
    /// Mermaid's flowchart, as GitHub draws it (the default).
    #[arg(long, group = "form")]
    pub mermaid: bool,
    /// Nodes and edges as JSON.
    #[arg(long, group = "form")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct GraphArgs {
    /// The experiment's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub sets: Sets,
    #[command(flatten)]
    pub form: GraphForm,
}

#[derive(Debug, Args)]
pub struct Work {
    /// Threads; results do not depend on it.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// After a failure, still run what does not depend on it.
    #[arg(long)]
    pub keep_going: bool,
    /// Run on although the experiment's `budget` is spent.
    #[arg(long)]
    pub no_budget: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The experiment's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub sets: Sets,
    #[command(flatten)]
    pub work: Work,
    /// Only if all is as the file's lock has it; the results are held against it as well.
    #[arg(long, conflicts_with = "matrix")]
    pub locked: bool,
    /// Ask no model: what the store does not have fails.
    #[arg(long, conflicts_with = "matrix")]
    pub frozen: bool,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Without it, the newest.
    pub run: Option<String>,
    /// Let a run that was imported start the programs that its environments are.
    #[arg(long)]
    pub start_programs: bool,
    #[command(flatten)]
    pub work: Work,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Without it, the newest.
    pub run: Option<String>,
    /// All runs of the store, a line each.
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
    /// Follow the run until it ends, whoever runs it.
    #[arg(long, conflicts_with = "all")]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Without it, the newest.
    pub run: Option<String>,
    /// Write one self-contained page; `-` is stdout.
    #[arg(long, value_name = "PATH")]
    pub html: Option<PathBuf>,
    /// Draw the first plot alone, for a book or a paper.
    #[arg(long, value_name = "PATH")]
    pub svg: Option<PathBuf>,
    /// Draw another run's curve beside it, as often as wanted.
    #[arg(long = "with", value_name = "RUN", requires = "svg")]
    pub others: Vec<String>,
    /// Markdown.
    #[arg(long, conflicts_with = "json")]
    pub md: bool,
    /// One JSON object (as `--format json`).
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A run, or a file.
    pub a: String,
    /// What it is held against.
    pub b: String,
    #[command(flatten)]
    pub only: Only,
    #[command(flatten)]
    pub sets: Sets,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// `rule good` or the like, a node's id, `trajectory` and a digest, or the start of a digest.
    #[arg(num_args = 0..=2, value_name = "OBJ")]
    pub object: Vec<String>,
    /// Look into this file instead of a run's.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub sets: Sets,
    /// The run to look in; without it, the newest.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Only what belongs to this task.
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Only this item: its place, counted from 0, or its name.
    #[arg(long, value_name = "ITEM", conflicts_with = "task")]
    pub item: Option<String>,
}

#[derive(Debug, Args)]
pub struct LockArgs {
    /// The experiment's file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Only,
    #[command(flatten)]
    pub sets: Sets,
    /// Take in what the newest finished run of the file gave.
    #[arg(long)]
    pub results: bool,
    /// Take in only this input, and refuse if another has changed; as often as wanted.
    #[arg(long, value_name = "NAME")]
    pub update: Vec<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A run, or an experiment's file: that is run anew in an empty place and held against its lock. Without it, the newest run.
    #[arg(value_name = "RUN|FILE")]
    pub run: Option<String>,
    /// How far: 0 what is stored, 1 keys and seeds, 2 every step but the models', 3 the models as well.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub level: u8,
    /// Let models make this share again, and not all: `5%` (level 3).
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with = "level")]
    pub sample: Option<f64>,
    /// Compare with another run instead of making anything again (level 3).
    #[arg(long, value_name = "RUN", conflicts_with_all = ["level", "sample"])]
    pub against: Option<String>,
    /// Let a run that was imported start the programs that its environments are.
    #[arg(long)]
    pub start_programs: bool,
    /// Threads; results do not depend on it.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / unit);
    match share {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a share above 0 and up to 100%, like `--sample 5%`".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct LspArgs {
    /// What editors say to every server; there is no other way.
    #[arg(long, hide = true)]
    pub stdio: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Like `E0201`.
    #[arg(required_unless_present = "all")]
    pub code: Option<String>,
    /// Every code with its title.
    #[arg(long, conflicts_with = "code")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Without it, the newest.
    pub run: Option<String>,
    /// In which form.
    #[arg(long = "as", value_enum)]
    pub form: ExportForm,
    /// The directory to write (made when absent), or the file; `-` writes `jsonl` to stdout.
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Write into a directory that holds something already, or a file anew.
    #[arg(long)]
    pub force: bool,
    /// Of `hf` and `peft`, which version: `policy@2`, `policy@best` (what the run picked), or `policy` for the newest.
    #[arg(long, value_name = "MODEL[@VERSION]")]
    pub model: Option<String>,
    /// Of `hf` and `peft`, the training that made it; of `jsonl`, whose trajectories, without it the last selection's.
    #[arg(long, value_name = "NODE", conflicts_with = "model")]
    pub node: Option<String>,
    /// Of `jsonl`, also what a selection did not keep, with the stage that dropped it.
    #[arg(long)]
    pub dropped: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The archive; compressed or not is seen by its bytes.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Refuse what unpacks to more than so many GiB.
    #[arg(long, value_name = "GIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub most: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// A Hugging Face directory: config, bf16 weights, tokenizer, chat template.
    Hf,
    /// A trained adapter as PEFT has it: its config, its weights.
    Peft,
    /// A file of JSON Lines: a conversation a line (`messages`), with its verdict and where it comes from.
    Jsonl,
    /// One file with all that is needed to check the run elsewhere, models and data included: `.tar.zst`, or `.tar` plain.
    Tar,
    /// The same without the models' own files: what models said, to be played again with `agx run --frozen`.
    Cassette,
}

//! `agx serve`: a model behind an address, for whatever speaks OpenAI's protocol.

use crate::base::file::reason;
use crate::base::{Digest, Seed};
use crate::cli::args::{Only, Sets};
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::load_to_show;
use crate::cli::machine;
use crate::cli::place::{self, Place};
use crate::cli::report::fold;
use crate::cli::terminal::Terminal;
use crate::cli::version::{changed, slot, wanted};
use crate::model::{self, Device, Dtype, ModelError, ModelSpec, Secret, Source, ToolCalls, ToolFormat, hub};
use crate::run::lineage;
use crate::run::resources::version_digest;
use crate::run::worked::worked;
use crate::serve::{self, Served, Stop, Terms};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// In which a request must be there: long enough for a large one over a slow line.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tokens that a conversation with a script may have, where nothing is said: it was made for no number of them.
const SCRIPT_CONTEXT: u32 = 8192;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A directory, a script (`a.json`), a file's model (`a.agx:policy`) or a run's version (`RUN:policy@best`).
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The address to listen on; this machine alone may ask without another one.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The port; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// The environment variable with the key that every request must show (or with `_FILE` after it, a file's path).
    #[arg(long, value_name = "NAME", conflicts_with = "api_key_file")]
    pub api_key_env: Option<String>,
    /// The file with that key.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Once so many replies wait, whoever comes is told to come again (429).
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_waiting: u32,
    /// What requests call it; without it, as the model is called here.
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    /// Where requests that give no seed take theirs from, one after the other.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Tokens that prompt and reply may hold together; without it, as declared, or what the model was made for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1 << 20))]
    pub context: Option<u32>,
    /// How it writes a tool call; without it, as declared, else `lines`.
    #[arg(long, value_name = "FORMAT", value_parser = tool_format())]
    pub tool_format: Option<ToolFormat>,
    #[command(flatten)]
    pub only: Only,
    #[command(flatten)]
    pub sets: Sets,
}

fn tool_format() -> impl TypedValueParser<Value = ToolFormat> {
    let named = |word: String| ToolFormat::ALL.into_iter().find(|format| format.as_str() == word);
    PossibleValuesParser::new(ToolFormat::ALL.map(ToolFormat::as_str))
        .map(move |word| named(word).expect("only these are possible"))
}

/// What is to be served.
struct Chosen {
    name: String,
    spec: ModelSpec,
    /// What was trained over it, as the store has it.
    weights: Option<(Digest, Vec<u8>)>,
    /// The run that made it, and what the declared files held then.
    made: Option<(String, Digest)>,
}

pub fn serve(args: &ServeArgs, place: &Place, terminal: &Terminal) -> Result<Exit, Failure> {
    machine::choose_kernels()?;
    let key = key(args)?;
    if args.model_name.as_ref().is_some_and(|name| name.is_empty() || name.chars().any(char::is_control)) {
        return Err(Failure::new(Exit::Usage, "`--model-name` is to be a name that can be written on a line"));
    }
    let Chosen { name, mut spec, weights, made } = chosen(args, place, terminal)?;
    if let Source::Remote(_) = spec.source {
        return Err(Failure::new(Exit::Usage, format!("{name} is behind an endpoint already"))
            .help("its own address speaks the protocol"));
    }
    spec.context = args.context.unwrap_or(spec.context);
    spec.tool_format = args.tool_format.unwrap_or(spec.tool_format);
    // Before the model is opened, which takes its time.
    let listener = listen(&args.host, args.port)?;
    let failed = |problem: ModelError| {
        let message = match problem {
            // They say of what they are.
            ModelError::File { .. } | ModelError::Config { .. } => problem.to_string(),
            _ => format!("{} cannot be served: {problem}", args.model),
        };
        Failure::new(Exit::Diagnostics, message)
    };
    hub::hold(&spec, &place::wire().hub).map_err(failed)?;
    let identity = model::identity(&spec).map_err(failed)?;
    if let Some((run, was)) = made
        && identity != was
    {
        return Err(changed(&name, &run));
    }
    let (digest, bytes) = weights.unzip();
    let opened = model::open(&spec, bytes.as_deref(), &place::wire().keeping(machine::memory()?)).map_err(failed)?;
    let served = Served {
        name: args.model_name.clone().unwrap_or(name),
        model: opened,
        tool_format: spec.tool_format,
        fingerprint: version_digest(&identity, &spec, digest),
        created: place::now() / 1000,
    };
    let stop = Stop::default();
    stop_on_interrupt(&stop, *terminal);
    tell(&served, &spec, &listener, key.is_some(), terminal)?;
    let seed = Seed(args.seed).derive("serve");
    let terms = Terms { key, seed, max_waiting: args.max_waiting as usize, patience: PATIENCE, clock: place::now };
    serve::serve(listener, served, terms, &stop)
        .map_err(|problem| Failure::new(Exit::Usage, format!("the server ended: {}", reason(&problem))))?;
    Ok(Exit::Ok)
}

fn key(args: &ServeArgs) -> Result<Option<Secret>, Failure> {
    let key = match (&args.api_key_env, &args.api_key_file) {
        (Some(name), _) => place::secret(name),
        (None, Some(path)) => place::secret_in(path, &path.display().to_string()),
        (None, None) => return Ok(None),
    };
    key.map(Some).map_err(|problem| Failure::new(Exit::Usage, format!("there is no API key: {problem}")))
}

fn listen(host: &str, port: u16) -> Result<TcpListener, Failure> {
    // An IPv6 address may stand in brackets, as in the address that is told.
    TcpListener::bind((host.trim_matches(['[', ']']), port)).map_err(|problem| {
        let message = format!("{host} port {port} cannot be listened on: {}", reason(&problem));
        Failure::new(Exit::Usage, message).help(match problem.kind() {
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied => "`--port 0` takes a free one",
            _ => "`--host` takes an address of this machine: 127.0.0.1, or 0.0.0.0 for all",
        })
    })
}

/// Where it can be asked, as data; the rest beside it.
fn tell(
    served: &Served,
    spec: &ModelSpec,
    listener: &TcpListener,
    keyed: bool,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let address = listener.local_addr();
    let address: SocketAddr =
        address.map_err(|problem| Failure::new(Exit::Usage, format!("no address: {}", reason(&problem))))?;
    if !keyed && !address.ip().is_loopback() {
        terminal
            .say("warning: whoever reaches this machine can ask the model: `--api-key-env NAME` asks them for a key");
    }
    let url = format!("http://{address}/v1");
    if terminal.json() {
        let told = json!({
            "url": url,
            "model": served.name,
            "fingerprint": served.fingerprint,
            "context": spec.context,
            "tool_format": spec.tool_format.as_str(),
        });
        terminal.data(&format!("{told}\n"));
    } else {
        terminal.data(&format!("{url}\n"));
        terminal.say(&format!("serves {} ({}); Ctrl-C ends it", served.name, served.fingerprint.short()));
    }
    Ok(())
}

/// The first interrupt lets what was asked be answered, the second ends the program.
fn stop_on_interrupt(stop: &Stop, terminal: Terminal) {
    let (stop, asked) = (stop.clone(), AtomicBool::new(false));
    #[expect(clippy::disallowed_methods, reason = "asked twice to stop: now")]
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Paused as i32);
        }
        // Before it may have ended.
        terminal.say("\nending after what was asked; once more ends at once");
        stop.stop();
    };
    // Fails only where a handler is set already, as in a process that embeds agx.
    let _ = ctrlc::set_handler(handler);
}

fn chosen(args: &ServeArgs, place: &Place, terminal: &Terminal) -> Result<Chosen, Failure> {
    let path = Path::new(&args.model);
    let (before, name) = match args.model.rsplit_once(':') {
        Some((before, name)) => (before, Some(name)),
        None => (args.model.as_str(), None),
    };
    let is = |path: &Path, extension: &str| path.extension().is_some_and(|it| it == extension);
    let of_file = is(Path::new(before), "agx");
    if !of_file && (!args.sets.is_empty() || args.only.experiment.is_some()) {
        let message = "`--set`, `--params` and `--experiment` are for a model of an `.agx` file";
        return Err(Failure::new(Exit::Usage, message));
    }
    if of_file {
        return declared(Path::new(before), name, args, terminal);
    }
    if path.is_dir() {
        let context = args.context.map_or_else(|| model::positions(path), Ok);
        let failed = |problem: ModelError| {
            Failure::new(Exit::Diagnostics, problem.to_string())
                .help("a model's directory has a `config.json`: `base/policy`, say")
        };
        return Ok(undeclared(path, Source::Path(path.to_owned()), context.map_err(failed)?));
    }
    if is(path, "gguf") {
        let context = args.context.map_or_else(|| model::positions(path), Ok);
        let failed = |problem: ModelError| Failure::new(Exit::Diagnostics, problem.to_string());
        return Ok(undeclared(path, Source::Gguf(path.to_owned()), context.map_err(failed)?));
    }
    if is(path, "json") {
        return Ok(undeclared(path, Source::Scripted(path.to_owned()), SCRIPT_CONTEXT));
    }
    match name {
        Some(name) => trained(before, name, place),
        None => Err(Failure::new(Exit::Usage, format!("`{}` is no model", args.model)).help(
            "name a directory, a GGUF file (`a.gguf`), a script (`a.json`), a file's model (`a.agx:policy`) or a run's version (`RUN:policy@best`)",
        )),
    }
}

fn undeclared(path: &Path, source: Source, context: u32) -> Chosen {
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let tool_format = ToolFormat::default();
    let spec = ModelSpec {
        source,
        adapter: None,
        context,
        dtype: Dtype::default(),
        device: Device::default(),
        lora: None,
        tool_format,
        tool_calls: ToolCalls::default(),
    };
    Chosen { name: name.unwrap_or_else(|| "model".to_owned()), spec, weights: None, made: None }
}

/// A slot as a file declares it.
fn declared(path: &Path, name: Option<&str>, args: &ServeArgs, terminal: &Terminal) -> Result<Chosen, Failure> {
    let loaded = load_to_show(path, &args.sets, terminal)?;
    let experiment = loaded.experiment(&args.only.clone().into())?;
    let model = match (name, experiment.models.as_slice()) {
        (None, [only]) => only,
        (None, models) => {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            let message = format!("{} has {} models", path.display(), models.len());
            let example = names.first().copied().unwrap_or("policy");
            return Err(Failure::new(Exit::Usage, message).help(format!(
                "name one of {}: `{}:{example}`",
                names.join(", "),
                path.display()
            )));
        }
        (Some(name), models) => &models[slot(experiment, name)?.0],
    };
    Ok(Chosen { name: model.name.clone(), spec: model.it.clone(), weights: None, made: None })
}

/// What a run made of a slot.
fn trained(run: &str, name: &str, place: &Place) -> Result<Chosen, Failure> {
    let project = place.open()?;
    let run = place.run(&project, Some(run))?;
    let report = fold(&project, &run)?;
    let worked = worked(&project, &run)?;
    let (version, _) = wanted(Some(name), &report, &worked)?.version(&worked);
    let experiment = &worked.past.experiment;
    let weights = version.weights.map(|digest| Ok((digest, project.store.get(&digest)?)));
    let weights = weights
        .transpose()
        .map_err(|problem: crate::store::StoreError| Failure::new(Exit::Usage, problem.to_string()))?;
    let spec = experiment.models[version.model.0].it.clone();
    let was = worked.past.identities.models[version.model.0];
    Ok(Chosen { name: lineage::version(experiment, &version), spec, weights, made: Some((run, was)) })
}

//! Turns the command line and the environment into the place where results live, the clock, and secrets.

use crate::base::file;
use crate::cli::exit::{Exit, Failure};
use crate::cli::terminal::variable;
use crate::model::{Hub, Secret, Wire};
use crate::run::{self, Project, directory};
use crate::store::Store;
use crate::syntax::similar::{did_you_mean, similar};
use std::fs::TryLockError;
use std::path::{Path, PathBuf};

/// Where the store is, or will be.
#[derive(Clone, Debug)]
pub struct Place {
    store: PathBuf,
    /// As it was asked for; `None` where it was found.
    asked: Option<PathBuf>,
}

impl Place {
    /// `--store`, else `AGX_STORE`, else the nearest `.agx` from here upwards, else `.agx` here.
    pub fn new(asked: Option<&Path>) -> Self {
        let asked = asked.map(Path::to_owned).or_else(|| variable("AGX_STORE").map(PathBuf::from));
        Self { store: asked.clone().unwrap_or_else(nearest), asked }
    }

    /// A command to suggest, which finds the same store: `agx resume lab-1 --store DIR`.
    pub fn command(&self, verb: &str) -> String {
        match &self.asked {
            None => format!("`agx {verb}`"),
            Some(store) => format!("`agx {verb} --store {}`", quoted(&store.to_string_lossy())),
        }
    }

    /// Made when it is not there: for verbs that work.
    pub fn make(&self) -> Result<Project, Failure> {
        Ok(Project::at(&self.store)?)
    }

    /// As [`Place::make`], whatever has become of the store below.
    pub fn alone(&self) -> Result<Project, Failure> {
        let store = Store::open(&self.store).map_err(run::RunError::from)?;
        Ok(Project { store })
    }

    /// For verbs that look: nothing is made.
    pub fn open(&self) -> Result<Project, Failure> {
        if self.exists() { self.make() } else { Err(run::RunError::NoRun.into()) }
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    pub fn exists(&self) -> bool {
        self.store.exists()
    }

    /// Whether a process holds the run: asked of the lock, which the system frees however its holder ended.
    pub fn is_held(project: &Project, run: &str) -> bool {
        let lock = project.run_dir(run).join("lock");
        file::open(&lock).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The run that is named, else the newest.
    pub fn run(&self, project: &Project, named: Option<&str>) -> Result<String, Failure> {
        match named {
            Some(run) => {
                let known = run::all(project)?;
                if known.iter().any(|it| it == run) {
                    return Ok(run.to_owned());
                }
                let near = similar(run, known.iter().map(String::as_str));
                let newest: Vec<&str> = known.iter().rev().take(3).map(String::as_str).collect();
                let help = did_you_mean(&near).unwrap_or_else(|| format!("the newest are {}", newest.join(", ")));
                let failure = Failure::from(run::RunError::UnknownRun(run.to_owned()));
                Err(if known.is_empty() { failure } else { failure.help(help) })
            }
            None => Ok(run::newest(project)?.ok_or(run::RunError::NoRun)?),
        }
    }
}

/// A run that was imported may name programs, or bring them along: none is started unasked.
pub fn may_start(project: &Project, run: &str, allowed: bool) -> Result<(), Failure> {
    if allowed || !directory::is_brought(project, run) {
        return Ok(());
    }
    let experiment = directory::experiment(project, run)?;
    let program = experiment.envs.iter().find_map(|env| Some((&env.name, env.it.kind.program()?)));
    program.map_or(Ok(()), |(env, command)| {
        let message = format!("run `{run}` was imported, and its environment `{env}` is a program: {command}");
        Err(Failure::new(Exit::Usage, message).help("look at it first; `--start-programs` lets it be started"))
    })
}

/// As a shell reads it back.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | ':' | ',');
    if !path.is_empty() && path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge knows where it stands")]
fn nearest() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().map(|above| above.join(".agx")).find(|store| store.is_dir());
    found.unwrap_or_else(|| PathBuf::from(".agx"))
}

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the edge reads the clock")]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// More is no secret.
const MOST_SECRET: u64 = 1 << 16;

/// The secret that an environment variable holds, or the file that `NAME_FILE` names, as containers are given theirs.
pub fn secret(name: &str) -> Result<Secret, String> {
    let beside = format!("{name}_FILE");
    match (variable(name), variable(&beside)) {
        (Some(text), _) => word(&text, &format!("`{name}`")),
        (None, Some(path)) => secret_in(Path::new(&path), &format!("{path} (`{beside}`)")),
        (None, None) => {
            Err(format!("set the environment variable `{name}` to it, or `{beside}` to the path of a file with it"))
        }
    }
}

/// The secret that a file holds; `called` names the file.
pub fn secret_in(path: &Path, called: &str) -> Result<Secret, String> {
    let text = file::read_text(path, MOST_SECRET).map_err(|problem| format!("{called}: {}", file::reason(&problem)))?;
    word(&text, &path.display().to_string())
}

fn word(text: &str, from: &str) -> Result<Secret, String> {
    Secret::new(text).ok_or_else(|| format!("{from} holds a text that is no key: one word of visible ASCII is"))
}

/// What models behind endpoints are asked with, and where those of the hub are.
pub fn wire() -> Wire {
    Wire::new(now, secret).telling(variables).hosting(hub())
}

/// Where `huggingface_hub` has it.
fn hub() -> Hub {
    let is_on = |name| variable(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&&*value.to_uppercase()));
    Hub {
        cache: variable("HF_HUB_CACHE").map_or_else(|| hub_home().join("hub"), PathBuf::from),
        endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
        token: hub_token,
        offline: is_on("HF_HUB_OFFLINE"),
    }
}

fn hub_home() -> PathBuf {
    let caches = || {
        let home = || std::env::home_dir().unwrap_or_default().join(".cache");
        variable("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
    };
    variable("HF_HOME").map_or_else(|| caches().join("huggingface"), PathBuf::from)
}

/// Where none is given, what `hf auth login` left.
fn hub_token() -> Result<Option<Secret>, String> {
    if variable("HF_TOKEN").or_else(|| variable("HF_TOKEN_FILE")).is_some() {
        return secret("HF_TOKEN").map(Some);
    }
    let path = variable("HF_TOKEN_PATH").map_or_else(|| hub_home().join("token"), PathBuf::from);
    if path.exists() { secret_in(&path, &path.display().to_string()).map(Some) } else { Ok(None) }
}

/// What a program that is started gets to know: where programs, homes and temporary files are, and the language. Keys and tokens
/// stand in other variables.
const TOLD: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SystemRoot",
    "ComSpec",
    "APPDATA",
    "USERPROFILE",
];

fn variables() -> Vec<(String, String)> {
    TOLD.into_iter().filter_map(|name| Some((name.to_owned(), variable(name)?))).collect()
}

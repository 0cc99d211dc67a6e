//! What is brought, gone on with and refused, against a hub that answers as the real one, or in any way that is wrong.

mod server;

use super::*;
use crate::model::{Device, Dtype, ToolCalls, ToolFormat};
use server::{Asked, COMMIT, Odd, REPO, Server, TOKEN, large_sum};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn spec() -> ModelSpec {
    ModelSpec {
        source: Source::Hub { repo: REPO.to_owned(), revision: COMMIT.to_owned() },
        adapter: None,
        context: 64,
        dtype: Dtype::F32,
        device: Device::Cpu,
        lora: None,
        tool_format: ToolFormat::Lines,
        tool_calls: ToolCalls::Drawn,
    }
}

/// In the shape of a model, and no more: here nobody reads them.
fn files() -> BTreeMap<String, Vec<u8>> {
    let weights: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"version\":\"1.0\"}".to_vec()),
        ("tokenizer_config.json", b"{\"a\":1}".to_vec()),
        ("chat_template.jinja", Vec::new()),
        ("model.safetensors", weights),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

/// The same in two shards.
fn sharded(index: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = files();
    files.remove("model.safetensors");
    files.insert("model.safetensors.index.json".to_owned(), index.as_bytes().to_vec());
    files.insert("a.safetensors".to_owned(), vec![1; 5000]);
    files.insert("b-2.safetensors".to_owned(), vec![2; 7000]);
    files
}

const INDEX: &str = r#"{"weight_map":{"x":"a.safetensors","y":"b-2.safetensors","z":"a.safetensors"}}"#;

fn token() -> Result<Option<Secret>, String> {
    Ok(Secret::new(TOKEN))
}

fn wire(server: &Server, cache: &Path) -> Wire {
    let hub = Hub { cache: cache.to_owned(), endpoint: server.url(), token: || Ok(None), offline: false };
    Wire::new(|| 0, |_| Err(String::new())).hosting(hub)
}

fn known(server: &Server, cache: &Path) -> Wire {
    let wire = wire(server, cache);
    let hub = Hub { token, ..wire.hub.clone() };
    wire.hosting(hub)
}

/// As [`fetch`], of files that are no model.
fn bring(wire: &Wire) -> Result<(), ModelError> {
    bring_hearing(wire, &mut |_| {})
}

fn bring_hearing(wire: &Wire, heard: &mut dyn FnMut(Heard<'_>)) -> Result<(), ModelError> {
    let snapshot = snapshot(&spec(), &wire.hub)?.expect("it is of the hub");
    match due(&snapshot, wire)? {
        Some(fetch) => fetch.all(&|_| Ok(()), heard),
        None => Ok(()),
    }
}

fn there(cache: &Path) -> PathBuf {
    cache.join("models--org--tiny/snapshots").join(COMMIT)
}

#[track_caller]
fn is_whole(cache: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        assert_eq!(std::fs::read(there(cache).join(name)).ok().as_ref(), Some(bytes), "{name}");
    }
    assert_eq!(std::fs::read_dir(there(cache)).unwrap().count(), files.len());
    let blobs = std::fs::read_dir(cache.join("models--org--tiny/blobs")).unwrap();
    assert!(blobs.flatten().all(|blob| !blob.file_name().to_string_lossy().contains('.')), "nothing is left over");
}

#[test]
fn all_that_a_model_needs_comes_once_and_the_token_stays_with_the_hub() {
    let cache = TempDir::new().unwrap();
    let server = Server::gated(files());
    let wire = known(&server, cache.path());
    assert_eq!(missing(&spec(), &wire).unwrap(), Some(200_000 + 17 + 7 + 2));
    assert!(!cache.path().join("models--org--tiny").exists(), "to look writes nothing");
    bring(&wire).unwrap();
    is_whole(cache.path(), &files());
    let blob = large_sum(&files()["model.safetensors"]);
    let link = std::fs::read_link(there(cache.path()).join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(blob));
    let none = cache.path().join("models--org--tiny/.no_exist").join(COMMIT).join("generation_config.json");
    assert!(none.is_file());
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.large));
    assert!(asked.iter().all(|asked| asked.token.is_some() != asked.large), "{asked:?}");
    bring(&wire).unwrap();
    assert_eq!((server.asked(), missing(&spec(), &wire).unwrap()), (asked, None), "nobody is asked again");
    hold(&spec(), &wire.hub).unwrap();
    std::fs::write(there(cache.path()).join("config.json"), "{ }").unwrap();
    assert!(hold(&spec(), &wire.hub).unwrap_err().to_string().contains("config.json: is not what the hub gave"));
}

#[test]
fn shards_are_those_of_the_index() {
    let cache = TempDir::new().unwrap();
    let server = Server::new(sharded(INDEX));
    let wire = wire(&server, cache.path());
    assert_eq!(missing(&spec(), &wire).unwrap(), Some(12_000 + 17 + 7 + 2 + INDEX.len() as u64));
    bring(&wire).unwrap();
    is_whole(cache.path(), &sharded(INDEX));
    std::fs::remove_file(there(cache.path()).join("a.safetensors")).unwrap();
    let spec = spec();
    let gone = placed(&spec, &wire.hub);
    if cfg!(feature = "local") {
        let said = gone.unwrap_err().to_string();
        assert_eq!(
            said,
            "org/tiny at 0123456789ab is not here: of its files are missing a.safetensors: `agx fetch FILE` fetches it"
        );
    }
    let before = server.asked().len();
    bring(&wire).unwrap();
    assert_eq!(server.asked().len(), before + 1, "its blob is here already");
    for hostile in ["../../x", "/etc/passwd", "a/b.safetensors", ""] {
        let cache = TempDir::new().unwrap();
        let server = Server::new(sharded(&INDEX.replace("b-2.safetensors", hostile)));
        let said = bring(&self::wire(&server, cache.path())).unwrap_err().to_string();
        assert!(said.contains("`y` points to ") && said.contains("not to a file here"), "{said}");
        assert_eq!(server.count("GET", "a.safetensors"), 0);
    }
}

#[test]
fn what_came_is_gone_on_with() {
    let name = "model.safetensors";
    let cut = |most: usize| {
        move |asked: &Asked, before: usize| {
            (asked.large && asked.name() == name && before < 3).then_some(Odd::Cut(most))
        }
    };
    let cache = TempDir::new().unwrap();
    let server = Server::odd(files(), false, cut(60_000));
    let mut again = 0;
    bring_hearing(&wire(&server, cache.path()), &mut |heard| again += u32::from(matches!(heard, Heard::Again { .. })))
        .unwrap();
    is_whole(cache.path(), &files());
    let ranges: Vec<Option<String>> = server
        .asked()
        .into_iter()
        .filter(|asked| asked.large && asked.is("GET", name))
        .map(|asked| asked.range)
        .collect();
    let from = |at: u32| Some(format!("bytes={at}-"));
    assert_eq!((again, ranges), (3, vec![None, from(60_000), from(120_000), from(180_000)]));

    // What another process left; bytes that are others; more than there is.
    let (bytes, sum) = (files()[name].clone(), large_sum(&files()[name]));
    for (left, asked, comes) in [
        (bytes[..150_000].to_vec(), vec![from(150_000)], 50_000),
        (vec![7; 150_000], vec![from(150_000), None], 200_000),
        (bytes.clone(), vec![], 0),
        (vec![7; 300_000], vec![None], 200_000),
    ] {
        let cache = TempDir::new().unwrap();
        let blobs = cache.path().join("models--org--tiny/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{sum}.incomplete")), &left).unwrap();
        let server = Server::new(files());
        bring(&wire(&server, cache.path())).unwrap();
        is_whole(cache.path(), &files());
        let ranges: Vec<Option<String>> =
            server.asked().into_iter().filter(|it| it.large && it.is("GET", name)).map(|asked| asked.range).collect();
        assert_eq!(ranges, asked, "{comes}");
    }

    // One that knows no ranges begins anew, and comes to an end all the same.
    let cache = TempDir::new().unwrap();
    let server =
        Server::odd(files(), false, move |asked, before| match (asked.large && asked.name() == name, before) {
            (true, 0) => Some(Odd::Cut(60_000)),
            (true, _) => Some(Odd::Whole),
            _ => None,
        });
    bring(&wire(&server, cache.path())).unwrap();
    is_whole(cache.path(), &files());
}

#[test]
fn a_pause_keeps_what_came() {
    let cache = TempDir::new().unwrap();
    let server = Server::new(files());
    let flag = Arc::new(AtomicBool::new(false));
    let wire = wire(&server, cache.path());
    let paused = wire.pausing(&flag);
    let came = bring_hearing(&paused, &mut |heard| {
        if let Heard::Come { file: "model.safetensors", done: 1.., .. } = heard {
            flag.store(true, Ordering::SeqCst);
        }
    });
    assert!(matches!(came, Err(ModelError::Paused)), "{came:?}");
    let part = cache
        .path()
        .join("models--org--tiny/blobs")
        .join(format!("{}.incomplete", large_sum(&files()["model.safetensors"])));
    let left = std::fs::metadata(part).unwrap().len();
    assert!(left > 0 && !there(cache.path()).join("model.safetensors").exists());
    bring(&wire).unwrap();
    is_whole(cache.path(), &files());
}

#[test]
fn two_that_want_the_same_ask_for_it_once() {
    let cache = TempDir::new().unwrap();
    let server = Server::new(files());
    let wire = wire(&server, cache.path());
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| bring(&wire)));
        both.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
    is_whole(cache.path(), &files());
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|asked| asked.large && asked.is("GET", "model.safetensors")).count(), 1);
}

type Oddly = Box<dyn Fn() -> Odd + Send + Sync>;

fn said(status: &str, headers: &str, body: &str) -> Odd {
    Odd::Said(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn whatever_the_hub_answers_is_one_error_and_nothing_is_taken_for_whole() {
    let ok = format!("x-repo-commit: {COMMIT}\r\n");
    let etag = "etag: \"ce013625030ba8dba906f756967f9e9ca394464a\"\r\n";
    let html = "<!doctype html><h1>Sign in to this network</h1>";
    // Of which request it is the answer, what it is, what is said of it, and how often it was asked for.
    let cases: Vec<(&str, &str, Oddly, &str, usize)> = vec![
        (
            "HEAD",
            "config.json",
            Box::new(move || said("200 OK", "content-type: text/html\r\n", html)),
            "does not speak as the hub does: it names no commit",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new({
                let ok = ok.clone();
                move || said("200 OK", &format!("{ok}etag: \"../../x\"\r\n"), "")
            }),
            "says by no sum",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new({
                let ok = ok.clone();
                move || said("200 OK", &ok, "")
            }),
            "says by no sum",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new({
                let ok = ok.clone();
                move || Odd::Said(format!("HTTP/1.1 200 OK\r\n{ok}{etag}\r\n"))
            }),
            "does not say how large",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new({
                let ok = ok.clone();
                move || said("200 OK", &format!("{ok}{etag}x-linked-size: 999999999999\r\n"), "")
            }),
            "999999999999 bytes large; a description of a model is not",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(move || said("200 OK", &format!("x-repo-commit: main\r\n{etag}"), "")),
            "another commit than main",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("404 Not Found", "", "")),
            "rejects the request for `config.json` (404)",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("404 Not Found", "x-error-code: EntryNotFound\r\n", "")),
            "org/tiny at 0123456789ab has no `config.json`",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("404 Not Found", "x-error-code: RevisionNotFound\r\n", "")),
            "has no commit 0123456789abcdef",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("401 Unauthorized", "x-error-code: RepoNotFound\r\n", "")),
            "knows no model org/tiny: is the name right, and may",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("401 Unauthorized", &format!("x-error-message: no such token {TOKEN}\r\n"), "")),
            "refuses org/tiny (401: no such token ***)",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("403 Forbidden", "x-error-code: GatedRepo\r\n", "")),
            "agree to them at https://huggingface.co/org/tiny with the account whose token",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("503 Service Unavailable", "retry-after: 0\r\n", "")),
            "the hub is busy (503)",
            9,
        ),
        ("HEAD", "config.json", Box::new(|| said("302 Found", "", "")), "sends one on to no address", 1),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("302 Found", "location: ftp://elsewhere/x\r\n", "")),
            "no address of the web",
            1,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| said("302 Found", &format!("location: /{REPO}/resolve/{COMMIT}/config.json\r\n"), "")),
            "without end",
            8,
        ),
        (
            "HEAD",
            "config.json",
            Box::new(|| Odd::Said("\u{1}\u{2}\u{3} what is this\r\n\r\n".to_owned())),
            "config.json",
            9,
        ),
        (
            "GET",
            "tokenizer_config.json",
            Box::new(move || said("200 OK", "content-type: text/html\r\n", html)),
            "`tokenizer_config.json` of org/tiny at 0123456789ab is not what the hub says",
            1,
        ),
        ("GET", "tokenizer_config.json", Box::new(|| Odd::Others(b"{\"a\":2}".to_vec())), "its sum is not", 1),
        ("GET", "tokenizer_config.json", Box::new(|| Odd::Others(vec![b' '; 1 << 16])), "it is larger than 7 bytes", 1),
        ("GET", "tokenizer_config.json", Box::new(|| said("200 OK", "", "{")), "1 of 7 bytes came", 9),
        (
            "GET",
            "model.safetensors",
            Box::new(|| said("206 Partial Content", "content-range: bytes 5-9/10\r\n", "12345")),
            "other bytes came than were asked for",
            9,
        ),
        (
            "GET",
            "model.safetensors",
            Box::new(|| said("416 Range Not Satisfiable", "", "")),
            "other bytes came than were asked for",
            9,
        ),
        (
            "GET",
            "model.safetensors",
            Box::new(|| said("403 Forbidden", "", "expired")),
            "`model.safetensors` broke off: it is refused (403)",
            9,
        ),
        ("GET", "model.safetensors", Box::new(|| Odd::Cut(0)), "`model.safetensors` broke off: peer disconnected", 9),
    ];
    for (verb, name, odd, expected, times) in cases {
        let cache = TempDir::new().unwrap();
        // Of large files it is the second host that answers oddly.
        let (on, shown) = (name == "model.safetensors", name.to_owned());
        let server = Server::odd(files(), false, move |asked, _| {
            let meant =
                asked.is(verb, name) && asked.large == on && asked.path.starts_with("/api/") != (verb == "HEAD" || on);
            meant.then(&odd)
        });
        let said = bring(&known(&server, cache.path())).expect_err(expected).to_string();
        assert!(said.contains(expected), "{verb} {shown}: {said}\n  wanted {expected}");
        assert!(!said.contains(TOKEN) && !said.contains('<'), "{said}");
        assert!(!there(cache.path()).join(name).exists(), "{expected}");
        let asked = server
            .asked()
            .into_iter()
            .filter(|it| it.is(verb, name) && it.large == on && !(it.path.starts_with("/api/") && verb == "HEAD"))
            .count();
        let asked = if verb == "GET" && !on { asked / 2 } else { asked };
        assert_eq!(asked, times, "{verb} {name}: {expected}");
    }
}

#[test]
fn patience_has_an_end_and_is_rewarded() {
    let cache = TempDir::new().unwrap();
    let busy = Server::odd(files(), false, |asked, before| {
        (!asked.path.starts_with("/api/") && before < 2)
            .then(|| said("429 Too Many Requests", "retry-after: 0\r\n", ""))
    });
    bring(&wire(&busy, cache.path())).unwrap();
    is_whole(cache.path(), &files());

    let silent = Server::odd(files(), false, |asked, _| asked.is("GET", "model.safetensors").then_some(Odd::Silence));
    let elsewhere = TempDir::new().unwrap();
    let said = bring(&wire(&silent, elsewhere.path())).unwrap_err().to_string();
    assert_eq!(said, "the hub says nothing: no answer came");

    let url = silent.url();
    drop(silent);
    let hub = Hub { cache: elsewhere.path().to_owned(), endpoint: url, token: || Ok(None), offline: false };
    let gone = Wire::new(|| 0, |_| Err(String::new())).hosting(hub.clone());
    assert!(bring(&gone).unwrap_err().to_string().starts_with("the hub cannot be reached: "));
    let offline = gone.clone().hosting(Hub { offline: true, ..hub.clone() });
    let said = bring(&offline).unwrap_err().to_string();
    assert_eq!(
        said,
        "org/tiny at 0123456789ab is not here: of its files are missing model.safetensors, and `HF_HUB_OFFLINE` forbids to ask the hub"
    );
    for endpoint in ["", "huggingface.co", "ftp://huggingface.co", "https://a b"] {
        let lost = gone.clone().hosting(Hub { endpoint: endpoint.to_owned(), ..hub.clone() });
        assert!(bring(&lost).unwrap_err().to_string().starts_with("`HF_ENDPOINT` is "), "{endpoint}");
    }
}

#[test]
fn whether_a_model_has_what_it_may_have_is_never_guessed() {
    let cache = TempDir::new().unwrap();
    let server = Server::new(files());
    let wire = wire(&server, cache.path());
    bring(&wire).unwrap();
    std::fs::remove_dir_all(cache.path().join("models--org--tiny/.no_exist")).unwrap();
    let offline = wire.clone().hosting(Hub { offline: true, ..wire.hub.clone() });
    let said = bring(&offline).unwrap_err().to_string();
    assert!(said.contains("may not be whole here: whether it has generation_config.json was never asked"), "{said}");
    // A list of all its files says it as well, if it is one.
    let trees = cache.path().join("models--org--tiny/trees");
    std::fs::create_dir(&trees).unwrap();
    let list = |text: &str| std::fs::write(trees.join(format!("{COMMIT}.json")), text).unwrap();
    for none in ["<html>", r#"{"format_version":2,"files":{"config.json":{}}}"#, r#"{"format_version":1,"files":{}}"#] {
        list(none);
        assert!(bring(&offline).is_err(), "{none}");
    }
    list(r#"{"format_version":1,"files":{"config.json":{}}}"#);
    bring(&offline).unwrap();
    list("");
    bring(&wire).unwrap();
    bring(&offline).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_one_message() {
    let cache = TempDir::new().unwrap();
    let server = Server::new(files());
    std::fs::create_dir(cache.path().join("models--org--tiny")).unwrap();
    std::fs::write(cache.path().join("models--org--tiny/blobs"), "a file").unwrap();
    let said = bring(&wire(&server, cache.path())).unwrap_err().to_string();
    assert!(said.starts_with(&cache.path().join("models--org--tiny/blobs").display().to_string()), "{said}");
    let full = cache::disk(Path::new("x"), &std::io::ErrorKind::StorageFull.into()).to_string();
    assert!(full.starts_with("x: the disk is full: what has come is kept"), "{full}");
}

#[test]
fn names_and_commits_lead_nowhere_else() {
    for repo in ["Qwen/Qwen2.5-0.5B", "01-ai/Yi-6B", "meta-llama/Llama-2-13b-hf", "org/_name.v1"] {
        assert!(is_repo(repo), "{repo}");
    }
    for repo in
        ["qwen", "/qwen", "a/", "a/b/c", "../x", "a/..", "a/.b", "a/b--c", "a/b c", "a/b?c", "a/b#", "a/é", "-a/b"]
    {
        assert!(!is_repo(repo), "{repo}");
        let spec = ModelSpec { source: Source::Hub { repo: repo.to_owned(), revision: COMMIT.to_owned() }, ..spec() };
        assert!(placed(&spec, &Hub::default()).unwrap_err().to_string().contains("names no model of the hub"));
    }
    assert!(is_commit(COMMIT));
    for revision in [
        "main",
        "../../../../../../../../../../../../x/y/z",
        "",
        "0123456789ABCDEF0123456789ABCDEF01234567",
        &COMMIT[1..],
    ] {
        assert!(!is_commit(revision), "{revision}");
        let spec = ModelSpec { source: Source::Hub { repo: REPO.to_owned(), revision: revision.to_owned() }, ..spec() };
        assert!(placed(&spec, &Hub::default()).unwrap_err().to_string().contains("is no commit"));
    }
}

//! The Hugging Face hub in the test's own process, with a second host for large files: as it answers, or in any way that is wrong.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const REPO: &str = "org/tiny";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What gated models are shown to.
pub const TOKEN: &str = "hf_nobody_may_see_this";

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `HEAD`, `GET`
    pub verb: String,
    pub path: String,
    /// The second host was asked.
    pub large: bool,
    pub token: Option<String>,
    pub range: Option<String>,
}

impl Asked {
    pub fn name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    pub fn is(&self, verb: &str, name: &str) -> bool {
        self.verb == verb && self.name() == name
    }
}

/// What is wrong with an answer.
#[allow(dead_code, reason = "of two test programs each uses a part")]
pub enum Odd {
    /// The whole of it, head and body.
    Said(String),
    /// So many bytes of the body, then the end.
    Cut(usize),
    /// The body over a long time.
    Slow,
    /// Every byte from the first, whatever is asked for.
    Whole,
    /// Other bytes than it says.
    Others(Vec<u8>),
    /// Nothing, for longer than anybody waits.
    Silence,
}

type Oddly = dyn Fn(&Asked, usize) -> Option<Odd> + Send + Sync;

/// What is served, and what was asked.
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    gated: bool,
    odd: Box<Oddly>,
    asked: Mutex<Vec<Asked>>,
    ends: AtomicBool,
    large: SocketAddr,
}

pub struct Server {
    shelf: Arc<Shelf>,
    addresses: [SocketAddr; 2],
}

impl Server {
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::odd(files, false, |_, _| None)
    }

    /// One that shows its files to whoever has [`TOKEN`].
    pub fn gated(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::odd(files, true, |_, _| None)
    }

    /// `odd` says what is wrong with the answer to a request, of which so many of the same came before.
    pub fn odd(
        files: BTreeMap<String, Vec<u8>>,
        gated: bool,
        odd: impl Fn(&Asked, usize) -> Option<Odd> + Send + Sync + 'static,
    ) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().expect("an address"));
        let (asked, ends) = (Mutex::default(), AtomicBool::new(false));
        let shelf = Arc::new(Shelf { files, gated, odd: Box::new(odd), asked, ends, large: addresses[1] });
        for (listener, large) in listeners.into_iter().zip([false, true]) {
            let shelf = shelf.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shelf.ends.load(Ordering::SeqCst) {
                        break;
                    }
                    let (Ok(stream), shelf) = (stream, shelf.clone()) else { continue };
                    std::thread::spawn(move || drop(serve(&stream, large, &shelf)));
                }
            });
        }
        Self { shelf, addresses }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shelf.asked.lock().expect("no panic holds this lock").clone()
    }

    pub fn count(&self, verb: &str, name: &str) -> usize {
        self.asked().iter().filter(|asked| asked.is(verb, name)).count()
    }
}

/// Nobody answers from now on.
impl Drop for Server {
    fn drop(&mut self) {
        self.shelf.ends.store(true, Ordering::SeqCst);
        for address in self.addresses {
            // Whoever listens hears that it is over.
            let _ = TcpStream::connect(address);
        }
    }
}

fn serve(stream: &TcpStream, large: bool, shelf: &Shelf) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut asked) = (String::new(), None);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || shelf.ends.load(Ordering::SeqCst) {
                return Ok(());
            }
            let text = line.trim_end();
            let mut words = text.split(' ').map(str::to_owned);
            match &mut asked {
                None => {
                    let (verb, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    asked = Some(Asked { verb, path, large, token: None, range: None });
                }
                Some(_) if text.is_empty() => break,
                Some(asked) => match text.split_once(": ") {
                    Some(("authorization", token)) => asked.token = Some(token.replace("Bearer ", "")),
                    Some(("range", range)) => asked.range = Some(range.to_owned()),
                    _ => {}
                },
            }
        }
        let asked = asked.expect("a first line came");
        let before = {
            let mut all = shelf.asked.lock().expect("no panic holds this lock");
            let before = all.iter().filter(|it| it.is(&asked.verb, asked.name()) && it.large == large).count();
            all.push(asked.clone());
            before
        };
        answer(stream, &asked, before, shelf)?;
    }
}

fn answer(mut stream: &TcpStream, asked: &Asked, before: usize, shelf: &Shelf) -> std::io::Result<()> {
    let odd = (shelf.odd)(asked, before);
    if let Some(Odd::Silence) = odd {
        std::thread::park_timeout(Duration::from_secs(5));
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    if let Some(Odd::Said(said)) = odd {
        stream.write_all(said.as_bytes())?;
        return Err(std::io::ErrorKind::Other.into());
    }
    let refused = |status: &str, code: &str| {
        format!(
            "HTTP/1.1 {status}\r\nx-error-code: {code}\r\nx-error-message: {code}, as the hub says\r\ncontent-length: 0\r\n\r\n"
        )
    };
    let commit = format!("x-repo-commit: {COMMIT}\r\n");
    let name = asked.name();
    let head = match shelf.files.get(name) {
        _ if asked.large => None,
        _ if asked.path.starts_with("/api/resolve-cache/") => None,
        _ if !asked.path.starts_with(&format!("/{REPO}/resolve/")) => Some(refused("401 Unauthorized", "RepoNotFound")),
        _ if !asked.path.contains(COMMIT) => Some(refused("404 Not Found", "RevisionNotFound")),
        _ if shelf.gated && asked.token.is_none() => Some(refused("401 Unauthorized", "GatedRepo")),
        _ if shelf.gated && asked.token.as_deref() != Some(TOKEN) => Some(refused("403 Forbidden", "GatedRepo")),
        None => Some(refused("404 Not Found", "EntryNotFound")),
        Some(bytes) if is_large(name) => Some(format!(
            "HTTP/1.1 302 Found\r\n{commit}x-linked-etag: \"{}\"\r\nx-linked-size: {}\r\nlocation: http://{}/{name}?signed=1\r\ncontent-length: 0\r\n\r\n",
            large_sum(bytes),
            bytes.len(),
            shelf.large
        )),
        // Small files lie elsewhere under the same roof.
        Some(_) => Some(format!(
            "HTTP/1.1 307 Temporary Redirect\r\n{commit}location: /api/resolve-cache/models/{REPO}/{COMMIT}/{name}\r\ncontent-length: 0\r\n\r\n"
        )),
    };
    if let Some(head) = head {
        return stream.write_all(head.as_bytes());
    }
    let bytes = &shelf.files[name];
    let from = asked.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from = from.filter(|_| !matches!(odd, Some(Odd::Whole)));
    let (status, from): (String, usize) = match from {
        Some(from) => {
            (format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()), from)
        }
        None => ("200 OK".to_owned(), 0),
    };
    let body = match &odd {
        Some(Odd::Others(others)) => others,
        _ => &bytes[from..],
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{commit}etag: W/\"{}\"\r\ncontent-length: {}\r\n\r\n",
        blob_sum(bytes),
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if asked.verb == "HEAD" {
        return Ok(());
    }
    match odd {
        Some(Odd::Cut(most)) => {
            stream.write_all(&body[..most.min(body.len())])?;
            stream.shutdown(std::net::Shutdown::Both)
        }
        Some(Odd::Slow) => body.chunks(body.len().div_ceil(200)).try_for_each(|part| {
            std::thread::park_timeout(Duration::from_millis(20));
            stream.write_all(part)
        }),
        _ => stream.write_all(body),
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name == "tokenizer.json"
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn large_sum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn blob_sum(bytes: &[u8]) -> String {
    hex(&Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()))
}

//! Turns a model into a server that speaks OpenAI's protocol: `POST /v1/chat/completions`, `GET /v1/models`, `GET /health`.
//!
//! [`serve`] is the whole of it. A [`question`] is read from a request, its [`tools`] are shown to the model, its replies wait in
//! the [`queue`] for the model's thread, are heard token by token ([`reply`]) and told whole or as a stream ([`answer`]).
//!
//! # Determinism
//! A reply depends on the model, the conversation, the sampling and the seed alone. A request without a seed takes the next of
//! the server's own.
//!
//! # Invariants
//! Everything from outside is hostile: no request of any size, shape or pace makes it panic, wait for ever or hold more than its
//! share. No clock is read here but to measure how long a client takes. Nothing of a request is kept or written.

mod answer;
mod fields;
mod question;
mod queue;
mod refusal;
mod reply;
mod routes;
mod tools;

#[cfg(test)]
mod tests;

use crate::base::{Digest, Seed};
use crate::model::{LanguageModel, Secret, ToolFormat};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use queue::Queue;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_io_timeout::TimeoutStream;

/// Connections at once; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 1024;
/// Requests that are read at once.
const READERS: usize = 4;
/// Bytes of a request's head.
const MOST_HEAD: usize = 64 << 10;
/// What clients have, once nothing is answered any more, to take what was said.
const GRACE: Duration = Duration::from_secs(2);
/// After which a connection that could not be taken (too many files are open) is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is served.
pub struct Served {
    /// As requests name it.
    pub name: String,
    pub model: Arc<dyn LanguageModel>,
    pub tool_format: ToolFormat,
    /// Of everything that decides a reply.
    pub fingerprint: Digest,
    /// Seconds since the Unix epoch.
    pub created: u64,
}

/// To whom, and how.
pub struct Terms {
    /// What a request must show; nothing where all may ask.
    pub key: Option<Secret>,
    /// Where requests that give no seed take theirs from.
    pub seed: Seed,
    /// Replies that may wait before the model; whoever comes then is sent away.
    pub max_waiting: usize,
    /// In which a request's head must be there, then its body, and some of what is said be taken.
    pub patience: Duration,
    /// Milliseconds since the Unix epoch.
    pub clock: fn() -> u64,
}

/// Ends a server: it takes no further connection, and answers what was asked.
#[derive(Clone, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// Serves until it is stopped.
///
/// # Errors
/// A socket that cannot be listened on; no thread or event loop to be had.
///
/// # Panics
/// Where the model does.
pub fn serve(listener: std::net::TcpListener, served: Served, terms: Terms, stop: &Stop) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().max_blocking_threads(READERS).build()?;
    let queue = Arc::new(Queue::new(terms.max_waiting));
    let model = served.model.clone();
    thread::scope(|scope| {
        let ends = Ends { queue: &queue, stop };
        let work = move || {
            let Ends { queue, .. } = &ends;
            queue.work(&*model);
        };
        let worker = thread::Builder::new().name("model".to_owned()).spawn_scoped(scope, work)?;
        let patience = terms.patience;
        let routes = routes::routes(served, terms, queue.clone());
        let ended = runtime.block_on(listen(listener, routes, patience, &queue, stop));
        // What still listens is dropped, so nothing is answered to nobody.
        drop(runtime);
        queue.close();
        worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        ended
    })
}

/// However the model's thread ends, nobody waits for it any more.
struct Ends<'a> {
    queue: &'a Queue,
    stop: &'a Stop,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.queue.close();
        self.stop.stop();
    }
}

async fn listen(
    listener: std::net::TcpListener,
    routes: axum::Router,
    patience: Duration,
    queue: &Queue,
    stop: &Stop,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(MOST_HEAD);
    loop {
        let taken = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = stop.0.notified() => break,
            taken = taken => taken,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        // Tokens are sent as they come. Where it cannot be set they come a little later.
        let _ = stream.set_nodelay(true);
        // Who does not take what is said keeps no place.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
        tokio::spawn(async move {
            // A client that breaks off ends its own connection and nothing else.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = answered(queue) => {}
    }
    Ok(())
}

/// When nothing is answered any more, and clients had their time to take it.
async fn answered(queue: &Queue) {
    loop {
        queue.idle().await;
        tokio::time::sleep(GRACE).await;
        if queue.is_idle() {
            break;
        }
    }
}

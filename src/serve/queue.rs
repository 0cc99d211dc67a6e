//! Turns requests that arrive at any time into one company that a model answers together.
//!
//! # Invariants
//! The model's thread never waits for a client, nor for a connection. A reply whose client has gone is given up at its next
//! token, and never begun. Who is asked together with whom changes no reply.

use super::refusal::Refusal;
use super::reply::{Ended, Reply, Said};
use crate::model::attend::{Drawn, Wanted};
use crate::model::{GenReply, LanguageModel, Listener, ModelError};
use axum::http::StatusCode;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// What is said, and of which of a request's replies. As long as a reply at most, so it needs no bound of its own.
pub type Tell = UnboundedSender<(usize, Said)>;

/// A reply that is wanted, and who listens.
pub struct Asked {
    pub wanted: Wanted,
    pub reply: Reply,
    /// Of the request's replies.
    pub index: usize,
    pub tell: Tell,
}

impl Asked {
    fn has_gone(&self) -> bool {
        self.tell.is_closed()
    }
}

pub struct Queue {
    inside: Mutex<Inside>,
    changed: Condvar,
    most: usize,
    /// Replies that wait or are under way.
    open: watch::Sender<usize>,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Asked>,
    under_way: usize,
    closed: bool,
}

impl Queue {
    /// `most` replies may wait.
    pub fn new(most: usize) -> Self {
        Self { inside: Mutex::default(), changed: Condvar::new(), most, open: watch::Sender::new(0) }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replies of one request, which come in together.
    ///
    /// # Errors
    /// Too many wait already; nobody answers any more.
    pub fn ask(&self, asked: Vec<Asked>) -> Result<(), Refusal> {
        let mut inside = self.inside();
        if inside.closed {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, None, "the server is stopping"));
        }
        inside.waiting.retain(|asked| !asked.has_gone());
        if inside.waiting.len() >= self.most {
            let waiting = inside.waiting.len();
            return Err(Refusal::busy(format!("{waiting} replies wait already: try again in a moment")));
        }
        inside.waiting.extend(asked);
        self.count(inside);
        self.changed.notify_one();
        Ok(())
    }

    fn count(&self, inside: MutexGuard<'_, Inside>) {
        self.open.send_replace(inside.waiting.len() + inside.under_way);
    }

    /// Nothing is answered any more.
    pub fn close(&self) {
        let mut inside = self.inside();
        inside.closed = true;
        inside.waiting.clear();
        self.count(inside);
        self.changed.notify_one();
    }

    /// When nothing waits and nothing is under way.
    pub async fn idle(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    pub fn is_idle(&self) -> bool {
        *self.open.borrow() == 0
    }

    /// Lets the model answer until the queue is closed.
    pub fn work(&self, model: &dyn LanguageModel) {
        let waits = |inside: &mut Inside| inside.waiting.is_empty() && !inside.closed;
        loop {
            let inside = self.changed.wait_while(self.inside(), waits).unwrap_or_else(PoisonError::into_inner);
            if inside.closed {
                break;
            }
            drop(inside);
            model.attend(&mut Company { queue: self, under_way: BTreeMap::new(), asked: 0 });
        }
    }
}

/// Those who are answered now.
struct Company<'a> {
    queue: &'a Queue,
    under_way: BTreeMap<usize, UnderWay>,
    asked: usize,
}

struct UnderWay {
    reply: Reply,
    index: usize,
    tell: Tell,
}

impl Company<'_> {
    /// Whether anybody still listens.
    fn tell(&mut self, number: usize, said: impl FnOnce(&mut Reply) -> (Option<Said>, Option<Ended>)) -> bool {
        let Some(UnderWay { reply, index, tell }) = self.under_way.get_mut(&number) else { return false };
        let (said, ended) = said(reply);
        let is_over = ended.is_some();
        let mut words = said.into_iter().chain(ended.map(Said::Ended));
        let heard = words.all(|said| tell.send((*index, said)).is_ok());
        if is_over || !heard || tell.is_closed() {
            self.under_way.remove(&number);
            return false;
        }
        true
    }
}

impl Listener for Company<'_> {
    fn next(&mut self, room: usize) -> Vec<Wanted> {
        let mut inside = self.queue.inside();
        let mut wanted = Vec::new();
        while wanted.len() < room
            && let Some(asked) = inside.waiting.pop_front()
        {
            if asked.has_gone() {
                continue;
            }
            let Asked { wanted: one, reply, index, tell } = asked;
            self.under_way.insert(self.asked, UnderWay { reply, index, tell });
            self.asked += 1;
            wanted.push(one);
        }
        inside.under_way = self.under_way.len();
        self.queue.count(inside);
        wanted
    }

    fn hear(&mut self, number: usize, drawn: Drawn) -> bool {
        self.tell(number, |reply| reply.hear(drawn))
    }

    fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>) {
        match reply {
            Ok(whole) => drop(self.tell(number, |reply| reply.done(&whole))),
            Err(problem) => {
                if let Some(UnderWay { index, tell, .. }) = self.under_way.remove(&number) {
                    // Where nobody listens any more, nobody minds.
                    let _ = tell.send((index, Said::Failed(problem)));
                }
            }
        }
    }
}

//! Plays episodes each at its own pace: while an environment is waited for, the model answers whoever is there.
//!
//! # Invariants
//! One thread asks, hears, and tells what is done; environments are waited for on others, an episode each.

use super::{Halted, Live, Played, Rollout, RolloutItem, Turned};
use crate::model::attend::{Drawn, Wanted};
use crate::model::{GenReply, Listener, ModelError, Tokens};
use crate::node::lost::{Lost, Why};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Result as Ended, Scope, scope};

struct Abreast<'s, 'e> {
    rollout: &'e Rollout<'e>,
    halt: Halted<'e>,
    on_done: &'e mut dyn FnMut(Vec<Played>),
    results: Vec<Result<(), Lost>>,
    /// Those whose turn it is to be answered.
    ready: VecDeque<Live>,
    /// Those that the model answers, by the number of their request.
    asked: BTreeMap<usize, Live>,
    /// Requests so far.
    number: usize,
    /// Threads that wait for an environment, and what they say in the end.
    waiting: usize,
    scope: &'s Scope<'s, 'e>,
    say: Sender<Ended<Turned>>,
    said: Receiver<Ended<Turned>>,
}

/// As [`Rollout::run`].
pub fn run<'e>(
    rollout: &'e Rollout<'e>,
    items: &'e [RolloutItem<'e>],
    halt: Halted<'e>,
    on_done: &'e mut dyn FnMut(Vec<Played>),
) -> Vec<Result<(), Lost>> {
    let (say, said) = channel();
    let results = items.iter().map(|_| Ok(())).collect();
    scope(|scope| {
        let (ready, asked) = (VecDeque::new(), BTreeMap::new());
        let mut abreast =
            Abreast { rollout, halt, on_done, results, ready, asked, number: 0, waiting: 0, scope, say, said };
        for (index, item) in items.iter().enumerate() {
            abreast.wait(move || match rollout.start(index, item) {
                Ok(live) => Turned::Live(live),
                Err(why) => Turned::Lost(index, why.after(Tokens::default())),
            });
        }
        rollout.model.attend(&mut abreast);
        abreast.results
    })
}

impl<'s, 'e> Abreast<'s, 'e> {
    /// Does on a thread what waits for an environment.
    fn wait(&mut self, work: impl FnOnce() -> Turned + Send + 's) {
        let say = self.say.clone();
        self.waiting += 1;
        self.scope.spawn(move || {
            // Whoever hears is there as long as somebody waits.
            let _ = say.send(catch_unwind(AssertUnwindSafe(work)));
        });
    }

    /// Takes what one thread says, and all that the others have said by then.
    fn settle(&mut self, first: Option<Ended<Turned>>) {
        let mut done = Vec::new();
        let rest = std::iter::from_fn(|| self.said.try_recv().ok());
        for ended in first.into_iter().chain(rest) {
            self.waiting -= 1;
            match ended.unwrap_or_else(|panic| resume_unwind(panic)) {
                Turned::Live(live) => self.ready.push_back(live),
                Turned::Done(played) => done.push(played),
                Turned::Lost(index, lost) => self.results[index] = Err(lost),
            }
        }
        if !done.is_empty() {
            done.sort_by_key(|played| played.index);
            (self.on_done)(done);
        }
    }
}

impl Listener for Abreast<'_, '_> {
    fn next(&mut self, room: usize) -> Vec<Wanted> {
        loop {
            self.settle(None);
            if !self.ready.is_empty()
                && let Some(halt) = (self.halt)()
            {
                for Live { index, episode, took, .. } in std::mem::take(&mut self.ready) {
                    let lost = Why::from(halt).after(took);
                    self.wait(move || {
                        // An environment may take its time to let one go.
                        drop(episode);
                        Turned::Lost(index, lost)
                    });
                }
            }
            let due: Vec<Live> = self.ready.drain(..room.min(self.ready.len())).collect();
            if !due.is_empty() || !self.asked.is_empty() || self.waiting == 0 {
                let rollout = self.rollout;
                let wanted = due.iter().map(|live| Wanted { request: rollout.request(live), probable: None }).collect();
                self.asked.extend((self.number..).zip(due));
                self.number += Vec::len(&wanted);
                return wanted;
            }
            // The model has nobody to answer.
            let ended = self.said.recv().expect("a thread is waited for");
            self.settle(Some(ended));
        }
    }

    fn hear(&mut self, _: usize, _: Drawn) -> bool {
        true
    }

    fn done(&mut self, number: usize, reply: Result<GenReply, ModelError>) {
        let live = self.asked.remove(&number).expect("what is answered was asked");
        let (rollout, halt) = (self.rollout, (self.halt)());
        self.wait(move || rollout.turn(live, reply, halt));
    }
}

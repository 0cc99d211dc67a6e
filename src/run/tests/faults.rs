//! Models that fail where a test says: always, so many times, or by taking long.
//!
//! What is asked is known by its seed, so a fault meets one turn of one item and no other.

use crate::base::Seed;
use crate::model::{GenReply, GenRequest, LanguageModel, Message, ModelError, TokenId, TrainRow};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

thread_local! {
    /// Of the test that runs on this thread: models are opened where a run was started.
    static FAULTS: RefCell<Option<Arc<Faults>>> = const { RefCell::new(None) };
    static ROOM: Cell<Room> = const { Cell::new(None) };
}

/// How many more writes the disk of a journal has room for; `None` for all.
pub type Room = Option<u32>;

/// Of what is written to journals that this thread opens while something runs, so much finds room.
pub fn with_room<T>(writes: u32, run: impl FnOnce() -> T) -> T {
    ROOM.set(Some(writes));
    let done = run();
    ROOM.set(None);
    done
}

pub fn room() -> Room {
    ROOM.get()
}

pub fn meet_journal(room: &mut Room) -> std::io::Result<()> {
    match room {
        None => Ok(()),
        Some(0) => Err(std::io::ErrorKind::StorageFull.into()),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// So many times.
    Fails(u32),
    /// In milliseconds.
    Takes(u64),
}

#[derive(Debug, Default)]
pub struct Faults {
    of: Mutex<Vec<(Seed, Fault)>>,
    time: AtomicU64,
}

impl Faults {
    pub const ALWAYS: Fault = Fault::Fails(u32::MAX);

    pub fn of(faults: Vec<(Seed, Fault)>) -> Arc<Self> {
        Arc::new(Self { of: Mutex::new(faults), time: AtomicU64::new(0) })
    }

    /// Milliseconds, which pass while somebody takes long and at no other time.
    pub fn now(&self) -> u64 {
        self.time.load(Ordering::SeqCst)
    }

    /// Runs something among these faults.
    pub fn among<T>(self: &Arc<Self>, run: impl FnOnce() -> T) -> T {
        FAULTS.set(Some(self.clone()));
        let done = run();
        FAULTS.set(None);
        done
    }

    fn meet(&self, seed: Seed) -> Result<(), ModelError> {
        let mut faults = self.of.lock().expect("no panic holds this lock");
        match faults.iter_mut().find(|(of, _)| *of == seed).map(|(_, fault)| fault) {
            Some(Fault::Fails(times @ 1..)) => {
                *times -= 1;
                Err(ModelError::Engine("a fault of the test".to_owned()))
            }
            Some(Fault::Takes(time)) => {
                self.time.fetch_add(*time, Ordering::SeqCst);
                Ok(())
            }
            Some(Fault::Fails(0)) | None => Ok(()),
        }
    }
}

/// A model among the faults of the test that opens it.
pub fn around(model: Arc<dyn LanguageModel>) -> Arc<dyn LanguageModel> {
    match FAULTS.with_borrow(Clone::clone) {
        Some(faults) => Arc::new(Faulty { model, faults }),
        None => model,
    }
}

struct Faulty {
    model: Arc<dyn LanguageModel>,
    faults: Arc<Faults>,
}

impl LanguageModel for Faulty {
    fn context(&self) -> usize {
        self.model.context()
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<TokenId>, ModelError> {
        self.model.encode_chat(messages)
    }

    fn continue_chat(
        &self,
        history: &[Message],
        reply: &GenReply,
        next: &[Message],
    ) -> Result<Vec<TokenId>, ModelError> {
        self.model.continue_chat(history, reply, next)
    }

    fn encode_row(&self, messages: &[Message]) -> Result<TrainRow, ModelError> {
        self.model.encode_row(messages)
    }

    fn generate(&self, requests: &[GenRequest]) -> Vec<Result<GenReply, ModelError>> {
        let met: Vec<Result<(), ModelError>> = requests.iter().map(|request| self.faults.meet(request.seed)).collect();
        let replies = self.model.generate(requests);
        met.into_iter().zip(replies).map(|(met, reply)| met.and(reply)).collect()
    }
}

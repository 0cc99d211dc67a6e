//! Works each item by itself, many at once on threads of their own: they wait for an endpoint, not for a processor.
//!
//! # Invariants
//! An item is begun only where the most that it may take fits beside the most that all under way may take. What is filed
//! and told is so by one thread.

use super::round::Round;
use super::{Made, WorkItems};
use crate::node::lost::Lost;
use crate::run::StepError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// What a thread says of an item: what was made of it, and whether it finished.
type Said = (Vec<Made>, Result<Vec<Result<(), Lost>>, StepError>);

/// # Errors
/// As [`Round::work`]; no thread can be started.
pub fn work<T: Clone + Send>(
    round: &mut Round<'_, '_, '_, '_, T>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    at_once: usize,
) -> Result<(), StepError> {
    let watch = round.watch();
    let one = |at: usize| -> Said {
        let mut made = Vec::new();
        let result = work(&[at], &watch.begin(), &mut |done| made.extend(done.into_iter().map(|(_, made)| made)));
        (made, result)
    };
    let (give, next) = mpsc::channel::<usize>();
    let (tell, hear) = mpsc::channel();
    let next = Mutex::new(next);
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let (one, take) = (&one, &take);
    thread::scope(|scope| {
        let mut threads = 0;
        while threads < at_once.min(wanted.len()) {
            let tell = tell.clone();
            let serve = move || {
                while let Ok(at) = take() {
                    // Whoever hears is there as long as an item is under way.
                    let _ = tell.send((at, catch_unwind(AssertUnwindSafe(|| one(at)))));
                }
            };
            match thread::Builder::new().spawn_scoped(scope, serve) {
                Ok(_) => threads += 1,
                // As many as there are.
                Err(_) if threads > 0 => break,
                Err(problem) => return Err(StepError::Threads(problem.to_string())),
            }
        }
        let mut waiting = wanted.iter().copied().peekable();
        let (mut flying, mut made) = (0, Vec::new());
        loop {
            let mut ended = Ok(());
            while flying < threads && waiting.peek().is_some() && !watch.pauses() {
                match watch.admit(flying + 1) {
                    Ok(admitted) if admitted > flying => {}
                    Err(error) if flying == 0 => {
                        ended = Err(error);
                        break;
                    }
                    // Those under way may take less than they might have.
                    _ => break,
                }
                give.send(waiting.next().expect("just seen")).expect("the threads listen");
                flying += 1;
            }
            // While the next ones are asked already.
            round.file(std::mem::take(&mut made));
            if flying == 0 {
                drop(give);
                return ended;
            }
            let first = hear.recv().expect("a thread has an item");
            for (at, said) in std::iter::once(first).chain(hear.try_iter()) {
                flying -= 1;
                let (done, result) = said.unwrap_or_else(|panic| {
                    // Ends the threads, which the scope waits for.
                    resume_unwind(panic)
                });
                done.iter().for_each(|done| watch.take(at, done.took));
                made.extend(done.into_iter().map(|done| (at, done)));
                match result {
                    Ok(results) => results.into_iter().filter_map(Result::err).for_each(|lost| {
                        watch.take(at, lost.took);
                        round.lost(at, lost);
                    }),
                    Err(error) => round.stop(error),
                }
            }
        }
    })
}

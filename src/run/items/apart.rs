//! Works each item by itself, many at once on threads of their own: they wait for an endpoint, not for a processor.
//!
//! # Invariants
//! An item is begun only where the most that it may take fits beside the most that all under way may take. A thread waits for
//! nothing but its own item: what came of one is filed beside them.

use super::beside::Came;
use super::round::Watch;
use super::{Made, WorkItems};
use crate::node::lost::{Lost, Why};
use crate::run::StepError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// What a thread says of an item: what was made of it, and whether it finished.
type Said = (Vec<(usize, Made)>, Result<Vec<Result<(), Lost>>, StepError>);

/// # Errors
/// What of an item ends the round; no thread can be started.
pub fn ask(
    watch: &Watch<'_>,
    wanted: &[usize],
    work: &WorkItems<'_>,
    at_once: usize,
    tell: &dyn Fn(Came),
) -> Result<(), StepError> {
    let one = |at: usize| -> Said {
        let mut made = Vec::new();
        let result = work(&[at], &watch.begin(), &mut |done| made.extend(done.into_iter().map(|(_, made)| (at, made))));
        (made, result)
    };
    let (give, next) = mpsc::channel::<usize>();
    let (say, hear) = mpsc::channel();
    let next = Mutex::new(next);
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let (one, take) = (&one, &take);
    thread::scope(|scope| {
        let mut threads = 0;
        while threads < at_once.min(wanted.len()) {
            let say = say.clone();
            let serve = move || {
                while let Ok(at) = take() {
                    // Whoever hears is there as long as an item is under way.
                    let _ = say.send((at, catch_unwind(AssertUnwindSafe(|| one(at)))));
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
        let mut flying = 0;
        loop {
            while flying < threads && waiting.peek().is_some() && !watch.pauses() {
                match watch.admit(flying + 1) {
                    Ok(admitted) if admitted > flying => {}
                    Err(error) if flying == 0 => {
                        drop(give);
                        return Err(error);
                    }
                    // Those under way may take less than they might have.
                    _ => break,
                }
                give.send(waiting.next().expect("just seen")).expect("the threads listen");
                flying += 1;
            }
            if flying == 0 {
                drop(give);
                return Ok(());
            }
            let (at, said) = hear.recv().expect("a thread has an item");
            flying -= 1;
            let (made, result) = said.unwrap_or_else(|panic| {
                // Ends the threads, which the scope waits for.
                resume_unwind(panic)
            });
            made.iter().for_each(|(_, made)| watch.take(at, made.took));
            tell(Came::Made(made));
            match result {
                Ok(results) => results.into_iter().filter_map(Result::err).for_each(|lost| {
                    watch.take(at, lost.took);
                    // At once: whoever files may not be there yet.
                    if matches!(&lost.why, Why::Failed(problem) if problem.is_general()) {
                        watch.stop();
                    }
                    tell(Came::Lost(at, lost));
                }),
                Err(trouble) => {
                    watch.stop();
                    tell(Came::Trouble(trouble));
                }
            }
        }
    })
}

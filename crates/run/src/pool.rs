//! Workers that take tasks in order.

use crate::error::Error;
use crate::events::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Set once a task failed or the user asked to stop; whoever waits for another task looks at it.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// As [`for_each_with`], without anything of a worker's own.
pub fn for_each<T: Send>(
    threads: usize,
    tasks: impl Iterator<Item = T> + Send,
    cancel: &Cancel,
    work: impl Fn(T, &Stop) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    for_each_with(threads, tasks, cancel, |(): &mut (), task, stop| work(task, stop))
}

/// Runs `work` on every task, on so many threads, each with a state of its own. Tasks are claimed in their order; after a failure
/// none is claimed any more, and of several failures the one of the earliest task is returned, so that
/// the message does not depend on the threads.
pub fn for_each_with<S: Default, T: Send>(
    threads: usize,
    tasks: impl Iterator<Item = T> + Send,
    cancel: &Cancel,
    work: impl Fn(&mut S, T, &Stop) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let queue = Mutex::new(tasks.enumerate());
    let failure: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let stop = Stop::default();
    let claim = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let fail = |number, error| {
        stop.set();
        let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(earliest, _)| number < *earliest) {
            *first = Some((number, error));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut state = S::default();
                while !stop.is_set()
                    && let Some((number, task)) = claim()
                {
                    let result = if cancel.is_cancelled() {
                        Err(Error::Interrupted)
                    } else {
                        work(&mut state, task, &stop)
                    };
                    if let Err(error) = result {
                        fail(number, error);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let sum = AtomicU64::new(0);
            let add = |task, _: &Stop| {
                sum.fetch_add(task, Ordering::SeqCst);
                Ok(())
            };
            for_each(threads, 1..=100u64, &Cancel::new(), add).expect("no failure");
            assert_eq!(sum.into_inner(), 5050);
        }
    }

    #[test]
    fn the_earliest_failure_is_the_one_reported() {
        let fail = |task: u64, _: &Stop| match task {
            0..3 => Ok(()),
            _ => Err(Error::Refused(format!("task {task}"))),
        };
        let error = for_each(1, 0..100, &Cancel::new(), fail).expect_err("fails");
        assert_eq!(error.to_string(), "task 3");
    }

    #[test]
    fn a_cancelled_run_is_interrupted() {
        let cancel = Cancel::new();
        cancel.cancel();
        let error = for_each(2, 0..10, &cancel, |_, _| Ok(())).expect_err("cancelled");
        assert!(matches!(error, Error::Interrupted));
    }
}

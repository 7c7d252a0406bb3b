//! The crowd: tasks of all [`kinds`] that wait for ever on a runtime of two workers.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use taskleak::Detector;
use tokio::runtime::Runtime;

use crate::at_work::{self, AtWork};
use crate::error::Error;
use crate::expected::Expected;
use crate::kinds::{self, Things};
use crate::preferred::Preferred;
use crate::resident;

const WORKERS: usize = 2;
/// The name of their threads.
const WORKER: &str = "crowd-worker";
/// Tasks that are started before memory is measured, so that what is made but once is there.
const VANGUARD: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The last tasks to begin may be about to wait still.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Crowd {
    runtime: Runtime,
    of_each: usize,
    at_work: Option<Arc<AtWork>>,
}

impl Crowd {
    /// Starts the tasks, as many of each kind. Returns with them the bytes by which resident
    /// memory grew for each; there is nothing to tell of a crowd that is but a vanguard.
    pub(crate) fn gather(tasks: usize) -> Result<(Crowd, Option<f64>), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name(WORKER)
            .enable_time()
            .build()
            .map_err(Error::Runtime)?;
        let of_each = tasks / kinds::ALL.len();
        let vanguard = of_each.min(VANGUARD / kinds::ALL.len());
        let things = Arc::new(Things::new());
        start(&runtime, &things, vanguard);
        let before = resident::bytes()?;
        start(&runtime, &things, of_each - vanguard);
        let grown = resident::bytes()?.saturating_sub(before);
        let measured = (of_each - vanguard) * kinds::ALL.len();
        let crowd = Crowd {
            runtime,
            of_each,
            at_work: None,
        };
        Ok((
            crowd,
            (measured > 0).then(|| grown as f64 / measured as f64),
        ))
    }

    /// What an answer has to say.
    pub(crate) fn expected(&self) -> Expected {
        Expected {
            of_each: self.of_each as u64,
            others: self.at_work.as_ref().map_or(0, |_| at_work::TASKS),
        }
    }

    /// Has the runtime work from now on.
    pub(crate) fn work(&mut self) -> Arc<AtWork> {
        let at_work = self.at_work.take();
        let at_work = at_work.unwrap_or_else(|| Arc::new(AtWork::start(&self.runtime)));
        Arc::clone(self.at_work.insert(at_work))
    }

    /// Has the kernel run the runtime's threads before all others, if it may.
    pub(crate) fn prefer(&self) -> Result<Option<Preferred>, Error> {
        Preferred::threads(WORKER)
    }

    /// Waits until the detector sees each task where it is to wait. What it sees last counts.
    pub(crate) fn settle(&self, detector: &Detector) -> Result<(), Error> {
        let give_up = Instant::now() + SETTLES_WITHIN;
        loop {
            match self.expected().check_snapshot(&detector.snapshot()) {
                Err(_) if Instant::now() < give_up => thread::sleep(LOOK_EVERY),
                seen => return seen,
            }
        }
    }
}

/// Starts so many tasks of each kind, and returns when they have begun.
fn start(runtime: &Runtime, things: &Arc<Things>, of_each: usize) {
    let all = things.begun() + of_each * kinds::ALL.len();
    runtime.spawn(kinds::start(Arc::clone(things), of_each));
    while things.begun() < all {
        thread::sleep(LOOK_EVERY);
    }
}

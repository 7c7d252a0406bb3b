//! `start` spawns a worker that ends by `stop`. A request that fails never stops its own, and the
//! service keeps the token of each.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::load::{HungUp, converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "contract violation",
    source: "design",
    leaky,
    fixed,
    function: "contract_violation::run_until_stopped",
    waits: &[Wait::ChanReceive, Wait::Notify],
};

type Job = u64;

#[derive(Default)]
struct Service {
    jobs: Mutex<Vec<mpsc::Sender<Job>>>,
    tokens: Mutex<Vec<CancellationToken>>,
}

impl Service {
    /// The token and the jobs of another worker.
    fn register(&self) -> (CancellationToken, mpsc::Receiver<Job>) {
        let token = CancellationToken::new();
        let (sender, jobs) = mpsc::channel(8);
        self.jobs.lock().push(sender);
        self.tokens.lock().push(token.clone());
        (token, jobs)
    }
}

fn leaky() -> Program {
    let service = Arc::new(Service::default());
    Box::pin(requests(move |n| {
        handle_stopping_last(Arc::clone(&service), n)
    }))
}

async fn handle_stopping_last(service: Arc<Service>, n: u64) -> Result<(), HungUp> {
    let worker = Worker::start(&service);
    converse(n).await?;
    worker.stop();
    Ok(())
}

struct Worker {
    token: CancellationToken,
}

impl Worker {
    fn start(service: &Service) -> Worker {
        let (token, jobs) = service.register();
        tokio::spawn(run_until_stopped(token.clone(), jobs));
        Worker { token }
    }

    fn stop(self) {
        self.token.cancel();
    }
}

async fn run_until_stopped(token: CancellationToken, mut jobs: mpsc::Receiver<Job>) {
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            job = jobs.recv() => if job.is_none() { return },
        }
    }
}

fn fixed() -> Program {
    let service = Arc::new(Service::default());
    Box::pin(requests(move |n| handle(Arc::clone(&service), n)))
}

async fn handle(service: Arc<Service>, n: u64) -> Result<(), HungUp> {
    let _worker = StoppedByDrop::start(&service);
    converse(n).await
}

struct StoppedByDrop {
    _token: DropGuard,
}

impl StoppedByDrop {
    fn start(service: &Service) -> StoppedByDrop {
        let (token, jobs) = service.register();
        tokio::spawn(run_until_dropped(token.clone(), jobs));
        StoppedByDrop {
            _token: token.drop_guard(),
        }
    }
}

async fn run_until_dropped(token: CancellationToken, mut jobs: mpsc::Receiver<Job>) {
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            job = jobs.recv() => if job.is_none() { return },
        }
    }
}

//! `start` spawns a worker that ends by `stop`. The leak: `stop` is not called.

use std::sync::Mutex;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

/// What a worker does.
pub type Job = u64;

/// Every worker that was started, for those who hand out jobs.
static STARTED: Mutex<Vec<(mpsc::Sender<Job>, CancellationToken)>> = Mutex::new(Vec::new());

/// Runs until it is stopped.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    token: CancellationToken,
    task: JoinHandle<Job>,
}

impl Worker {
    /// Spawns its task.
    pub fn start() -> Worker {
        let (jobs, queue) = mpsc::channel(8);
        let token = CancellationToken::new();
        if let Ok(mut started) = STARTED.lock() {
            started.push((jobs.clone(), token.clone()));
        }
        let task = tokio::spawn(run_until_stopped(queue, token.clone()));
        Worker { jobs, token, task }
    }

    /// Hands it a job.
    pub async fn hand(&self, job: Job) {
        let _is_taken = self.jobs.send(job).await;
    }

    /// Ends its task; returns what was done.
    pub async fn stop(self) -> Result<Job, JoinError> {
        self.token.cancel();
        self.task.await
    }
}

async fn run_until_stopped(mut queue: mpsc::Receiver<Job>, token: CancellationToken) -> Job {
    let mut done = 0;
    loop {
        tokio::select! {
            biased;
            Some(job) = queue.recv() => done += job,
            () = token.cancelled() => return done,
        }
    }
}

//! A pool of workers that share one receiver behind a mutex: one waits for work, the others for
//! the mutex, as long as there is none.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::interval;

use crate::judge::BLOCKED_AFTER;
use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "workers that share a receiver",
    program,
    suspect: Some("who holds a lock, and why so long, can't be seen"),
};

const WORKERS: usize = 4;

fn program() -> Program {
    Box::pin(async {
        let (sender, jobs) = mpsc::channel(8);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..WORKERS {
            tokio::spawn(take_jobs(Arc::clone(&jobs)));
        }
        tokio::spawn(give_rarely(sender));
        requests(|_| work()).await;
    })
}

async fn take_jobs(jobs: Arc<Mutex<mpsc::Receiver<u64>>>) {
    loop {
        let job = jobs.lock().await.recv().await;
        if job.is_none() {
            return;
        }
        work().await;
    }
}

async fn give_rarely(jobs: mpsc::Sender<u64>) {
    let mut ticks = interval(BLOCKED_AFTER * 2);
    for job in 0.. {
        ticks.tick().await;
        jobs.send(job).await.expect("the workers live");
    }
}

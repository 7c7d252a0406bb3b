//! A pool of workers on live channels, to whom work comes more rarely than they may wait.

use tokio::sync::mpsc;
use tokio::time::interval;

use crate::judge::BLOCKED_AFTER;
use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "idle workers",
    program,
    suspect: None,
};

const WORKERS: usize = 4;

fn program() -> Program {
    Box::pin(async {
        let workers: Vec<_> = (0..WORKERS).map(|_| start_worker()).collect();
        tokio::spawn(dispatch(workers));
        requests(|_| work()).await;
    })
}

fn start_worker() -> mpsc::Sender<u64> {
    let (sender, jobs) = mpsc::channel(8);
    tokio::spawn(do_jobs(jobs));
    sender
}

async fn do_jobs(mut jobs: mpsc::Receiver<u64>) {
    while jobs.recv().await.is_some() {
        work().await;
    }
}

/// Each worker gets a job once in twice the threshold.
async fn dispatch(workers: Vec<mpsc::Sender<u64>>) {
    let mut ticks = interval(BLOCKED_AFTER * 2 / WORKERS as u32);
    for job in 0.. {
        ticks.tick().await;
        let worker = &workers[job as usize % WORKERS];
        worker.send(job).await.expect("the workers live");
    }
}

//! A pool that grows when a request finds no idle worker; a worker ends when it has had nothing
//! to do for a while.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "a pool grown by requests",
    program,
    suspect: None,
};

/// Longer than anybody looks.
const IDLE_FOR: Duration = Duration::from_secs(300);

struct Job {
    done: oneshot::Sender<()>,
}

#[derive(Default)]
struct Pool {
    idle: Mutex<Vec<mpsc::Sender<Job>>>,
}

fn program() -> Program {
    let pool = Arc::new(Pool::default());
    Box::pin(requests(move |n| run_in_pool(Arc::clone(&pool), n)))
}

/// Every hundredth request needs a dozen workers, the others one.
async fn run_in_pool(pool: Arc<Pool>, n: u64) {
    let jobs = if n % 100 == 50 { 12 } else { 1 };
    let all: Vec<_> = (0..jobs).map(|_| submit(&pool)).collect();
    for done in all {
        done.await.expect("a worker does each job");
    }
}

fn submit(pool: &Arc<Pool>) -> oneshot::Receiver<()> {
    let (done, is_done) = oneshot::channel();
    let idle = pool.idle.lock().pop();
    let worker = idle.unwrap_or_else(|| start_worker(pool));
    worker.try_send(Job { done }).expect("it is idle");
    is_done
}

fn start_worker(pool: &Arc<Pool>) -> mpsc::Sender<Job> {
    let (worker, jobs) = mpsc::channel(1);
    tokio::spawn(run_worker(worker.clone(), jobs, Arc::clone(pool)));
    worker
}

async fn run_worker(own: mpsc::Sender<Job>, mut jobs: mpsc::Receiver<Job>, pool: Arc<Pool>) {
    while let Ok(Some(job)) = timeout(IDLE_FOR, jobs.recv()).await {
        work().await;
        let _is_awaited = job.done.send(());
        pool.idle.lock().push(own.clone());
    }
}

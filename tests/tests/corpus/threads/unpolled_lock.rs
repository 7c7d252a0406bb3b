//! A `select!` polls a `lock`, and another branch locks the same mutex: when it is unlocked the
//! first `lock` gets it, which is not polled any more.
//!
//! github.com/tangramdotdev/tangram/pull/873, "fix(server/run/sandbox): drop dequeue future prior
//! to finish_sandbox": the branch of a timer waited for a guard that the pending `dequeue` had.

use std::sync::Arc;
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::{Mutex, oneshot};
use tokio::time::sleep;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "unpolled lock",
    source: "github.com/tangramdotdev/tangram/pull/873",
    leaky: || service(finish_beside_dequeue),
    fixed: || service(finish_after_dequeue),
    function: "unpolled_lock::finish_beside_dequeue",
    waits: &[Wait::MutexLock],
};

/// The processes of a sandbox.
type Queue = Arc<Mutex<Vec<u64>>>;

/// How long a writer may keep the queue.
const SLOW: Duration = Duration::from_millis(4);

fn service<S>(sandbox: fn(Queue, oneshot::Receiver<()>) -> S) -> Program
where
    S: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let queue = Queue::default();
        let (cancel, cancelled) = oneshot::channel();
        let mut writer = queue.lock().await;
        tokio::spawn(sandbox(Arc::clone(&queue), cancelled));
        writer.push(n);
        if goes_wrong(n) {
            sleep(SLOW).await;
            cancel.send(()).ok();
            sleep(SLOW).await;
        }
    }))
}

async fn finish_beside_dequeue(queue: Queue, cancelled: oneshot::Receiver<()>) {
    let mut dequeue = Box::pin(queue.lock());
    tokio::select! {
        // In a fixed order, as the profile goes by it when it says which waker is gone.
        biased;
        mut processes = &mut dequeue => drop(processes.pop()),
        Ok(()) = cancelled => queue.lock().await.clear(),
    }
}

async fn finish_after_dequeue(queue: Queue, cancelled: oneshot::Receiver<()>) {
    let mut dequeue = Box::pin(queue.lock());
    tokio::select! {
        biased;
        mut processes = &mut dequeue => drop(processes.pop()),
        Ok(()) = cancelled => {
            drop(dequeue);
            queue.lock().await.clear();
        }
    }
}

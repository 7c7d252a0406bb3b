//! Requests whose answers take long, but less than a task may wait: from a peer, from a task, and
//! for a permit.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use crate::judge::BLOCKED_AFTER;
use crate::load::requests;
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "slow answers",
    program,
    suspect: None,
};

const PERMITS: usize = 12;

fn program() -> Program {
    let permits = Arc::new(Semaphore::new(PERMITS));
    Box::pin(requests(move |_| ask_slow_backend(Arc::clone(&permits))))
}

/// With 25 requests a second eight of them hold one at a time.
async fn ask_slow_backend(permits: Arc<Semaphore>) {
    let _permit = permits.acquire().await.expect("it is never closed");
    let (sender, answer) = oneshot::channel();
    tokio::spawn(answer_slowly(sender));
    let printed = tokio::spawn(print_answer(answer));
    printed.await.expect("it does not panic");
}

async fn answer_slowly(sender: oneshot::Sender<u64>) {
    sleep(BLOCKED_AFTER / 6).await;
    sender.send(1).expect("it is waited for");
}

async fn print_answer(answer: oneshot::Receiver<u64>) {
    answer.await.expect("it is answered");
}

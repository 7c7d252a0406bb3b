//! A handler gives up on a task by dropping its `JoinHandle`, which lets the task run on: it
//! waits for an answer that the backend keeps for later.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::load::{PATIENCE, goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "timeout, child receives",
    source: "design",
    leaky,
    fixed,
    function: "timeout_receive::fetch_detached",
    waits: &[Wait::ChanReceive],
};

type Answer = u64;

/// Answers at once, or never.
#[derive(Default)]
struct Backend {
    to_be_answered: Mutex<Vec<oneshot::Sender<Answer>>>,
}

impl Backend {
    fn ask(&self, n: u64) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        if goes_wrong(n) {
            self.to_be_answered.lock().push(sender);
        } else {
            sender.send(n).expect("the receiver is here");
        }
        answer
    }
}

fn leaky() -> Program {
    let backend = Arc::new(Backend::default());
    Box::pin(requests(move |n| {
        let answer = backend.ask(n);
        async move { timeout(PATIENCE, tokio::spawn(fetch_detached(answer))).await }
    }))
}

async fn fetch_detached(answer: oneshot::Receiver<Answer>) -> Option<Answer> {
    answer.await.ok()
}

fn fixed() -> Program {
    let backend = Arc::new(Backend::default());
    Box::pin(requests(move |n| {
        let answer = backend.ask(n);
        async move {
            let task = AbortOnDropHandle::new(tokio::spawn(fetch_attached(answer)));
            timeout(PATIENCE, task).await
        }
    }))
}

async fn fetch_attached(answer: oneshot::Receiver<Answer>) -> Option<Answer> {
    answer.await.ok()
}

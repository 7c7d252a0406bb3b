//! A backend answers at once, or keeps a question for later. The leak: who loses patience drops
//! the `JoinHandle`, which lets the task that waits for the answer run on.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{error::Elapsed, timeout};
use tokio_util::task::AbortOnDropHandle;

/// What a question has as its answer, or no answer.
pub type Answer = Option<u64>;

const PATIENCE: Duration = Duration::from_millis(20);

static KEPT_FOR_LATER: Mutex<Vec<oneshot::Sender<u64>>> = Mutex::new(Vec::new());

/// Asks in a task that ends with the patience.
pub async fn ask(question: u64) -> Result<Answer, Elapsed> {
    let task = AbortOnDropHandle::new(tokio::spawn(await_answer(put(question))));
    Ok(timeout(PATIENCE, task).await?.ok().flatten())
}

async fn await_answer(answer: oneshot::Receiver<u64>) -> Answer {
    answer.await.ok()
}

/// Asks in a task of its own.
pub async fn ask_detached(question: u64) -> Result<Answer, Elapsed> {
    let task = tokio::spawn(await_answer_detached(put(question)));
    Ok(timeout(PATIENCE, task).await?.ok().flatten())
}

async fn await_answer_detached(answer: oneshot::Receiver<u64>) -> Answer {
    answer.await.ok()
}

/// Odd questions are hard.
fn put(question: u64) -> oneshot::Receiver<u64> {
    let (sender, answer) = oneshot::channel();
    if question.is_multiple_of(2) {
        let _is_awaited = sender.send(question / 2);
    } else if let Ok(mut kept) = KEPT_FOR_LATER.lock() {
        kept.push(sender);
    }
    answer
}

//! A queue keeps a receiver of its channel, to clone it for new readers: with no reader left the
//! channel is still open, and full.
//!
//! github.com/y-scope/spider/pull/332, "feat(spider-scheduler): Add channel-based dispatch queue
//! implementation.": a review asked whether `enqueue` would ever fail, as the queue itself holds
//! a receiver.

use async_channel::{Receiver, Sender};
use taskleak_profile::snapshot::Wait;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "retained receiver",
    source: "github.com/y-scope/spider/pull/332",
    leaky,
    fixed,
    function: "retained_receiver::enqueue_beside_reader",
    waits: &[Wait::ChanSend],
};

/// How many assignments there are for a reader.
const ASSIGNMENTS: u64 = 4;

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let (queue, reader) = async_channel::bounded(1);
        tokio::spawn(enqueue_beside_reader(queue, reader.clone()));
        read(reader, n).await;
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let (queue, reader) = async_channel::bounded(1);
        tokio::spawn(enqueue(queue));
        read(reader, n).await;
    }))
}

async fn enqueue_beside_reader(queue: Sender<u64>, _for_new_readers: Receiver<u64>) {
    for assignment in 0..ASSIGNMENTS {
        if queue.send(assignment).await.is_err() {
            return;
        }
    }
}

async fn enqueue(queue: Sender<u64>) {
    for assignment in 0..ASSIGNMENTS {
        if queue.send(assignment).await.is_err() {
            return;
        }
    }
}

/// Some readers leave after their first assignment.
async fn read(reader: Receiver<u64>, n: u64) {
    let wanted = if goes_wrong(n) { 1 } else { ASSIGNMENTS };
    for _ in 0..wanted {
        reader.recv().await.ok();
    }
}

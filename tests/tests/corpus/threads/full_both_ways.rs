//! Two tasks that send to each other through bounded channels, each while it does not receive:
//! both channels are full, and neither goes on.
//!
//! github.com/chroma-core/chroma/pull/5283, "[BUG] Resolve deadlock in system crate?": a
//! dispatcher waited for room at a worker, and the worker for room at the dispatcher.

use std::collections::VecDeque;

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "full both ways",
    source: "github.com/chroma-core/chroma/pull/5283",
    leaky: || service(dispatch_and_wait, work_for_who_waits),
    fixed: || service(dispatch, work),
    function: "full_both_ways::dispatch_and_wait",
    waits: &[Wait::ChanSend],
};

pub(crate) const WORKER: Pattern = Pattern {
    name: "full both ways: the worker",
    function: "full_both_ways::work_for_who_waits",
    ..PATTERN
};

enum Message {
    Job,
    /// The worker has done a part, and wants another one.
    Ready,
}

/// The parts of a job.
const PARTS: usize = 2;
/// How many messages the dispatcher has room for.
const ROOM: usize = 4;

fn service<D, W>(
    dispatch: fn(usize, Receiver<Message>, Sender<()>) -> D,
    work: fn(Receiver<()>, Sender<Message>) -> W,
) -> Program
where
    D: Future<Output = ()> + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let jobs = if goes_wrong(n) { ROOM } else { 1 };
        let (to_dispatcher, dispatcher) = mpsc::channel(ROOM);
        let (to_worker, worker) = mpsc::channel(1);
        for _ in 0..jobs {
            to_dispatcher.send(Message::Job).await.ok();
        }
        tokio::spawn(work(worker, to_dispatcher));
        tokio::spawn(dispatch(jobs, dispatcher, to_worker));
    }))
}

async fn dispatch_and_wait(jobs: usize, mut inbox: Receiver<Message>, worker: Sender<()>) {
    let mut open = jobs * PARTS;
    while open > 0
        && let Some(message) = inbox.recv().await
    {
        match message {
            Message::Ready => open -= 1,
            Message::Job => {
                for _ in 0..PARTS {
                    worker.send(()).await.ok();
                }
            }
        }
    }
}

async fn work_for_who_waits(mut inbox: Receiver<()>, dispatcher: Sender<Message>) {
    while inbox.recv().await.is_some() {
        dispatcher.send(Message::Ready).await.ok();
    }
}

/// Receives also while there is no room at the worker.
async fn dispatch(jobs: usize, mut inbox: Receiver<Message>, worker: Sender<()>) {
    let mut open = jobs * PARTS;
    let mut parts = VecDeque::new();
    while open > 0 {
        tokio::select! {
            room = worker.reserve(), if !parts.is_empty() => {
                if let (Ok(room), Some(part)) = (room, parts.pop_front()) {
                    room.send(part);
                }
            }
            message = inbox.recv() => match message {
                Some(Message::Ready) => open -= 1,
                Some(Message::Job) => parts.extend([(); PARTS]),
                None => return,
            },
        }
    }
}

async fn work(mut inbox: Receiver<()>, dispatcher: Sender<Message>) {
    while inbox.recv().await.is_some() {
        dispatcher.send(Message::Ready).await.ok();
    }
}

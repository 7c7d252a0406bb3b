//! Tasks that end because their peer is dropped: the straight ports of Go's channel leaks.

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::load::{HungUp, converse, requests};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "tasks that end with their peer",
    program,
    suspect: None,
};

fn program() -> Program {
    Box::pin(requests(converse_with_helpers))
}

async fn converse_with_helpers(n: u64) -> Result<(), HungUp> {
    let (_lines, receiver) = mpsc::channel(1);
    tokio::spawn(print(receiver));
    let (sender, _unread) = mpsc::channel(1);
    tokio::spawn(measure(sender));
    let (_answer, receiver) = oneshot::channel();
    tokio::spawn(log(receiver));
    let events = broadcast::Sender::new(1);
    tokio::spawn(follow(events.subscribe()));
    let progress = watch::Sender::new(0);
    tokio::spawn(show(progress.subscribe()));
    converse(n).await
}

async fn print(mut lines: mpsc::Receiver<u64>) {
    while lines.recv().await.is_some() {}
}

async fn measure(samples: mpsc::Sender<u64>) {
    while samples.send(1).await.is_ok() {}
}

async fn log(answer: oneshot::Receiver<u64>) {
    let _answered = answer.await;
}

async fn follow(mut events: broadcast::Receiver<u64>) {
    while events.recv().await.is_ok() {}
}

async fn show(mut progress: watch::Receiver<u64>) {
    while progress.changed().await.is_ok() {}
}

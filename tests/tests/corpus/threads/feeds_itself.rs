//! A `select!` loop sends, in the body of a branch, into a bounded channel that another branch of
//! the same loop receives from: once it is full, nobody makes room.
//!
//! github.com/autonomys/subspace/issues/1316, "Executor may hang forever due to incorrect usage
//! of `tokio::select`": the channel that throttles the import of blocks could stop it.

use futures::channel::mpsc as throttle;
use futures::{SinkExt, StreamExt};
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "feeds itself",
    source: "github.com/autonomys/subspace/issues/1316",
    leaky: || service(import_throttled),
    fixed: || service(import_in_turn),
    function: "feeds_itself::import_throttled",
    waits: &[Wait::ChanSend],
};

fn service<I>(import: fn(mpsc::UnboundedReceiver<u64>) -> I) -> Program
where
    I: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let (blocks, announced) = mpsc::unbounded_channel();
        let behind = if goes_wrong(n) { 8 } else { 1 };
        for block in n..n + behind {
            blocks.send(block).ok();
        }
        tokio::spawn(import(announced));
    }))
}

async fn import_throttled(mut announced: mpsc::UnboundedReceiver<u64>) {
    let (mut to_execute, mut queue) = throttle::channel(1);
    loop {
        tokio::select! {
            biased;
            block = announced.recv() => match block {
                Some(block) => _ = to_execute.feed(block).await,
                None => break,
            },
            Some(block) = queue.next() => execute(block).await,
        }
    }
    drop(to_execute);
    while let Some(block) = queue.next().await {
        execute(block).await;
    }
}

async fn import_in_turn(mut announced: mpsc::UnboundedReceiver<u64>) {
    while let Some(block) = announced.recv().await {
        execute(block).await;
    }
}

async fn execute(_block: u64) {
    tokio::task::yield_now().await;
}

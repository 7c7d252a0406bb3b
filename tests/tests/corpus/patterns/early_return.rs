//! A search returns at its first error, before it has received what its shards send. A history
//! of searches keeps the receiver, so the shards wait for room.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::{HungUp, converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "early return",
    source: "design",
    leaky,
    fixed,
    function: "early_return::look_up_for_history",
    waits: &[Wait::ChanSend],
};

type Hit = u64;

const SHARDS: u64 = 3;

struct Search {
    hits: tokio::sync::Mutex<mpsc::Receiver<Hit>>,
}

type History = Arc<Mutex<Vec<Arc<Search>>>>;

fn leaky() -> Program {
    let history = History::default();
    Box::pin(requests(move |n| {
        search_with_history(Arc::clone(&history), n)
    }))
}

async fn search_with_history(history: History, n: u64) -> Result<(), HungUp> {
    let (sender, hits) = mpsc::channel(1);
    let search = Arc::new(Search {
        hits: tokio::sync::Mutex::new(hits),
    });
    history.lock().push(Arc::clone(&search));
    for shard in 0..SHARDS {
        tokio::spawn(look_up_for_history(shard, sender.clone()));
    }
    drop(sender);
    converse(n).await?;
    let mut hits = search.hits.lock().await;
    while hits.recv().await.is_some() {}
    Ok(())
}

async fn look_up_for_history(shard: u64, hits: mpsc::Sender<Hit>) {
    let _is_asked_for = hits.send(shard).await;
}

fn fixed() -> Program {
    Box::pin(requests(search))
}

async fn search(n: u64) -> Result<(), HungUp> {
    let (sender, mut hits) = mpsc::channel(1);
    for shard in 0..SHARDS {
        tokio::spawn(look_up(shard, sender.clone()));
    }
    drop(sender);
    converse(n).await?;
    while hits.recv().await.is_some() {}
    Ok(())
}

async fn look_up(shard: u64, hits: mpsc::Sender<Hit>) {
    let _is_asked_for = hits.send(shard).await;
}

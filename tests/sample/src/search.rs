//! A search asks its shards side by side. The leak: it returns with the first hit, its history
//! keeps the receiver, and the shards wait for room.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

/// What a shard finds.
pub type Hit = u64;

const SHARDS: u64 = 4;

/// The searches that were made, with what they have not shown yet.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<Vec<mpsc::Receiver<Hit>>>>);

impl History {
    fn keep(&self, rest: mpsc::Receiver<Hit>) {
        if let Ok(mut kept) = self.0.lock() {
            kept.push(rest);
        }
    }
}

/// Finds all.
pub async fn search() -> Vec<Hit> {
    let mut hits = ask_shards(|shard, hits| tokio::spawn(look_up(shard, hits)));
    let mut found = Vec::new();
    while let Some(hit) = hits.recv().await {
        found.push(hit);
    }
    found
}

async fn look_up(shard: u64, hits: mpsc::Sender<Hit>) {
    let _is_wanted = hits.send(shard).await;
}

/// Finds the first hit; the rest is kept for when more are wanted.
pub async fn search_first(history: &History) -> Option<Hit> {
    let mut hits = ask_shards(|shard, hits| tokio::spawn(look_up_for_history(shard, hits)));
    let first = hits.recv().await;
    history.keep(hits);
    first
}

async fn look_up_for_history(shard: u64, hits: mpsc::Sender<Hit>) {
    let _is_wanted = hits.send(shard).await;
}

fn ask_shards<T>(ask: impl Fn(u64, mpsc::Sender<Hit>) -> T) -> mpsc::Receiver<Hit> {
    let (sender, hits) = mpsc::channel(1);
    for shard in 0..SHARDS {
        ask(shard, sender.clone());
    }
    hits
}

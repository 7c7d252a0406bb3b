//! Entries are summed as they come. The leak: the task that sums has a sender of its own, so that
//! its channel never closes.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What is booked.
#[derive(Debug)]
pub struct Entry {
    /// In cents.
    pub amount: u64,
    /// It is booked again as what its parts come to.
    pub parts: Option<u64>,
}

/// A ledger whose channel closes with its last sender.
pub fn open() -> (mpsc::Sender<Entry>, JoinHandle<u64>) {
    let (entries, booked) = mpsc::channel(8);
    let sum = tokio::spawn(sum(booked, entries.downgrade()));
    (entries, sum)
}

async fn sum(mut booked: mpsc::Receiver<Entry>, again: mpsc::WeakSender<Entry>) -> u64 {
    let mut sum = 0;
    while let Some(entry) = booked.recv().await {
        match (entry.parts, again.upgrade()) {
            (Some(amount), Some(again)) => rebook(&again, amount).await,
            (parts, _) => sum += parts.unwrap_or(entry.amount),
        }
    }
    sum
}

/// A ledger whose channel does not close.
pub fn open_for_ever() -> (mpsc::Sender<Entry>, JoinHandle<u64>) {
    let (entries, booked) = mpsc::channel(8);
    let sum = tokio::spawn(sum_for_ever(booked, entries.clone()));
    (entries, sum)
}

async fn sum_for_ever(mut booked: mpsc::Receiver<Entry>, again: mpsc::Sender<Entry>) -> u64 {
    let mut sum = 0;
    while let Some(entry) = booked.recv().await {
        match entry.parts {
            Some(amount) => rebook(&again, amount).await,
            None => sum += entry.amount,
        }
    }
    sum
}

async fn rebook(again: &mpsc::Sender<Entry>, amount: u64) {
    let parts = None;
    let _is_open = again.send(Entry { amount, parts }).await;
}

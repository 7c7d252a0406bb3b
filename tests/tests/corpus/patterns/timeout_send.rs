//! A handler gives up on an export by dropping its `JoinHandle`. The export runs on and waits
//! for room in a channel of which a list of downloads keeps the receiver, and nobody reads.

use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::load::{PATIENCE, goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "timeout, child sends",
    source: "design",
    leaky,
    fixed,
    function: "timeout_send::export_detached",
    waits: &[Wait::ChanSend],
};

type Row = u64;

const ROWS: u64 = 20;

/// What clients may still fetch.
type Downloads = Arc<Mutex<Vec<mpsc::Receiver<Row>>>>;

async fn download(n: u64, mut rows: mpsc::Receiver<Row>, downloads: Downloads) {
    if goes_wrong(n) {
        downloads.lock().push(rows);
    } else {
        while rows.recv().await.is_some() {}
    }
}

fn leaky() -> Program {
    let downloads = Downloads::default();
    Box::pin(requests(move |n| {
        let downloads = Arc::clone(&downloads);
        async move {
            let (sender, rows) = mpsc::channel(4);
            let task: JoinHandle<()> = tokio::spawn(export_detached(sender));
            download(n, rows, downloads).await;
            timeout(PATIENCE, task).await
        }
    }))
}

async fn export_detached(rows: mpsc::Sender<Row>) {
    for row in 0..ROWS {
        if rows.send(row).await.is_err() {
            return;
        }
    }
}

fn fixed() -> Program {
    let downloads = Downloads::default();
    Box::pin(requests(move |n| {
        let downloads = Arc::clone(&downloads);
        async move {
            let (sender, rows) = mpsc::channel(4);
            let task = AbortOnDropHandle::new(tokio::spawn(export_attached(sender)));
            download(n, rows, downloads).await;
            timeout(PATIENCE, task).await
        }
    }))
}

async fn export_attached(rows: mpsc::Sender<Row>) {
    for row in 0..ROWS {
        if rows.send(row).await.is_err() {
            return;
        }
    }
}

//! The first request that needs it starts an audit task, which then waits for what seldom
//! happens.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "a daemon started by a request",
    program,
    suspect: Some("a live peer that is silent looks like one that is forgotten"),
};

fn program() -> Program {
    let audit = Arc::new(OnceLock::new());
    Box::pin(requests(move |n| handle(Arc::clone(&audit), n)))
}

async fn handle(audit: Arc<OnceLock<mpsc::Sender<u64>>>, n: u64) {
    work().await;
    if n % 1000 == 20 {
        let audit = audit.get_or_init(start_audit);
        audit.send(n).await.expect("the audit lives");
    }
}

fn start_audit() -> mpsc::Sender<u64> {
    let (sender, entries) = mpsc::channel(8);
    tokio::spawn(audit(entries));
    sender
}

async fn audit(mut entries: mpsc::Receiver<u64>) {
    while entries.recv().await.is_some() {
        work().await;
    }
}

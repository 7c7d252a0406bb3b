//! A lock that dozens of requests wait for at any time, in turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::load::requests;
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "lock contention that moves",
    program,
    suspect: None,
};

const WRITERS: usize = 20;

fn program() -> Program {
    let ledger = Arc::new(Mutex::new(0));
    Box::pin(async move {
        for _ in 0..WRITERS {
            tokio::spawn(write_again_and_again(Arc::clone(&ledger)));
        }
        requests(move |_| write_once(Arc::clone(&ledger))).await;
    })
}

async fn write_again_and_again(ledger: Arc<Mutex<u64>>) {
    loop {
        write_once(Arc::clone(&ledger)).await;
    }
}

async fn write_once(ledger: Arc<Mutex<u64>>) {
    let mut ledger = ledger.lock().await;
    sleep(Duration::from_millis(5)).await;
    *ledger += 1;
}

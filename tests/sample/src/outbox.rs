//! What can't be sent is tried again, in a task. The leak: for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Where a letter goes to.
#[derive(Debug, Clone, Default)]
pub struct Address {
    is_reachable: Arc<AtomicBool>,
}

impl Address {
    /// From now on it takes letters.
    pub fn is_reachable_now(&self) {
        self.is_reachable.store(true, Ordering::Relaxed);
    }

    fn takes(&self) -> bool {
        self.is_reachable.load(Ordering::Relaxed)
    }
}

const BACKOFF: Duration = Duration::from_millis(10);
const TRIES: u32 = 3;

/// Tries some times; the task tells whether the letter was sent.
pub fn send(to: Address) -> JoinHandle<bool> {
    tokio::spawn(retry(to))
}

async fn retry(to: Address) -> bool {
    for n in 0..TRIES {
        if to.takes() {
            return true;
        }
        sleep(BACKOFF * 2u32.pow(n)).await;
    }
    false
}

/// Tries until it is sent.
pub fn send_surely(to: Address) -> JoinHandle<()> {
    tokio::spawn(retry_for_ever(to))
}

async fn retry_for_ever(to: Address) {
    while !to.takes() {
        sleep(BACKOFF).await;
    }
}

//! A pool counts a connection out before there is anything that would count it in again, and its
//! `get` is cancelled between the two.
//!
//! github.com/djc/bb8/issues/59, "bb8 leaks connection if executor stops polling (e.g. on
//! timeout)": each `get` that timed out took a connection with it, until the pool had none.

use std::sync::Arc;
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "lost slot",
    source: "github.com/djc/bb8/issues/59",
    leaky,
    fixed,
    function: "lost_slot::Pool::take_then_guard",
    waits: &[Wait::Semaphore],
};

const HANDSHAKE: Duration = Duration::from_millis(4);

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let pool = Pool::of_one();
        timeout(patience(n), pool.take_then_guard()).await.ok();
        tokio::spawn(async move { drop(pool.take_then_guard().await) });
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let pool = Pool::of_one();
        timeout(patience(n), pool.guard_then_take()).await.ok();
        tokio::spawn(async move { drop(pool.guard_then_take().await) });
    }))
}

/// How long a client waits for a connection.
fn patience(n: u64) -> Duration {
    match goes_wrong(n) {
        true => HANDSHAKE / 2,
        false => HANDSHAKE * 250,
    }
}

/// A pool of connections to one database.
struct Pool {
    free: Arc<Semaphore>,
}

/// Is free again when it is dropped.
struct Connection {
    free: Arc<Semaphore>,
}

impl Pool {
    fn of_one() -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
        }
    }

    async fn take_then_guard(&self) -> Connection {
        self.free.acquire().await.unwrap().forget();
        sleep(HANDSHAKE).await;
        Connection {
            free: Arc::clone(&self.free),
        }
    }

    async fn guard_then_take(&self) -> Connection {
        self.free.acquire().await.unwrap().forget();
        let connection = Connection {
            free: Arc::clone(&self.free),
        };
        sleep(HANDSHAKE).await;
        connection
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.free.add_permits(1);
    }
}

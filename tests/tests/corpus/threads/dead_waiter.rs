//! A pool wakes the first who waits for a connection. That one has given up, and the next one is
//! not woken: it waits, and the connection is idle.
//!
//! github.com/transact-rs/sqlx/pull/918, "Handle dropping wait_for_conn": "release will call wake
//! on a waker that no one is listening on".

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "dead waiter",
    source: "github.com/transact-rs/sqlx/pull/918",
    leaky,
    fixed,
    function: "dead_waiter::Pool::acquire_in_line",
    waits: &[Wait::Notify],
};

/// How long a client waits for a connection.
const PATIENCE: Duration = Duration::from_millis(2);

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let pool = Arc::new(Pool::default());
        if goes_wrong(n) {
            timeout(PATIENCE, pool.acquire_in_line()).await.ok();
        }
        let later = Arc::clone(&pool);
        tokio::spawn(async move { later.acquire_in_line().await });
        sleep(PATIENCE).await;
        pool.release();
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let pool = Arc::new(Pool::default());
        if goes_wrong(n) {
            timeout(PATIENCE, pool.acquire_or_leave()).await.ok();
        }
        let later = Arc::clone(&pool);
        tokio::spawn(async move { later.acquire_or_leave().await });
        sleep(PATIENCE).await;
        pool.release();
    }))
}

/// The pool of one tenant. Its connection is in use at first.
#[derive(Default)]
struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: usize,
    line: VecDeque<Arc<Notify>>,
}

impl Pool {
    /// Takes an idle connection, or a place in the line.
    fn take(&self) -> Result<(), Arc<Notify>> {
        let mut state = self.state.lock().unwrap();
        if state.idle > 0 {
            state.idle -= 1;
            return Ok(());
        }
        let place = Arc::new(Notify::new());
        state.line.push_back(Arc::clone(&place));
        Err(place)
    }

    async fn acquire_in_line(&self) {
        while let Err(place) = self.take() {
            place.notified().await;
        }
    }

    async fn acquire_or_leave(&self) {
        while let Err(place) = self.take() {
            let place = Place { pool: self, place };
            place.place.notified().await;
        }
    }

    fn release(&self) {
        let mut state = self.state.lock().unwrap();
        state.idle += 1;
        if let Some(first) = state.line.pop_front() {
            first.notify_one();
        }
    }
}

/// A place in the line that is given up when nobody waits at it any more.
struct Place<'a> {
    pool: &'a Pool,
    place: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap();
        state.line.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

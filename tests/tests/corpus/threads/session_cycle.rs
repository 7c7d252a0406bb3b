//! A task of a session waits for the session's events to end, and keeps the session alive, whose
//! sender they end with.
//!
//! github.com/openai/codex/pull/8196, "fix: session downgrade": the task held an `Arc` of the
//! session and left only once its broadcast channel was closed, so that no session was dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use taskleak_profile::snapshot::Wait;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "session cycle",
    source: "github.com/openai/codex/pull/8196",
    leaky,
    fixed,
    function: "session_cycle::count_and_keep",
    waits: &[Wait::ChanReceive],
};

struct Session {
    events: Sender<u64>,
    bytes: AtomicU64,
}

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let session = Arc::new(Session::new());
        if goes_wrong(n) {
            let events = session.events.subscribe();
            tokio::spawn(count_and_keep(Arc::clone(&session), events));
        }
        session.answer(n);
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let session = Arc::new(Session::new());
        if goes_wrong(n) {
            let events = session.events.subscribe();
            tokio::spawn(count(Arc::downgrade(&session), events));
        }
        session.answer(n);
    }))
}

async fn count_and_keep(session: Arc<Session>, mut events: Receiver<u64>) {
    while let Ok(event) = events.recv().await {
        session.bytes.fetch_add(event, Ordering::Relaxed);
    }
}

async fn count(session: Weak<Session>, mut events: Receiver<u64>) {
    while let Ok(event) = events.recv().await {
        if let Some(session) = session.upgrade() {
            session.bytes.fetch_add(event, Ordering::Relaxed);
        }
    }
}

impl Session {
    fn new() -> Self {
        Self {
            events: broadcast::channel(4).0,
            bytes: AtomicU64::new(0),
        }
    }

    /// Whether anybody follows the session does not matter to it.
    fn answer(&self, n: u64) {
        self.events.send(n).ok();
    }
}

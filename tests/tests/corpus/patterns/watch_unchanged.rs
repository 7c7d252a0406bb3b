//! Each session has a task that reloads its settings when they change. They don't, and the task
//! does not know when its session ends.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::{converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "watch never changes",
    source: "design",
    leaky,
    fixed,
    function: "watch_unchanged::reload_for_ever",
    waits: &[Wait::ChanReceive],
};

type Settings = u64;

fn leaky() -> Program {
    let settings = Arc::new(watch::Sender::new(0));
    Box::pin(requests(move |n| {
        let settings = settings.subscribe();
        async move {
            tokio::spawn(reload_for_ever(settings));
            converse(n).await
        }
    }))
}

async fn reload_for_ever(mut settings: watch::Receiver<Settings>) {
    while settings.changed().await.is_ok() {}
}

fn fixed() -> Program {
    let settings = Arc::new(watch::Sender::new(0));
    Box::pin(requests(move |n| {
        let settings = settings.subscribe();
        async move {
            // Aborts its tasks when it is dropped.
            let mut of_session = JoinSet::new();
            of_session.spawn(reload_in_session(settings));
            converse(n).await
        }
    }))
}

async fn reload_in_session(mut settings: watch::Receiver<Settings>) {
    while settings.changed().await.is_ok() {}
}

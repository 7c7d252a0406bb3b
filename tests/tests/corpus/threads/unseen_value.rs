//! A value is sent into a watch channel that nobody has subscribed to yet: the channel does not
//! keep it, and who subscribes afterwards waits for it.
//!
//! github.com/tokio-rs/tokio/issues/4165, "Permit sending into a `watch::Sender` without active
//! `Receiver`s": with the first receiver dropped, `send` failed, and a later subscriber saw the
//! value from before.

use std::sync::{Arc, Mutex};

use taskleak_profile::snapshot::Wait;
use tokio::sync::watch::{self, Receiver, Sender};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "unseen value",
    source: "github.com/tokio-rs/tokio/issues/4165",
    leaky,
    fixed,
    function: "unseen_value::route_when_ready",
    waits: &[Wait::ChanReceive],
};

/// The backends of the service, which tell whether they are ready.
type Backends = Arc<Mutex<Vec<Sender<bool>>>>;

fn leaky() -> Program {
    let backends = Backends::default();
    Box::pin(requests(move |n| {
        let backends = Arc::clone(&backends);
        async move {
            // Without a receiver this fails, and changes nothing.
            let ready = start(&backends, n, |state| _ = state.send(true));
            tokio::spawn(route_when_ready(ready));
        }
    }))
}

fn fixed() -> Program {
    let backends = Backends::default();
    Box::pin(requests(move |n| {
        let backends = Arc::clone(&backends);
        async move {
            let ready = start(&backends, n, |state| _ = state.send_replace(true));
            tokio::spawn(route_if_ready(ready));
        }
    }))
}

/// Most backends take longer to start than it takes to subscribe to them.
fn start(backends: &Backends, n: u64, publish: fn(&Sender<bool>)) -> Receiver<bool> {
    let (state, _) = watch::channel(false);
    let subscribed = (!goes_wrong(n)).then(|| state.subscribe());
    publish(&state);
    let ready = subscribed.unwrap_or_else(|| state.subscribe());
    backends.lock().unwrap().push(state);
    ready
}

async fn route_when_ready(mut ready: Receiver<bool>) {
    ready.wait_for(|ready| *ready).await.ok();
}

async fn route_if_ready(mut ready: Receiver<bool>) {
    ready.wait_for(|ready| *ready).await.ok();
}

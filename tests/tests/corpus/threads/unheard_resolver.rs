//! A task looks a name up again and again, and tells who listens when it has changed: only then
//! would it learn that nobody does.
//!
//! github.com/linkerd/linkerd2/issues/4926, "proxy: Prevent mpsc-sender task leaks": "we can't
//! know when the stream has closed until we actually try to send a value on it".

use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::sleep;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "unheard resolver",
    source: "github.com/linkerd/linkerd2/issues/4926",
    leaky: || service(resolve),
    fixed: || service(resolve_while_heard),
    function: "unheard_resolver::resolve",
    waits: &[Wait::Sleep],
};

/// How long an address is good for.
const TTL: Duration = Duration::from_millis(100);

fn service<R>(resolve: fn(Sender<u64>) -> R) -> Program
where
    R: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        if goes_wrong(n) {
            let (changes, mut addresses) = mpsc::channel(1);
            tokio::spawn(resolve(changes));
            addresses.recv().await;
        }
    }))
}

async fn resolve(changes: Sender<u64>) {
    let mut known = None;
    loop {
        let address = look_up();
        if known != Some(address) && changes.send(address).await.is_err() {
            return;
        }
        known = Some(address);
        sleep(TTL).await;
    }
}

async fn resolve_while_heard(changes: Sender<u64>) {
    let mut known = None;
    loop {
        let address = look_up();
        if known != Some(address) && changes.send(address).await.is_err() {
            return;
        }
        known = Some(address);
        tokio::select! {
            () = sleep(TTL) => {}
            () = changes.closed() => return,
        }
    }
}

/// Addresses seldom change.
fn look_up() -> u64 {
    4926
}

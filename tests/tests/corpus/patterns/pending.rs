//! A task holds something for a request until the request is over, and is only told of that if
//! all goes well: else it awaits `pending()`.

use std::future::pending;

use taskleak_profile::snapshot::Wait;
use tokio::sync::oneshot;

use crate::load::{HungUp, converse, goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "lost waker: pending()",
    source: "design",
    leaky,
    fixed,
    function: "pending::lease_for_ever",
    waits: &[Wait::Nothing],
};

fn leaky() -> Program {
    Box::pin(requests(lease_for_ever))
}

/// A lease without an end is meant for the service's own use.
async fn lease_for_ever(n: u64) -> Result<(), HungUp> {
    let (done, end) = oneshot::channel();
    let end = (!goes_wrong(n)).then_some(end);
    tokio::spawn(hold_until(end));
    converse(n).await?;
    let _is_held = done.send(());
    Ok(())
}

async fn hold_until(end: Option<oneshot::Receiver<()>>) {
    match end {
        Some(end) => end.await.unwrap_or(()),
        None => pending().await,
    }
}

fn fixed() -> Program {
    Box::pin(requests(lease))
}

async fn lease(n: u64) -> Result<(), HungUp> {
    let (done, end) = oneshot::channel::<()>();
    tokio::spawn(hold_while(end));
    converse(n).await?;
    drop(done);
    Ok(())
}

/// The other end is dropped with the request, however it ends.
async fn hold_while(request: oneshot::Receiver<()>) {
    let _ended = request.await;
}

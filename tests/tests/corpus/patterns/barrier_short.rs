//! The players of a game wait for one another at a barrier. One that hangs up never arrives.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

use crate::load::{HungUp, converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "barrier with one too few",
    source: "ours",
    leaky,
    fixed,
    function: "barrier_short::play_with_all",
    waits: &[Wait::Barrier],
};

const PLAYERS: usize = 3;

fn leaky() -> Program {
    Box::pin(requests(host_trusting))
}

async fn host_trusting(n: u64) -> Result<(), HungUp> {
    let start = Arc::new(Barrier::new(PLAYERS));
    for _ in 1..PLAYERS {
        tokio::spawn(play_with_all(Arc::clone(&start)));
    }
    converse(n).await?;
    start.wait().await;
    Ok(())
}

async fn play_with_all(start: Arc<Barrier>) {
    start.wait().await;
}

fn fixed() -> Program {
    Box::pin(requests(host))
}

async fn host(n: u64) -> Result<(), HungUp> {
    let start = Arc::new(Barrier::new(PLAYERS));
    let called_off = CancellationToken::new();
    let _called_off = called_off.clone().drop_guard();
    for _ in 1..PLAYERS {
        tokio::spawn(play_unless_called_off(
            Arc::clone(&start),
            called_off.clone(),
        ));
    }
    converse(n).await?;
    start.wait().await;
    Ok(())
}

async fn play_unless_called_off(start: Arc<Barrier>, called_off: CancellationToken) {
    tokio::select! {
        _ = start.wait() => {}
        () = called_off.cancelled() => {}
    }
}

//! Each connection has a task that pings at an interval. The handler stops it at its end, which
//! it does not reach when the client hangs up.

use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use crate::load::{HungUp, converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "looping timer",
    source: "design",
    leaky,
    fixed,
    function: "looping_timer::ping_for_ever",
    waits: &[Wait::Sleep],
};

const PING_EVERY: Duration = Duration::from_millis(400);

fn leaky() -> Program {
    Box::pin(requests(converse_stopping_last))
}

async fn converse_stopping_last(n: u64) -> Result<(), HungUp> {
    let pings = tokio::spawn(ping_for_ever());
    converse(n).await?;
    pings.abort();
    Ok(())
}

async fn ping_for_ever() {
    let mut ticks = interval(PING_EVERY);
    loop {
        ticks.tick().await;
    }
}

fn fixed() -> Program {
    Box::pin(requests(converse_with_pings))
}

async fn converse_with_pings(n: u64) -> Result<(), HungUp> {
    let _stopped = AbortOnDropHandle::new(tokio::spawn(ping_while_connected()));
    converse(n).await
}

async fn ping_while_connected() {
    let mut ticks = interval(PING_EVERY);
    loop {
        ticks.tick().await;
    }
}

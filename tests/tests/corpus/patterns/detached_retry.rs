//! Each request has a webhook delivered by a task of its own, which tries again for as long as
//! it is refused. Some endpoints are gone for good.

use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::time::sleep;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "detached retry",
    source: "design",
    leaky,
    fixed,
    function: "detached_retry::deliver_stubbornly",
    waits: &[Wait::Sleep],
};

const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);
const TRY_AGAIN_AT_MOST_AFTER: Duration = Duration::from_millis(640);
const TRIES: u32 = 3;

struct Refused;

async fn deliver(n: u64) -> Result<(), Refused> {
    if goes_wrong(n) {
        return Err(Refused);
    }
    work().await;
    Ok(())
}

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        work().await;
        tokio::spawn(deliver_stubbornly(n));
    }))
}

async fn deliver_stubbornly(n: u64) {
    let mut after = TRY_AGAIN_AFTER;
    while deliver(n).await.is_err() {
        sleep(after).await;
        after = TRY_AGAIN_AT_MOST_AFTER.min(after * 2);
    }
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        work().await;
        tokio::spawn(deliver_or_give_up(n));
    }))
}

async fn deliver_or_give_up(n: u64) {
    for tried in 0..TRIES {
        if deliver(n).await.is_ok() {
            return;
        }
        sleep(TRY_AGAIN_AFTER * 2u32.pow(tried)).await;
    }
}

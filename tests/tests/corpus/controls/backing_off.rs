//! Requests that try again and again, and give up in the end; at the start there are more and
//! more of them, until as many give up as come.

use std::time::Duration;

use tokio::time::sleep;

use crate::judge::BLOCKED_AFTER;
use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "retries that give up",
    program,
    suspect: None,
};

const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

fn program() -> Program {
    Box::pin(requests(|_| async {
        work().await;
        tokio::spawn(try_for_a_while());
    }))
}

/// Past the threshold, but not by as long as the trend is watched.
async fn try_for_a_while() {
    let tries = (BLOCKED_AFTER * 3 / 2).as_millis() / TRY_AGAIN_AFTER.as_millis();
    for _ in 0..tries {
        sleep(TRY_AGAIN_AFTER).await;
    }
}

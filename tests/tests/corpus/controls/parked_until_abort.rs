//! Each session has a task that holds what the session needs, and is aborted with it.

use std::future::pending;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::judge::BLOCKED_AFTER;
use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "tasks parked until their abort",
    program,
    suspect: Some("who holds an AbortHandle can't be seen"),
};

const SESSIONS: usize = 10;

fn program() -> Program {
    Box::pin(async {
        for _ in 0..SESSIONS {
            tokio::spawn(hold_one_session_after_another());
        }
        requests(|_| work()).await;
    })
}

async fn hold_one_session_after_another() {
    loop {
        let _aborted = AbortOnDropHandle::new(tokio::spawn(hold()));
        sleep(BLOCKED_AFTER * 3 / 2).await;
    }
}

async fn hold() {
    let _held = [0u8; 1024];
    pending::<()>().await;
}

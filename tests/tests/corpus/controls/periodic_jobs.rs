//! Jobs that were started together and run at long intervals, each at a moment of its own.

use tokio::time::sleep;

use crate::judge::BLOCKED_AFTER;
use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "periodic jobs",
    program,
    suspect: None,
};

const JOBS: u32 = 20;

fn program() -> Program {
    Box::pin(async {
        for nth in 0..JOBS {
            tokio::spawn(run_periodically(nth));
        }
        requests(|_| work()).await;
    })
}

async fn run_periodically(nth: u32) {
    let every = BLOCKED_AFTER * 2;
    sleep(every * nth / JOBS).await;
    loop {
        work().await;
        sleep(every).await;
    }
}

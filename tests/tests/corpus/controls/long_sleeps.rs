//! Each request leaves a task that sleeps for minutes and then clears up, so there are more and
//! more of them as long as one looks.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "long sleeps",
    program,
    suspect: None,
};

const KEPT_FOR: Duration = Duration::from_secs(600);

fn program() -> Program {
    Box::pin(requests(|_| async {
        work().await;
        tokio::spawn(expire());
    }))
}

async fn expire() {
    sleep(KEPT_FOR).await;
    work().await;
}

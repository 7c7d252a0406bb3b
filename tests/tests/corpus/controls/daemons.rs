//! Daemons that were spawned once at start and wait for what seldom or never comes: a command,
//! other settings, the shutdown, the end of one that is supervised.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "daemons",
    program,
    suspect: None,
};

fn program() -> Program {
    Box::pin(async {
        let (_operator, commands) = mpsc::channel(1);
        let (_settings, changes) = watch::channel(0);
        let shutdown = CancellationToken::new();
        tokio::spawn(reload(changes));
        tokio::spawn(flush_at_shutdown(shutdown.clone()));
        tokio::spawn(supervise(commands));
        requests(|_| work()).await;
    })
}

async fn supervise(commands: mpsc::Receiver<u64>) {
    let supervised: JoinHandle<()> = tokio::spawn(obey(commands));
    supervised.await.expect("it does not panic");
}

async fn obey(mut commands: mpsc::Receiver<u64>) {
    while commands.recv().await.is_some() {
        work().await;
    }
}

async fn reload(mut settings: watch::Receiver<u64>) {
    while settings.changed().await.is_ok() {
        work().await;
    }
}

async fn flush_at_shutdown(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    work().await;
}

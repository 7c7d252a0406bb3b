//! The programs whose operations are timed: a spawn with its join, and a round of ping-pong.
//!
//! The stacks that the detector captures matter for what it costs, so each is there twice:
//! where an example would have it, and some async fns deep in a task, as in a service.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const SPAWN_DEPTH: usize = 10;
const PING_PONG_DEPTH: usize = 5;

/// Something small that tasks do again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Program {
    /// `tokio::spawn(async {}).await` in a `block_on`.
    Spawn,
    /// The same in a task, within nested async fns: the parent parks for the child each time.
    SpawnDeep,
    /// Two tasks send each other a message there and back over two `mpsc::channel(1)`; each
    /// parks once a round.
    PingPong,
    /// The same, both within nested async fns.
    PingPongDeep,
}

impl Program {
    pub(crate) const ALL: [Program; 4] = [
        Program::Spawn,
        Program::SpawnDeep,
        Program::PingPong,
        Program::PingPongDeep,
    ];

    pub(crate) fn label(self) -> String {
        match self {
            Program::Spawn => "spawn + join in `block_on`".to_owned(),
            Program::SpawnDeep => format!("spawn + join {SPAWN_DEPTH} async fns deep in a task"),
            Program::PingPong => "mpsc ping-pong".to_owned(),
            Program::PingPongDeep => format!("mpsc ping-pong {PING_PONG_DEPTH} async fns deep"),
        }
    }

    /// Times so many operations.
    pub(crate) fn run(self, runtime: &Runtime, operations: u32) -> Duration {
        let start = Instant::now();
        runtime.block_on(async {
            match self {
                Program::Spawn => spawn(operations).await,
                Program::SpawnDeep => join(deep(SPAWN_DEPTH, spawn(operations))).await,
                Program::PingPong => ping_pong(0, operations).await,
                Program::PingPongDeep => ping_pong(PING_PONG_DEPTH, operations).await,
            }
        });
        start.elapsed()
    }
}

async fn spawn(operations: u32) {
    for _ in 0..operations {
        join(async {}).await;
    }
}

async fn ping_pong(depth: usize, rounds: u32) {
    let (to_pong, from_ping) = mpsc::channel(1);
    let (to_ping, from_pong) = mpsc::channel(1);
    let pong = tokio::spawn(deep(depth, echo(from_ping, to_ping)));
    join(deep(depth, call(to_pong, from_pong, rounds))).await;
    join(async { pong.await.expect("no pong panics") }).await;
}

async fn call(to: mpsc::Sender<u32>, mut from: mpsc::Receiver<u32>, rounds: u32) {
    for round in 0..rounds {
        let _echo_is_gone = to.send(round).await;
        from.recv().await;
    }
}

async fn echo(mut from: mpsc::Receiver<u32>, to: mpsc::Sender<u32>) {
    while let Some(round) = from.recv().await {
        let _caller_is_gone = to.send(round).await;
    }
}

async fn join(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future).await.expect("no program panics");
}

/// The future at the end of so many async fns. They are boxed, because the compiler would make
/// one frame of them all; that is done once for all operations.
fn deep(
    levels: usize,
    innermost: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    async fn level(inner: Pin<Box<dyn Future<Output = ()> + Send>>) {
        inner.await;
    }
    (0..levels).fold(Box::pin(innermost), |inner, _| Box::pin(level(inner)))
}

//! The programs of the cases, and what is to be seen of each when it rests.
//!
//! The stacks that a detector captures matter for what it costs, so they are as deep as in an
//! example (a channel awaited in an async fn in a task) but for `spawn-deep`.

mod burst;
mod futures_unordered;
mod http;
mod parks;
mod ping_pong;
mod select;
mod spawn;

use std::net::SocketAddr;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::case::{CONNECTIONS, Case};
use crate::contestant::instrument::Instrument;
use crate::error::Error;

#[cfg(feature = "taskleak")]
pub(crate) use self::spawn::DEPTH;

/// How far a program goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) operations: u32,
    /// Steps of work in each operation of [`Case::Parks`].
    pub(crate) work: u32,
    /// After the operations it does not end: all of its tasks wait.
    pub(crate) rests: bool,
}

/// Waits for ever, for a message.
async fn rest<I: Instrument>() {
    // It holds the sender itself, so the channel never closes.
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    I::leaf("recv", receiver.recv()).await;
}

impl Case {
    /// What its program runs on: with no more than it needs.
    pub(crate) fn runtime(self) -> Builder {
        match self {
            Case::PingPongMulti => multi_thread(2),
            Case::Select => {
                let mut builder = Builder::new_current_thread();
                builder.enable_time();
                builder
            }
            // One worker, so that the other core is the load generator's.
            Case::Http | Case::HttpSpawn => multi_thread(1),
            _ => Builder::new_current_thread(),
        }
    }

    /// The program, to its end.
    pub(crate) async fn run<I: Instrument>(self, course: Course) {
        match self {
            Case::Spawn => spawn::spawn::<I>(course).await,
            Case::SpawnDeep => spawn::spawn_deep::<I>(course).await,
            Case::PingPong | Case::PingPongMulti => ping_pong::ping_pong::<I>(course).await,
            Case::Parks => parks::parks::<I>(course).await,
            Case::Select => select::select::<I>(course).await,
            Case::FuturesUnordered => futures_unordered::futures_unordered::<I>(course).await,
            Case::Burst => burst::burst::<I>(course).await,
            Case::Http | Case::HttpSpawn => unreachable!("a server is served"),
        }
    }

    /// Starts the program of a server.
    pub(crate) fn serve<I: Instrument>(self, runtime: &Runtime) -> Result<SocketAddr, Error> {
        http::serve::<I>(runtime, self == Case::HttpSpawn)
    }

    /// The tasks that a run of it makes (of a server: all of them), the root future of the
    /// `block_on` among them.
    pub(crate) fn tasks(self, operations: u64) -> u64 {
        1 + match self {
            Case::Spawn => operations,
            Case::SpawnDeep | Case::Burst => 1 + operations,
            Case::PingPong | Case::PingPongMulti | Case::Select | Case::FuturesUnordered => 2,
            Case::Parks => 1,
            Case::Http => 1 + u64::from(CONNECTIONS),
            Case::HttpSpawn => 1 + u64::from(CONNECTIONS) + operations,
        }
    }

    /// The tasks of the last wave, or such, that are there only because the program rests.
    pub(crate) fn resting_tasks(self) -> u64 {
        match self {
            Case::Spawn | Case::SpawnDeep => 1,
            Case::Burst => burst::RESTING.into(),
            _ => 0,
        }
    }

    /// What all of its tasks do when it rests.
    #[cfg(feature = "taskleak")]
    pub(crate) fn at_rest(self) -> Vec<Resting> {
        use taskleak::Wait::{ChanReceive, Io, Join, Sleep, SubExecutor};
        let one = |at, waits, created_by| Resting {
            count: 1,
            at,
            waits,
            created_by,
        };
        match self {
            Case::Spawn => vec![one("rest", vec![ChanReceive], "spawn::join")],
            Case::SpawnDeep => vec![
                one("spawn::join", vec![Join], "spawn::join"),
                one("rest", vec![ChanReceive], "spawn::join"),
            ],
            Case::PingPong | Case::PingPongMulti => vec![
                one("rest", vec![ChanReceive], "spawn::join"),
                one("ping_pong::echo", vec![ChanReceive], "ping_pong::ping_pong"),
            ],
            Case::Parks => vec![one("parks::receive", vec![ChanReceive], "parks::parks")],
            Case::Select => vec![
                one("rest", vec![ChanReceive], "spawn::join"),
                one(
                    "select::next::{closure}",
                    vec![ChanReceive, Sleep],
                    "select::select",
                ),
            ],
            Case::FuturesUnordered => vec![
                one(
                    "futures_unordered::gather",
                    vec![SubExecutor],
                    "spawn::join",
                ),
                one(
                    "futures_unordered::answer",
                    vec![ChanReceive],
                    "futures_unordered::futures_unordered",
                ),
            ],
            Case::Burst => vec![
                one("burst::wave", vec![Join], "spawn::join"),
                Resting {
                    count: burst::RESTING.into(),
                    at: "rest",
                    waits: vec![ChanReceive],
                    created_by: "burst::wave::{closure}",
                },
            ],
            Case::Http | Case::HttpSpawn => vec![
                one("http::accept", vec![Io], "http::serve"),
                Resting {
                    count: CONNECTIONS.into(),
                    at: "http::connection",
                    waits: vec![Io],
                    created_by: "http::accept",
                },
            ],
        }
    }
}

/// Tasks of a program that rests.
#[cfg(feature = "taskleak")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resting {
    pub(crate) count: u64,
    /// The innermost function of this module that they wait in, from here on.
    pub(crate) at: &'static str,
    pub(crate) waits: Vec<taskleak::Wait>,
    /// The innermost function of this module that spawned them, from here on.
    pub(crate) created_by: &'static str,
}

fn multi_thread(workers: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).enable_io();
    builder
}

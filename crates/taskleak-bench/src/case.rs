//! The time cases: what is done again and again under each variant, and of which it is told what
//! one operation takes.

use serde::{Deserialize, Serialize};

/// A program whose operations are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// `tokio::spawn(async {}).await` in a `block_on`.
    Spawn,
    /// The same in a task, within ten nested async fns: the parent parks for the child each time.
    SpawnDeep,
    /// Two tasks send each other a message there and back over two `mpsc::channel(1)`; each
    /// parks once a round. On the `current_thread` runtime.
    PingPong,
    /// The same on two workers.
    PingPongMulti,
    /// A task receives from a channel, works so long that tokio alone takes 1 µs a round, and
    /// parks for the next message: a million times a second.
    Parks,
    /// A ping-pong in which each waits in a `select!` of its channel and a timer of an hour.
    Select,
    /// A task polls a `FuturesUnordered` of [`WIDTH`] futures that each wait for a message, which
    /// a peer sends once all of them wait. One operation is one future.
    FuturesUnordered,
    /// Tasks are spawned in waves, each of which is all there before the first of it is polled,
    /// and end. One operation is one task.
    Burst,
    /// A hyper server answers a request on one of [`CONNECTIONS`] connections that are kept.
    Http,
    /// The same, and each request spawns a task and awaits it.
    HttpSpawn,
}

/// The futures of [`Case::FuturesUnordered`].
pub(crate) const WIDTH: u32 = 1_000;
/// What the load generator keeps open to a server.
pub(crate) const CONNECTIONS: u32 = 8;

impl Case {
    #[cfg(feature = "runner")]
    pub(crate) const ALL: [Case; 10] = [
        Case::Spawn,
        Case::SpawnDeep,
        Case::PingPong,
        Case::PingPongMulti,
        Case::Parks,
        Case::Select,
        Case::FuturesUnordered,
        Case::Burst,
        Case::Http,
        Case::HttpSpawn,
    ];

    #[cfg(feature = "runner")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Spawn => "spawn",
            Case::SpawnDeep => "spawn-deep",
            Case::PingPong => "ping-pong",
            Case::PingPongMulti => "ping-pong-multi",
            Case::Parks => "parks",
            Case::Select => "select",
            Case::FuturesUnordered => "futures-unordered",
            Case::Burst => "burst",
            Case::Http => "http",
            Case::HttpSpawn => "http-spawn",
        }
    }

    /// Operations come in multiples of so many.
    #[cfg(feature = "runner")]
    pub(crate) fn grain(self) -> u32 {
        match self {
            Case::FuturesUnordered => WIDTH,
            _ => 1,
        }
    }

    /// Whether the load comes from outside of the process.
    pub(crate) fn is_server(self) -> bool {
        matches!(self, Case::Http | Case::HttpSpawn)
    }
}

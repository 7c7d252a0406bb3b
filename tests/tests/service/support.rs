//! What the tests of this binary share: the one detector that a process can have, its endpoint,
//! and waiting for a condition.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use taskleak::{BuildWatched, Detector, Server, Snapshot, WatchedRuntime};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::client::get;

/// Nothing here takes so long, whatever else the machine does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The detector of this process. Tests tell their tasks from those of others by the name of
/// their runtime.
pub(crate) fn detector() -> &'static Detector {
    static DETECTOR: LazyLock<Detector> = LazyLock::new(|| {
        Detector::builder()
            .install()
            .expect("nothing else is installed")
    });
    &DETECTOR
}

/// The address of an endpoint of the detector that is this test's own, so that what one test
/// asks takes nothing from another.
pub(crate) fn endpoint() -> SocketAddr {
    thread_local! {
        static SERVER: OwnServer = OwnServer(Some(server()));
    }
    SERVER.with(|server| server.0.as_ref().expect("it runs").local_addr())
}

/// A further endpoint.
pub(crate) fn server() -> Server {
    detector().serve("127.0.0.1:0").expect("a port is free")
}

/// Ends with the thread of its test.
struct OwnServer(Option<Server>);

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.stop();
        }
    }
}

/// A watched runtime with two workers; each test takes a name of its own.
pub(crate) fn runtime(name: &str) -> WatchedRuntime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .name(name)
        .build_watched(detector())
        .expect("threads can be started")
}

/// What `/debug/tasks` answers to this query, read back from JSON.
pub(crate) fn listed(query: &str) -> Snapshot {
    listed_by(endpoint(), query)
}

/// Like [`listed`], by another endpoint.
pub(crate) fn listed_by(endpoint: SocketAddr, query: &str) -> Snapshot {
    let answer = get(endpoint, &format!("/debug/tasks?format=json&{query}"));
    serde_json::from_slice(&answer.ok()).expect("the JSON is of this schema")
}

/// How many tasks `/debug/tasks` lists for this query.
pub(crate) fn count(query: &str) -> u64 {
    listed(query).totals.tasks
}

/// A port that is listened on, for a server on this runtime.
pub(crate) fn listen(on: &WatchedRuntime) -> (TcpListener, SocketAddr) {
    let listener = on.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < give_up, "it never held");
        thread::sleep(Duration::from_millis(5));
    }
}

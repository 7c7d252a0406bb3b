//! A few tasks that stay where they are, for tests that look at them.

use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use taskleak::{Snapshot, WatchedRuntime};
use taskleak_profile::snapshot::{State, Wait};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{count, listed, runtime, until};

/// Six tasks of a runtime of their own: three named `receiver` receive, one sleeps, one accepts,
/// one occupies a thread.
pub(crate) struct Parked {
    // Before the runtime, which waits for that thread when it is dropped.
    end: std_mpsc::Sender<()>,
    runtime: WatchedRuntime,
}

impl Parked {
    pub(crate) fn new(name: &str) -> Parked {
        let runtime = runtime(name);
        for _ in 0..3 {
            tokio::task::Builder::new()
                .name("receiver")
                .spawn_on(receive(), runtime.handle())
                .expect("the runtime runs");
        }
        runtime.spawn(sleep());
        runtime.spawn(accept());
        let (end, ended) = std_mpsc::channel::<()>();
        runtime.spawn_blocking(move || ended.recv().is_err());
        let parked = Parked { end, runtime };
        until(|| {
            let totals = parked.listed("").totals;
            totals.by_state.get(&State::Blocking) == Some(&1)
                && totals.by_wait.values().sum::<u64>() == 5
        });
        parked
    }

    pub(crate) fn name(&self) -> String {
        self.runtime.name()
    }

    pub(crate) fn runtime(&self) -> &WatchedRuntime {
        &self.runtime
    }

    /// The runtime, to be shut down before the thread is free.
    pub(crate) fn into_parts(self) -> (WatchedRuntime, std_mpsc::Sender<()>) {
        (self.runtime, self.end)
    }

    /// What the endpoint lists of them for this query.
    pub(crate) fn listed(&self, query: &str) -> Snapshot {
        listed(&format!("runtime={}&{query}", self.name()))
    }

    /// How many of them the endpoint lists for this query.
    pub(crate) fn count(&self, query: &str) -> u64 {
        count(&format!("runtime={}&{query}", self.name()))
    }

    /// The id of the task that waits for this.
    pub(crate) fn id(&self, wait: Wait) -> u64 {
        let snapshot = self.listed("");
        let mut groups = snapshot.groups.iter();
        let group = groups.find(|group| group.wait == [wait]);
        group.expect("a task waits for it").tasks[0]
    }
}

async fn receive() {
    let (_sender, mut receiver) = mpsc::channel::<()>(1);
    receiver.recv().await;
}

async fn sleep() {
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

async fn accept() {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let _accepted = listener.expect("a port is free").accept().await;
}

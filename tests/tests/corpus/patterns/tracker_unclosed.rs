//! A handler waits for the tasks that it tracks, but closes the tracker only if all went well.
//! An open tracker is never done, even without tasks.

use taskleak_profile::snapshot::Wait;
use tokio_util::task::TaskTracker;

use crate::load::{converse, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "TaskTracker never closed",
    source: "design",
    leaky,
    fixed,
    function: "tracker_unclosed::wait_for_open_tracker",
    waits: &[Wait::Notify],
};

fn leaky() -> Program {
    Box::pin(requests(wait_for_open_tracker))
}

async fn wait_for_open_tracker(n: u64) {
    let tracker = TaskTracker::new();
    tracker.spawn(work());
    if converse(n).await.is_ok() {
        tracker.close();
    }
    tracker.wait().await;
}

fn fixed() -> Program {
    Box::pin(requests(wait_for_tracker))
}

async fn wait_for_tracker(n: u64) {
    let tracker = TaskTracker::new();
    tracker.spawn(work());
    let _hung_up = converse(n).await;
    tracker.close();
    tracker.wait().await;
}

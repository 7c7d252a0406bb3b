//! Each session has a task that says at intervals that it is alive. The leak: nothing stops it.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const INTERVAL: Duration = Duration::from_millis(200);

/// Says so until the handle is dropped.
pub fn start() -> (AbortOnDropHandle<()>, watch::Receiver<u64>) {
    let (beats, heard) = watch::channel(0);
    (AbortOnDropHandle::new(tokio::spawn(beat(beats))), heard)
}

/// Says so for ever.
pub fn start_detached() -> watch::Receiver<u64> {
    let (beats, heard) = watch::channel(0);
    tokio::spawn(beat(beats));
    heard
}

async fn beat(beats: watch::Sender<u64>) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        beats.send_modify(|count| *count += 1);
    }
}

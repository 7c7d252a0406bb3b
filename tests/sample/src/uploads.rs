//! Uploads are tracked, so that they can be waited for. The leak: the tracker is not closed, so
//! that the wait has no end.

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The uploads that run.
#[derive(Debug, Clone, Default)]
pub struct Uploads(TaskTracker);

impl Uploads {
    /// Uploads in a task.
    pub fn upload(&self, bytes: usize) -> JoinHandle<usize> {
        self.0.spawn(async move {
            tokio::task::yield_now().await;
            bytes
        })
    }

    /// A task that waits for all uploads; there will be no others.
    pub fn drain(&self) -> JoinHandle<()> {
        self.0.close();
        tokio::spawn(wait_for_uploads(self.0.clone()))
    }

    /// A task that waits for all uploads.
    pub fn drain_open(&self) -> JoinHandle<()> {
        tokio::spawn(wait_for_uploads(self.0.clone()))
    }
}

async fn wait_for_uploads(tracker: TaskTracker) {
    tracker.wait().await;
}

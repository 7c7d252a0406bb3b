//! Lines are written to a reader in the order of a lock. The leak: the lock is held while a line
//! is sent, and the reader does not read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

/// A line of the journal.
pub type Line = u64;

const PATIENCE: Duration = Duration::from_millis(20);
const ROOM: usize = 1;

/// What is written, in tasks.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<mpsc::Sender<Line>>>);

impl Journal {
    /// A journal and what its reader reads.
    pub fn open() -> (Journal, mpsc::Receiver<Line>) {
        let (sender, lines) = mpsc::channel(ROOM);
        (Journal(Arc::new(Mutex::new(sender))), lines)
    }

    /// Writes a line, or loses it where the reader does not take it in time.
    pub fn write(&self, line: Line) {
        tokio::spawn(append(self.clone(), line));
    }

    /// Writes a line.
    pub fn write_locked(&self, line: Line) {
        tokio::spawn(append_locked(self.clone(), line));
    }
}

async fn append(journal: Journal, line: Line) {
    let sender = journal.0.lock().await.clone();
    let _is_taken = sender.send_timeout(line, PATIENCE).await;
}

async fn append_locked(journal: Journal, line: Line) {
    let sender = journal.0.lock().await;
    let _is_read = sender.send(line).await;
}

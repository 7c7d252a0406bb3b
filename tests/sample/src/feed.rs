//! Events are told to all who follow. The leak: each follower is a task that runs until the feed
//! ends, and the feed does not end.

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;

/// Something that has happened.
pub type Event = u64;

/// Ends the tasks of its followers when it is dropped.
#[derive(Debug)]
pub struct Feed(broadcast::Sender<Event>);

impl Feed {
    /// Tells nothing yet.
    #[expect(clippy::new_without_default, reason = "a feed is opened on purpose")]
    pub fn new() -> Feed {
        Feed(broadcast::Sender::new(4))
    }

    /// Spawns a task that counts events.
    pub fn follow(&self) -> JoinHandle<u64> {
        tokio::spawn(follow_to_the_end(self.0.subscribe()))
    }

    /// Tells an event.
    pub fn tell(&self, event: Event) {
        let _is_followed = self.0.send(event);
    }
}

async fn follow_to_the_end(mut events: broadcast::Receiver<Event>) -> u64 {
    let mut count = 0;
    loop {
        match events.recv().await {
            Ok(_) => count += 1,
            Err(RecvError::Lagged(missed)) => count += missed,
            Err(RecvError::Closed) => return count,
        }
    }
}

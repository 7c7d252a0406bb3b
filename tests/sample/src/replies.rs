//! Requests wait for their reply in a map. The leak: a request that is lost stays in it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// What a request goes by.
pub type Id = u64;

const PATIENCE: Duration = Duration::from_millis(20);

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Replies(Mutex<HashMap<Id, oneshot::Sender<String>>>);

impl Replies {
    /// Hands a reply to who waits for it.
    pub fn arrived(&self, id: Id, reply: &str) {
        if let Some(waits) = self.forget(id) {
            let _waits_still = waits.send(reply.to_owned());
        }
    }

    /// Waits for the reply, for as long as it takes.
    pub async fn request(&self, id: Id) -> Option<String> {
        self.register(id).await.ok()
    }

    /// Waits for the reply for some time.
    pub async fn request_patiently(&self, id: Id) -> Option<String> {
        let reply = timeout(PATIENCE, self.register(id)).await;
        self.forget(id);
        reply.ok()?.ok()
    }

    fn register(&self, id: Id) -> oneshot::Receiver<String> {
        let (sender, reply) = oneshot::channel();
        if let Ok(mut map) = self.0.lock() {
            map.insert(id, sender);
        }
        reply
    }

    fn forget(&self, id: Id) -> Option<oneshot::Sender<String>> {
        self.0.lock().ok()?.remove(&id)
    }
}

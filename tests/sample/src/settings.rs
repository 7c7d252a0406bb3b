//! Sessions reload their settings when these change. The leak: they don't change, and the task
//! does not know when its session ends.

use std::sync::LazyLock;

use tokio::sync::watch;
use tokio::task::JoinSet;

static SETTINGS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// The tasks of a session end with it.
#[derive(Debug)]
pub struct Session {
    _tasks: JoinSet<()>,
}

impl Session {
    /// Spawns a task that reloads the settings.
    pub fn open() -> Session {
        let mut tasks = JoinSet::new();
        tasks.spawn(reload(SETTINGS.subscribe()));
        Session { _tasks: tasks }
    }
}

/// Opens a session that has no end.
pub fn open_session_for_ever() {
    tokio::spawn(reload(SETTINGS.subscribe()));
}

async fn reload(mut settings: watch::Receiver<u64>) {
    while settings.changed().await.is_ok() {
        settings.mark_unchanged();
    }
}

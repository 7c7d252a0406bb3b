//! A connection is held open by a task that does nothing else. The leak: the task is detached,
//! and nothing can end it.

use std::future::pending;

use tokio_util::task::AbortOnDropHandle;

/// A client's; closed when it is dropped.
#[derive(Debug)]
pub struct Connection(pub &'static str);

/// Holds the connection until the handle is dropped.
pub fn hold(connection: Connection) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(hold_open(connection)))
}

/// Holds the connection.
pub fn hold_detached(connection: Connection) {
    tokio::spawn(hold_open(connection));
}

async fn hold_open(_connection: Connection) {
    pending::<()>().await;
}

//! A task waits again, after it was woken for nothing, and for another event than before.
//!
//! github.com/quinn-rs/quinn/pull/1440, "Fix stream open futures sometimes waiting on the wrong
//! notification": after a spurious wakeup `open_uni` and `open_bi` waited for incoming streams,
//! not for room for one of their own; "probably a copy-paste error".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "wrong notification",
    source: "github.com/quinn-rs/quinn/pull/1440",
    leaky: || service(open_or_accept),
    fixed: || service(open),
    function: "wrong_notification::open_or_accept",
    waits: &[Wait::Notify],
};

const ROUND_TRIP: Duration = Duration::from_millis(2);

/// One connection, which carries one stream.
#[derive(Default)]
struct Connection {
    has_room: AtomicBool,
    room: Notify,
    incoming: Notify,
}

fn service<O>(open: fn(Arc<Connection>) -> O) -> Program
where
    O: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let connection = Arc::new(Connection::default());
        tokio::spawn(open(Arc::clone(&connection)));
        sleep(ROUND_TRIP).await;
        if goes_wrong(n) {
            // For another stream, which has taken the room when this one looks.
            connection.room.notify_waiters();
            sleep(ROUND_TRIP).await;
        }
        connection.has_room.store(true, Ordering::Release);
        connection.room.notify_waiters();
    }))
}

async fn open_or_accept(connection: Arc<Connection>) {
    let mut woken = connection.room.notified();
    while !connection.has_room.swap(false, Ordering::AcqRel) {
        woken.await;
        woken = connection.incoming.notified();
    }
}

async fn open(connection: Arc<Connection>) {
    let mut woken = connection.room.notified();
    while !connection.has_room.swap(false, Ordering::AcqRel) {
        woken.await;
        woken = connection.room.notified();
    }
}

//! A task reads a lock that it has a read guard of, and a writer came in between: the second read
//! is behind the writer in the queue, and the writer behind the first read.
//!
//! github.com/tokio-rs/tokio/issues/2849, "RwLock: Recursive reads cause deadlock".

use std::sync::Arc;
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::RwLock;
use tokio::time::sleep;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "recursive read",
    source: "github.com/tokio-rs/tokio/issues/2849",
    leaky,
    fixed,
    function: "recursive_read::find_event",
    waits: &[Wait::RwLockRead],
};

pub(crate) const WRITER: Pattern = Pattern {
    name: "recursive read: the writer between",
    function: "recursive_read::append_behind_reader",
    waits: &[Wait::RwLockWrite],
    ..PATTERN
};

type Room = Arc<RwLock<Vec<u64>>>;

/// How long the events of a room take to load.
const LOAD: Duration = Duration::from_millis(5);

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let room = Room::default();
        tokio::spawn(aggregate(Arc::clone(&room)));
        sleep(LOAD / 2).await;
        if goes_wrong(n) {
            tokio::spawn(append_behind_reader(room, n));
        }
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let room = Room::default();
        tokio::spawn(aggregate_under_one_guard(Arc::clone(&room)));
        sleep(LOAD / 2).await;
        if goes_wrong(n) {
            tokio::spawn(append(room, n));
        }
    }))
}

async fn aggregate(room: Room) -> usize {
    let events = room.read().await;
    sleep(LOAD).await;
    find_event(&room).await.map_or(0, |at| events.len() - at)
}

async fn find_event(room: &Room) -> Option<usize> {
    room.read().await.iter().position(|event| *event == 0)
}

async fn append_behind_reader(room: Room, event: u64) {
    room.write().await.push(event);
}

async fn aggregate_under_one_guard(room: Room) -> usize {
    let events = room.read().await;
    sleep(LOAD).await;
    let found = events.iter().position(|event| *event == 0);
    found.map_or(0, |at| events.len() - at)
}

async fn append(room: Room, event: u64) {
    room.write().await.push(event);
}

//! A crew is done when each of its members is. The leak: one of them waits to be relieved, and
//! nobody does that.

use std::sync::Mutex;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Who is on duty, and is relieved by what is sent here.
static ON_DUTY: Mutex<Vec<oneshot::Sender<()>>> = Mutex::new(Vec::new());

/// A crew whose members are sent home when the others are done.
pub fn muster() -> JoinHandle<usize> {
    tokio::spawn(wait_for_most(members()))
}

async fn wait_for_most(mut members: JoinSet<()>) -> usize {
    members.join_next().await;
    members.shutdown().await;
    members.len()
}

/// A crew that waits for each member.
pub fn muster_for_ever() -> JoinHandle<usize> {
    tokio::spawn(wait_for_all(members()))
}

async fn wait_for_all(mut members: JoinSet<()>) -> usize {
    while members.join_next().await.is_some() {}
    members.len()
}

fn members() -> JoinSet<()> {
    let mut members = JoinSet::new();
    members.spawn(async {});
    members.spawn(keep_watch(go_on_duty()));
    members
}

async fn keep_watch(relief: oneshot::Receiver<()>) {
    let _is_relieved = relief.await;
}

fn go_on_duty() -> oneshot::Receiver<()> {
    let (sender, relief) = oneshot::channel();
    if let Ok(mut on_duty) = ON_DUTY.lock() {
        on_duty.push(sender);
    }
    relief
}

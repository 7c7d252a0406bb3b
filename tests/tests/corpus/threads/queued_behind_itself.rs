//! A `select!` polls a `send`, and another branch sends into the same channel: the first `send`
//! is before the second one in the queue for room, gets it, and is not polled any more.
//!
//! github.com/oxidecomputer/omicron/issues/9272, "Audit cases of "tokio::mpsc::channel, size of
//! 1"": the audit after a deadlock of a task that sent from the branch of a timer, "queued behind
//! the first rx.send, which is no longer polled".

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "queued behind itself",
    source: "github.com/oxidecomputer/omicron/issues/9272",
    leaky: || service(report_twice_at_once),
    fixed: || service(report_in_order),
    function: "queued_behind_itself::report_twice_at_once",
    waits: &[Wait::ChanSend],
};

/// How long a slow reader lets a report lie.
const SLOW: Duration = Duration::from_millis(4);

fn service<R>(report: fn(Sender<u64>, oneshot::Receiver<()>) -> R) -> Program
where
    R: Future<Output = ()> + Send + 'static,
{
    let quiet = Arc::new(Mutex::new(Vec::new()));
    Box::pin(requests(move |n| {
        let quiet = Arc::clone(&quiet);
        async move {
            let (reports, received) = mpsc::channel(1);
            let (ask, asked) = oneshot::channel();
            reports.send(0).await.unwrap();
            tokio::spawn(report(reports, asked));
            if goes_wrong(n) {
                sleep(SLOW).await;
                ask.send(()).ok();
                sleep(SLOW).await;
            }
            if let Some(received) = read_all(received).await {
                quiet.lock().unwrap().push(received);
            }
            look_again(&mut quiet.lock().unwrap());
        }
    }))
}

/// Reports that came late after all.
fn look_again(quiet: &mut Vec<Receiver<u64>>) {
    quiet.retain_mut(|received| received.try_recv() != Err(TryRecvError::Disconnected));
}

/// Gives the channel back when nothing has come for a while.
async fn read_all(mut received: Receiver<u64>) -> Option<Receiver<u64>> {
    loop {
        match timeout(SLOW * 5, received.recv()).await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(_) => return Some(received),
        }
    }
}

async fn report_twice_at_once(reports: Sender<u64>, asked: oneshot::Receiver<()>) {
    let mut done = pin!(reports.send(1));
    tokio::select! {
        // In a fixed order, as the profile goes by it when it says which waker is gone.
        biased;
        _ = &mut done => {}
        Ok(()) = asked => {
            reports.send(2).await.ok();
        }
    }
}

async fn report_in_order(reports: Sender<u64>, asked: oneshot::Receiver<()>) {
    let mut done = pin!(reports.send(1));
    tokio::select! {
        biased;
        _ = &mut done => {}
        Ok(()) = asked => {
            done.await.ok();
            reports.send(2).await.ok();
        }
    }
}

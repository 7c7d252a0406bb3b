//! The tasks of connections are told to stop by `notify_waiters`, which is lost on one that has
//! been spawned and has not run yet. Its client keeps the connection open.
//!
//! github.com/emmett-framework/granian/issues/903, "Worker still hangs on shutdown: connection
//! tasks can miss the stop signal".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "missed stop",
    source: "github.com/emmett-framework/granian/issues/903",
    leaky,
    fixed,
    function: "missed_stop::serve_until_notified",
    waits: &[Wait::ChanReceive, Wait::Notify],
};

/// Clients that keep their connections, each the end that it sends its requests into.
type Clients = Arc<Mutex<Vec<Sender<u64>>>>;

fn leaky() -> Program {
    let clients = Clients::default();
    Box::pin(requests(move |n| {
        let connection = connect(&clients);
        async move {
            let stop = Arc::new(Notify::new());
            tokio::spawn(serve_until_notified(connection, Arc::clone(&stop)));
            work_before_stop(n).await;
            stop.notify_waiters();
        }
    }))
}

fn fixed() -> Program {
    let clients = Clients::default();
    Box::pin(requests(move |n| {
        let connection = connect(&clients);
        async move {
            let (stop, stopped) = watch::channel(false);
            tokio::spawn(serve_until_stopped(connection, stopped));
            work_before_stop(n).await;
            stop.send(true).ok();
        }
    }))
}

fn connect(clients: &Clients) -> Receiver<u64> {
    let (client, connection) = mpsc::channel(1);
    clients.lock().unwrap().push(client);
    connection
}

/// What a worker does between the start of a connection's task and its own end: at times nothing.
async fn work_before_stop(n: u64) {
    if !goes_wrong(n) {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn serve_until_notified(mut connection: Receiver<u64>, stop: Arc<Notify>) {
    loop {
        tokio::select! {
            request = connection.recv() => if request.is_none() { return },
            () = stop.notified() => return,
        }
    }
}

async fn serve_until_stopped(mut connection: Receiver<u64>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            request = connection.recv() => if request.is_none() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

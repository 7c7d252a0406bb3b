//! Sessions that the request which opened them leaves behind: an actor that waits for commands
//! beside its heartbeat, and its writer, which waits for the actor. As many as there are clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "actors with a heartbeat",
    program,
    suspect: Some(
        "sessions that only ever come, and are silent, look like ones that are forgotten",
    ),
};

const CLIENTS: usize = 40;
const HEARTBEAT: Duration = Duration::from_millis(100);

fn program() -> Program {
    let clients = Arc::new(Mutex::new(Vec::new()));
    Box::pin(requests(move |n| {
        let clients = Arc::clone(&clients);
        async move {
            work().await;
            if goes_wrong(n) && clients.lock().len() < CLIENTS {
                let (client, commands) = mpsc::channel(8);
                clients.lock().push(client);
                tokio::spawn(serve_session(commands));
            }
        }
    }))
}

async fn serve_session(mut commands: mpsc::Receiver<u8>) {
    let (outbox, messages) = mpsc::channel(8);
    let written = Arc::new(AtomicUsize::new(0));
    tokio::spawn(write_session(messages, Arc::clone(&written)));
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                if outbox.send(command).await.is_err() {
                    return;
                }
            }
            _ = heartbeat.tick() => {
                written.load(Ordering::Relaxed);
            }
        }
    }
}

async fn write_session(mut messages: mpsc::Receiver<u8>, written: Arc<AtomicUsize>) {
    while messages.recv().await.is_some() {
        written.fetch_add(1, Ordering::Relaxed);
    }
}

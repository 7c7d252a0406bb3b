//! Each client of an event stream subscribes to a broadcast. That it has gone is only noticed
//! when an event is sent to it, and there are none.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::{broadcast, mpsc};

use crate::load::{converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "broadcast laggard",
    source: "design",
    leaky,
    fixed,
    function: "broadcast_laggard::stream_events",
    waits: &[Wait::ChanReceive],
};

type Event = u64;

fn leaky() -> Program {
    let events = Arc::new(broadcast::Sender::new(16));
    Box::pin(requests(move |n| {
        let events = events.subscribe();
        async move {
            let (client, connection) = mpsc::channel(1);
            tokio::spawn(stream_events(events, client));
            let _hung_up = converse(n).await;
            drop(connection);
        }
    }))
}

async fn stream_events(mut events: broadcast::Receiver<Event>, client: mpsc::Sender<Event>) {
    while let Ok(event) = events.recv().await {
        if client.send(event).await.is_err() {
            return;
        }
    }
}

fn fixed() -> Program {
    let events = Arc::new(broadcast::Sender::new(16));
    Box::pin(requests(move |n| {
        let events = events.subscribe();
        async move {
            let (client, connection) = mpsc::channel(1);
            tokio::spawn(stream_events_while_connected(events, client));
            let _hung_up = converse(n).await;
            drop(connection);
        }
    }))
}

async fn stream_events_while_connected(
    mut events: broadcast::Receiver<Event>,
    client: mpsc::Sender<Event>,
) {
    loop {
        tokio::select! {
            () = client.closed() => return,
            Ok(event) = events.recv() => if client.send(event).await.is_err() { return },
            else => return,
        }
    }
}

//! Each connection has a heartbeat that ends with it. They come and go, and their number stays
//! the same.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "heartbeats",
    program,
    suspect: None,
};

const CONNECTIONS: usize = 20;
/// So each stays for twice the threshold.
const REPLACE_EVERY: Duration = Duration::from_millis(200);
const BEAT_EVERY: Duration = Duration::from_millis(300);

fn program() -> Program {
    Box::pin(async {
        tokio::spawn(replace_connections());
        requests(|_| work()).await;
    })
}

async fn replace_connections() {
    let mut clients: VecDeque<DuplexStream> = (0..CONNECTIONS).map(|_| connect()).collect();
    let mut ticks = interval(REPLACE_EVERY);
    loop {
        ticks.tick().await;
        clients.pop_front();
        clients.push_back(connect());
    }
}

/// The client's end.
fn connect() -> DuplexStream {
    let (client, server) = duplex(64);
    tokio::spawn(serve_connection(server));
    client
}

async fn serve_connection(mut connection: DuplexStream) {
    let _stopped = AbortOnDropHandle::new(tokio::spawn(beat()));
    while connection.read_u8().await.is_ok() {}
}

async fn beat() {
    let mut beats = interval(BEAT_EVERY);
    loop {
        beats.tick().await;
    }
}

//! Connections that stay, each with a writer task for what others send to it, which is nothing.
//! More and more clients connect as long as one looks.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "writers of live connections",
    program,
    suspect: Some("clients that only ever come, and are silent, look like ones that are forgotten"),
};

fn program() -> Program {
    let clients = Arc::new(Mutex::new(Vec::new()));
    Box::pin(requests(move |n| {
        let clients = Arc::clone(&clients);
        async move {
            work().await;
            // One in five requests is an upgrade.
            if goes_wrong(n) {
                let (client, server) = duplex(64);
                clients.lock().push(client);
                serve_client(server).await;
            }
        }
    }))
}

async fn serve_client(connection: DuplexStream) {
    let (input, output) = split(connection);
    let (outbox, messages) = mpsc::channel(8);
    tokio::spawn(write_messages(output, messages));
    read_messages(input, outbox).await;
}

async fn read_messages(mut input: ReadHalf<DuplexStream>, outbox: mpsc::Sender<u8>) {
    while let Ok(message) = input.read_u8().await {
        if outbox.send(message).await.is_err() {
            return;
        }
    }
}

async fn write_messages(mut output: WriteHalf<DuplexStream>, mut messages: mpsc::Receiver<u8>) {
    while let Some(message) = messages.recv().await {
        if output.write_u8(message).await.is_err() {
            return;
        }
    }
}

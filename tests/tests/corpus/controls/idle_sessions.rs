//! Each request opens a session whose task waits for commands, or for the end of an hour without
//! any: there are more and more of them as long as one looks.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "select! with a timer",
    program,
    suspect: None,
};

const IDLE_FOR: Duration = Duration::from_secs(3600);

fn program() -> Program {
    let clients = Arc::new(Mutex::new(Vec::new()));
    Box::pin(requests(move |_| {
        let (client, commands) = mpsc::channel(1);
        clients.lock().push(client);
        async {
            work().await;
            tokio::spawn(run_session(commands));
        }
    }))
}

async fn run_session(mut commands: mpsc::Receiver<()>) {
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(()) => work().await,
                None => return,
            },
            () = sleep(IDLE_FOR) => return,
        }
    }
}

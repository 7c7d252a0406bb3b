//! A connection is a handle and a future that drives it. A command is awaited before that future
//! is spawned.
//!
//! github.com/redis-rs/redis-rs/issues/343, "Multiplexed tokio connection stalls indefinitely on
//! wrong password", and its fix, pull request 344: the driver was not polled during the
//! authentication step, which waited for an answer that only the driver gives.

use taskleak_profile::snapshot::Wait;
use tokio::sync::{mpsc, oneshot};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "undriven login",
    source: "github.com/redis-rs/redis-rs/issues/343",
    leaky,
    fixed,
    function: "undriven_login::log_in_before_driving",
    waits: &[Wait::ChanReceive],
};

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        tokio::spawn(log_in_before_driving(goes_wrong(n)));
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        tokio::spawn(log_in_while_driving(goes_wrong(n)));
    }))
}

async fn log_in_before_driving(has_password: bool) {
    let (connection, driver) = connect();
    if has_password {
        connection.command("AUTH").await.unwrap();
    }
    tokio::spawn(driver);
    connection.command("PING").await.unwrap();
}

async fn log_in_while_driving(has_password: bool) {
    let (connection, driver) = connect();
    tokio::spawn(driver);
    if has_password {
        connection.command("AUTH").await.unwrap();
    }
    connection.command("PING").await.unwrap();
}

struct Connection {
    commands: mpsc::UnboundedSender<Command>,
}

struct Command {
    name: &'static str,
    answer: oneshot::Sender<usize>,
}

/// A handle, and the future that has to be polled for it to be of use.
fn connect() -> (Connection, impl Future<Output = ()> + Send) {
    let (commands, mut received) = mpsc::unbounded_channel::<Command>();
    let driver = async move {
        while let Some(command) = received.recv().await {
            command.answer.send(command.name.len()).ok();
        }
    };
    (Connection { commands }, driver)
}

impl Connection {
    fn command(&self, name: &'static str) -> oneshot::Receiver<usize> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command { name, answer }).ok();
        answered
    }
}

//! A task copies the events of an upstream into a channel, and learns that nobody reads them
//! only when it sends the next one: there is none.
//!
//! github.com/64bit/async-openai/issues/576, "Streaming reader task leaks when the consumer is
//! dropped mid-stream (stream_mapped_raw_events never observes receiver drop)": a client left
//! while the upstream was open and idle, and the reader stayed behind with the connection.

use std::sync::{Arc, Mutex};

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedSender};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "abandoned reader",
    source: "github.com/64bit/async-openai/issues/576",
    leaky: || service(read_events),
    fixed: || service(read_events_while_wanted),
    function: "abandoned_reader::read_events",
    waits: &[Wait::ChanReceive],
};

fn service<R>(read: fn(Receiver<u64>, UnboundedSender<u64>) -> R) -> Program
where
    R: Future<Output = ()> + Send + 'static,
{
    let upstream = Upstream::default();
    Box::pin(requests(move |n| {
        let upstream = upstream.clone();
        async move {
            let (events, mut stream) = mpsc::unbounded_channel();
            tokio::spawn(read(upstream.answer(n), events));
            // The client leaves after the first event.
            stream.recv().await;
        }
    }))
}

async fn read_events(mut response: Receiver<u64>, events: UnboundedSender<u64>) {
    while let Some(event) = response.recv().await {
        if events.send(event).is_err() {
            return;
        }
    }
}

async fn read_events_while_wanted(mut response: Receiver<u64>, events: UnboundedSender<u64>) {
    loop {
        let event = tokio::select! {
            event = response.recv() => event,
            () = events.closed() => return,
        };
        let Some(event) = event else { return };
        if events.send(event).is_err() {
            return;
        }
    }
}

#[derive(Clone, Default)]
struct Upstream {
    open_and_idle: Arc<Mutex<Vec<Sender<u64>>>>,
}

impl Upstream {
    fn answer(&self, n: u64) -> Receiver<u64> {
        let (answer, response) = mpsc::channel(1);
        answer.try_send(n).unwrap();
        if goes_wrong(n) {
            self.open_and_idle.lock().unwrap().push(answer);
        }
        response
    }
}

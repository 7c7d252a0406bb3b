//! A hub holds a sender for each subscriber. One that hangs up is not taken off, and its
//! forwarder waits for news that nobody sends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::{HungUp, converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "silent sender",
    source: "design",
    leaky,
    fixed,
    function: "silent_sender::forward_for_ever",
    waits: &[Wait::ChanReceive],
};

type News = u64;

#[derive(Default)]
struct Hub {
    subscribers: Mutex<HashMap<u64, mpsc::Sender<News>>>,
}

impl Hub {
    fn subscribe(&self, client: u64) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(8);
        self.subscribers.lock().insert(client, sender);
        receiver
    }

    fn unsubscribe(&self, client: u64) {
        self.subscribers.lock().remove(&client);
    }
}

fn leaky() -> Program {
    let hub = Arc::new(Hub::default());
    Box::pin(requests(move |n| serve_politely(Arc::clone(&hub), n)))
}

/// Takes only those off who say goodbye.
async fn serve_politely(hub: Arc<Hub>, client: u64) -> Result<(), HungUp> {
    let news = hub.subscribe(client);
    tokio::spawn(forward_for_ever(news));
    converse(client).await?;
    hub.unsubscribe(client);
    Ok(())
}

async fn forward_for_ever(mut news: mpsc::Receiver<News>) {
    while news.recv().await.is_some() {}
}

fn fixed() -> Program {
    let hub = Arc::new(Hub::default());
    Box::pin(requests(move |n| serve(Arc::clone(&hub), n)))
}

async fn serve(hub: Arc<Hub>, client: u64) -> Result<(), HungUp> {
    let news = hub.subscribe(client);
    tokio::spawn(forward_while_subscribed(news));
    let conversation = converse(client).await;
    hub.unsubscribe(client);
    conversation
}

async fn forward_while_subscribed(mut news: mpsc::Receiver<News>) {
    while news.recv().await.is_some() {}
}

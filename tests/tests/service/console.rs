//! tokio-console beside the detector, each with a filter of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use console_api::field::Value;
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, Update};
use console_api::tasks::Task;
use taskleak::{BuildWatched, Detector, WatchedRuntime};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::alone::alone;
use crate::support::{DEADLINE, listed_by, until};

#[test]
fn it_sees_the_tasks_that_the_endpoint_lists() {
    alone("console::it_sees_the_tasks_that_the_endpoint_lists", || {
        let console = free_address();
        let detector = Detector::builder().console(console).install().unwrap();
        let endpoint = detector.serve("127.0.0.1:0").unwrap().local_addr();
        let service = service(&detector);
        let tasks: Vec<_> = (0..5).map(|_| spawn_named(&service, "waits")).collect();

        let mut seen = ConsoleTasks::default();
        seen.watch(console, |seen| {
            let snapshot = listed_by(endpoint, "debug=2");
            let listed: BTreeSet<u64> = snapshot.tasks.iter().map(|task| task.id).collect();
            assert!(tasks.iter().all(|task| listed.contains(&number(task))));
            seen.alive() == listed
        });
        for task in &tasks {
            assert_eq!(
                seen.named("waits").filter(|id| *id == number(task)).count(),
                1
            );
        }

        for task in &tasks {
            task.abort();
        }
        seen.watch(console, |seen| {
            let alive = seen.alive();
            tasks.iter().all(|task| !alive.contains(&number(task)))
        });
        assert_eq!(listed_by(endpoint, "name=waits").totals.tasks, 0);
        service.shutdown_background();
    });
}

#[test]
fn layers_beside_it_keep_their_filters() {
    alone("console::layers_beside_it_keep_their_filters", || {
        let written = Written::default();
        let to = written.clone();
        let log = fmt::layer()
            .with_writer(move || to.clone())
            .with_ansi(false)
            .with_span_events(fmt::format::FmtSpan::FULL)
            .with_filter(LevelFilter::INFO);
        let builder = Detector::builder().console(free_address());
        let (subscriber, detector) = builder.wrap(Registry::default().with(log));
        tracing::subscriber::set_global_default(subscriber).expect("nothing else has set one");
        detector.verify().unwrap();
        let not_served = free_address();
        let second = Detector::builder().console(not_served).install();
        assert!(
            second
                .unwrap_err()
                .to_string()
                .contains("installed already")
        );

        let service = service(&detector);
        let task = service.spawn(async {
            tracing::info!("an order came in");
            tracing::debug!("nobody asked");
            tokio::task::yield_now().await;
        });
        until(|| task.is_finished());
        let lines = written.text();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains("an order came in"), "{lines}");
        TcpListener::bind(not_served).expect("an install that failed serves nothing");
        service.shutdown_background();
    });
}

#[test]
fn a_port_that_is_taken_is_told() {
    alone("console::a_port_that_is_taken_is_told", || {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let detector = Detector::builder().console(address).install().unwrap();
        let line = format!("cannot serve tokio-console at {address}: ");
        until(|| {
            let health = detector.snapshot().health;
            assert!(health.recording);
            health
                .problems
                .iter()
                .any(|problem| problem.starts_with(&line))
        });
    });
}

/// What tokio-console knows of the tasks.
#[derive(Default)]
struct ConsoleTasks {
    /// By the console's own id.
    known: BTreeMap<u64, Known>,
}

struct Known {
    id: u64,
    name: String,
    ended: bool,
}

impl ConsoleTasks {
    /// Reads updates, as tokio-console does, until the condition holds after one.
    fn watch(&mut self, console: SocketAddr, mut holds: impl FnMut(&ConsoleTasks) -> bool) {
        let give_up = Instant::now() + DEADLINE;
        let client = Builder::new_current_thread().enable_all().build().unwrap();
        client.block_on(async {
            // The console's server starts on a thread of its own, a little later.
            let mut client = loop {
                match InstrumentClient::connect(format!("http://{console}")).await {
                    Ok(client) => break client,
                    Err(error) => assert!(Instant::now() < give_up, "{error}"),
                }
            };
            let updates = client.watch_updates(InstrumentRequest {}).await;
            let mut updates = updates.expect("it is served").into_inner();
            loop {
                let update = updates.message().await.expect("the stream goes on");
                self.apply(update.expect("the stream goes on"));
                // The blocking calls are this thread's own: the client waits for nothing else.
                if holds(self) {
                    return;
                }
                assert!(Instant::now() < give_up, "it never held");
            }
        });
    }

    fn apply(&mut self, update: Update) {
        let update = update.task_update.unwrap_or_default();
        for task in update.new_tasks {
            // tokio's workers run on its blocking pool; the detector leaves them out.
            if !text(&task, "fn").starts_with("tokio::runtime::scheduler::") {
                let span = task.id.expect("a task has an id").id;
                self.known.entry(span).or_insert_with(|| Known::new(&task));
            }
        }
        for (span, stats) in update.stats_update {
            if let Some(known) = self.known.get_mut(&span) {
                known.ended = stats.dropped_at.is_some();
            }
        }
    }

    /// tokio's ids of the tasks that are alive; each is known once.
    fn alive(&self) -> BTreeSet<u64> {
        let alive = || self.known.values().filter(|known| !known.ended);
        let ids: BTreeSet<u64> = alive().map(|known| known.id).collect();
        assert_eq!(ids.len(), alive().count(), "a task is registered twice");
        ids
    }

    fn named(&self, name: &str) -> impl Iterator<Item = u64> {
        let known = self.known.values();
        known
            .filter(move |known| known.name == name)
            .map(|known| known.id)
    }
}

impl Known {
    fn new(task: &Task) -> Known {
        Known {
            id: text(task, "task.id").parse().expect("it is a number"),
            name: text(task, "task.name"),
            ended: false,
        }
    }
}

/// The value of a field; empty if it is not there.
fn text(task: &Task, field: &str) -> String {
    use console_api::field::Name::StrName;
    let is_it = |known: &&console_api::Field| known.name == Some(StrName(field.to_owned()));
    match task
        .fields
        .iter()
        .find(is_it)
        .and_then(|field| field.value.clone())
    {
        Some(Value::DebugVal(text) | Value::StrVal(text)) => text,
        Some(Value::U64Val(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn service(detector: &Detector) -> WatchedRuntime {
    let mut service = Builder::new_multi_thread();
    service.worker_threads(2).enable_all().name("service");
    service
        .build_watched(detector)
        .expect("threads can be started")
}

fn spawn_named(on: &WatchedRuntime, name: &str) -> JoinHandle<()> {
    tokio::task::Builder::new()
        .name(name)
        .spawn_on(std::future::pending(), on.handle())
        .expect("the runtime runs")
}

/// tokio shows an id as a number and no other way.
fn number<T>(task: &JoinHandle<T>) -> u64 {
    task.id().to_string().parse().expect("it is a number")
}

/// An address that was free a moment ago: the console can't tell which port it chose.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// What a layer wrote.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("it is text")
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The watchdog in a service: what it calls a leak, what it says of it, and that neither a wedged
//! runtime nor what it calls can stop it. Each test has a process and a detector of its own.

use std::future::{Future, pending, poll_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use taskleak::taskleak_profile::snapshot::Group;
use taskleak::{BuildWatched, Builder, Change, Detector, Report, Snapshot, Wait, WatchedRuntime};
use tokio::sync::{mpsc, oneshot};
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::alone::alone;
use crate::client::get;
use crate::support::{DEADLINE, until};

const SWEEP: Duration = Duration::from_millis(50);
const THRESHOLD: Duration = Duration::from_millis(300);

/// What the callback was told.
type Told = Arc<Mutex<Vec<Report>>>;

fn quick() -> Builder {
    let quick = || {
        let builder = Detector::builder().sweep_every(SWEEP)?;
        let builder = builder.blocked_after(THRESHOLD)?;
        let builder = builder.blocked_after_on(Wait::Join, THRESHOLD)?;
        builder.growing_over(Duration::from_secs(2))
    };
    quick().expect("these make sense")
}

fn installed(builder: Builder) -> (Detector, Told) {
    let told = Told::default();
    let its = Arc::clone(&told);
    let note = move |report: &Report| lock(&its).push(report.clone());
    let detector = builder.on_verdict(note).install();
    let detector = detector.expect("nothing else is installed");
    // Reads the debug info, which takes its time.
    detector.snapshot();
    (detector, told)
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime(detector: &Detector) -> WatchedRuntime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().name("service");
    builder.build_watched(detector).expect("threads start")
}

/// Waits for a report of tasks that wait in this function.
#[track_caller]
fn told_of(told: &Told, function: &str, level: &str) -> Report {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let reports = lock(told).clone();
        let of_it = |report: &&Report| {
            report.group.waiting_in().ends_with(function) && level_of(&report.group) == level
        };
        if let Some(report) = reports.iter().find(of_it) {
            return report.clone();
        }
        assert!(
            Instant::now() < give_up,
            "not told of {function}: {reports:#?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn level_of(group: &Group) -> &str {
    group.verdict.as_ref().map_or("", |verdict| &verdict.level)
}

/// The evidence that begins with this word.
#[track_caller]
fn evidence(group: &Group, word: &str) -> String {
    let fact = found_evidence(group, word);
    fact.unwrap_or_else(|| panic!("no {word} in {:?}", group.verdict))
}

fn found_evidence(group: &Group, word: &str) -> Option<String> {
    let begins = |fact: &&String| fact.starts_with(&format!("{word}: "));
    group
        .verdict
        .as_ref()?
        .evidence
        .iter()
        .find(begins)
        .cloned()
}

fn group_in<'a>(snapshot: &'a Snapshot, function: &str) -> Option<&'a Group> {
    let waits_there = |group: &&Group| group.waiting_in().ends_with(function);
    snapshot.groups.iter().find(waits_there)
}

/// A channel whose sender is kept for ever.
fn unserved() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    std::mem::forget(sender);
    receiver
}

async fn receives(mut from: mpsc::Receiver<()>) {
    from.recv().await;
}

async fn joins_child() {
    let child = tokio::spawn(stuck_child(unserved()));
    child.await.expect("it never ends");
}

async fn stuck_child(mut from: mpsc::Receiver<()>) {
    from.recv().await;
}

/// Spawns from a task that ends.
async fn orphan<F: Future<Output = ()> + Send + 'static>(task: F) {
    let spawner = tokio::spawn(async { drop(tokio::spawn(task)) });
    spawner.await.expect("it does not panic");
}

/// Polls its waker into a place from which others take it.
async fn waits_for_waker(place: Arc<Mutex<Option<Waker>>>) {
    poll_fn(|cx| {
        *lock(&place) = Some(cx.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}

#[inline(never)]
fn forget_waker(place: &Mutex<Option<Waker>>) {
    drop(lock(place).take());
}

#[test]
fn evidence_has_the_facts() {
    alone("verdicts::evidence_has_the_facts", || {
        let (detector, told) = installed(quick());
        let runtime = runtime(&detector);

        let place = Arc::default();
        let lost = runtime.spawn(waits_for_waker(Arc::clone(&place)));
        until(|| lock(&place).is_some());
        thread::sleep(2 * SWEEP);
        forget_waker(&place);
        let report = told_of(&told, "verdicts::waits_for_waker::{closure}", "likely");
        assert_eq!(report.group.wait, [Wait::Nothing]);
        let fact = evidence(&report.group, "lost");
        assert!(
            fact.starts_with("lost: its last waker was dropped "),
            "{fact}"
        );
        let end = "s ago, by service::verdicts::forget_waker; only an abort can end it";
        assert!(fact.ends_with(end), "{fact}");
        assert!(!lost.is_finished());

        runtime.block_on(orphan(receives(unserved())));
        let report = told_of(&told, "verdicts::receives", "suspect");
        assert_eq!(report.change, Change::New);
        assert_eq!(report.group.wait, [Wait::ChanReceive]);
        assert_eq!(report.group.count, 1);
        let fact = evidence(&report.group, "stalled");
        assert!(
            fact.contains("on chan receive alone, past the threshold of 300ms"),
            "{fact}"
        );
        let fact = evidence(&report.group, "orphaned");
        assert!(fact.contains(", which spawned it, "), "{fact}");

        // The one in the middle is alive, and as stuck as its child.
        runtime.block_on(orphan(joins_child()));
        let report = told_of(&told, "verdicts::joins_child", "suspect");
        assert_eq!(report.group.wait, [Wait::Join]);
        told_of(&told, "verdicts::stuck_child", "suspect");
        // A sweep may have come between the one and the other.
        let mut both = [String::new(), String::new()];
        until(|| {
            let snapshot = detector.snapshot();
            both = ["verdicts::joins_child", "verdicts::stuck_child"].map(|function| {
                let group = group_in(&snapshot, function).expect("it waits for ever");
                found_evidence(group, "orphaned").unwrap_or_default()
            });
            both.iter().all(|fact| !fact.is_empty())
        });
        assert!(
            both[1].contains(", whose child spawned it and is held up too, "),
            "{both:?}"
        );
        let ancestor = |fact: &str| fact.split(',').next().map(str::to_owned);
        assert_eq!(ancestor(&both[0]), ancestor(&both[1]));
    });
}

#[test]
fn what_waits_on_purpose_gets_no_verdict() {
    let name = "verdicts::what_waits_on_purpose_gets_no_verdict";
    alone(name, || {
        let rules = quick()
            .allow("function=allowed_by_rule")
            .and_then(|builder| builder.allow("name=nobody"))
            .expect("these can be read");
        let (detector, told) = installed(rules);
        let runtime = runtime(&detector);

        async fn daemon_of_main(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        async fn allowed_by_rule(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        async fn allowed_at_its_spawn(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        async fn with_a_timer(mut from: mpsc::Receiver<()>) {
            tokio::select! {
                _ = from.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(600)) => {}
            }
        }
        // What it registers is told to another subscriber, and its first wake to the detector.
        async fn polled_unseen() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            unserved().recv().await;
        }
        let main = async {
            tokio::spawn(daemon_of_main(unserved()));
            orphan(allowed_by_rule(unserved())).await;
            orphan(async {
                taskleak::daemon(|| tokio::spawn(allowed_at_its_spawn(unserved())));
            })
            .await;
            orphan(with_a_timer(unserved())).await;
            orphan(polled_unseen().with_subscriber(NoSubscriber::new())).await;
            // The last one, so that all others have been looked at when it is told of.
            orphan(receives(unserved())).await;
            pending::<()>().await;
        };
        // Once it ends, the daemon is an orphan.
        thread::spawn(move || runtime.block_on(main));
        told_of(&told, "verdicts::receives", "suspect");
        until(|| {
            let snapshot = detector.snapshot();
            let unmatched = |line: &&String| line.starts_with("the allow rule ");
            let problems = snapshot.health.problems.iter().filter(unmatched);
            problems.eq(["the allow rule \"name=nobody\" has matched no task so far"])
        });

        let snapshot = detector.snapshot();
        let check = |function: &str, allowed: Option<&str>| {
            let group = group_in(&snapshot, function).expect(function);
            assert_eq!(group.verdict, None, "{function}");
            assert_eq!(group.allowed.as_deref(), allowed, "{function}");
        };
        check("daemon_of_main", None);
        check("with_a_timer", None);
        check("allowed_by_rule", Some("function=allowed_by_rule"));
        check("allowed_at_its_spawn", Some("taskleak::daemon"));
        assert_eq!(lock(&told).len(), 1);
        assert!(
            snapshot
                .to_string()
                .contains("\n# allowed by taskleak::daemon\n")
        );
    });
}

#[test]
fn a_group_is_told_of_when_it_doubles_grows_and_goes() {
    let name = "verdicts::a_group_is_told_of_when_it_doubles_grows_and_goes";
    alone(name, || {
        let (detector, told) = installed(quick());
        let runtime = runtime(&detector);
        async fn receipt(from: oneshot::Receiver<()>) {
            let _served = from.await;
        }
        let mut kept = Vec::new();
        let mut leak = || {
            let (sender, receiver) = oneshot::channel();
            kept.push(sender);
            runtime.block_on(orphan(receipt(receiver)));
        };
        let began = Instant::now();
        let changes = || -> Vec<Change> { lock(&told).iter().map(|told| told.change).collect() };
        leak();
        until(|| {
            leak();
            thread::sleep(Duration::from_millis(40));
            changes().contains(&Change::Raised)
        });
        let changes_so_far = changes();
        assert_eq!(changes_so_far[0], Change::New);
        assert!(
            changes_so_far.contains(&Change::Doubled),
            "{changes_so_far:?}"
        );
        let report = told_of(&told, "receipt", "likely");
        let fact = evidence(&report.group, "growing");
        assert!(fact.contains(", never fell"), "{fact}");
        // One each 40 ms or more; how many more, the machine says.
        let rate: f64 = between(&fact, ", +", " a minute").parse().expect(&fact);
        let measured = f64::from(kept.len() as u32) / began.elapsed().as_secs_f64() * 60.0;
        assert!(
            (rate / measured - 1.0).abs() < 0.5,
            "{fact}, not {measured}"
        );

        kept.clear();
        until(|| changes().last() == Some(&Change::Gone));
        assert!(detector.snapshot().totals.by_verdict.is_empty());
    });
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).expect(text);
    rest.split_once(after).expect(text).0
}

#[test]
fn leaks_are_served_while_every_worker_is_wedged() {
    let name = "verdicts::leaks_are_served_while_every_worker_is_wedged";
    alone(name, || {
        let (detector, told) = installed(quick());
        let server = detector.serve("127.0.0.1:0").expect("a port is free");
        let address = server.local_addr();
        let runtime = runtime(&detector);
        assert_eq!(text(address, "/debug/leaks").lines().next(), Some(EMPTY));

        runtime.block_on(orphan(receives(unserved())));
        static GO_ON: AtomicBool = AtomicBool::new(false);
        for _ in 0..2 {
            runtime.spawn(async {
                while !GO_ON.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
            });
        }
        told_of(&told, "verdicts::receives", "suspect");
        assert!(!GO_ON.load(Ordering::Relaxed));

        let leaks = text(address, "/debug/leaks");
        assert_eq!(
            leaks.lines().next(),
            Some("task profile: total 1"),
            "{leaks}"
        );
        assert!(
            leaks.contains("\n# leak suspect\n#   stalled: it has waited "),
            "{leaks}"
        );
        assert!(
            !leaks.contains(
                "leaks_are_served_while_every_worker_is_wedged::{closure}::{async block}\n"
            )
        );
        let each = text(address, "/debug/leaks?debug=2");
        assert!(
            each.starts_with("task ") && each.contains("[chan receive"),
            "{each}"
        );
        let json = text(address, "/debug/leaks?format=json&verdict=suspect");
        let json: Snapshot = serde_json::from_str(&json).expect("it is a snapshot");
        assert_eq!(json.totals.by_verdict["suspect"], 1);
        assert_eq!(
            text(address, "/debug/leaks?verdict=likely").lines().next(),
            Some(EMPTY)
        );
        let profile = get(address, "/debug/pprof/taskleaks");
        let attachment = "attachment; filename=\"taskleaks.pb.gz\"";
        assert_eq!(profile.header("content-disposition"), attachment);
        assert!(profile.ok().starts_with(&[0x1f, 0x8b]), "it is gzipped");
        let index = text(address, "/debug/pprof/");
        assert!(index.contains("         1  taskleaks  "), "{index}");

        // Only what has got its verdict since.
        let recent = text(address, "/debug/leaks?seconds=300");
        assert_eq!(recent.lines().next(), Some("task profile: total 1"));
        until(|| text(address, "/debug/leaks?seconds=1").lines().next() == Some(EMPTY));
        GO_ON.store(true, Ordering::Relaxed);
        server.stop();
    });
}

const EMPTY: &str = "task profile: total 0";

fn text(from: SocketAddr, target: &str) -> String {
    get(from, target).text().to_owned()
}

#[test]
fn a_callback_that_panics_or_blocks_stops_nothing() {
    let name = "verdicts::a_callback_that_panics_or_blocks_stops_nothing";
    alone(name, || {
        async fn first(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        async fn second(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        async fn third(mut from: mpsc::Receiver<()>) {
            from.recv().await;
        }
        let blocked = Arc::new(AtomicBool::new(false));
        let blocks = Arc::clone(&blocked);
        let builder = quick().on_verdict(move |report| {
            if report.group.waiting_in().ends_with("first") {
                panic!("the first one");
            }
            blocks.store(true, Ordering::Relaxed);
            loop {
                thread::park();
            }
        });
        let detector = builder.install().expect("nothing else is installed");
        let runtime = runtime(&detector);
        let judged = |function: &str| {
            until(|| {
                let snapshot = detector.snapshot();
                let group = group_in(&snapshot, function);
                group.is_some_and(|group| level_of(group) == "suspect")
            });
        };
        runtime.block_on(orphan(first(unserved())));
        judged("first");
        let problem = "`on_verdict` panicked when it was to tell of a verdict, 1 times so far; the \
                       last time with \"the first one\"";
        let told = || detector.snapshot().health.problems;
        until(|| told().iter().any(|line| line == problem));

        runtime.block_on(orphan(second(unserved())));
        until(|| blocked.load(Ordering::Relaxed));
        runtime.block_on(orphan(third(unserved())));
        judged("third");
        drop(runtime);
    });
}

#[test]
fn verdicts_are_events() {
    alone("verdicts::verdicts_are_events", || {
        let events = Events::default();
        let seen = Arc::clone(&events.0);
        let subscriber = tracing_subscriber::registry().with(events);
        let (subscriber, detector) = quick().wrap(subscriber);
        subscriber.init();
        let runtime = runtime(&detector);
        runtime.block_on(orphan(receives(unserved())));
        until(|| !lock(&seen).is_empty());
        let event = lock(&seen)[0].clone();
        let field = |name: &str| -> &str {
            let of_it = |(key, _): &&(String, String)| key == name;
            event.iter().find(of_it).map_or("", |(_, value)| value)
        };
        assert_eq!(field("level"), "WARN");
        assert_eq!(field("change"), "new");
        assert_eq!(field("count"), "1");
        assert_eq!(field("wait"), "chan receive");
        assert_eq!(field("function"), "service::verdicts::receives");
        assert_eq!(
            field("created_by"),
            "service::verdicts::orphan::{async block}"
        );
        assert_eq!(field("verdict"), "suspect");
        assert_eq!(field("group").len(), 16);
        assert!(field("oldest_ms").parse::<u64>().expect("it is there") >= 300);
        assert!(field("evidence").contains("stalled: "), "{event:?}");
        assert!(field("evidence").contains("; orphaned: "), "{event:?}");
        assert_eq!(field("message"), "tasks may wait for ever");
    });
}

/// The fields of an event by name, its level among them.
type Event = Vec<(String, String)>;

/// The events of the target `taskleak`.
#[derive(Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "taskleak" {
            return;
        }
        struct Fields(Event);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push((field.name().to_owned(), format!("{value:?}")));
            }
            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.push((field.name().to_owned(), value.to_owned()));
            }
        }
        let level = event.metadata().level().to_string();
        let mut fields = Fields(vec![("level".to_owned(), level)]);
        event.record(&mut fields);
        lock(&self.0).push(fields.0);
    }
}

#[test]
fn a_task_that_parks_for_good_is_suspect_at_most() {
    let name = "verdicts::a_task_that_parks_for_good_is_suspect_at_most";
    alone(name, || {
        let (detector, told) = installed(quick());
        let runtime = runtime(&detector);
        let parked = runtime.spawn(pending::<()>());
        until(|| !lock(&told).is_empty());
        let report = lock(&told)[0].clone();
        assert_eq!(level_of(&report.group), "suspect");
        let fact = evidence(&report.group, "lost");
        assert!(
            fact.contains(" and left no waker behind; only an abort can end it"),
            "{fact}"
        );
        parked.abort();
        until(|| {
            lock(&told)
                .last()
                .is_some_and(|told| told.change == Change::Gone)
        });
    });
}

/// Waits on what no time is too long for.
async fn reads_for_ever(from: tokio::io::DuplexStream) {
    let mut from = from;
    let _nothing_comes = tokio::io::AsyncReadExt::read_u8(&mut from).await;
}

#[test]
fn what_outlives_its_scope_is_told_whatever_it_waits_on() {
    alone(
        "verdicts::what_outlives_its_scope_is_told_whatever_it_waits_on",
        || {
            let (detector, told) = installed(quick());
            let runtime = runtime(&detector);
            let (kept, read) = tokio::io::duplex(1);
            let request = taskleak::scope("request", async move {
                // A grandchild, of a child that ends with the request.
                let child = tokio::spawn(async { drop(tokio::spawn(reads_for_ever(read))) });
                child.await.expect("it does not panic");
            });
            let (its_end, ended) = oneshot::channel::<()>();
            let (also_kept, also_read) = tokio::io::duplex(1);
            let running = runtime.spawn(taskleak::scope("stream", async move {
                drop(tokio::spawn(reads_for_ever(also_read)));
                let _told = ended.await;
            }));
            runtime.block_on(request);
            let report = told_of(&told, "reads_for_ever", "suspect");
            assert_eq!(report.group.scope, "request");
            let fact = evidence(&report.group, "outlived");
            let ended = "it is alive though its scope \"request\" ended ";
            assert!(fact.contains(ended), "{fact}");
            let snapshot = detector.snapshot();
            let of_stream: Vec<_> = snapshot
                .groups
                .iter()
                .filter(|group| group.scope == "stream")
                .map(|group| {
                    let function = group.waiting_in();
                    let (_, name) = function.rsplit_once("::").expect("a path");
                    (name.to_owned(), level_of(group), group.outlived_ms)
                })
                .collect();
            assert_eq!(of_stream, [("reads_for_ever".into(), "", None)], "it runs");
            drop((kept, also_kept, its_end));
            runtime.block_on(running).expect("it does not panic");
            told_when(&told, Change::Gone);
        },
    );
}

#[track_caller]
fn told_when(told: &Told, change: Change) {
    until(|| lock(told).iter().any(|report| report.change == change));
}

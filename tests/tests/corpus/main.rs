//! The leak corpus: services that leak, their fixed twins and clean ones, all at once under
//! load, on runtimes of both flavours; and what the detector makes of them.
//!
//! ```text
//! cargo test --release -p taskleak-tests --test corpus -- --nocapture
//! ```
//!
//! The variable [`ONLY`] narrows it to the programs whose name contains its value.

mod controls;
mod load;
mod patterns;
mod program;
mod threads;

use std::thread;
use std::time::Duration;

use taskleak::{BuildWatched, Detector, Snapshot};
use taskleak_profile::snapshot::{Group, Kind};
use tokio::runtime::Builder;

use crate::program::Program;

const ONLY: &str = "TASKLEAK_CORPUS";

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let detector = Detector::builder().install().expect("it is the first");
    let wanted = std::env::var(ONLY).unwrap_or_default();
    for pattern in patterns::ALL.iter().chain(threads::ALL) {
        if pattern.name.contains(&wanted) {
            println!(
                "{} ({}): {} {:?}",
                pattern.name, pattern.source, pattern.function, pattern.waits
            );
            start(
                &detector,
                &format!("{}, leaky", pattern.name),
                pattern.leaky,
            );
            start(
                &detector,
                &format!("{}, fixed", pattern.name),
                pattern.fixed,
            );
        }
    }
    for control in controls::ALL {
        if control.name.contains(&wanted) {
            start(
                &detector,
                &format!("{}, control {:?}", control.name, control.suspect),
                control.program,
            );
        }
    }
    thread::sleep(Duration::from_secs(4));
    show(&detector.snapshot());
}

fn start(detector: &Detector, name: &str, program: fn() -> Program) {
    let mut multi_thread = Builder::new_multi_thread();
    multi_thread.worker_threads(2);
    for (flavour, mut builder) in [
        ("multi", multi_thread),
        ("current", Builder::new_current_thread()),
    ] {
        let name = format!("{name}, {flavour}");
        let runtime = builder.enable_all().name(&name).build_watched(detector);
        let runtime = runtime.expect("threads can be started");
        thread::spawn(move || runtime.block_on(program()));
    }
}

/// Tasks that have waited for a second: where, and for what.
fn show(snapshot: &Snapshot) {
    let mut lines: Vec<String> = snapshot.groups.iter().filter_map(line).collect();
    lines.sort();
    for line in lines {
        println!("{line}");
    }
}

fn line(group: &Group) -> Option<String> {
    let waited = group.kind != Kind::BlockOn && group.age_ms.max > 1000;
    let leaf = |stack: &[taskleak_profile::snapshot::Frame]| {
        let frame = stack.iter().find(|frame| !frame.hidden);
        frame.map_or(String::new(), |frame| frame.function.clone())
    };
    let at: Vec<String> = group.waiting_at.iter().map(|at| leaf(at)).collect();
    waited.then(|| {
        format!(
            "{}: {} {:?} {:?} created by {}",
            group.runtime,
            group.count,
            group.wait,
            at,
            leaf(&group.created_by)
        )
    })
}

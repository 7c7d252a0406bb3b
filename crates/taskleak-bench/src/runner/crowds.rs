//! The sections beside the time cases: a crowd of waiting tasks, and the guard on a test.

use std::time::Duration;

use super::Size;
use super::error::Error;
use super::figures::{Figure, Unit};
use super::process::Worker;
use super::stats;
use crate::protocol::{Answer, Body, Flavor, Gaps, Reader, Request, Snapshots, TestTimes};
use crate::variant::Variant;

/// One process after the other, so that the machine has to hold but one crowd.
pub(super) fn memory(size: &Size) -> Result<Vec<Figure>, Error> {
    let bytes_each = |variant| gathered(variant, size).map(|(_worker, bytes)| bytes);
    let base = bytes_each(Variant::Base)?;
    let figure = |variant, bytes| Figure::of("memory", variant, Unit::Bytes, [bytes]);
    Ok(vec![
        figure(Variant::Base, base).what("memory of each task: tokio's own"),
        figure(Variant::Subscriber, bytes_each(Variant::Subscriber)? - base).what("… on top of it"),
        figure(Variant::Layer, bytes_each(Variant::Layer)? - base).what("… on top of it"),
    ])
}

pub(super) fn snapshots(size: &Size) -> Result<Vec<Figure>, Error> {
    let (mut worker, _) = gathered(Variant::Subscriber, size)?;
    let Snapshots {
        first,
        further,
        watched,
    } = worker.ask(Request::Snapshots {
        further: size.snapshots,
    })?;
    let gaps = |case, what: &str, of: fn(&Gaps) -> Duration| {
        figure(case, Unit::Ns, watched.iter().map(of)).what(what)
    };
    Ok(vec![
        figure("snapshot", Unit::Ns, further).what("snapshot by groups"),
        figure("snapshot-first", Unit::Ns, [first]).what("… the first, which reads the debug info"),
        gaps(
            "gap-snapshot",
            "longest gap of a task that yields, during a snapshot",
            |gaps| gaps.snapshot,
        ),
        gaps(
            "gap-busy-thread",
            "… beside a thread that spins for as long",
            |gaps| gaps.busy_thread,
        ),
        gaps("gap-neither", "… with neither", |gaps| gaps.neither),
    ])
}

pub(super) fn answers(size: &Size) -> Result<Vec<Figure>, Error> {
    let (mut worker, _) = gathered(Variant::Subscriber, size)?;
    let mut figures = Vec::new();
    for (reader, [took, bytes, peak], what) in [
        (
            Reader::Steady,
            ["list", "list-bytes", "list-peak"],
            "`?debug=2` over HTTP, each task listed",
        ),
        (
            Reader::Slow,
            ["list-slow", "list-slow-bytes", "list-slow-peak"],
            "… to a slow reader",
        ),
    ] {
        let answer: Answer = worker.ask(Request::Get { reader })?;
        figures.extend([
            figure(took, Unit::Ns, [answer.took]).what(what),
            Figure::of(
                bytes,
                Variant::Subscriber,
                Unit::Bytes,
                [answer.bytes as f64],
            )
            .what("… its size"),
            Figure::of(
                peak,
                Variant::Subscriber,
                Unit::Bytes,
                [answer.peak_growth as f64],
            )
            .what("… growth of resident memory, at its peak"),
        ]);
    }
    Ok(figures)
}

pub(super) fn sweeps(size: &Size) -> Result<Vec<Figure>, Error> {
    let (mut worker, _) = gathered(Variant::Watchdog, size)?;
    let times: Vec<Duration> = worker.ask(Request::Sweeps {
        sweeps: size.sweeps,
    })?;
    let longest = times.iter().max().copied().unwrap_or_default();
    let figure = |case, times: Vec<Duration>| {
        Figure::of(
            case,
            Variant::Watchdog,
            Unit::CpuNs,
            times.into_iter().map(ns),
        )
    };
    Ok(vec![
        figure("sweep", times).what("sweep of the watchdog, processor time"),
        figure("sweep-longest", vec![longest]).what("… the longest"),
    ])
}

pub(super) fn tests(size: &Size) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    for (flavor, body, [plain, added, first], what) in [
        (
            Flavor::CurrentThread,
            Body::Empty,
            ["test-empty", "test-empty-added", "test-empty-first"],
            "empty, current_thread",
        ),
        (
            Flavor::MultiThread,
            Body::Empty,
            [
                "test-empty-multi",
                "test-empty-multi-added",
                "test-empty-multi-first",
            ],
            "empty, multi_thread",
        ),
        (
            Flavor::CurrentThread,
            Body::LeavesOneEnding,
            ["test-ending", "test-ending-added", "test-ending-first"],
            "a task ends after it, current_thread",
        ),
        (
            Flavor::MultiThread,
            Body::LeavesOneEnding,
            [
                "test-ending-multi",
                "test-ending-multi-added",
                "test-ending-multi-first",
            ],
            "a task ends after it, multi_thread",
        ),
    ] {
        let times: TestTimes = Worker::start(Variant::Base)?.ask(Request::Tests {
            flavor,
            body,
            times: size.tests,
        })?;
        let base = stats::median(times.plain.iter().copied());
        let beyond = |time: Duration| time.saturating_sub(base);
        figures.extend([
            Figure::of(
                plain,
                Variant::Base,
                Unit::Ns,
                times.plain.into_iter().map(ns),
            )
            .what(format!("{what}: `#[tokio::test]`")),
            figure(added, Unit::Ns, times.guarded.into_iter().map(beyond)).what("… the guard adds"),
            figure(first, Unit::Ns, [beyond(times.first)]).what("… to the first test of a process"),
        ]);
    }
    Ok(figures)
}

fn figure(case: &'static str, unit: Unit, times: impl IntoIterator<Item = Duration>) -> Figure {
    Figure::of(case, Variant::Subscriber, unit, times.into_iter().map(ns))
}

fn ns(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// A process that has gathered the crowd, and the bytes that each task of it took.
fn gathered(variant: Variant, size: &Size) -> Result<(Worker, f64), Error> {
    let mut worker = Worker::start(variant)?;
    let bytes_each = worker.ask(Request::Crowd { tasks: size.crowd })?;
    Ok((worker, bytes_each))
}

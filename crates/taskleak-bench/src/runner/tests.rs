//! The guard on tests that leak nothing.

use std::time::Duration;

use super::Size;
use super::error::Error;
use super::figures::{Figure, Section, Shape, Unit};
use super::process::Worker;
use super::progress::Progress;
use super::stats;
use super::units::{self, ns};
use crate::protocol::{Body, Flavor, Request, TestTimes};
use crate::variant::Variant;

pub(crate) fn measure(size: &Size, progress: &Progress) -> Result<Section, Error> {
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
    progress.step();
    Ok(Section {
        title: "a test that leaks nothing".to_owned(),
        shape: Shape::Rows,
        figures,
        notes: vec![format!(
            "{} tests of each kind with the guard, and as many without.",
            units::count(size.tests)
        )],
    })
}

fn figure(case: &'static str, unit: Unit, times: impl IntoIterator<Item = Duration>) -> Figure {
    Figure::of(case, Variant::Subscriber, unit, times.into_iter().map(ns))
}

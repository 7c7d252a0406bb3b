//! What `#[taskleak::test]` costs on top of `#[tokio::test]`, where a test leaks nothing.
//!
//! An attribute makes a function that only a test harness calls, so here stands what both expand
//! to. Each test makes a runtime of its own, which is most of what it takes; so the two take turns
//! and are compared by the difference of their medians.

use std::pin::pin;
use std::time::{Duration, Instant};

use taskleak::__test::{Test, run};
use tokio::runtime::Builder;

use crate::protocol::{Body, Flavor, TestTimes};

const TEST: Test = Test {
    module: module_path!(),
    function: "measured",
    file: file!(),
    settle: None,
    timeout: None,
    allow: &[],
    on_failure: false,
};

/// Runs a test so many times each way. The first one guarded is apart: it makes the detector.
pub(crate) fn measure(flavor: Flavor, body: Body, times: usize) -> TestTimes {
    plain(flavor, body);
    let first = guarded(flavor, body);
    let mut measured = TestTimes {
        first,
        plain: Vec::new(),
        guarded: Vec::new(),
    };
    for _ in 0..times {
        measured.plain.push(plain(flavor, body));
        measured.guarded.push(guarded(flavor, body));
    }
    measured
}

fn plain(flavor: Flavor, body: Body) -> Duration {
    let start = Instant::now();
    let runtime = builder(flavor).build().expect("a runtime can be built");
    runtime.block_on(body.run());
    drop(runtime);
    start.elapsed()
}

fn guarded(flavor: Flavor, body: Body) -> Duration {
    let start = Instant::now();
    run(&TEST, &mut builder(flavor), pin!(Some(body.run())));
    start.elapsed()
}

fn builder(flavor: Flavor) -> Builder {
    let mut builder = match flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread => Builder::new_multi_thread(),
    };
    builder.enable_all();
    builder
}

impl Body {
    async fn run(self) {
        match self {
            Body::Empty => {}
            Body::LeavesOneEnding => drop(tokio::spawn(tokio::task::yield_now())),
        }
    }
}

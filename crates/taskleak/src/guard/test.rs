//! What `#[taskleak::test]` expands to calls of. Not for use by hand.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use taskleak_profile::allow::Allow;
use taskleak_profile::leaks::{Form, Owner, Unended, unended};
use tokio::runtime::Builder;
use tracing::dispatcher::DefaultGuard;

use super::Guard;
use super::alarm::Alarm;
use super::harness::{self, InForce};
use super::mode::{Mode, tell_aloud};
use super::options::SETTLE;
pub use super::root::Body;
use super::root::{Ended, Root};
use super::watch::{Left, Watch, What};
use crate::Detector;

/// A test as its attribute has it.
#[derive(Debug)]
pub struct Test {
    /// `module_path!()`
    pub module: &'static str,
    pub function: &'static str,
    /// `file!()`
    pub file: &'static str,
    pub settle: Option<Duration>,
    pub timeout: Option<Duration>,
    /// They were read once by the macro, so they can be read.
    pub allow: &'static [&'static str],
    pub on_failure: bool,
}

/// What a test may return: what libtest takes from one.
#[diagnostic::on_unimplemented(
    message = "a test can't return `{Self}`",
    label = "allowed: `()`, `Result<T, E>` of such a `T`, `ExitCode`, `Infallible`"
)]
pub trait Outcome {
    fn is_failure(&self) -> bool;
}

impl Outcome for () {
    fn is_failure(&self) -> bool {
        false
    }
}

impl<T: Outcome, E> Outcome for Result<T, E> {
    fn is_failure(&self) -> bool {
        match self {
            Ok(output) => output.is_failure(),
            Err(_) => true,
        }
    }
}

impl Outcome for ExitCode {
    fn is_failure(&self) -> bool {
        *self != ExitCode::SUCCESS
    }
}

impl Outcome for Infallible {
    fn is_failure(&self) -> bool {
        match *self {}
    }
}

/// Runs a test.
#[track_caller]
pub fn run<T: Outcome>(
    test: &Test,
    builder: &mut Builder,
    body: Pin<&mut (dyn Body<T> + '_)>,
) -> T {
    let Done { ended, leaks, mode } = Run::start(test, builder).finish(body, test.on_failure);
    match (ended, leaks) {
        (Ended::Returned(output), None) => output,
        (Ended::Returned(output), Some(leaks)) if output.is_failure() => {
            eprintln!("{leaks}");
            output
        }
        (Ended::Returned(output), Some(leaks)) => {
            mode.tell(&leaks);
            output
        }
        (Ended::Panicked(panic), leaks) => {
            leaks.inspect(|leaks| eprintln!("{leaks}"));
            resume_unwind(panic)
        }
        (Ended::TimedOut, page) => panic!("{}", page.unwrap_or_default()),
    }
}

/// Runs a test that should panic: leaked tasks make it return, which is how it fails.
#[track_caller]
pub fn run_to_panic(test: &Test, builder: &mut Builder, body: Pin<&mut (dyn Body<()> + '_)>) {
    let Done { ended, leaks, mode } = Run::start(test, builder).finish(body, true);
    let is_leaky = leaks.is_some();
    if let Some(page) = leaks {
        match (mode, &ended) {
            (Mode::Warn, Ended::Returned(()) | Ended::Panicked(_)) => mode.tell(&page),
            _ => eprintln!("{page}"),
        }
    }
    match ended {
        Ended::Panicked(panic) if !is_leaky || mode == Mode::Warn => resume_unwind(panic),
        // By a panic it would pass.
        Ended::Returned(()) | Ended::Panicked(_) | Ended::TimedOut => {}
    }
}

/// A test that is over.
struct Done<T> {
    ended: Ended<T>,
    /// The page of what it left behind, or of what it had when its time was over.
    leaks: Option<String>,
    mode: Mode,
}

/// A test under way.
struct Run {
    mode: Mode,
    detector: Detector,
    guard: Guard,
    runtime: tokio::runtime::Runtime,
    timeout: Option<Duration>,
    _in_force: Option<DefaultGuard>,
}

impl Run {
    #[track_caller]
    fn start(test: &Test, builder: &mut Builder) -> Run {
        // Not in closures, which would tell their own place in place of the test's.
        let mode = match Mode::of_environment() {
            Ok(mode) => mode,
            Err(error) => panic!("{error}"),
        };
        let InForce {
            detector,
            subscriber,
            until,
        } = harness::enter();
        if let Err(error) = detector.verify() {
            match mode {
                Mode::Fail => panic!("cannot look for leaked tasks: {error}"),
                Mode::Warn => tell_aloud(&format!("taskleak: warning: {error}")),
            }
        }
        let runtime = builder
            .on_thread_start(move || {
                harness::join(&subscriber);
            })
            .build()
            .expect("cannot build the tokio runtime");
        let watch = Watch {
            owner: test.owner(),
            settle: test.settle.unwrap_or(SETTLE),
            allowed: test.allowed(),
            what: What::within(&detector).unwrap_or_else(|error| panic!("{error}")),
            makers: Vec::new(),
            runtime: Some(runtime.handle().clone()),
            detector: detector.clone(),
        };
        let guard = Guard::start(watch).unwrap_or_else(|error| panic!("{error}"));
        Run {
            mode,
            detector,
            guard,
            runtime,
            timeout: test.timeout,
            _in_force: until,
        }
    }

    /// Runs the body, waits for what it spawned, and gives what is left. Of a body that failed the
    /// tasks are looked at if `on_failure`.
    fn finish<T: Outcome>(self, body: Pin<&mut (dyn Body<T> + '_)>, on_failure: bool) -> Done<T> {
        let watch = &self.guard.watch;
        // Until the runtime is gone as well.
        let alarm = self.timeout.map(|limit| alarm(limit, watch));
        let page = || alarm.as_ref().and_then(Alarm::page);
        let root = Root {
            body,
            recorder: Arc::clone(&self.detector.shared.recorder),
            alarm: alarm.as_ref(),
            watched: None,
        };
        let (ended, left) = self.runtime.block_on(async {
            let ended = root.await;
            let is_over = !matches!(ended, Ended::TimedOut);
            let left = match is_over && (on_failure || !ended.is_failure()) {
                true => Some(watch.settled(|| page().is_some()).await),
                false => None,
            };
            (ended, left)
        });
        // What may stay, or was not looked at, may be a thread of the blocking pool that never
        // comes back.
        match left {
            Some(Left::Nothing) => drop(self.runtime),
            _ => self.runtime.shutdown_background(),
        }
        let leaks = match left {
            Some(Left::Leaks(leaks)) => Some(leaks.to_string()),
            _ => None,
        };
        let mode = self.mode;
        // A failure of the body's own goes before that it took long.
        match page().filter(|_| !ended.is_failure()) {
            Some(page) => Done {
                ended: Ended::TimedOut,
                leaks: Some(page),
                mode,
            },
            None => Done { ended, leaks, mode },
        }
    }
}

impl<T: Outcome> Ended<T> {
    fn is_failure(&self) -> bool {
        match self {
            Ended::Returned(output) => output.is_failure(),
            Ended::Panicked(_) => true,
            Ended::TimedOut => false,
        }
    }
}

fn alarm(limit: Duration, watch: &Arc<Watch>) -> Alarm {
    let watch = Arc::clone(watch);
    let page = move || {
        crate::polls::belong_to_detector();
        unended(&watch.owner, Unended::TimedOut { limit }, &watch.profile())
    };
    Alarm::set(limit, page).expect("cannot start the thread of the test's timeout")
}

impl Test {
    fn owner(&self) -> Owner {
        let function = format!("{}::{}", self.module, self.function);
        Owner {
            // As libtest calls it: without the crate.
            name: match function.split_once("::") {
                Some((_, within)) => within.to_owned(),
                None => function.clone(),
            },
            module: self.module.to_owned(),
            function,
            file: self.file.to_owned(),
            form: Form::Test,
        }
    }

    fn allowed(&self) -> Vec<Allow> {
        let read = |rule: &&str| rule.parse().unwrap_or_else(|error| panic!("{error}"));
        self.allow.iter().map(read).collect()
    }
}

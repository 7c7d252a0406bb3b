//! `Detector` and its builder: making the parts and handing them out.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use taskleak_profile::allow::Allow;
use taskleak_profile::census::{Findings, Settings};
use taskleak_profile::raw::RawTask;
use taskleak_profile::rules::Rules;
use taskleak_profile::snapshot::Snapshot;
use tracing::Subscriber;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::TICK;
use crate::error::{InstallCause, InstallError, NotRecording, Reason};
use crate::health;
use crate::layer::{FilteredTaskLayer, TaskLayer};
use crate::polls;
use crate::recorder::{Purpose, Recorder};
use crate::reporter::{self, Reporter, Scope};
use crate::runtime::Watched;
use crate::subscriber::TaskSubscriber;
use crate::teller::{Callback, Teller};
use crate::watchdog::{self, Swept};

/// Records every task of the process; cheap to clone.
///
/// It sees tasks that are spawned after its subscriber is in force, by any library. Make it
/// first thing in `main`, before the first runtime:
///
/// ```
/// use taskleak::{BuildWatched, Detector};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let detector = Detector::builder().install()?;
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .enable_all()
///     .name("api")
///     .build_watched(&detector)?;
/// runtime.block_on(async {
///     tokio::spawn(std::future::pending::<()>());
///     tokio::task::yield_now().await;
/// });
/// let snapshot = detector.snapshot();
/// assert_eq!(snapshot.totals.tasks, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Detector {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) reporter: Mutex<Reporter>,
    pub(crate) watched: Mutex<Vec<Weak<Watched>>>,
    pub(crate) rules: Rules,
    /// A rule that has matched nothing after so long is told of.
    pub(crate) rules_match_within: Duration,
    /// What the watchdog's last sweep left.
    pub(crate) swept: Mutex<Swept>,
    pub(crate) teller: Teller,
    /// What went wrong outside of recording, one line each; shown in health.
    pub(crate) faults: Mutex<Vec<String>>,
    /// The endpoint may be bound beyond loopback, for those who present this token.
    #[cfg(feature = "http")]
    pub(crate) token: Option<String>,
}

impl Detector {
    /// Starts the making of a detector.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Every task of the process now, grouped.
    ///
    /// Takes time in proportion to the tasks (about 0.1 µs each) and holds none of them up;
    /// the first one also reads the debug info of the executable, which takes up to seconds
    /// for a large one. Stacks are symbolized on a thread of the detector's own, while the
    /// caller waits: in async code, call it in `spawn_blocking`.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(false, |_| true)
    }

    /// Like [`snapshot`](Self::snapshot), with every task by itself as well.
    pub fn snapshot_with_tasks(&self) -> Snapshot {
        self.snapshot_of(true, |_| true)
    }

    pub(crate) fn snapshot_of(
        &self,
        keep_tasks: bool,
        admits: impl Fn(&RawTask) -> bool + Sync,
    ) -> Snapshot {
        let scope = Scope {
            keep_tasks,
            whose: None,
            admits: &|task, _| admits(task),
        };
        reporter::snapshot(&self.shared, &scope)
    }

    /// Proves that the detector records: spawns a task and looks whether it was seen.
    ///
    /// It is done at [`build_watched`](crate::BuildWatched::build_watched), at
    /// [`serve`](Self::serve) and at each snapshot until it succeeds once; the answer is in
    /// the snapshot's `health`.
    ///
    /// # Errors
    ///
    /// What keeps the detector from seeing tasks.
    pub fn verify(&self) -> Result<(), NotRecording> {
        self.shared.verify()
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn verify(&self) -> Result<(), NotRecording> {
        if !self.recorder.is_proven() {
            health::check(&self.recorder)?;
            self.recorder.set_proven();
        }
        Ok(())
    }

    /// What the watchdog's last sweep found.
    pub(crate) fn findings(&self) -> Arc<Findings> {
        Arc::clone(&self.swept.lock().findings)
    }

    /// Notes something that the operator should know; a line is kept once.
    pub(crate) fn note_fault(&self, fault: String) {
        let mut faults = self.faults.lock();
        if faults.len() < MAX_FAULTS && !faults.contains(&fault) {
            faults.push(fault);
        }
    }
}

const MAX_FAULTS: usize = 64;

/// How a [`Detector`] is to work; ends with [`install`](Self::install), [`wrap`](Self::wrap) or
/// [`layer`](Self::layer).
#[must_use = "a builder does nothing until it is installed, wraps a subscriber or gives a layer"]
pub struct Builder {
    pub(crate) settings: Settings,
    pub(crate) sweep_every: Duration,
    pub(crate) allowed: Vec<Allow>,
    pub(crate) on_verdict: Option<Callback>,
    #[cfg(feature = "http")]
    token: Option<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            settings: Settings::default(),
            sweep_every: Duration::from_secs(1),
            allowed: Vec::new(),
            on_verdict: None,
            #[cfg(feature = "http")]
            token: None,
        }
    }
}

// Without the token.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

/// A trend over fewer counts says little.
const SWEEPS_IN_A_WINDOW: u32 = 15;

impl Builder {
    /// Lets the debug endpoint be bound to addresses that other machines reach, for requests
    /// that carry `Authorization: Bearer TOKEN`.
    ///
    /// Stacks and names tell a lot about a service, so without this the endpoint takes
    /// loopback addresses alone. The token travels in clear: put TLS before it.
    #[cfg(feature = "http")]
    pub fn expose_beyond_loopback(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Wraps a subscriber: records tokio's tasks and forwards everything else to it. The fast
    /// way. Install what it returns as the global subscriber.
    pub fn wrap<S: Subscriber>(self, subscriber: S) -> (TaskSubscriber<S>, Detector) {
        let detector = self.detector();
        let recorder = Arc::clone(&detector.shared.recorder);
        (TaskSubscriber::new(subscriber, recorder), detector)
    }

    /// Gives a layer for a `Registry` of your own. Costs more per task than
    /// [`wrap`](Self::wrap), which takes a registry with layers as well.
    pub fn layer<S>(self) -> (FilteredTaskLayer<S>, Detector)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let detector = self.detector();
        (
            TaskLayer::filtered(Arc::clone(&detector.shared.recorder)),
            detector,
        )
    }

    /// Makes the detector the global subscriber, for a program that has no other.
    ///
    /// # Errors
    ///
    /// The detector is installed already, another global subscriber is, or tokio's task spans
    /// can't be seen in this build.
    pub fn install(self) -> Result<Detector, InstallError> {
        let (subscriber, detector) = self.wrap(NoSubscriber::new());
        set_global(subscriber)?;
        detector.verify().map_err(InstallCause::NotRecording)?;
        Ok(detector)
    }

    pub(crate) fn detector(self) -> Detector {
        self.detector_for(Purpose::Service)
    }

    pub(crate) fn detector_for(mut self, purpose: Purpose) -> Detector {
        let shortest = self.sweep_every * SWEEPS_IN_A_WINDOW;
        self.settings.growing_over = self.settings.growing_over.max(shortest);
        let recorder = Arc::new(Recorder::new(purpose));
        let shared = Arc::new(Shared {
            recorder,
            reporter: Mutex::new(Reporter::new()),
            watched: Mutex::new(Vec::new()),
            rules: self.allowed.into_iter().collect(),
            rules_match_within: Duration::from_millis(self.settings.receive_ms()).saturating_mul(2),
            swept: Mutex::default(),
            teller: Teller::new(self.on_verdict),
            faults: Mutex::new(Vec::new()),
            #[cfg(feature = "http")]
            token: self.token,
        });
        shared.recorder.belong_to(&shared);
        taskleak_stack::refresh_modules();
        start_clock(&shared);
        if purpose == Purpose::Service {
            watchdog::start(&shared, &self.settings, self.sweep_every);
        }
        Detector { shared }
    }
}

pub(crate) fn set_global<S>(subscriber: S) -> Result<(), InstallError>
where
    S: Subscriber + Send + Sync + 'static,
{
    if cfg!(not(tokio_unstable)) {
        return Err(InstallCause::NotRecording(Reason::NoTokioUnstable.into()).into());
    }
    tracing::subscriber::set_global_default(subscriber).map_err(|_| {
        let twice = tracing::dispatcher::get_default(tracing::Dispatch::is::<Recorder>);
        if twice {
            InstallCause::Twice
        } else {
            InstallCause::OtherSubscriber
        }
        .into()
    })
}

/// How often the detector's thread asks the loader for new modules, in ticks.
const MODULES_EVERY: u32 = 100;

/// Starts the detector's own thread, which ends with the last user of the recorder.
fn start_clock(shared: &Shared) {
    let recorder = Arc::downgrade(&shared.recorder);
    let run = move || {
        polls::belong_to_detector();
        let mut ticks = 0;
        while let Some(recorder) = recorder.upgrade() {
            recorder.clock.publish();
            drop(recorder);
            ticks += 1;
            if ticks % MODULES_EVERY == 0 {
                taskleak_stack::refresh_modules();
            }
            thread::sleep(TICK);
        }
    };
    let thread = thread::Builder::new().name("taskleak".into());
    if let Err(error) = thread.spawn(run) {
        shared.note_fault(format!(
            "cannot start the detector's thread: {error}; times stand still"
        ));
    }
}

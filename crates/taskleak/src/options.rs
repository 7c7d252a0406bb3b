//! What a user may tell the watchdog, and which of it makes sense.

use std::fmt;
use std::time::Duration;

use taskleak_profile::snapshot::Wait;

use crate::detector::Builder;
use crate::error::OptionError;
use crate::teller::Report;

/// A tick of the clock that waits are measured by.
const SHORTEST: Duration = Duration::from_millis(10);
/// Well below the time after which ticks wrap.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 60 * 60);
const LONGEST_SWEEP: Duration = Duration::from_secs(60 * 60);

impl Builder {
    /// How often the watchdog looks at every task: each second, if this is not called. A verdict
    /// comes within two sweeps after a threshold.
    ///
    /// A sweep that takes long stretches the pause, so that the watchdog takes a tenth of a core
    /// at most.
    ///
    /// # Errors
    ///
    /// Less than 10 ms, more than an hour.
    pub fn sweep_every(mut self, period: Duration) -> Result<Self, OptionError> {
        check("sweep_every", period, LONGEST_SWEEP)?;
        self.sweep_every = period;
        Ok(self)
    }

    /// How long a task may wait to receive from a channel: a minute, if this is not called. From
    /// then on it counts as stalled; what follows from that,
    /// [`taskleak_profile::verdict`] says.
    ///
    /// It is also the time after which a task without a live waker counts as lost, and the age
    /// from which tasks that loop on timers are counted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskleak::Detector;
    ///
    /// let builder = Detector::builder().blocked_after(Duration::from_secs(30))?;
    /// # drop(builder);
    /// let error = Detector::builder().blocked_after(Duration::ZERO).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "cannot set blocked_after to 0ns; allowed: 10ms to 100days"
    /// );
    /// # Ok::<(), taskleak::OptionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Less than 10 ms, more than 100 days.
    pub fn blocked_after(mut self, threshold: Duration) -> Result<Self, OptionError> {
        check("blocked_after", threshold, LONGEST)?;
        self.settings.set_threshold(Wait::ChanReceive, threshold);
        Ok(self)
    }

    /// The same for another wait. A minute for `chan send`, `mutex lock`, `rwlock read`,
    /// `rwlock write`, `semaphore acquire` and `barrier`, ten minutes for `join` and `notify`, if
    /// this is not called. A task that waits on several counts after the longest of them.
    ///
    /// # Errors
    ///
    /// Less than 10 ms, more than 100 days; a wait that no time is too long for: timers, I/O,
    /// executors within the task, and what is not known.
    pub fn blocked_after_on(
        mut self,
        wait: Wait,
        threshold: Duration,
    ) -> Result<Self, OptionError> {
        let what = format!("blocked_after_on({})", wait.word());
        check(&what, threshold, LONGEST)?;
        if !self.settings.set_threshold(wait, threshold) {
            let allowed: Vec<_> = self.settings.judged_waits().map(Wait::word).collect();
            return Err(OptionError::new(format!(
                "cannot set {what}: it has no threshold; allowed: {}",
                allowed.join(", ")
            )));
        }
        Ok(self)
    }

    /// The window over which a rising number of stuck tasks is a trend: a minute, if this is not
    /// called ([`taskleak_profile::trend`]). Five windows are a trend that lasts. It is taken to
    /// be fifteen sweeps if it is shorter.
    ///
    /// # Errors
    ///
    /// Less than 300 ms, more than 100 days.
    pub fn growing_over(mut self, window: Duration) -> Result<Self, OptionError> {
        check("growing_over", window, LONGEST)?;
        if window < 30 * SHORTEST {
            return Err(out_of_range("growing_over", window, 30 * SHORTEST, LONGEST));
        }
        self.settings.growing_over = window;
        Ok(self)
    }

    /// Allows tasks to wait for ever: they get no verdict, and the profile shows them as allowed.
    /// A rule is a text such as `function=shop::heartbeat`, `crate=hyper_util`,
    /// `spawned_at=src/worker.rs:52`, `name=heartbeat`, `wait=chan receive`, or several of these
    /// joined by commas ([`Allow`](taskleak_profile::allow::Allow)).
    ///
    /// A rule that matches nothing for a while is told of in the snapshot's `health`.
    ///
    /// ```
    /// use taskleak::Detector;
    ///
    /// let builder = Detector::builder().allow("crate=hyper_util, wait=chan receive")?;
    /// # drop(builder);
    /// # Ok::<(), taskleak::OptionError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A rule that can't be read; the error says what is allowed.
    pub fn allow(mut self, rule: &str) -> Result<Self, OptionError> {
        self.allowed.push(OptionError::rule(rule)?);
        Ok(self)
    }

    /// Has daemons suspected as well: tasks that no task spawned, or the root future of a
    /// `block_on`, and that wait on a channel, a notification or another task as they always did.
    /// Without it they get no verdict unless their number grows.
    pub fn suspect_daemons(mut self) -> Self {
        self.settings.suspect_daemons = true;
        self
    }

    /// Has the evidence of growth say when a group will be that large. Without it, it says when
    /// the futures fill the memory that is left.
    ///
    /// # Errors
    ///
    /// 0.
    pub fn forecast_at(mut self, tasks: u64) -> Result<Self, OptionError> {
        if tasks == 0 {
            let message = "cannot set forecast_at to 0; allowed: 1 or more";
            return Err(OptionError::new(message.to_owned()));
        }
        self.settings.count_limit = Some(tasks);
        Ok(self)
    }

    /// Calls this when a group gets a verdict, when its tasks have doubled, when the verdict
    /// becomes surer, and when it is gone.
    ///
    /// It runs on a thread of its own, and so does what emits the `tracing` event of the same
    /// (target `taskleak`, level WARN). If it panics, the panic is noted in the snapshot's
    /// `health`, and it is called again for the next report; a program that is built with
    /// `panic = "abort"` ends, of course. While it blocks, up to 256 reports are kept; what finds
    /// no room is counted and told in `health`.
    pub fn on_verdict(mut self, call: impl Fn(&Report) + Send + 'static) -> Self {
        self.on_verdict = Some(Box::new(call));
        self
    }
}

fn check(what: &str, given: Duration, longest: Duration) -> Result<(), OptionError> {
    match (SHORTEST..=longest).contains(&given) {
        true => Ok(()),
        false => Err(out_of_range(what, given, SHORTEST, longest)),
    }
}

fn out_of_range(what: &str, given: Duration, shortest: Duration, longest: Duration) -> OptionError {
    OptionError::new(format!(
        "cannot set {what} to {}; allowed: {} to {}",
        Short(given),
        Short(shortest),
        Short(longest)
    ))
}

/// A duration in one unit.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: u64 = 24 * 60 * 60;
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) if seconds >= DAY && seconds.is_multiple_of(DAY) => {
                write!(f, "{}days", seconds / DAY)
            }
            (seconds, 0) if seconds >= 3600 && seconds.is_multiple_of(3600) => {
                write!(f, "{}h", seconds / 3600)
            }
            _ => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detector;

    fn check(tried: Result<Builder, OptionError>, expected: &str) {
        assert_eq!(tried.unwrap_err().to_string(), expected);
    }

    #[test]
    fn absurd_values_are_named() {
        let builder = Detector::builder;
        let (zero, ever) = (Duration::ZERO, Duration::MAX);
        check(
            builder().sweep_every(zero),
            "cannot set sweep_every to 0ns; allowed: 10ms to 1h",
        );
        check(
            builder().sweep_every(Duration::from_secs(3601)),
            "cannot set sweep_every to 3601s; allowed: 10ms to 1h",
        );
        check(
            builder().blocked_after(ever),
            "cannot set blocked_after to 18446744073709551615.999999999s; allowed: 10ms to 100days",
        );
        check(
            builder().blocked_after_on(Wait::Join, zero),
            "cannot set blocked_after_on(join) to 0ns; allowed: 10ms to 100days",
        );
        check(
            builder().blocked_after_on(Wait::Io, Duration::from_secs(1)),
            "cannot set blocked_after_on(IO wait): it has no threshold; allowed: chan receive, \
             chan send, join, mutex lock, rwlock read, rwlock write, semaphore acquire, notify, \
             barrier",
        );
        check(
            builder().growing_over(Duration::from_millis(10)),
            "cannot set growing_over to 10ms; allowed: 300ms to 100days",
        );
        check(
            builder().forecast_at(0),
            "cannot set forecast_at to 0; allowed: 1 or more",
        );
        check(
            builder().allow(" "),
            "cannot allow: allow rule \"\" can't be read: it is empty; allowed: KEY=VALUE, more \
             of them joined by \", \", with the keys function, crate, spawned_at, name, wait",
        );
        check(
            builder().allow("functoin=shop"),
            "cannot allow: allow rule \"functoin=shop\" can't be read: unknown key \"functoin\"; \
             allowed: function, crate, spawned_at, name, wait",
        );
    }
}

//! By how much a look or a sweep delays a task that ticks each millisecond.
//!
//! On a machine of two cores the kernel holds a third busy thread back for some milliseconds,
//! whoever it is. So it is measured as usual, and once more with the runtime's threads preferred
//! to all others, which leaves what the detector itself does; where there is no right to prefer
//! them, there is no such figure.

use std::time::Duration;

use super::Column;
use crate::runner::figures::{Figure, Unit};
use crate::runner::{stats, units};

/// The longest delay in each of some windows.
#[derive(Debug, Default)]
pub(super) struct Delays {
    /// With what may delay the ticker.
    pub(super) with: Vec<Duration>,
    /// Without.
    pub(super) quiet: Vec<Duration>,
}

impl Delays {
    /// By how many nanoseconds the median one is longer than without. Less than zero where
    /// something else disturbed the ticker more.
    fn added(&self) -> f64 {
        let median = |delays: &[Duration]| units::ns(stats::median(delays.iter().copied()));
        median(&self.with) - median(&self.quiet)
    }
}

pub(super) fn longest(delays: &[Duration]) -> Duration {
    delays.iter().max().copied().unwrap_or_default()
}

/// The figures of `usual` windows and of those with preferred threads, if there are.
pub(super) fn figures(column: &Column, usual: &Delays, preferred: Option<&Delays>) -> Vec<Figure> {
    let mut figures = vec![
        column.times(
            "-delay",
            Unit::Ns,
            usual.with.iter().copied(),
            "longest delay of a 1 ms tick meanwhile",
        ),
        column.times(
            "-delay-quiet",
            Unit::Ns,
            usual.quiet.iter().copied(),
            "… without",
        ),
        column.times(
            "-delay-worst",
            Unit::Ns,
            [longest(&usual.with)],
            "… the worst of all windows",
        ),
        column.times(
            "-delay-worst-quiet",
            Unit::Ns,
            [longest(&usual.quiet)],
            "… … without",
        ),
        column.figure(
            "-delay-added",
            Unit::Ns,
            [usual.added()],
            "… that is, added by the median",
        ),
    ];
    figures.extend(preferred.map(|preferred| {
        column.figure(
            "-delay-added-preferred",
            Unit::Ns,
            [preferred.added()],
            "… added, with the runtime's threads preferred",
        )
    }));
    figures
}

/// What is to be known of them.
pub(super) fn note(figures: &[Figure]) -> String {
    let is_preferred = |figure: &Figure| figure.case.ends_with("-delay-added-preferred");
    let judged = match figures.iter().any(is_preferred) {
        true => {
            "The target is for the delay that is added while the runtime's threads are preferred"
        }
        false => {
            "It was not measured with the runtime's threads preferred (which takes root or \
             CAP_SYS_NICE, and `chrt`), and the target is for that alone"
        }
    };
    format!(
        "A delay is the longest in a window; the median of the windows counts. {judged}: as usual, \
         on two cores, the kernel holds a third busy thread back for some 4 ms, \
         whoever it is."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::Variant;

    #[test]
    fn what_could_not_be_measured_is_left_out() {
        let ms = |times: [u64; 2]| times.map(Duration::from_millis).to_vec();
        let delays = Delays {
            with: ms([1, 5]),
            quiet: ms([2, 1]),
        };
        let column = Column::of("sweep", 1_000, Variant::Watchdog);
        let figures = figures(&column, &delays, None);
        let of = |name: &str| {
            let figure = figures.iter().find(|figure| figure.case == name);
            figure.map(|figure| figure.median)
        };
        assert_eq!(of("sweep-1k-delay-added"), Some(3e6));
        assert_eq!(of("sweep-1k-delay-worst"), Some(5e6));
        assert_eq!(of("sweep-1k-delay-added-preferred"), None);
        assert!(note(&figures).contains("It was not measured"));
    }
}

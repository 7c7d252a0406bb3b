//! All targets: the most that a figure may be.

use super::figures::{Figure, Unit};
use crate::variant::Variant;

/// A figure that is worse than its target by this factor fails a check.
const FAILS_BEYOND: f64 = 2.0;

/// The most that something may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// To the base.
    Ratio(f64),
    /// In the figure's own unit.
    Median(f64),
}

impl Target {
    /// The target of a figure, if it has one.
    pub(crate) fn of(figure: &Figure) -> Option<Target> {
        Target::for_case(&figure.case, figure.unit, figure.variant)
    }

    /// Whether a time of a case has a target under a variant.
    pub(crate) fn judges(case: &str, variant: Variant) -> bool {
        let judges = |unit| Target::for_case(case, unit, variant).is_some();
        [Unit::Ns, Unit::CpuNs].into_iter().any(judges)
    }

    fn for_case(case: &str, unit: Unit, variant: Variant) -> Option<Target> {
        use Unit::{Bytes, CpuNs, Ns};
        use Variant::{Layer, Subscriber, SubscriberFp, Watchdog};
        const MS: f64 = 1e6;
        const S: f64 = 1e9;
        Some(match (case, unit, variant) {
            ("spawn" | "spawn-deep", Ns | CpuNs, Subscriber) => Target::Ratio(1.40),
            ("spawn" | "spawn-deep", Ns | CpuNs, SubscriberFp) => Target::Ratio(1.20),
            ("ping-pong" | "ping-pong-multi" | "parks", Ns | CpuNs, Subscriber) => {
                Target::Ratio(1.10)
            }
            ("ping-pong" | "ping-pong-multi" | "parks", Ns | CpuNs, SubscriberFp) => {
                Target::Ratio(1.05)
            }
            ("http", CpuNs, Subscriber | SubscriberFp) => Target::Ratio(1.01),
            ("http", CpuNs, Layer) => Target::Ratio(1.05),
            ("http-spawn", CpuNs, Subscriber) => Target::Ratio(1.08),
            ("http-spawn", CpuNs, SubscriberFp) => Target::Ratio(1.05),
            ("http-spawn", CpuNs, Layer) => Target::Ratio(1.25),
            ("memory", Bytes, Subscriber) => Target::Median(160.0),
            // Those of a million tasks hold for that size alone.
            ("grouped-1m", Ns, _) => Target::Median(0.25 * S),
            ("listing-1m", Ns, _) => Target::Median(3.0 * S),
            // The same for each task, so that a quick run judges a crowd as well.
            ("grouped-100k", Ns, _) => Target::Median(25.0 * MS),
            ("listing-100k", Ns, _) => Target::Median(300.0 * MS),
            ("sweep-1m", CpuNs, Watchdog) => Target::Median(10.0 * MS),
            (case, Ns | CpuNs, _) if case.ends_with("-1m-each") => Target::Ratio(1.30),
            // The usual ones are the kernel's: see `crowds::delays`.
            (case, Ns, _) if case.ends_with("-delay-added-preferred") => Target::Median(MS),
            (case, Ns, _) if case.starts_with("test-") && case.ends_with("-added") => {
                Target::Median(MS)
            }
            _ => return None,
        })
    }

    /// By what it is measured.
    pub(crate) fn measured(self, figure: &Figure) -> f64 {
        match self {
            Target::Ratio(_) => figure.ratio.unwrap_or(f64::INFINITY),
            Target::Median(_) => figure.median,
        }
    }

    pub(crate) fn is_met(self, figure: &Figure) -> bool {
        self.measured(figure) <= self.most()
    }

    /// It is not even nearly met: something is broken, not slow.
    pub(crate) fn is_failed(self, figure: &Figure) -> bool {
        let is_near = self.measured(figure) <= self.most() * FAILS_BEYOND;
        !is_near
    }

    fn most(self) -> f64 {
        match self {
            Target::Ratio(most) | Target::Median(most) => most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_missed_above_it_and_failed_above_twice() {
        let check = |base, met, failed| {
            let figure = Figure::raced("spawn", Variant::Subscriber, Unit::Ns, &[140.0], &[base]);
            let target = Target::of(&figure).expect("it has one");
            assert_eq!(
                (target.is_met(&figure), target.is_failed(&figure)),
                (met, failed)
            );
        };
        check(100.0, true, false);
        check(99.0, false, false);
        check(49.0, false, true);
        assert_eq!(target_of(Variant::Console), None);
    }

    #[test]
    fn what_holds_for_a_million_is_judged_of_no_other_size() {
        let check = |case: &str, expected| {
            let figure = Figure::of(case, Variant::Subscriber, Unit::Ns, [1.0]);
            assert_eq!(Target::of(&figure), expected, "{case}");
        };
        check("grouped-1m", Some(Target::Median(250e6)));
        check("sweep-100k", None);
        check("listing-1m-each", Some(Target::Ratio(1.3)));
        check("listing-100k-each", None);
        check("listing-1k-delay-added", None);
        check(
            "listing-1k-delay-added-preferred",
            Some(Target::Median(1e6)),
        );
    }

    #[test]
    fn a_case_is_judged_under_the_variants_that_have_a_target() {
        let check = |case, variant, expected| {
            let judged = Target::judges(case, variant);
            assert_eq!(judged, expected, "{case} under {}", variant.name());
        };
        check("http", Variant::Layer, true);
        check("spawn", Variant::Layer, false);
        check("spawn", Variant::Console, false);
        check("select", Variant::Subscriber, false);
    }

    fn target_of(variant: Variant) -> Option<Target> {
        Target::of(&Figure::of("spawn", variant, Unit::Ns, [1.0]))
    }
}

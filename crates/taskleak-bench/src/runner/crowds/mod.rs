//! Crowds of waiting tasks: what is measured of them at each size, in a process for each.

mod delays;
pub(super) mod first_answer;
pub(super) mod looks;
pub(super) mod memory;
pub(super) mod sweeps;

use std::time::Duration;

use super::error::Error;
use super::figures::{Figure, Unit};
use super::process::Worker;
use super::units;
use crate::protocol::Request;
use crate::variant::Variant;

/// Figures that are shown below each other: those of one crowd.
struct Column {
    /// With it begin the names of all cases of the column: `grouped-1m`.
    case: String,
    variant: Variant,
    heading: String,
}

impl Column {
    fn of(case: &str, tasks: usize, variant: Variant) -> Column {
        Column {
            case: format!("{case}-{}", short(tasks)),
            variant,
            heading: units::count(tasks),
        }
    }

    /// A figure of it, in words; its case is the column's with `part` behind.
    fn figure(
        &self,
        part: &str,
        unit: Unit,
        measured: impl IntoIterator<Item = f64>,
        what: &str,
    ) -> Figure {
        let case = format!("{}{part}", self.case);
        Figure::of(case, self.variant, unit, measured)
            .what(what)
            .column(self.heading.as_str())
    }

    fn times(
        &self,
        part: &str,
        unit: Unit,
        times: impl IntoIterator<Item = Duration>,
        what: &str,
    ) -> Figure {
        self.figure(part, unit, times.into_iter().map(units::ns), what)
    }

    /// What one of so many tasks costs of `whole`, as a ratio to the least that it costs in a
    /// smaller crowd: in the smallest what every look costs would be most of it.
    fn each(&self, whole: &Figure, tasks: usize, least: &mut Option<f64>) -> Figure {
        let each = whole.median / tasks as f64;
        let ratio = least.map(|least| each / least);
        *least = Some(least.map_or(each, |least| each.min(least)));
        Figure {
            ratio,
            ..self.figure(
                "-each",
                whole.unit,
                [each],
                "… for each task, as a ratio to the least of a smaller crowd",
            )
        }
    }
}

/// `1k`, `100k`, `1m`.
fn short(tasks: usize) -> String {
    match tasks {
        0..1_000_000 => format!("{}k", tasks / 1_000),
        _ => format!("{}m", tasks / 1_000_000),
    }
}

/// A process that has gathered the crowd, and the bytes that each task of it took.
fn gathered(variant: Variant, tasks: usize) -> Result<(Worker, f64), Error> {
    let mut worker = Worker::start(variant)?;
    let bytes_each = worker.ask(Request::Crowd { tasks })?;
    Ok((worker, bytes_each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_named_by_their_size() {
        let check = |tasks, expected| assert_eq!(short(tasks), expected);
        check(1_000, "1k");
        check(100_000, "100k");
        check(1_000_000, "1m");
    }

    #[test]
    fn a_task_is_compared_with_one_of_the_smallest_crowd() {
        let mut least = None;
        let mut each = |tasks, ns| {
            let column = Column::of("grouped", tasks, Variant::Subscriber);
            let whole = column.figure("", Unit::Ns, [ns], "");
            let each = column.each(&whole, tasks, &mut least);
            (each.case, each.median, each.ratio)
        };
        assert_eq!(each(1_000, 2e3), ("grouped-1k-each".to_owned(), 2.0, None));
        assert_eq!(
            each(10_000, 3e4),
            ("grouped-10k-each".to_owned(), 3.0, Some(1.5))
        );
        assert_eq!(each(20_000, 2e4).2, Some(0.5));
        assert_eq!(
            each(30_000, 6e4).2,
            Some(2.0),
            "of the least, not the first"
        );
    }
}

//! What is measured: everything that is shown or checked is made of these.

use serde::{Serialize, Serializer};

use super::stats;
use crate::variant::Variant;

/// A figure of one case under one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) case: String,
    #[serde(serialize_with = "name")]
    pub(crate) variant: Variant,
    pub(crate) median: f64,
    pub(crate) unit: Unit,
    /// To the base, of the same session: the median of the rounds'.
    pub(crate) ratio: Option<f64>,
    /// Half of what was measured lies within the median ± this part of it.
    pub(crate) spread: f64,
    /// The case in words, where its name is not enough.
    #[serde(skip)]
    pub(crate) what: String,
    /// In a section of columns, the heading of the one it is in.
    #[serde(skip)]
    pub(crate) column: String,
}

/// Of what a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Nanoseconds that pass.
    #[serde(rename = "ns")]
    Ns,
    /// Nanoseconds of processor time: of all threads of the process, where nothing else is said.
    #[serde(rename = "ns CPU")]
    CpuNs,
    #[serde(rename = "bytes")]
    Bytes,
}

/// Figures that are shown together.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) shape: Shape,
    pub(crate) figures: Vec<Figure>,
    /// What a reader has to know of them.
    pub(crate) notes: Vec<String>,
}

/// How a section is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A row for each case, a column for each variant.
    Matrix,
    /// A row for each figure.
    Rows,
    /// A row for each kind of figure, a column for each size.
    Columns,
}

impl Figure {
    /// The figure of what was measured so many times.
    pub(crate) fn of(
        case: impl Into<String>,
        variant: Variant,
        unit: Unit,
        measured: impl IntoIterator<Item = f64>,
    ) -> Figure {
        let measured: Vec<f64> = measured.into_iter().collect();
        let case = case.into();
        Figure {
            what: case.clone(),
            column: String::new(),
            case,
            variant,
            median: stats::median(measured.iter().copied()),
            unit,
            ratio: None,
            spread: stats::spread(measured) / 2.0,
        }
    }

    /// The figure of a race against the base. Each of its batches is compared with the base's of
    /// the same round, so that what the machine's pace was then is in neither.
    pub(crate) fn raced(
        case: &str,
        variant: Variant,
        unit: Unit,
        measured: &[f64],
        base: &[f64],
    ) -> Figure {
        let ratios = measured.iter().zip(base).map(|(own, base)| own / base);
        Figure {
            ratio: Some(stats::median(ratios)),
            ..Figure::of(case, variant, unit, measured.iter().copied())
        }
    }

    /// With words for people.
    pub(crate) fn what(mut self, what: impl Into<String>) -> Figure {
        self.what = what.into();
        self
    }

    pub(crate) fn column(mut self, heading: impl Into<String>) -> Figure {
        self.column = heading.into();
        self
    }
}

fn name<S: Serializer>(variant: &Variant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(variant.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_of_the_same_round() {
        let (own, base) = ([12.0, 24.0, 36.0], [10.0, 20.0, 40.0]);
        let figure = Figure::raced("spawn", Variant::Layer, Unit::Ns, &own, &base);
        assert_eq!((figure.median, figure.ratio), (24.0, Some(1.2)));
    }
}

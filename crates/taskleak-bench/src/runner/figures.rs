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
    /// To the base, of the same session.
    pub(crate) ratio: Option<f64>,
    /// Half of what was measured lies within the median ± this part of it.
    pub(crate) spread: f64,
    /// The case in words, where its name is not enough.
    #[serde(skip)]
    pub(crate) what: String,
}

/// Of what a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Nanoseconds that pass.
    #[serde(rename = "ns")]
    Ns,
    /// Nanoseconds of processor time, of all threads of the process.
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
            case,
            variant,
            median: stats::median(measured.iter().copied()),
            unit,
            ratio: None,
            spread: stats::spread(measured) / 2.0,
        }
    }

    /// With its ratio to the base.
    pub(crate) fn over(mut self, base: f64) -> Figure {
        self.ratio = Some(self.median / base);
        self
    }

    /// With words for people.
    pub(crate) fn what(mut self, what: impl Into<String>) -> Figure {
        self.what = what.into();
        self
    }
}

fn name<S: Serializer>(variant: &Variant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(variant.name())
}

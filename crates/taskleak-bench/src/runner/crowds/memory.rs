//! The memory of a waiting task.

use super::gathered;
use crate::protocol::Request;
use crate::runner::Size;
use crate::runner::error::Error;
use crate::runner::figures::{Figure, Section, Shape, Unit};
use crate::runner::progress::Progress;
use crate::runner::units;
use crate::variant::Variant;

/// The base first.
pub(crate) const VARIANTS: [Variant; 3] = [Variant::Base, Variant::Subscriber, Variant::Layer];

/// One process after the other, so that the machine has to hold but one crowd.
pub(crate) fn measure(size: &Size, progress: &Progress) -> Result<Section, Error> {
    let tasks = size.largest();
    let bytes_each = |variant| -> Result<f64, Error> {
        let (mut worker, bytes) = gathered(variant, tasks)?;
        if variant != Variant::Base {
            worker.ask::<()>(Request::CheckCrowd)?;
        }
        progress.step();
        Ok(bytes)
    };
    let [base, detectors @ ..] = VARIANTS;
    let own = bytes_each(base)?;
    let figure =
        |variant, bytes, what| Figure::of("memory", variant, Unit::Bytes, [bytes]).what(what);
    let mut figures = vec![figure(base, own, "tokio's own")];
    for variant in detectors {
        figures.push(figure(variant, bytes_each(variant)? - own, "on top of it"));
    }
    Ok(Section {
        title: format!("memory of each of {} waiting tasks", units::count(tasks)),
        shape: Shape::Rows,
        figures,
        notes: vec!["Growth of resident memory; tasks of ten kinds.".to_owned()],
    })
}

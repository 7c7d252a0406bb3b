//! The chart for the README: what an operation takes under each variant, as a ratio to the base.
//!
//! It has no background and its text is of a grey that reads on white and on black, because a
//! page may be either.

use std::error::Error as StdError;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::error::Error;
use super::figures::{Figure, Section, Shape, Unit};
use super::report::factor;
use crate::variant::Variant;

/// The cases that are drawn, by which of their figures.
const CASES: [(&str, Unit, &str); 6] = [
    ("spawn", Unit::Ns, "spawn + join"),
    ("ping-pong", Unit::Ns, "mpsc ping-pong"),
    (
        "parks",
        Unit::Ns,
        "a task that parks a million times a second",
    ),
    ("select", Unit::Ns, "select! of a channel and a timer"),
    (
        "http",
        Unit::CpuNs,
        "hyper, keep-alive: CPU time of a request",
    ),
    (
        "http-spawn",
        Unit::CpuNs,
        "hyper, a spawn for each request: CPU time of a request",
    ),
];

const TITLE: &str =
    "Time of an operation, as a ratio to tokio without a subscriber; on a log scale";

const TEXT: RGBColor = RGBColor(125, 133, 144);
const TASKLEAK: RGBColor = RGBColor(31, 158, 137);
const PEER: RGBColor = RGBColor(205, 122, 60);

const FONT: &str = "-apple-system, Segoe UI, Helvetica, Arial, sans-serif";
/// plotters divides it by 1.24, to be its em.
const FONT_SIZE: u32 = 18;
const WIDTH: u32 = 860;
const ROW: u32 = 22;
/// For the names of variants.
const LEFT: u32 = 165;
/// Around it all; at the bottom also for the scale.
const MARGIN: u32 = 12;
const SCALE: u32 = 32;

/// A line of the chart.
enum Row<'a> {
    Heading(&'static str),
    Bar(&'a Figure, f64),
    Gap,
}

/// Draws the ratios of the time cases; what was not measured is left out.
pub(crate) fn draw(path: &Path, sections: &[Section]) -> Result<(), Error> {
    let times = sections
        .iter()
        .filter(|section| section.shape == Shape::Matrix);
    let figures: Vec<&Figure> = times.flat_map(|section| &section.figures).collect();
    draw_rows(path, &rows(&figures)).map_err(|cause| Error::Draw {
        path: path.to_owned(),
        cause: cause.to_string(),
    })
}

fn rows<'a>(figures: &[&'a Figure]) -> Vec<Row<'a>> {
    let mut rows = vec![Row::Heading(TITLE), Row::Gap];
    for (case, unit, label) in CASES {
        let of_case = figures.iter().filter(|figure| {
            (figure.case.as_str(), figure.unit) == (case, unit) && is_drawn(figure.variant)
        });
        let bars = of_case.filter_map(|figure| Some(Row::Bar(figure, figure.ratio?)));
        let bars: Vec<Row<'a>> = bars.collect();
        if !bars.is_empty() {
            rows.push(Row::Heading(label));
            rows.extend(bars);
            rows.push(Row::Gap);
        }
    }
    rows
}

fn is_drawn(variant: Variant) -> bool {
    !matches!(
        variant,
        Variant::Base | Variant::BaseFp | Variant::NoTracing | Variant::Reads
    )
}

fn color(variant: Variant) -> RGBColor {
    match variant {
        Variant::Subscriber | Variant::SubscriberFp | Variant::Layer => TASKLEAK,
        _ => PEER,
    }
}

fn label(variant: Variant) -> &'static str {
    match variant {
        Variant::Subscriber => "taskleak",
        Variant::SubscriberFp => "… frame pointers",
        Variant::Layer => "… as a layer",
        Variant::Console => "console-subscriber",
        other => other.name(),
    }
}

fn draw_rows(path: &Path, rows: &[Row<'_>]) -> Result<(), Box<dyn StdError>> {
    let height = rows.len() as u32 * ROW + 2 * MARGIN + SCALE;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let text = |size| TextStyle::from((FONT, size).into_font()).color(&TEXT);
    let small = text(FONT_SIZE - 2);
    let bottom = rows.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .margin(MARGIN)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, SCALE)
        .build_cartesian_2d(scale(rows).log_scale(), bottom..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .axis_style(TEXT.mix(0.5))
        .bold_line_style(TEXT.mix(0.25))
        .light_line_style(TRANSPARENT)
        .x_label_style(small.clone())
        .x_label_formatter(&|ratio| format!("{}×", factor(*ratio).trim_end_matches(".00")))
        .draw()?;
    let area = chart.plotting_area();
    let at = |ratio: f64, y: f64| area.map_coordinate(&(ratio, y));
    for (line, row) in rows.iter().enumerate() {
        let y = line as f64;
        let middle = y + 0.5;
        match row {
            Row::Gap => {}
            Row::Heading(heading) => {
                let style = text(FONT_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
                let place = (MARGIN as i32, at(1.0, middle).1);
                root.draw(&Text::new(*heading, place, style))?;
            }
            Row::Bar(figure, ratio) => {
                let (left, right) = (ratio.min(1.0), ratio.max(1.0));
                area.draw(&Rectangle::new(
                    [(left, y + 0.15), (right, y + 0.85)],
                    color(figure.variant).filled(),
                ))?;
                let (x, pixel) = at(right, middle);
                let name = small.pos(Pos::new(HPos::Right, VPos::Center));
                let name_at = ((MARGIN + LEFT) as i32 - 8, pixel);
                root.draw(&Text::new(label(figure.variant), name_at, name))?;
                let value = small.pos(Pos::new(HPos::Left, VPos::Center));
                root.draw(&Text::new(
                    format!("{}×", factor(*ratio)),
                    (x + 6, pixel),
                    value,
                ))?;
            }
        }
    }
    root.present()?;
    Ok(())
}

/// From a little below the least ratio to what leaves room for the figure of the largest.
fn scale(rows: &[Row<'_>]) -> Range<f64> {
    let ratios = rows.iter().filter_map(|row| match row {
        Row::Bar(_, ratio) => Some(*ratio),
        _ => None,
    });
    ratios.fold(0.95..1.5, |range, ratio| {
        range.start.min(ratio * 0.95)..range.end.max(ratio * 1.6)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_drawn() {
        let figure = |case, variant| Figure::raced(case, variant, Unit::Ns, &[2.0], &[1.0]);
        let figures = [
            figure("spawn", Variant::Base),
            figure("spawn", Variant::Console),
            figure("burst", Variant::Console),
        ];
        let rows = rows(&figures.iter().collect::<Vec<_>>());
        assert!(matches!(
            rows[..],
            [.., Row::Heading("spawn + join"), Row::Bar(_, 2.0), Row::Gap]
        ));
    }

    #[test]
    fn the_scale_has_all_ratios_in_it() {
        let figure = Figure::of("spawn", Variant::Console, Unit::Ns, [40.0]);
        assert_eq!(scale(&[]), 0.95..1.5);
        assert_eq!(scale(&[Row::Bar(&figure, 40.0)]), 0.95..64.0);
    }
}

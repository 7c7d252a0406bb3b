//! The report for people: Markdown tables of figures.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::figures::{Figure, Section, Shape, Unit};
use super::targets::Target;
use super::units;
use crate::variant::Variant;

/// What stands in the cell of a figure that there is not.
const NOT_MEASURED: &str = "–";

/// The text of sections, with a table of targets at the end.
pub(crate) fn text(sections: &[Section]) -> String {
    let mut parts = Vec::new();
    for section in sections {
        match section.shape {
            Shape::Matrix => {
                parts.push(matrix(section, "time", Unit::Ns));
                parts.push(matrix(section, "CPU time", Unit::CpuNs));
            }
            Shape::Rows => parts.push(rows(section)),
            Shape::Columns => parts.push(columns(section)),
        }
        parts.extend(section.notes.iter().cloned());
    }
    let figures = sections.iter().flat_map(|section| &section.figures);
    parts.extend(targets(figures));
    parts.join("\n\n")
}

fn matrix(section: &Section, what: &str, unit: Unit) -> String {
    let figures = || section.figures.iter().filter(|figure| figure.unit == unit);
    let has = |variant: &Variant| figures().any(|figure| figure.variant == *variant);
    let variants: Vec<Variant> = Variant::ALL.into_iter().filter(has).collect();
    let mut cases: Vec<&str> = figures().map(|figure| figure.case.as_str()).collect();
    cases.dedup();
    let mut table = table();
    let names = variants.iter().map(|variant| variant.name().to_owned());
    table.set_header(
        [format!("{}, {what}", section.title)]
            .into_iter()
            .chain(names),
    );
    for case in cases {
        let cell = |variant: &Variant| {
            let mut here = figures();
            let here = here.find(|figure| figure.case == case && figure.variant == *variant);
            here.map_or_else(|| NOT_MEASURED.to_owned(), in_matrix)
        };
        table.add_row(
            [case.to_owned()]
                .into_iter()
                .chain(variants.iter().map(cell)),
        );
    }
    table.to_string()
}

/// `1.23 · 456 ns ± 2 %`; of the base no ratio.
fn in_matrix(figure: &Figure) -> String {
    let time = measured(figure);
    match figure.ratio {
        Some(ratio) if figure.variant != Variant::Base => format!("{} · {time}", factor(ratio)),
        _ => time,
    }
}

fn rows(section: &Section) -> String {
    let mut table = table();
    table.set_header([section.title.as_str(), "variant", "measured"]);
    for figure in &section.figures {
        let name = figure.variant.name().to_owned();
        table.add_row([figure.what.clone(), name, measured(figure)]);
    }
    table.to_string()
}

fn columns(section: &Section) -> String {
    let figures = &section.figures;
    let headings = in_order(figures.iter().map(|figure| figure.column.as_str()));
    let mut table = table();
    table.set_header([section.title.as_str()].iter().chain(&headings));
    for what in in_order(figures.iter().map(|figure| figure.what.as_str())) {
        let cell = |heading: &&str| {
            let mut of_kind = figures.iter().filter(|figure| figure.what == what);
            let here = of_kind.find(|figure| figure.column == *heading);
            here.map_or_else(|| NOT_MEASURED.to_owned(), in_matrix)
        };
        table.add_row(
            [what.to_owned()]
                .into_iter()
                .chain(headings.iter().map(cell)),
        );
    }
    table.to_string()
}

/// Each once, where it comes first.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn targets<'a>(figures: impl Iterator<Item = &'a Figure>) -> Option<String> {
    let mut table = table();
    table.set_header(["target for", "variant", "of", "at most", "measured", ""]);
    for figure in figures {
        let Some(target) = Target::of(figure) else {
            continue;
        };
        let verdict = if target.is_met(figure) {
            "ok"
        } else {
            "missed"
        };
        let [most, measured] = against(target, figure);
        table.add_row([
            &figure.case,
            figure.variant.name(),
            of(figure.unit),
            &most,
            &measured,
            verdict,
        ]);
    }
    (table.row_count() > 0).then(|| table.to_string())
}

/// A figure that is worse than twice its target.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) case: String,
    variant: Variant,
    unit: Unit,
    /// In a line.
    pub(crate) why: String,
}

impl Failure {
    /// Whether another is of the same figure.
    pub(crate) fn is_of_same(&self, other: &Failure) -> bool {
        self.case == other.case && self.variant == other.variant && self.unit == other.unit
    }
}

/// All of them.
pub(crate) fn failures<'a>(figures: impl Iterator<Item = &'a Figure>) -> Vec<Failure> {
    let failure = |figure: &'a Figure| {
        let target = Target::of(figure).filter(|target| target.is_failed(figure))?;
        let [most, measured] = against(target, figure);
        let (case, variant, of) = (&figure.case, figure.variant.name(), of(figure.unit));
        let why = format!(
            "{case} under {variant}: {of} of {measured}, more than twice its target of {most}"
        );
        Some(Failure {
            case: case.clone(),
            variant: figure.variant,
            unit: figure.unit,
            why,
        })
    };
    figures.filter_map(failure).collect()
}

/// A target, and what is measured by it.
fn against(target: Target, figure: &Figure) -> [String; 2] {
    match target {
        Target::Ratio(most) => [format!("{most:.2}"), factor(target.measured(figure))],
        Target::Median(most) => [amount(most, figure.unit), measured(figure)],
    }
}

fn of(unit: Unit) -> &'static str {
    match unit {
        Unit::Ns => "time",
        Unit::CpuNs => "CPU time",
        Unit::Bytes => "memory",
    }
}

fn measured(figure: &Figure) -> String {
    let amount = amount(figure.median, figure.unit);
    match figure.spread * 100.0 {
        0.0 => amount,
        percent => format!("{amount} ± {percent:.0} %"),
    }
}

fn amount(amount: f64, unit: Unit) -> String {
    match unit {
        Unit::Ns | Unit::CpuNs => units::time(amount),
        Unit::Bytes => units::bytes(amount),
    }
}

/// `1.23`, `41`: with two decimals where they mean something.
pub(crate) fn factor(ratio: f64) -> String {
    match ratio {
        ..9.995 => format!("{ratio:.2}"),
        _ => format!("{ratio:.0}"),
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(variant: Variant, ns: f64) -> Figure {
        Figure::raced("spawn", variant, Unit::Ns, &[ns], &[100.0])
    }

    #[test]
    fn a_matrix_has_a_row_for_each_case_and_a_column_for_each_variant() {
        let section = Section {
            title: "case".to_owned(),
            shape: Shape::Matrix,
            figures: vec![
                figure(Variant::Base, 100.0),
                figure(Variant::Subscriber, 150.0),
            ],
            notes: Vec::new(),
        };
        let text = text(&[section]);
        assert!(
            text.contains("| case, time | base   | subscriber    |"),
            "{text}"
        );
        assert!(
            text.contains("| spawn      | 100 ns | 1.50 · 150 ns |"),
            "{text}"
        );
        assert!(text.contains("| 1.40    | 1.50     | missed |"), "{text}");
    }

    #[test]
    fn a_cell_without_a_figure_is_marked() {
        let figure =
            |what: &str, column: &str| figure(Variant::Subscriber, 100.0).what(what).column(column);
        let section = Section {
            title: "listing of".to_owned(),
            shape: Shape::Columns,
            figures: vec![
                figure("time", "1,000"),
                figure("… added", "1,000"),
                figure("time", "10,000"),
            ],
            notes: Vec::new(),
        };
        let text = columns(&section);
        assert!(
            text.contains("| listing of | 1,000         | 10,000        |"),
            "{text}"
        );
        assert!(
            text.contains("| … added    | 1.00 · 100 ns | –             |"),
            "{text}"
        );
    }

    #[test]
    fn failures_are_named() {
        let figures = [
            figure(Variant::Subscriber, 200.0),
            figure(Variant::Subscriber, 300.0),
        ];
        let why: Vec<String> = failures(figures.iter())
            .into_iter()
            .map(|failure| failure.why)
            .collect();
        assert_eq!(
            why,
            ["spawn under subscriber: time of 3.00, more than twice its target of 1.40"]
        );
    }
}

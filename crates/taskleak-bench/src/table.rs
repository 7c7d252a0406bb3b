//! Tables as Markdown has them, and how figures are written in them.

use std::fmt;
use std::time::Duration;

/// A table whose columns are aligned in plain text as well.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const COLUMNS: usize>(head: [&str; COLUMNS]) -> Table {
        let rows = vec![head.map(str::to_owned).into()];
        Table { rows }
    }

    /// Adds a row; of cells that the head has none for, nothing is shown.
    pub(crate) fn push<const COLUMNS: usize>(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.into());
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.rows[0].len()).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (n, row) in self.rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if n == 0 {
                for width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// `1.25 s`, `12.3 ms`, `456 ns`: three digits.
pub(crate) fn time(time: Duration) -> String {
    let ns = time.as_secs_f64() * 1e9;
    let (figure, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(figure))
}

/// `12.3 MB`, of a million bytes each.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", three_digits(bytes as f64 / 1e6))
}

/// `1,000,000`
pub(crate) fn count(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", self::count(count / 1000), count % 1000),
    }
}

fn three_digits(figure: f64) -> String {
    let decimals = match figure {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["what", "µs"]);
        table.push(["a spawn".to_owned(), "1".to_owned()]);
        assert_eq!(
            table.to_string(),
            "| what    | µs |\n|---------|----|\n| a spawn | 1  |\n"
        );
    }

    #[test]
    fn figures_have_three_digits() {
        let check = |ns, expected| assert_eq!(time(Duration::from_nanos(ns)), expected);
        check(0, "0.00 ns");
        check(456, "456 ns");
        check(12_340, "12.3 µs");
        check(1_256_000, "1.26 ms");
        check(12_000_000_000, "12.0 s");
        assert_eq!(megabytes(99_960_000), "100 MB");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(999), "999");
        assert_eq!(count(20_000), "20,000");
        assert_eq!(count(1_000_007), "1,000,007");
    }
}

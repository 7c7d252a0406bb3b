//! How figures are written for people.

use std::time::Duration;

/// What a figure of time is made of.
pub(crate) fn ns(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// `1.25 s`, `12.3 ms`, `456 ns`, `-1.20 ms`: three digits.
pub(crate) fn time(ns: f64) -> String {
    // Where it would be rounded up to a thousand, the next unit begins.
    let (figure, unit) = match ns.abs() {
        ..999.5 => (ns, "ns"),
        ..999.5e3 => (ns / 1e3, "µs"),
        ..999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(figure))
}

/// `123 B`, `12.3 kB`, `1.25 MB`: of a thousand bytes, of a million.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        ..999.5 => format!("{bytes:.0} B"),
        ..999.5e3 => format!("{} kB", three_digits(bytes / 1e3)),
        _ => format!("{} MB", three_digits(bytes / 1e6)),
    }
}

/// `1,000,000`
pub(crate) fn count(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", self::count(count / 1000), count % 1000),
    }
}

fn three_digits(figure: f64) -> String {
    let decimals = match figure.abs() {
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
    fn figures_have_three_digits() {
        let check = |ns, expected| assert_eq!(time(ns), expected);
        check(0.0, "0.00 ns");
        check(456.0, "456 ns");
        check(12_340.0, "12.3 µs");
        check(1_256_000.0, "1.26 ms");
        check(999_960.0, "1.00 ms");
        check(999_400.0, "999 µs");
        check(-1_200_000.0, "-1.20 ms");
        check(12_000_000_000.0, "12.0 s");
        assert_eq!(bytes(999.7), "1.00 kB");
        assert_eq!(bytes(99_960_000.0), "100 MB");
        assert_eq!(bytes(129.4), "129 B");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(999), "999");
        assert_eq!(count(20_000), "20,000");
        assert_eq!(count(1_000_007), "1,000,007");
    }
}

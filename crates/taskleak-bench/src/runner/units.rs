//! How figures are written for people.

/// `1.25 s`, `12.3 ms`, `456 ns`: three digits.
pub(crate) fn time(ns: f64) -> String {
    let (figure, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        ..1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(figure))
}

/// `123 B`, `12.3 kB`, `1.25 MB`: of a thousand bytes, of a million.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        ..1e6 => format!("{} kB", three_digits(bytes / 1e3)),
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
    fn figures_have_three_digits() {
        let check = |ns, expected| assert_eq!(time(ns), expected);
        check(0.0, "0.00 ns");
        check(456.0, "456 ns");
        check(12_340.0, "12.3 µs");
        check(1_256_000.0, "1.26 ms");
        check(12_000_000_000.0, "12.0 s");
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

//! The statistics of times that a noisy machine disturbs.

use std::cmp::Ordering;

/// The middle one; of an even number, the later of the two. Zero of none.
pub(crate) fn median<T: PartialOrd + Copy + Default>(times: impl IntoIterator<Item = T>) -> T {
    at(&sorted(times), 1, 2)
}

/// How far the middle half of them spreads, as a part of the median. Zero of none.
pub(crate) fn spread(times: impl IntoIterator<Item = f64>) -> f64 {
    let sorted = sorted(times);
    let middle_half = at(&sorted, 3, 4) - at(&sorted, 1, 4);
    match at(&sorted, 1, 2) {
        0.0 => 0.0,
        median => middle_half / median,
    }
}

fn sorted<T: PartialOrd>(times: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut times: Vec<T> = times.into_iter().collect();
    // No time is NaN.
    times.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    times
}

fn at<T: Copy + Default>(sorted: &[T], part: usize, parts: usize) -> T {
    let place = sorted.len() * part / parts;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let check = |times: &[u32], expected| {
            assert_eq!(median(times.iter().copied()), expected, "{times:?}");
        };
        check(&[3, 1, 100], 3);
        check(&[4, 1, 3, 2], 3);
        check(&[7], 7);
        check(&[], 0);
    }

    #[test]
    fn the_spread_is_that_of_the_middle_half() {
        let check = |times: &[f64], expected| {
            assert_eq!(spread(times.iter().copied()), expected, "{times:?}");
        };
        check(&[900.0, 8.0, 10.0, 9.0, 1.0, 11.0, 10.0, 12.0], 0.3);
        check(&[10.0, 10.0, 10.0], 0.0);
        check(&[], 0.0);
    }
}

//! The statistics of times that a noisy machine disturbs.

use std::time::Duration;

/// The middle one; of an even number, the later of the two. Zero of none.
pub(crate) fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    at(&sorted(times), 1, 2)
}

/// How far the middle half of them spreads, as a part of the median. Zero of none.
pub(crate) fn spread(times: impl IntoIterator<Item = Duration>) -> f64 {
    let sorted = sorted(times);
    let middle_half = at(&sorted, 3, 4) - at(&sorted, 1, 4);
    match at(&sorted, 1, 2) {
        Duration::ZERO => 0.0,
        median => middle_half.as_secs_f64() / median.as_secs_f64(),
    }
}

fn sorted(times: impl IntoIterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort_unstable();
    times
}

fn at(sorted: &[Duration], part: usize, parts: usize) -> Duration {
    let place = sorted.len() * part / parts;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ms: &[u64]) -> Vec<Duration> {
        ms.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let check = |ms: &[u64], expected| {
            assert_eq!(median(times(ms)), Duration::from_millis(expected), "{ms:?}");
        };
        check(&[3, 1, 100], 3);
        check(&[4, 1, 3, 2], 3);
        check(&[7], 7);
        check(&[], 0);
    }

    #[test]
    fn the_spread_is_that_of_the_middle_half() {
        let check = |ms: &[u64], expected| assert_eq!(spread(times(ms)), expected, "{ms:?}");
        check(&[900, 8, 10, 9, 1, 11, 10, 12], 0.3);
        check(&[10, 10, 10], 0.0);
        check(&[], 0.0);
    }
}

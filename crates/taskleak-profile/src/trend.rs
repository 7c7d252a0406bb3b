//! Trends: does the number of a group's tasks grow?
//!
//! The rules of this module:
//! 1. No clock: whoever pushes a count says when it was.
//! 2. Memory is bounded: the last window in 30 slots, ten windows in 30 slots, whatever is pushed.
//! 3. A span is 31 samples at most, so that looking at it costs microseconds, and no allocation.
//! 4. Numbers may be nonsense: times that go back, counts up to `u64::MAX`. They are saturated,
//!    never a panic.

use std::time::Duration;

/// The counts of one group over time, and whether they grow.
///
/// Push a count each second or so; [`growth`](Self::growth) looks at the last ten windows, at the
/// last six and at the last one, and tells of the longest of these spans for which all of this
/// holds:
///
/// 1. Counts are known for three quarters of a window at least. Zeros before the first task are
///    not among them, and after a window of zeros all starts anew.
/// 2. The Mann-Kendall test (Mann 1945, Kendall 1975) finds a rise with a z of at least 3: one of
///    740 series without a trend gives that by chance. It finds it too without the likeliest step
///    (Pettitt 1979), that is among the pairs of samples on one side of it.
/// 3. The Theil-Sen slope (Theil 1950, Sen 1968), the median of the slopes between each two
///    samples, is much the same, up to a factor of 3, inside the halves of the span and from one
///    half to the other. That of a sawtooth is there inside alone, that of a burst across alone.
/// 4. At this slope the rise is at least 3 tasks and a tenth of the median count. Of a count that
///    also fell it is at least three times the root of the median: by less a number of tasks that
///    come and go at random wanders by itself.
/// 5. It leads above all that was there before, as far as ten windows back: load that comes and
///    goes leads to where it has been. And it is not over: the last count is above the first, and
///    not below the median.
/// 6. It goes on: over the last window the slope is a third of it at least. Where a window is too
///    short for the rise of rule 4, this is asked of the time that the rise takes.
///
/// What it can't see:
/// - That growth will end. Load that grows and a cache that fills look like a leak while they do,
///   and so do the first tooth of a sawtooth that is longer than a window, and a ramp of half a
///   window until it is a window ago.
/// - Growth below the rise of rule 4 in ten windows. With a window of 60 s that is 3 tasks in ten
///   minutes, or a tenth of a group of which the others are no leak.
/// - Growth after a burst, until it leads above that or ten windows have gone.
/// - Growth by fewer than three steps in a span.
/// - Anything with fewer than ten samples: at less than ten counts a window, those of three
///   windows and more.
///
/// ```
/// use std::time::Duration;
/// use taskleak_profile::trend::Trend;
///
/// let mut trend = Trend::new(Duration::from_secs(60));
/// for second in 0..120 {
///     trend.push(second * 1000, 20 + 2 * second);
/// }
/// let growth = trend.growth().expect("it grows");
/// assert_eq!(growth.per_minute.round(), 120.0);
/// assert!(growth.never_fell);
/// ```
#[derive(Debug, Clone)]
pub struct Trend {
    window_ms: u64,
    /// The last window.
    recent: Ring,
    /// The last ten windows.
    history: Ring,
    /// When a count came last that was below the one before.
    fell_at_ms: Option<u64>,
    /// The first of the zeros that came last.
    zero_since_ms: Option<u64>,
}

/// How a count grew over the longest span for which the rules of [`Trend`] hold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Growth {
    /// The first count of the span.
    pub from: u64,
    /// The last count.
    pub to: u64,
    /// How long the span is, in milliseconds.
    pub over_ms: u64,
    /// The Theil-Sen slope, in tasks a minute: bursts in the span don't change it.
    pub per_minute: f64,
    /// No count that was pushed in the span is below the one before it.
    pub never_fell: bool,
    /// The span is at least five windows.
    pub sustained: bool,
}

/// What is looked at, in windows.
const SPANS: [u64; 3] = [10, 6, 1];

const SUSTAINED_WINDOWS: u64 = 5;

const SIGNIFICANT_Z: f64 = 3.0;

/// Slopes of which one is up to so many times the other are much the same.
const ALIKE: f64 = 3.0;

/// In tasks.
const LEAST_RISE: f64 = 3.0;

/// Of the median count.
const LEAST_SHARE: f64 = 0.1;

/// Of the root of the median count: 2.1 standard deviations of the difference between two counts
/// of tasks that come and go at random (Poisson).
const LEAST_OF_ROOT: f64 = 3.0;

impl Trend {
    /// A trend with a window of this length; below 30 ms it is taken as 30 ms.
    pub fn new(over: Duration) -> Self {
        let window_ms = u64::try_from(over.as_millis()).unwrap_or(u64::MAX).max(30);
        Self {
            window_ms,
            recent: Ring::new(window_ms.div_ceil(30)),
            history: Ring::new(window_ms.div_ceil(3)),
            fell_at_ms: None,
            zero_since_ms: None,
        }
    }

    /// Adds a count. Times go up; one that is before the last is taken as the last.
    pub fn push(&mut self, at_ms: u64, count: u64) {
        let last = self.recent.samples.last();
        let at_ms = last.map_or(at_ms, |last| last.at_ms.max(at_ms));
        if last.is_some_and(|last| count < last.count) {
            self.fell_at_ms = Some(at_ms);
        }
        if count == 0 && self.begins_anew(at_ms) {
            *self = Self::new(Duration::from_millis(self.window_ms));
            return;
        }
        if count > 0 {
            self.zero_since_ms = None;
        }
        self.recent.push(at_ms, count);
        self.history.push(at_ms, count);
    }

    /// No count was pushed, or all were zero for a window.
    pub fn is_empty(&self) -> bool {
        self.recent.samples.is_empty()
    }

    /// How the count grows; `None` if it doesn't.
    pub fn growth(&self) -> Option<Growth> {
        self.growth_where(|_| true)
    }

    /// The same over the longest span for which this holds as well.
    pub fn growth_where(&self, holds: impl Fn(&Growth) -> bool) -> Option<Growth> {
        let spans = SPANS.iter();
        spans
            .filter_map(|&windows| self.growth_over(windows))
            .find(holds)
    }

    /// Whether a zero now stands before a series: there was none yet, or zeros for a window.
    fn begins_anew(&mut self, at_ms: u64) -> bool {
        let since_ms = *self.zero_since_ms.get_or_insert(at_ms);
        self.recent.samples.is_empty() || at_ms - since_ms >= self.window_ms
    }

    fn growth_over(&self, windows: u64) -> Option<Growth> {
        let samples = self.last(self.window_ms.saturating_mul(windows));
        let (first, last) = (samples.first()?, samples.last()?);
        let over_ms = last.at_ms - first.at_ms;
        let is_long = over_ms >= self.window_ms - self.window_ms / 4;
        // The cheap questions first: most groups don't grow.
        if !is_long || last.count <= first.count || !is_significant(samples) {
            return None;
        }
        let never_fell = self.fell_at_ms.is_none_or(|at_ms| at_ms <= first.at_ms);
        let median = median_count(samples);
        let needed = needed_rise(median, never_fell);
        let slope = steady_slope(samples)?;
        let grows = slope * over_ms as f64 >= needed
            && last.count >= median
            && self.leads_above(samples, needed)
            && self.goes_on(slope, needed);
        grows.then(|| Growth {
            from: first.count,
            to: last.count,
            over_ms,
            per_minute: slope * 60_000.0,
            never_fell,
            sustained: over_ms >= self.window_ms.saturating_mul(SUSTAINED_WINDOWS),
        })
    }

    /// The samples of so much time up to now, from the finer ring that has them.
    fn last(&self, span_ms: u64) -> &[Sample] {
        let ring = match span_ms <= self.window_ms {
            true => &self.recent,
            false => &self.history,
        };
        ring.last(span_ms)
    }

    /// Whether at least half of the rise that is needed lies above all that was before the span.
    fn leads_above(&self, samples: &[Sample], needed: f64) -> bool {
        let highest = |samples: &[Sample]| samples.iter().map(|sample| sample.peak).max();
        let history = &self.history.samples;
        let start = history.partition_point(|sample| sample.at_ms < samples[0].at_ms);
        match (highest(&history[..start]), highest(samples)) {
            (Some(before), Some(now)) => now as f64 - before as f64 >= needed / 2.0,
            _ => true,
        }
    }

    fn goes_on(&self, slope: f64, needed: f64) -> bool {
        let span_ms = (needed / slope) as u64;
        let mut slopes = Slopes::of(self.last(span_ms.max(self.window_ms)));
        median(slopes.all()).is_some_and(|now| now * ALIKE >= slope)
    }
}

/// The last samples, one for each slot of time in which there was a count.
#[derive(Debug, Clone)]
struct Ring {
    slot_ms: u64,
    /// Up to [`MOST`], oldest first.
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When the last count of its slot came.
    at_ms: u64,
    /// That count.
    count: u64,
    /// The largest of its slot.
    peak: u64,
}

/// 30 slots, and the one that is not full yet.
const MOST: usize = 31;
const MOST_PAIRS: usize = MOST * (MOST - 1) / 2;

impl Ring {
    fn new(slot_ms: u64) -> Self {
        Self {
            slot_ms,
            samples: Vec::new(),
        }
    }

    fn push(&mut self, at_ms: u64, count: u64) {
        match self.samples.last_mut() {
            Some(last) if last.at_ms / self.slot_ms == at_ms / self.slot_ms => {
                last.at_ms = at_ms;
                last.count = count;
                last.peak = last.peak.max(count);
            }
            _ => {
                if self.samples.len() == MOST {
                    self.samples.remove(0);
                }
                self.samples.push(Sample {
                    at_ms,
                    count,
                    peak: count,
                });
            }
        }
    }

    fn last(&self, span_ms: u64) -> &[Sample] {
        let now_ms = self.samples.last().map_or(0, |last| last.at_ms);
        let start_ms = now_ms.saturating_sub(span_ms);
        let start = self
            .samples
            .partition_point(|sample| sample.at_ms < start_ms);
        &self.samples[start..]
    }
}

/// Whether the counts rise, and not by a step alone.
fn is_significant(samples: &[Sample]) -> bool {
    let signs = Signs::of(samples);
    if z(signs.all, variance(samples)) < SIGNIFICANT_Z {
        return false;
    }
    let (before, after) = samples.split_at(signs.split);
    let variance = variance(before) + variance(after);
    z(signs.all - signs.across, variance) >= SIGNIFICANT_Z
}

/// The signs of the differences between each two counts, summed up.
struct Signs {
    /// Over all pairs.
    all: i32,
    /// Over the pairs across the split.
    across: i32,
    /// Where a step is likeliest: there the sum across it is largest.
    split: usize,
}

impl Signs {
    fn of(samples: &[Sample]) -> Self {
        let mut signs = Self {
            all: 0,
            across: i32::MIN,
            split: 0,
        };
        let mut across = 0;
        for (place, sample) in samples.iter().enumerate() {
            let later = signs_from(sample, &samples[place + 1..]);
            let earlier = signs_from(sample, &samples[..place]);
            signs.all += later;
            // The sample goes over to the earlier side.
            across += later + earlier;
            if across > signs.across {
                signs.across = across;
                signs.split = place + 1;
            }
        }
        signs
    }
}

fn signs_from(one: &Sample, others: &[Sample]) -> i32 {
    let sign =
        |other: &Sample| i32::from(other.count > one.count) - i32::from(other.count < one.count);
    others.iter().map(sign).sum()
}

/// The statistic of the Mann-Kendall test, corrected for continuity; 0 if there is no rise.
fn z(signs: i32, variance: f64) -> f64 {
    match signs > 0 {
        true => f64::from(signs - 1) / variance.sqrt(),
        false => 0.0,
    }
}

/// The variance of the sum of signs of a series without a trend, corrected for ties.
fn variance(samples: &[Sample]) -> f64 {
    let weight = |n: usize| (n * n.saturating_sub(1) * (2 * n + 5)) as f64;
    let mut room = [0; MOST];
    let ties = sorted(samples, &mut room).chunk_by(u64::eq);
    let ties: f64 = ties.map(|tie| weight(tie.len())).sum();
    (weight(samples.len()) - ties) / 18.0
}

fn sorted<'a>(samples: &[Sample], room: &'a mut [u64; MOST]) -> &'a [u64] {
    let counts = &mut room[..samples.len()];
    for (count, sample) in counts.iter_mut().zip(samples) {
        *count = sample.count;
    }
    counts.sort_unstable();
    counts
}

fn median_count(samples: &[Sample]) -> u64 {
    sorted(samples, &mut [0; MOST])[samples.len() / 2]
}

fn needed_rise(median: u64, never_fell: bool) -> f64 {
    let median = median as f64;
    let needed = LEAST_RISE.max(LEAST_SHARE * median);
    match never_fell {
        true => needed,
        false => needed.max(LEAST_OF_ROOT * median.sqrt()),
    }
}

/// The Theil-Sen slope in tasks a millisecond; `None` if it falls, or is of one sort of pairs.
fn steady_slope(samples: &[Sample]) -> Option<f64> {
    let mut slopes = Slopes::of(samples);
    let (inside, across) = (median(slopes.inside())?, median(slopes.across())?);
    let is_steady = inside > 0.0 && inside <= across * ALIKE && across <= inside * ALIKE;
    median(slopes.all()).filter(|_| is_steady)
}

/// The slopes between each two samples, in tasks a millisecond.
struct Slopes {
    all: [f64; MOST_PAIRS],
    /// How many are between samples of the same half; they stand in front.
    inside: usize,
    len: usize,
}

impl Slopes {
    fn of(samples: &[Sample]) -> Self {
        let mut slopes = Self {
            all: [0.0; MOST_PAIRS],
            inside: 0,
            len: 0,
        };
        let (earlier, later) = samples.split_at(samples.len() / 2);
        slopes.add_pairs(earlier);
        slopes.add_pairs(later);
        slopes.inside = slopes.len;
        for one in earlier {
            later.iter().for_each(|other| slopes.add(one, other));
        }
        slopes
    }

    fn add_pairs(&mut self, samples: &[Sample]) {
        for (place, one) in samples.iter().enumerate() {
            samples[place + 1..]
                .iter()
                .for_each(|other| self.add(one, other));
        }
    }

    fn add(&mut self, one: &Sample, other: &Sample) {
        let time_ms = (other.at_ms - one.at_ms) as f64;
        self.all[self.len] = (other.count as f64 - one.count as f64) / time_ms;
        self.len += 1;
    }

    fn inside(&mut self) -> &mut [f64] {
        &mut self.all[..self.inside]
    }

    fn across(&mut self) -> &mut [f64] {
        &mut self.all[self.inside..self.len]
    }

    /// To be asked last: finding its median mixes the pairs up.
    fn all(&mut self) -> &mut [f64] {
        &mut self.all[..self.len]
    }
}

fn median(slopes: &mut [f64]) -> Option<f64> {
    let middle = slopes.len().checked_sub(1)? / 2;
    Some(*slopes.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    /// With a count each second.
    fn trend(counts: impl IntoIterator<Item = u64>) -> Trend {
        let mut trend = Trend::new(WINDOW);
        for (second, count) in (0..).zip(counts) {
            trend.push(second * 1000, count);
        }
        trend
    }

    /// After so many seconds.
    fn growth(seconds: u64, count: impl Fn(u64) -> u64) -> Option<Growth> {
        trend((0..=seconds).map(count)).growth()
    }

    /// Asked each second, as the watchdog does.
    fn seconds_of_growth(seconds: u64, count: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut trend = Trend::new(WINDOW);
        let mut grows = |second: &u64| {
            trend.push(second * 1000, count(*second));
            trend.growth().is_some()
        };
        (0..=seconds).filter(|second| grows(second)).collect()
    }

    /// From -1 to 1, in no order; the same in each run.
    fn noise(seed: u64) -> f64 {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn noisy(count: f64, share: f64, seed: u64) -> u64 {
        (count * (1.0 + share * noise(seed))) as u64
    }

    #[test]
    fn a_ramp_is_told_with_its_facts() {
        let found = growth(90, |second| 20 + 2 * second).unwrap();
        assert_eq!((found.from, found.to), (82, 200));
        assert_eq!(found.over_ms, 59_000);
        assert!((found.per_minute - 120.0).abs() < 1e-6);
        assert!(found.never_fell && !found.sustained);

        let found = growth(900, |second| 20 + 2 * second).unwrap();
        assert_eq!((found.from, found.to), (658, 1820));
        assert_eq!(found.over_ms, 581_000);
        assert!(found.never_fell && found.sustained);
    }

    #[test]
    fn growth_is_seen_with_its_rate() {
        let check = |name: &str, seconds: u64, per_minute: f64, count: &dyn Fn(u64) -> u64| {
            let found = growth(seconds, count).unwrap_or_else(|| panic!("{name}"));
            let error = (found.per_minute / per_minute - 1.0).abs();
            assert!(error < 0.05, "{name}: {found:?}");
        };
        let ramp = |second: u64| second as f64;
        check("ramp with noise", 90, 60.0, &|s| {
            (100.0 + ramp(s) + 6.0 * noise(s)) as u64
        });
        check("ramp with noise, sustained", 600, 60.0, &|s| {
            (100.0 + ramp(s) + 30.0 * noise(s)) as u64
        });
        check("ramp with bursts", 300, 60.0, &|s| {
            s + if s % 50 < 4 { 2000 } else { 0 }
        });
        check("stairs", 300, 80.0, &|s| 5 + s / 15 * 20);
        check("one more each 8 s", 120, 7.5, &|s| 1 + s / 8);
        check("one more each 60 s", 600, 1.0, &|s| 1 + s / 60);
        check("one more each 60 s, late", 1800, 1.0, &|s| 1 + s / 60);
        check("a tenth in ten windows", 900, 12.0, &|s| 1000 + s / 5);
        check("zeros before", 690, 120.0, &|s| 2 * s.saturating_sub(600));
    }

    #[test]
    fn growth_is_sustained_after_five_windows() {
        let sustained = |seconds| growth(seconds, |second| 1 + second).is_some_and(|g| g.sustained);
        assert!(!sustained(299));
        // The first sample of the history is of the end of its slot.
        assert!(sustained(320));
        // After ten windows without growth, too.
        let late = growth(1000, |second| 20 + second.saturating_sub(600)).unwrap();
        assert!(late.sustained, "{late:?}");
    }

    #[test]
    fn growth_is_seen_after_three_quarters_of_a_window() {
        let from_zero = seconds_of_growth(100, |second| second);
        assert_eq!(from_zero, Vec::from_iter(46..=100));
        let after_zeros = seconds_of_growth(1100, |second| second.saturating_sub(1000));
        assert_eq!(after_zeros, Vec::from_iter(1046..=1100));
    }

    #[test]
    fn what_is_no_growth() {
        let check = |name: &str, count: &dyn Fn(u64) -> u64| {
            assert_eq!(seconds_of_growth(1300, count), [0; 0], "{name}");
        };
        check("nothing", &|_| 0);
        check("constant", &|_| 7);
        check("step from zero", &|s| if s < 100 { 0 } else { 1000 });
        check("step", &|s| if s < 100 { 10 } else { 1000 });
        check("step with noise", &|s| {
            noisy(if s < 700 { 100.0 } else { 1000.0 }, 0.05, s)
        });
        check("two steps", &|s| 10 + s / 500 * 100);
        check("a load that comes in 10 s", &|s| {
            10 + 100 * s.saturating_sub(100).min(10)
        });
        check("noise", &|s| noisy(100.0, 0.3, s));
        check("much noise", &|s| noisy(1000.0, 0.9, s));
        check("noise of a few", &|s| noisy(5.0, 0.9, s));
        check("decline", &|s| 2000 - s);
        check("two more in all", &|s| 5 + s / 600);
        check("less than a tenth", &|s| 10_000 + s / 2);
        for burst in [1, 5, 10, 15] {
            check("burst", &|s| match (300..300 + burst).contains(&s) {
                true => 1000,
                false => noisy(10.0, 0.2, s),
            });
        }
        for tooth in [5, 10, 20, 30, 40] {
            check("sawtooth", &|s| 10 + s % tooth * 5);
            check("sawtooth from zero", &|s| s % tooth * 5);
            check("sawtooth with noise", &|s| {
                noisy((10 + s % tooth * 5) as f64, 0.05, s)
            });
        }
    }

    #[test]
    fn load_that_comes_and_goes_is_none_from_its_second_time_on() {
        for period in [90, 120, 300, 500] {
            let seconds = seconds_of_growth(3000, |s| 10 + s % period);
            let last = seconds.last().copied().unwrap_or_default();
            assert!(last < period, "{period}: {seconds:?}");
        }
    }

    #[test]
    fn a_ramp_that_ended_a_window_ago_is_none() {
        for (each, end) in [(1, 300), (1, 900), (5, 900), (20, 900)] {
            let seconds = seconds_of_growth(1200, |s| 10 + s.min(end) / each);
            let last = seconds.last().copied().unwrap_or_default();
            let most = end + 60.max(4 * each);
            assert!((end..=most).contains(&last), "{each}, {end}: {last}");
        }
    }

    #[test]
    fn after_a_window_of_zeros_all_starts_anew() {
        let mut trend = trend((0..100).chain([0; 59]));
        assert!(!trend.recent.samples.is_empty());
        trend.push(160_000, 0);
        assert!(trend.recent.samples.is_empty() && trend.history.samples.is_empty());
        for second in 0..60 {
            trend.push(200_000 + second * 1000, 1 + second);
        }
        let found = trend.growth().unwrap();
        assert_eq!((found.from, found.to), (2, 60));
        assert!(found.never_fell);
    }

    #[test]
    fn a_fall_between_samples_is_remembered_as_long_as_the_span() {
        let dip = |second: u64| match second {
            // Both are in one slot.
            100 => 90,
            _ => 10 + second,
        };
        assert!(!growth(150, dip).unwrap().never_fell);
        assert!(!growth(600, dip).unwrap().never_fell);
        assert!(growth(800, dip).unwrap().never_fell);
    }

    #[test]
    fn counts_may_come_seldom() {
        let ramp = |every: u64| {
            let mut trend = Trend::new(WINDOW);
            (0..=900)
                .step_by(every as usize)
                .for_each(|second| trend.push(second * 1000, 5 + second));
            trend.growth().map(|growth| growth.per_minute.round())
        };
        for every in [2, 5, 10, 20, 50] {
            assert_eq!(ramp(every), Some(60.0), "{every}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut trend = Trend::new(WINDOW);
        for tick in 0..100_000 {
            trend.push(tick * 97, tick);
        }
        for ring in [&trend.recent, &trend.history] {
            assert_eq!(ring.samples.len(), MOST);
            assert!(ring.samples.capacity() <= 2 * MOST);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_ramp_with_noise_is_growth_at_its_rate(
            each_second in 5..10_000_u64,
            base in 0..10_u64,
            seconds in 60..800_u64,
            seed in any::<u64>(),
        ) {
            let rise = (each_second * 60) as f64;
            let found = growth(seconds, |second| {
                let noise = 0.1 * noise(seed.wrapping_add(second));
                (rise * (0.2 * base as f64 + second as f64 / 60.0 + noise)).max(1.0) as u64
            });
            let found = found.expect("it grows");
            prop_assert!((found.per_minute / rise - 1.0).abs() < 0.2, "{found:?}");
        }

        #[test]
        fn a_constant_with_noise_is_none(count in 0..1_000_000_u64, seed in any::<u64>()) {
            let found = seconds_of_growth(700, |s| noisy(count as f64, 0.1, seed.wrapping_add(s)));
            prop_assert!(found.is_empty(), "{found:?}");
        }

        #[test]
        fn a_step_is_none(before in any::<u32>(), after in any::<u32>(), at in 0..700_u64) {
            let found = seconds_of_growth(700, |s| u64::from(if s < at { before } else { after }));
            prop_assert!(found.is_empty(), "{found:?}");
        }

        /// Powers of two scale floats exactly.
        #[test]
        fn scale_does_not_matter(
            steps in proptest::collection::vec(-90..100_i64, 50..300),
            every_ms in 500..5000_u64,
            scale in 0..20_u32,
            slower in 0..10_u32,
        ) {
            let measure = |scale: u32, slower: u32| {
                let mut trend = Trend::new(WINDOW * (1 << slower));
                // From where a tenth is more than what is needed of any count.
                let mut count = 1000;
                for (at, step) in (0..).zip(&steps) {
                    count = (count + step).max(1000);
                    trend.push((at * every_ms) << slower, (count as u64) << scale);
                }
                trend.growth()
            };
            let expected = measure(0, 0).map(|growth| Growth {
                from: growth.from << scale,
                to: growth.to << scale,
                over_ms: growth.over_ms << slower,
                per_minute: growth.per_minute * f64::from(1 << scale) / f64::from(1 << slower),
                ..growth
            });
            prop_assert_eq!(measure(scale, slower), expected);
        }

        #[test]
        fn nonsense_never_panics(
            over in prop_oneof![any::<u64>(), 0..1000_u64],
            counts in proptest::collection::vec((prop_oneof![any::<u64>(), 0..5000_u64], prop_oneof![any::<u64>(), 0..9_u64]), 0..80),
        ) {
            let over = Duration::from_millis(over);
            let mut trend = Trend::new(over);
            for (at_ms, count) in counts {
                trend.push(at_ms, count);
                if let Some(growth) = trend.growth() {
                    prop_assert!(growth.to > growth.from);
                    prop_assert!(growth.per_minute > 0.0 && growth.per_minute.is_finite());
                    prop_assert!(u128::from(growth.over_ms) >= over.as_millis() * 3 / 4);
                }
            }
        }
    }

    #[test]
    fn absurd_windows_are_bounded() {
        for (over, expected) in [
            (Duration::ZERO, 30),
            (Duration::from_nanos(1), 30),
            (Duration::MAX, u64::MAX),
        ] {
            let mut trend = Trend::new(over);
            assert_eq!(trend.window_ms, expected);
            for at_ms in [0, 1, u64::MAX - 1, 5, u64::MAX] {
                trend.push(at_ms, u64::MAX - at_ms);
                assert_eq!(trend.growth(), None);
            }
        }
    }
}

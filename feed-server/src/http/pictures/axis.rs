//! Axes: where a moment stands, and which moments and values are named.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{LEFT, RIGHT, WIDTH};

/// Times that are named on an axis, at most.
const MOST_TICKS: i64 = 7;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Seconds between times that are named, for spans that are counted in days at most.
const STEPS: [i64; 11] = [300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY];

/// Weeks begin on Mondays, and 1970 on a Thursday.
const FIRST_MONDAY: i64 = 4 * DAY;

/// What an axis of time shows. It is never empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from: i64,
    to: i64,
}

impl Span {
    /// At least an hour, up to `to`.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Self {
        let (from, to) = (from.as_second(), to.as_second());
        Self { from: from.min(to - HOUR), to }
    }

    /// Where a moment stands; those outside stand at the edge.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        self.x_of(at.as_second())
    }

    fn x_of(&self, second: i64) -> f64 {
        let part = (second - self.from) as f64 / (self.to - self.from) as f64;
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Where times are named, and how. Not so near to the edges that a name would be cut off.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let length = self.to - self.from;
        let ticks = match STEPS.iter().find(|step| length / **step <= MOST_TICKS) {
            Some(step) => self.regular(*step),
            None => self.months(),
        };
        let edge = |(x, _): &(f64, String)| *x >= LEFT && *x <= WIDTH - RIGHT - 14.0;
        ticks.into_iter().filter(edge).collect()
    }

    fn regular(&self, step: i64) -> Vec<(f64, String)> {
        let offset = if step >= 7 * DAY { FIRST_MONDAY } else { 0 };
        let first = (self.from - offset).div_euclid(step) * step + offset;
        let seconds = (0..=MOST_TICKS + 2).map(|number| first + number * step);
        let inside = seconds.filter(|second| (self.from..=self.to).contains(second));
        inside.filter_map(|second| Some((self.x_of(second), name(second, step)?))).collect()
    }

    /// First days of months, or of years.
    fn months(&self) -> Vec<(f64, String)> {
        let months = (self.to - self.from) / (30 * DAY);
        // 1, 3, 6 months; 1, 2, 5, 10, … years.
        let years = [1, 2, 5].iter().cycle().zip((0_u32..12).map(|n| 10_i64.pow(n / 3))).map(|(n, tens)| 12 * n * tens);
        let step = [1, 3, 6].into_iter().chain(years).find(|step| months / step <= MOST_TICKS).unwrap_or(120_000);
        let Some(first) = civil(self.from) else { return Vec::new() };
        let first = (i64::from(first.year()) * 12 + i64::from(first.month()) - 1).div_euclid(step) * step;
        let ticks = (0..=MOST_TICKS + 2).filter_map(|number| {
            let month = first + number * step;
            let year = i16::try_from(month.div_euclid(12)).ok()?;
            let date = Date::new(year, i8::try_from(month.rem_euclid(12)).ok()? + 1, 1).ok()?;
            let second = date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
            let label = if step < 12 { date.strftime("%b %Y").to_string() } else { year.to_string() };
            (self.from..=self.to).contains(&second).then(|| (self.x_of(second), label))
        });
        ticks.collect()
    }
}

fn civil(second: i64) -> Option<Date> {
    Some(Timestamp::from_second(second).ok()?.to_zoned(TimeZone::UTC).date())
}

/// A time on an axis whose times are `step` seconds apart.
fn name(second: i64, step: i64) -> Option<String> {
    let at = Timestamp::from_second(second).ok()?;
    let is_midnight = second.rem_euclid(DAY) == 0;
    let form = if step >= DAY || is_midnight { "%-d %b" } else { "%H:%M" };
    Some(at.strftime(form).to_string())
}

/// Values that are named from 0 up to `most` or a little more, at most six, evenly: the last one is the top of the axis.
pub(super) fn scale(most: u64) -> Vec<u64> {
    let most = most.max(1);
    let nice = (0_u32..19).flat_map(|n| [1, 2, 5].map(|digit| digit * 10_u64.pow(n)));
    let step = nice.into_iter().find(|step| most.div_ceil(*step) <= 5).unwrap_or(most);
    (0..=most.div_ceil(step)).map(|number| number.saturating_mul(step)).collect()
}

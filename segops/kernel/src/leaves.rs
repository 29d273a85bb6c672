//! What the leaves of rules read of states, and when the passing of time changes it.

use sha2::{Digest, Sha256};

use crate::decimal::Dec;
use crate::exact::ExactPredicate;
use crate::msgpack::Writer;
use crate::profile::Profile;
use crate::reduce::Pick;
use crate::rule::Reads;
use crate::sequence::Chains;
use crate::state::State;
use crate::values::{below, scalar_of, Num, Scalar};

const DAY_MS: i64 = 86_400_000;

/// The times of a state that has them.
pub fn times_of(state: &State) -> Option<&[i64]> {
    match state {
        State::Times(times) | State::Values { times, .. } => Some(times),
        State::Sums(sums) => Some(&sums.times),
        _ => None,
    }
}

/// The number of events, or of distinct values, of a state that is in force.
pub fn count_of(state: Option<&State>, length: Option<i64>, now: i64) -> i64 {
    match (state, length) {
        (Some(State::Tally { count, .. }), _) => *count,
        (Some(State::Keys { keys, .. }), _) => keys.len() as i64,
        (Some(State::Times(times) | State::Values { times, .. }), Some(length)) => {
            (times.len() - times.partition_point(|time| *time <= now - length)) as i64
        }
        // Another rule needs more of the feature than a count of the latest events.
        (Some(State::Sums(sums)), Some(length)) => {
            (sums.times.len() - sums.times.partition_point(|time| *time <= now - length)) as i64
        }
        _ => 0,
    }
}

/// The number of values and their sum.
pub fn sum_of(state: Option<&State>, length: Option<i64>, now: i64) -> (i64, Dec) {
    match (state, length) {
        (Some(State::Total { count, total, .. }), _) => (*count, **total),
        (Some(State::Sums(sums)), Some(length)) if !sums.times.is_empty() => {
            let begin = sums.times.partition_point(|time| *time <= now - length);
            left_of(sums, begin)
        }
        _ => (0, Dec::ZERO),
    }
}

/// The count and sum of the entries from an index on; there is at least one entry in all.
fn left_of(sums: &crate::state::Sums, begin: usize) -> (i64, Dec) {
    let (count, total) = sums.upto(begin);
    let (all, sum) = sums.upto(sums.times.len());
    (all - count, sum.minus(total))
}

/// When the number of times next falls below one of the thresholds (greatest first).
pub fn crossing(times: &[i64], length: i64, falling: &[usize], now: i64) -> Option<i64> {
    let reached = falling.iter().filter(|least| **least > 0 && **least <= times.len());
    reached.map(|least| times[times.len() - least] + length).find(|at| *at > now)
}

/// When entries that leave next take the number out of its band between thresholds.
pub fn leaving(state: &State, read: (Reads, i64, &ExactPredicate), now: i64) -> Option<i64> {
    let (reads, length, test) = read;
    let State::Sums(sums) = state else {
        return None;
    };
    let band = |begin: usize| {
        let (count, total) = left_of(sums, begin);
        reads.number(count, total).map(|(number, divisor)| test.band(number, divisor))
    };
    let begin = sums.times.partition_point(|time| *time <= now - length);
    if begin == sums.times.len() {
        return None;
    }
    let known = band(begin);
    let left = (begin..sums.times.len()).find(|at| band(at + 1) != known)?;
    Some(sums.times[left] + length)
}

/// The value of one event, as msgpack.
pub fn picked(state: Option<&State>, pick: Pick, length: Option<i64>, now: i64) -> Option<&[u8]> {
    match (state, length) {
        (Some(State::Running { value, .. }), _) => Some(value),
        (Some(State::Values { times, values }), Some(length)) => {
            let inside = &values[times.partition_point(|time| *time <= now - length)..];
            let found = if pick == Pick::Latest { inside.last() } else { inside.first() };
            found.map(|value| &**value)
        }
        _ => None,
    }
}

/// The time of a single event.
pub fn time_of(state: Option<&State>) -> Option<i64> {
    match state {
        Some(State::Running { time, .. }) => Some(*time),
        _ => None,
    }
}

/// The trait at a path, as msgpack.
pub fn raw_trait_of<'p>(profile: &'p Profile, path: &[Box<str>]) -> Option<&'p [u8]> {
    let (first, rest) = path.split_first()?;
    let (_, value) = profile.traits.iter().find(|(name, _)| name == first)?;
    below(value, rest)
}

/// The trait at a path.
pub fn trait_of<'p>(profile: &'p Profile, path: &[Box<str>]) -> Scalar<'p> {
    raw_trait_of(profile, path).map_or(Scalar::Missing, scalar_of)
}

/// The state of a sequence.
pub fn chains_of(state: Option<&State>) -> Option<&Chains> {
    match state {
        Some(State::Chains(chains)) => Some(chains),
        _ => None,
    }
}

/// The days since the latest event.
pub fn days_since(profile: &Profile, now: i64) -> Scalar<'static> {
    let days = profile.first.map(|_| (now - profile.latest).div_euclid(DAY_MS));
    days.map_or(Scalar::Missing, |days| Scalar::Num(Num::Int(i128::from(days))))
}

/// The last known location, as msgpack.
pub fn place_of(profile: &Profile) -> Option<Vec<u8>> {
    let (lat, lon) = profile.location?;
    let mut out = Writer::default();
    out.array(2);
    out.float(lat);
    out.float(lon);
    Some(out.0)
}

/// The bucket of a profile for a salt, in hundredths of a percent.
pub fn share_of(salt: &str, id: &str) -> i64 {
    let digest = Sha256::new().chain_update(salt).chain_update(":").chain_update(id).finalize();
    let number = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    (number % 10_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_python() {
        assert_eq!(share_of("spring", "user_id:u1"), 2044);
    }

    #[test]
    fn a_count_crosses_its_thresholds_one_after_the_other() {
        let times = [10, 20, 30];
        assert_eq!(crossing(&times, 100, &[3, 1], 50), Some(110));
        assert_eq!(crossing(&times, 100, &[3, 1], 110), Some(130));
        assert_eq!(crossing(&times, 100, &[4], 50), None);
    }

    #[test]
    fn events_are_counted_also_where_another_rule_needs_all_of_them() {
        let mut sums = crate::state::Sums::new();
        (sums.times, sums.counts, sums.totals) = (vec![10, 20], vec![1, 2], vec![Dec::ZERO; 2]);
        assert_eq!(count_of(Some(&State::Sums(Box::new(sums))), Some(100), 115), 1);
    }

    #[test]
    fn a_sliding_minimum_ends_with_its_event() {
        let mut profile = Profile::new("user_id:u1");
        let values = vec![Box::from([1_u8]), Box::from([2_u8])];
        profile.features.push((0, State::Values { times: vec![10, 20], values }));
        let of = |now: i64| picked(profile.state(0), Pick::Earliest, Some(100), now);
        assert_eq!([50, 110, 120].map(of), [Some(&[1_u8][..]), Some(&[2_u8][..]), None]);
    }
}

//! Periods that slide back from now: in which of them there was an event (`segops.core.features.periods`).

use std::collections::BTreeMap;

use crate::feature::Feature;
use crate::reduce::Reducer;
use crate::state::State;

/// The stages of a lifecycle as msgpack.
const NEW: &[u8] = b"\xa3new";
const ACTIVE: &[u8] = b"\xa6active";
const RESURRECTED: &[u8] = b"\xabresurrected";
const DORMANT: &[u8] = b"\xa7dormant";

/// So many periods of a length in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// The length.
    pub length: i64,
    /// The number.
    pub number: i64,
}

impl Feature {
    /// Add the time of an event, unless it decides nothing; return whether the state changes.
    pub fn mark(&self, state: &mut Option<State>, time: i64, now: i64) -> bool {
        let (keeps_first, number) =
            (self.reducer == Reducer::Lifecycle, if self.length > 0 { self.length } else { 2 * self.step });
        let times = match state {
            Some(State::Marks(times)) => &times[..],
            Some(_) => return false,
            None => &[],
        };
        let expired = now - number;
        let is_first = keeps_first && times.first().is_none_or(|first| time < *first);
        if time <= expired && !is_first {
            return false;
        }
        let State::Marks(times) = state.get_or_insert_with(|| State::Marks(vec![])) else {
            return false;
        };
        let begin = usize::from(keeps_first);
        let end = times.partition_point(|known| *known <= expired);
        times.drain(begin.min(end)..end);
        insert(times, time, self.step)
    }
}

/// Insert a time, unless it decides nothing; remove those beside it that no longer do.
fn insert(times: &mut Vec<i64>, time: i64, period: i64) -> bool {
    let at = times.partition_point(|known| *known < time);
    if at < times.len() && (times[at] == time || (at > 0 && times[at] - times[at - 1] <= period)) {
        return false;
    }
    times.insert(at, time);
    if at + 2 < times.len() && times[at + 2] - time <= period {
        times.remove(at + 1);
    }
    if at >= 2 && time - times[at - 2] <= period {
        times.remove(at - 1);
    }
    true
}

impl Periods {
    /// By the numbers of the periods with a time, 0 being the latest: how many times each has.
    fn occupied(self, times: &[i64], now: i64) -> BTreeMap<i64, usize> {
        let mut found = BTreeMap::new();
        for time in times {
            let number = (now - time).div_euclid(self.length);
            if number < self.number {
                *found.entry(number).or_insert(0) += 1;
            }
        }
        found
    }

    /// The number of periods with an event.
    pub fn count(self, times: &[i64], now: i64) -> i64 {
        self.occupied(times, now).len() as i64
    }

    /// When it next begins or ends, without another event, that `k` periods have an event.
    ///
    /// A period later, the same periods have one, each a number higher: so the number can only rise within one
    /// period from now, and when it falls below `k` follows from the k-th latest one, for each phase of that period.
    pub fn next_crossing(self, times: &[i64], k: usize, now: i64) -> Option<i64> {
        let mut occupied = self.occupied(times, now);
        let holds = occupied.len() >= k;
        let mut moves: Vec<(i64, i64)> = times
            .iter()
            .map(|time| (self.length - (now - time).rem_euclid(self.length), (now - time).div_euclid(self.length)))
            .collect();
        moves.sort_unstable();
        let mut ends: Vec<i64> = self.end(&occupied, holds, (k, now)).into_iter().collect();
        for group in moves.chunk_by(|one, other| one.0 == other.0) {
            for (_, number) in group.iter().filter(|(_, number)| *number < self.number) {
                self.step(&mut occupied, *number);
            }
            let at = now + group[0].0;
            if (occupied.len() >= k) != holds {
                return ends.into_iter().chain([at]).min();
            }
            ends.extend(self.end(&occupied, holds, (k, at)));
        }
        ends.into_iter().min()
    }

    /// When the k-th latest period with an event has passed the last one, in a phase that begins at an instant.
    fn end(self, occupied: &BTreeMap<i64, usize>, holds: bool, (k, at): (usize, i64)) -> Option<i64> {
        let kth = occupied.keys().nth(k.checked_sub(1)?).filter(|_| holds)?;
        Some(at + (self.number - kth) * self.length)
    }

    /// Move one time from a period to the one before it, unless that is beyond the last one.
    fn step(self, occupied: &mut BTreeMap<i64, usize>, number: i64) {
        if let Some(count) = occupied.get_mut(&number) {
            *count -= 1;
            if *count == 0 {
                occupied.remove(&number);
            }
        }
        if number + 1 < self.number {
            *occupied.entry(number + 1).or_insert(0) += 1;
        }
    }
}

/// The stage by the latest period of a length, the one before it, and all earlier time; None without an event.
pub fn stage(times: &[i64], period: i64, now: i64) -> Option<&'static [u8]> {
    let first = times.first()?;
    let has = |number| times.iter().any(|time| (now - time).div_euclid(period) == number);
    Some(match (has(0), has(1)) {
        (false, _) => DORMANT,
        (true, true) => ACTIVE,
        (true, false) if now - first < period => NEW,
        (true, false) => RESURRECTED,
    })
}

/// When the stage may change next.
pub fn next_stage(times: &[i64], period: i64, now: i64) -> Option<i64> {
    times.iter().flat_map(|time| [time + period, time + 2 * period]).filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_decide_nothing_are_not_kept() {
        let mut times = vec![];
        assert!(insert(&mut times, 10, 10) && insert(&mut times, 18, 10));
        assert!(!insert(&mut times, 15, 10));
        assert!(insert(&mut times, 20, 10)); // 18 is between two that are a period apart
        assert_eq!(times, [10, 20]);
    }

    #[test]
    fn a_number_of_periods_ends_when_one_of_them_has_passed() {
        let periods = Periods { length: 10, number: 3 };
        for (times, k) in [(vec![75, 82, 99], 2), (vec![71, 99], 2), (vec![75, 85, 95], 3), (vec![99], 2)] {
            let holds = |now| periods.count(&times, now) >= k;
            let expected = (101..200).find(|now| holds(*now) != holds(100));
            assert_eq!(periods.next_crossing(&times, k as usize, 100), expected, "{times:?}");
        }
    }

    #[test]
    fn stages_follow_from_two_periods() {
        let at = |now| stage(&[100, 109, 130], 10, now);
        assert_eq!(stage(&[100], 10, 109), Some(NEW));
        assert_eq!([at(131), at(140), at(141)], [Some(RESURRECTED), Some(DORMANT), Some(DORMANT)]);
        assert_eq!(stage(&[100, 109], 10, 110), Some(ACTIVE));
        assert_eq!(next_stage(&[100, 109], 10, 111), Some(119));
    }
}

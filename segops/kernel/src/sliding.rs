//! `within`: the oldest event leaves first (`segops.core.features.sliding`).

use crate::decimal::Dec;
use crate::feature::{beats, blob_of, Added, Feature};
use crate::reduce::{Pick, Reducer};
use crate::state::{Blob, State, Sums};
use crate::values::{scalar_of, Scalar};

impl Feature {
    /// Add an event that is in the window, of which all up to `expired` have left.
    pub fn slide(&self, state: &mut Option<State>, time: i64, added: &Added, expired: i64) -> bool {
        match state {
            None => {
                *state = Some(match self.reducer {
                    Reducer::SlideCount => State::Times(vec![time]),
                    Reducer::SlideSum => {
                        let mut sums = Sums::new();
                        add_sum(&mut sums, time, added, expired);
                        State::Sums(Box::new(sums))
                    }
                    _ => State::Values { times: vec![time], values: vec![blob_of(added)] },
                });
                true
            }
            Some(State::Times(times)) => self.insert_time(times, time, expired),
            Some(State::Sums(sums)) => {
                add_sum(sums, time, added, expired);
                true
            }
            Some(State::Values { times, values }) => {
                let gone = times.partition_point(|known| *known <= expired);
                times.drain(..gone);
                values.drain(..gone);
                self.insert_value(times, values, time, added)
            }
            Some(_) => false,
        }
    }

    fn insert_time(&self, times: &mut Vec<i64>, time: i64, expired: i64) -> bool {
        let gone = times.partition_point(|known| *known <= expired);
        times.drain(..gone);
        let at = times.partition_point(|known| *known <= time);
        let most = self.capacity.unwrap_or(usize::MAX);
        if at == 0 && times.len() >= most {
            return false;
        }
        times.insert(at, time);
        if times.len() > most {
            times.remove(0);
        }
        true
    }

    fn insert_value(&self, times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added) -> bool {
        let pick = match self.reducer {
            Reducer::SlidePick(pick) => pick,
            _ => return self.insert_distinct(times, values, time, added),
        };
        match pick {
            Pick::Min | Pick::Max => insert_extreme(times, values, time, added, pick == Pick::Min),
            Pick::Latest | Pick::Last => {
                if times.last().is_some_and(|last| time < *last) {
                    return false;
                }
                *times = vec![time];
                *values = vec![blob_of(added)];
                true
            }
            Pick::Earliest | Pick::First => {
                let at = times.partition_point(|known| *known <= time);
                times.insert(at, time);
                values.insert(at, blob_of(added));
                true
            }
        }
    }

    fn insert_distinct(&self, times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added) -> bool {
        let value = blob_of(added);
        if let Some(known) = values.iter().position(|each| *each == value) {
            if times[known] >= time {
                return false;
            }
            times.remove(known);
            values.remove(known);
        } else if self.capacity.is_some_and(|most| times.len() >= most) {
            if time < times[0] {
                return false;
            }
            times.remove(0);
            values.remove(0);
        }
        let at = times.partition_point(|known| *known <= time);
        times.insert(at, time);
        values.insert(at, value);
        true
    }
}

/// Keep only values that no later event beats: the oldest one is the extreme of the window.
fn insert_extreme(times: &mut Vec<i64>, values: &mut Vec<Blob>, time: i64, added: &Added, least: bool) -> bool {
    let Added::Number(number) = added else {
        return false;
    };
    let at = times.partition_point(|known| *known <= time);
    if at < times.len() && !beats(added, &values[at], least) {
        return false;
    }
    let value_beats = |stored: &[u8]| match scalar_of(stored) {
        Scalar::Num(known) => {
            let order = known.cmp_exact(*number);
            if least {
                order.is_lt()
            } else {
                order.is_gt()
            }
        }
        _ => false,
    };
    let mut begin = at;
    while begin > 0 && !value_beats(&values[begin - 1]) {
        begin -= 1;
    }
    times.splice(begin..at, [time]);
    values.splice(begin..at, [blob_of(added)]);
    true
}

fn add_sum(sums: &mut Sums, time: i64, added: &Added, expired: i64) {
    let gone = sums.times.partition_point(|known| *known <= expired);
    if gone > 0 {
        (sums.base_count, sums.base_total) = sums.upto(gone);
        sums.times.drain(..gone);
        sums.counts.drain(..gone);
        sums.totals.drain(..gone);
    }
    let number = match added {
        Added::Exact(number) => *number,
        _ => Dec::ZERO,
    };
    let at = sums.times.partition_point(|known| *known <= time);
    let (count, total) = sums.upto(at);
    sums.times.insert(at, time);
    sums.counts.insert(at, count + 1);
    sums.totals.insert(at, total.plus(number));
    for later in at + 1..sums.times.len() {
        sums.counts[later] += 1;
        sums.totals[later] = sums.totals[later].plus(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Asking, Nobody};
    use crate::test_tables;
    use crate::values::Num;

    fn feature(reducer: Reducer, capacity: Option<usize>) -> Feature {
        Feature { length: 10, capacity, ..test_tables::feature(reducer) }
    }

    #[test]
    fn a_count_keeps_the_latest_events() {
        let asking = Asking::new(Box::new(Nobody));
        let (count, mut state) = (feature(Reducer::SlideCount, Some(2)), None);
        for (time, changed) in [(95, true), (97, true), (96, true), (94, false), (90, false)] {
            assert_eq!(count.add(&mut state, time, &Added::Event, (100, &asking)), changed, "{time}");
        }
        assert_eq!(state, Some(State::Times(vec![96, 97])));
    }

    #[test]
    fn sums_are_cumulative_also_for_late_events() {
        let asking = Asking::new(Box::new(Nobody));
        let (sum, mut state) = (feature(Reducer::SlideSum, None), None);
        for (time, number) in [(95, 5), (99, 7), (97, 1)] {
            sum.add(&mut state, time, &Added::Exact(Dec::of_int(number)), (100, &asking));
        }
        let Some(State::Sums(sums)) = state else { panic!("no sums") };
        assert_eq!(sums.totals, [Dec::of_int(5), Dec::of_int(6), Dec::of_int(13)]);
        assert_eq!(sums.counts, [1, 2, 3]);
    }

    #[test]
    fn an_extreme_drops_what_it_beats() {
        let asking = Asking::new(Box::new(Nobody));
        let (least, mut state) = (feature(Reducer::SlidePick(Pick::Min), None), None);
        for (time, number, changed) in [(95, 5, true), (96, 7, true), (97, 6, true), (96, 9, false)] {
            assert_eq!(
                least.add(&mut state, time, &Added::Number(Num::Int(number)), (100, &asking)),
                changed,
                "{time}"
            );
        }
        let Some(State::Values { times, .. }) = state else { panic!("no values") };
        assert_eq!(times, [95, 97]);
    }

    #[test]
    fn distinct_values_are_limited() {
        let asking = Asking::new(Box::new(Nobody));
        let (distinct, mut state) = (feature(Reducer::RunDistinct, Some(2)), None);
        for (key, changed) in [("sb", true), ("sa", true), ("sb", false), ("sc", false)] {
            assert_eq!(distinct.add(&mut state, 1, &Added::Key(key.into()), (1, &asking)), changed, "{key}");
        }
        assert_eq!(state, Some(State::Keys { since: 0, keys: vec!["sa".into(), "sb".into()] }));
    }
}

//! How long a trait has satisfied a condition (`segops.core.rules.execution.leaves.held_since`).

use crate::condition::Condition;
use crate::state::{Blob, State};
use crate::view::View;

/// A leaf about the history of a trait.
#[derive(Debug)]
pub struct HasBeen {
    /// The feature that keeps it.
    pub feature: u32,
    /// The condition.
    pub test: Condition,
    /// So long, in milliseconds.
    pub length: i64,
}

const NULL: &[u8] = &[0xc0];

impl HasBeen {
    fn values<'v>(&self, view: View<'v>) -> (&'v [i64], &'v [Blob]) {
        match view.kept(self.feature) {
            Some(State::Values { times, values }) => (times, values),
            _ => (&[], &[]),
        }
    }

    /// Whether the trait has satisfied the condition for the length; None if an answer fails.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        Some(self.since(view, now)?.is_some_and(|since| now - since >= self.length))
    }

    /// The earliest instant after `now` at which that may change; None if an answer fails.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let begun = self.since(view, now)?.map(|since| since + self.length);
        let of_value = match self.values(view).1.last() {
            Some(value) => self.test.next_edge(Some(value), now, view.asking)?,
            None => None,
        };
        Some(begun.into_iter().chain(of_value).filter(|at| *at > now).min())
    }

    /// Since when the condition has held up to `now`; None in it if it does not. None if an answer fails.
    ///
    /// Before the first event nothing holds; from then until its first value the trait is missing.
    fn since(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let Some(first) = view.profile.first else {
            return Some(None);
        };
        let (times, values) = self.values(view);
        let rows = times.iter().copied().zip(values.iter().map(|value| &**value)).rev();
        let (mut begun, mut until) = (None, now + 1);
        for (time, value) in rows.chain([(first, NULL)]) {
            if time >= until {
                continue;
            }
            let begin = time.max(now - self.length);
            let Some(unbroken) = self.unbroken(view, value, (begin, until))? else {
                return Some(begun);
            };
            (begun, until) = (Some(unbroken), time);
            if unbroken > begin || unbroken <= now - self.length {
                return Some(begun);
            }
        }
        Some(begun)
    }

    /// Since when, in `begin..until`, a value satisfies the condition to the end.
    fn unbroken(&self, view: View<'_>, value: &[u8], (begin, until): (i64, i64)) -> Option<Option<i64>> {
        let holds = |at| self.test.holds(Some(value), at, view.asking);
        let edge = |at| self.test.next_edge(Some(value), at, view.asking);
        let mut since = holds(begin)?.then_some(begin);
        let mut at = edge(begin)?;
        while let Some(now) = at.filter(|at| *at < until) {
            since = if holds(now)? { since.or(Some(now)) } else { None };
            at = edge(now)?;
        }
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ask::{Asking, Nobody};
    use crate::msgpack::Reader;
    use crate::profile::Profile;

    #[test]
    fn a_value_counts_since_it_was_set() {
        let (asking, failed) = (Asking::new(Box::new(Nobody)), Cell::new(false));
        let mut profile = Profile::new("user_id:u");
        profile.first = Some(0);
        let values = vec![Box::from([0x01_u8]), Box::from([0x02_u8])];
        profile.features.push((0, State::Values { times: vec![10, 20], values }));
        let view = View { profile: &profile, asking: &asking, failed: &failed, refreshed: i64::MAX };
        let exists = [0x91, 0x92, 0xa6, b'e', b'x', b'i', b's', b't', b's', 0xc3];
        let Some(test) = Condition::read(&mut Reader::new(&exists)) else { panic!("unreadable") };
        let leaf = HasBeen { feature: 0, test, length: 30 };
        assert_eq!((leaf.holds(view, 39), leaf.holds(view, 40)), (Some(false), Some(true)));
        assert_eq!(leaf.next_edge(view, 25), Some(Some(40)));
    }
}

//! Timers: the index of changed profiles by due time, and the firing of what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::engine::{Engine, Why};
use crate::evaluate::Changes;
use crate::partition::{Group, Partition};
use crate::slots::Content;

/// Due times in milliseconds with the profiles, the earliest first.
type Overlay = BinaryHeap<Reverse<(i64, Box<str>)>>;

/// What became of a timer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fired {
    /// The profile is not here.
    Absent,
    /// It is not due.
    Early,
    /// It was so late, in milliseconds.
    Late(i64),
    /// Python has to fire it.
    Python(Why),
}

/// What became of a slice of timers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// How many profiles were done.
    pub done: usize,
    /// How late each timer was that fired, in order, in milliseconds.
    pub late: Vec<i64>,
    /// Why the next profile is Python's; None: the kernel does not have it, or there is none.
    pub why: Option<Why>,
}

impl Partition {
    /// Fire what is due of profiles by an instant in milliseconds, in their order, up to the first that is Python's.
    pub fn fire_all<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>, now: i64) -> Slice {
        let mut slice = Slice::default();
        for id in ids {
            match self.fire(id, now) {
                Fired::Late(late) => slice.late.push(late),
                Fired::Early => {}
                Fired::Absent => return slice,
                Fired::Python(why) => return Slice { why: Some(why), ..slice },
            }
            slice.done += 1;
        }
        slice
    }

    /// Fire what is due of a profile by an instant in milliseconds.
    pub fn fire(&mut self, id: &str, now: i64) -> Fired {
        let Some(number) = self.found(id) else {
            return Fired::Absent;
        };
        let due = match &self.slots[number].content {
            Content::Free | Content::Away => return Fired::Absent,
            _ => self.due(number).filter(|due| *due <= now),
        };
        let Some(due) = due else {
            return Fired::Early;
        };
        if let Err(why) = self.open(number) {
            return Fired::Python(why);
        }
        self.settle(number);
        let tables = Arc::clone(&self.tables);
        let Content::Native(profile) = &mut self.slots[number].content else {
            return Fired::Absent;
        };
        let mut changes = Changes::new();
        if let Err(why) = (Engine { tables: &tables }).on_timer(profile, now, &mut changes) {
            return Fired::Python(why);
        }
        self.touch(number, false);
        if !changes.is_empty() {
            self.groups.push(Group { profile: id.into(), arrived: None, clock: now, changes });
        }
        Fired::Late(now - due)
    }

    /// The earliest changed profile that may be due by an instant in milliseconds.
    pub fn next_due(&self, until: i64) -> Option<(i64, &str)> {
        let Reverse((due, id)) = self.overlay.peek()?;
        (*due <= until).then_some((*due, id))
    }

    /// Take it from the index.
    pub fn pop_due(&mut self) {
        self.overlay.pop();
    }

    /// Take at most `limit` changed profiles that may be due by an instant in milliseconds, the earliest first.
    ///
    /// Those after `before`, the due time and id of another index, stay.
    pub fn take_due(&mut self, until: i64, limit: usize, before: Option<(i64, &str)>) -> Vec<(i64, Box<str>)> {
        take_first(&mut self.overlay, until, limit, before)
    }
}

fn take_first(overlay: &mut Overlay, until: i64, limit: usize, before: Option<(i64, &str)>) -> Vec<(i64, Box<str>)> {
    let mut found = vec![];
    while found.len() < limit {
        let Some(Reverse((due, id))) = overlay.peek() else {
            break;
        };
        if *due > until || before.is_some_and(|before| before < (*due, &**id)) {
            break;
        }
        found.extend(overlay.pop().map(|Reverse(one)| one));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_profiles_are_taken_up_to_those_of_another_index() {
        let mut overlay = Overlay::new();
        for (due, id) in [(3, "c"), (1, "a"), (2, "b"), (2, "d")] {
            overlay.push(Reverse((due, id.into())));
        }
        let ids = |found: Vec<(i64, Box<str>)>| found.into_iter().map(|(_, id)| String::from(id)).collect::<Vec<_>>();
        assert_eq!(ids(take_first(&mut overlay, 3, 9, Some((2, "c")))), ["a", "b"]);
        assert_eq!(ids(take_first(&mut overlay, 2, 9, None)), ["d"]);
        assert_eq!(ids(take_first(&mut overlay, 9, 0, None)), [""; 0]);
    }
}

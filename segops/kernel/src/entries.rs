//! `between`, and most frequent values: every event that may still count is kept (`segops.core.features.scanning`).

use crate::ask::Asking;
use crate::feature::{blob_of, Added, Feature, MAX_ENTRIES, MAX_MS};
use crate::msgpack::{Reader, Writer};
use crate::reduce::{Kept, Reducer};
use crate::since::Entry;
use crate::state::State;

impl Feature {
    /// Add an event of a time, at an instant, unless it can never count; what has left the window is forgotten.
    pub fn add_entry(
        &self,
        state: &mut Option<State>,
        time: i64,
        added: &Added,
        (now, asking): (i64, &Asking),
    ) -> bool {
        let after = self.after(now, asking);
        if time <= after || self.until.is_some_and(|until| time >= until) {
            return false;
        }
        let State::Entries(entries) = state.get_or_insert_with(|| State::Entries(vec![])) else {
            return false;
        };
        entries.drain(..entries.partition_point(|entry| entry.time <= after));
        let at = entries.partition_point(|entry| entry.time <= time);
        entries.insert(at, Entry { time, value: blob_of(added), key: None });
        if self.reducer == Reducer::Scan(Kept::List) && entries.len() > MAX_ENTRIES {
            entries.remove(0);
        }
        true
    }

    /// The last time in milliseconds that no longer counts at an instant, nor later.
    pub fn after(&self, now: i64, asking: &Asking) -> i64 {
        match self.calendar {
            Some(calendar) => asking.period(calendar, now).0 - 1,
            None if self.length > 0 => now - self.length,
            None => self.since.map_or(-MAX_MS, |since| since - 1),
        }
    }
}

/// Read entries after the tag of their state; None if they have values that change with time.
pub fn read(reader: &mut Reader<'_>) -> Option<Vec<Entry>> {
    reader.list(Entry::read).filter(|entries| entries.iter().all(|entry| entry.key.is_none()))
}

/// Append a state of entries with its tag.
pub fn write(entries: &[Entry], out: &mut Writer) {
    out.array(2);
    out.int(7);
    out.array(entries.len());
    entries.iter().for_each(|entry| entry.write(out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Nobody;
    use crate::test_tables::feature;

    #[test]
    fn events_are_kept_until_they_have_left() {
        let asking = Asking::new(Box::new(Nobody));
        let (count, mut state) = (Feature { length: 30, ..feature(Reducer::Scan(Kept::Value)) }, None);
        for (time, now, changed) in [(75, 100, true), (71, 100, true), (70, 100, false), (99, 102, true)] {
            assert_eq!(count.add_entry(&mut state, time, &Added::Event, (now, &asking)), changed, "{time}");
        }
        let Some(State::Entries(entries)) = &state else { panic!("no entries") };
        assert_eq!(entries.iter().map(|entry| entry.time).collect::<Vec<_>>(), [75, 99]);
        let mut out = Writer::default();
        write(entries, &mut out);
        assert_eq!(State::read(&out.0), state);
    }
}

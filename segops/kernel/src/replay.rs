//! A replay of lines (`segops.replay`): one clock, and messages between profiles that arrive at once.
//!
//! Python does a line that the kernel leaves, and the messages of one that it has begun.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::change::change_id;
use crate::deliver::Letter;
use crate::engine::Why;
use crate::event::Event;
use crate::json::{Odd, Val};
use crate::partition::{Partition, Record};
use crate::publish::value;
use crate::route::{Routed, Rules};
use crate::survey::Survey;
use crate::timers::Fired;
use crate::values::Num;

/// Where a line is among others: the index of its first byte, and the number of lines before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index.
    pub at: usize,
    /// The number.
    pub number: usize,
}

/// A line that was applied and that Python has to survey.
#[derive(Debug, PartialEq, Eq)]
pub struct Observed {
    /// Where it is.
    pub place: Place,
    /// Where it ends, without its line feed.
    pub end: usize,
}

/// Why the kernel stopped before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The next event is not earlier than Python's next instant.
    Instant,
    /// The next line, or a timer that is due before it, is Python's.
    Line(Why),
    /// The messages in `pending`, of the line before, are Python's.
    Messages(Why),
}

/// Events and clamped ones since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Those ahead of the wall clock, or of their receiver.
    pub clamped: u64,
}

/// A replay over the profiles of a partition, whose clock is the latest time.
pub struct Replay {
    rules: Arc<Rules>,
    survey: Survey,
    /// The wall clock in milliseconds.
    wall: i64,
    offset: i64,
    /// Messages that Python has to deliver, in order.
    pub pending: VecDeque<Vec<u8>>,
    /// Lines to be surveyed, in order.
    pub observed: Vec<Observed>,
    /// Counts.
    pub counts: Counts,
}

impl Replay {
    /// A replay that has seen nothing; `wall` is in milliseconds.
    pub fn new(rules: Arc<Rules>, survey: Survey, wall: i64) -> Replay {
        Replay { rules, survey, wall, offset: 0, pending: VecDeque::new(), observed: vec![], counts: Counts::default() }
    }

    /// Apply lines from a place on, as long as their events are before an instant in milliseconds.
    ///
    /// Returns the place of the first line that was not applied, or the end, and why it stopped.
    /// `all`: each line is to be surveyed. One whose messages are Python's is, in any case.
    pub fn feed(
        &mut self,
        partition: &mut Partition,
        text: &[u8],
        from: Place,
        before: Option<i64>,
        all: bool,
    ) -> (Place, Option<Left>) {
        let mut place = from;
        while let Some(rest) = text.get(place.at..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let line = trimmed(&rest[..length]);
            let next = Place { at: (place.at + length + 1).min(text.len()), number: place.number + 1 };
            if !line.iter().all(is_blank) {
                let now = partition.clock.now;
                let is_new = match self.line(partition, line, next.number, before) {
                    Ok(done) => done,
                    Err(left) => {
                        partition.clock.now = now; // its timers have fired, but the line is still to come
                        return (place, Some(left));
                    }
                };
                let delivered = self.deliver(partition);
                if is_new || all || delivered.is_err() {
                    self.observed.push(Observed { place, end: place.at + line.len() });
                }
                if let Err(why) = delivered {
                    return (next, Some(Left::Messages(why)));
                }
            }
            place = next;
        }
        (place, None)
    }

    /// Apply a line; return whether Python has to survey it.
    fn line(
        &mut self,
        partition: &mut Partition,
        line: &[u8],
        number: usize,
        before: Option<i64>,
    ) -> Result<bool, Left> {
        let tables = Arc::clone(&partition.tables);
        let event = Event::decode(line, &tables.limits).map_err(|odd| Left::Line(odd.into()))?;
        let routed = self.routed(&event, line.len()).map_err(|odd| Left::Line(odd.into()))?;
        if before.is_some_and(|before| routed.time >= before) {
            return Err(Left::Instant);
        }
        advance(partition, routed.time).map_err(Left::Line)?;
        let record = Record {
            offset: self.offset,
            timestamp: routed.time,
            key: &routed.profile,
            value: line,
            source: &format!("line:{number}"),
            source_number: 0,
            time: routed.time,
        };
        partition.apply(&record, 0).map_err(Left::Line)?;
        self.offset += 1;
        self.counts.events += 1;
        self.counts.clamped += u64::from(routed.clamped);
        Ok(self.survey.needs(&event))
    }

    /// The profile and the time. Odd: Python has to read the event, or to count a part that it repairs.
    fn routed(&self, event: &Event<'_>, size: usize) -> Result<Routed, Odd> {
        let is_plain = match event.extras[3] {
            None | Some(Val::Null | Val::Str(_)) => true,
            Some(Val::Num(Num::Int(_))) => true,
            Some(_) => false, // a previousId that identifies nothing
        };
        if !is_plain || size > self.rules.max_bytes {
            return Err(Odd);
        }
        self.rules.of(event, self.wall, None)
    }

    /// Deliver messages until there are none; Err: the first one in `pending` is Python's.
    fn deliver(&mut self, partition: &mut Partition) -> Result<(), Why> {
        let mut sent: VecDeque<_> = std::mem::take(&mut partition.sent).into();
        while let Some(message) = sent.pop_front() {
            let letter = Letter { offset: self.offset, timestamp: 0, key: &message.to, value: &message.value };
            if let Err(why) = partition.deliver(letter, 0) {
                sent.push_front(message);
                self.pending = sent.into_iter().map(|each| each.value).collect();
                return Err(why);
            }
            self.offset += 1;
            sent.extend(std::mem::take(&mut partition.sent));
        }
        partition.waits.clear();
        partition.created.clear();
        Ok(())
    }
}

/// Advance the clock, never back, and fire what is due, each profile at its own instant; Err: Python has to.
fn advance(partition: &mut Partition, time: i64) -> Result<(), Why> {
    partition.clock.now = partition.clock.now.max(time);
    while let Some((due, id)) = partition.next_due(partition.clock.now) {
        let id: Box<str> = id.into();
        if let Fired::Python(why) = partition.fire(&id, due) {
            return Err(why);
        }
        partition.pop_due(); // what is due later was pushed behind it
    }
    Ok(())
}

fn trimmed(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Take the changes as lines of JSON, each stamped with its instant; beside them, how segments grow or shrink.
pub fn take_lines(partition: &mut Partition) -> (String, BTreeMap<u32, i64>) {
    let (mut lines, mut sizes) = (String::new(), BTreeMap::new());
    for group in std::mem::take(&mut partition.groups) {
        for change in &group.changes {
            let segment = partition.segment(change.segment);
            let id = change_id(&group.profile, &segment.key, change.sequence);
            lines.push_str(&value(&group, change, (&segment.key, segment.version), &id, change.at));
            lines.push('\n');
            *sizes.entry(change.segment).or_default() += if change.member { 1 } else { -1 };
        }
    }
    (lines, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::test_tables::tables;

    fn replay() -> (Replay, Partition) {
        let rules =
            Rules { limits: Limits::default(), order: vec![2], max_bytes: 1_000, max_ahead: 0, min_skew: 10_000 };
        (Replay::new(Arc::new(rules), Survey::default(), 1 << 50), Partition::new(Arc::new(tables(&[]))))
    }

    fn line(user: &str, second: u32) -> String {
        format!(r#"{{"type":"track","event":"A","userId":"{user}","timestamp":"1970-01-01T00:00:{second:02}Z"}}"#)
    }

    #[test]
    fn lines_are_applied_up_to_the_first_that_is_left() {
        let (mut replay, mut partition) = replay();
        let text = format!("{}\r\n \r\n{}\n{{oops\n{}", line("u", 1), line("v", 2), line("w", 3));
        let (place, left) = replay.feed(&mut partition, text.as_bytes(), Place { at: 0, number: 0 }, None, false);
        assert_eq!((place.number, left), (3, Some(Left::Line(Why::Event))));
        assert!(text[place.at..].starts_with("{oops"));
        let rest = Place { at: place.at + 6, number: 4 };
        assert_eq!(replay.feed(&mut partition, text.as_bytes(), rest, None, false).1, None);
        assert_eq!((partition.len(), replay.counts.events), (3, 3));
        let numbers: Vec<usize> = replay.observed.iter().map(|each| each.place.number).collect();
        assert_eq!(numbers, [0]);
    }

    #[test]
    fn an_event_at_the_next_instant_of_python_is_left() {
        let (mut replay, mut partition) = replay();
        let text = format!("{}\n{}\n", line("u", 1), line("v", 2));
        let (place, left) = replay.feed(&mut partition, text.as_bytes(), Place { at: 0, number: 0 }, Some(2_000), true);
        assert_eq!((place.number, left, partition.len()), (1, Some(Left::Instant), 1));
    }
}

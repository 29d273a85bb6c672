//! Sessions: runs of events, each less than a gap after the one before it (`segops.core.features.sessions`).

use crate::ask::Asking;
use crate::feature::{blob_of, Added, Feature, MAX_ENTRIES};
use crate::msgpack::{Reader, Writer};
use crate::reduce::Reducer;
use crate::state::{Blob, State};

/// So many latest sessions are kept where only the current or the last one is read.
const MAX_SESSIONS: usize = 16;

/// A value of an event as msgpack, and its time.
pub type Timed = Option<(i64, Blob)>;

/// One session: the times of its first and last event in milliseconds, and the number of its events.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The time of its first event.
    pub begin: i64,
    /// The time of its last event.
    pub end: i64,
    /// The number of its events.
    pub events: i64,
    /// The first value of the property that is read.
    pub first: Timed,
    /// The last value of the property that is read.
    pub last: Timed,
}

/// Sessions, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Whether their numbers of events are read, so that messages note what they add.
    pub is_recent: bool,
}

impl Session {
    fn of(time: i64, added: &Added) -> Session {
        let value = match added {
            Added::Value(_) => Some((time, blob_of(added))),
            _ => None,
        };
        Session { begin: time, end: time, events: 1, first: value.clone(), last: value }
    }

    /// Take in a later one, or (with `is_event`) an event that has arrived now.
    fn join(&mut self, other: Session, is_event: bool) {
        self.begin = self.begin.min(other.begin);
        self.end = self.end.max(other.end);
        self.events += other.events;
        let time = |value: &Timed| value.as_ref().map(|(time, _)| *time);
        if other.first.is_some() && time(&self.first).is_none_or(|known| time(&other.first) < Some(known)) {
            self.first = other.first;
        }
        let is_later = match (time(&self.last), time(&other.last)) {
            (Some(known), Some(time)) => time > known || (is_event && time == known),
            (None, time) => time.is_some(),
            _ => false,
        };
        if is_later {
            self.last = other.last;
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Session> {
        reader.array().filter(|fields| *fields == 5)?;
        let (begin, end, events) = (reader.int()?, reader.int()?, reader.int()?);
        Some(Session { begin, end, events, first: read_timed(reader)?, last: read_timed(reader)? })
    }

    fn write(&self, out: &mut Writer) {
        out.array(5);
        out.int(self.begin);
        out.int(self.end);
        out.int(self.events);
        write_timed(&self.first, out);
        write_timed(&self.last, out);
    }
}

fn read_timed(reader: &mut Reader<'_>) -> Option<Timed> {
    if reader.nil() {
        return Some(None);
    }
    reader.array().filter(|fields| *fields == 2)?;
    Some(Some((reader.int()?, reader.raw()?.into())))
}

fn write_timed(value: &Timed, out: &mut Writer) {
    match value {
        Some((time, value)) => {
            out.array(2);
            out.int(*time);
            out.raw(value);
        }
        None => out.nil(),
    }
}

impl Sessions {
    /// Read a state after its tag.
    pub fn read(reader: &mut Reader<'_>, is_recent: bool) -> Option<Sessions> {
        Some(Sessions { sessions: reader.list(Session::read)?, is_recent })
    }

    /// Append the state with its tag.
    pub fn write(&self, out: &mut Writer) {
        out.array(2);
        out.int(if self.is_recent { 27 } else { 25 });
        out.array(self.sessions.len());
        self.sessions.iter().for_each(|session| session.write(out));
    }

    /// Add a session of one event, and forget the oldest ones beyond the limit.
    fn insert(&mut self, event: Session, gap: i64) {
        let sessions = &mut self.sessions;
        let begin = sessions.partition_point(|session| session.end <= event.begin - gap);
        let end = sessions.partition_point(|session| session.begin < event.begin + gap).max(begin);
        let mut near = sessions.splice(begin..end, []).collect::<Vec<_>>().into_iter();
        let joined = match near.next() {
            Some(mut session) => {
                near.for_each(|later| session.join(later, false));
                session.join(event, true);
                session
            }
            None => event,
        };
        sessions.insert(begin, joined);
        let most = if self.is_recent { MAX_SESSIONS } else { MAX_ENTRIES };
        let over = sessions.len().saturating_sub(most);
        sessions.drain(..over);
    }
}

impl Feature {
    /// Add an event to its session, unless none of the sessions that count can have it.
    pub fn add_session(&self, state: &mut Option<State>, time: i64, added: &Added, at: (i64, &Asking)) -> bool {
        let is_recent = self.reducer == Reducer::Session;
        let expired = if is_recent { i64::MIN } else { self.after(at.0, at.1) - self.step };
        if time <= expired || self.until.is_some_and(|until| time >= until) {
            return false;
        }
        let empty = || State::Sessions(Sessions { sessions: vec![], is_recent });
        let State::Sessions(found) = state.get_or_insert_with(empty) else {
            return false;
        };
        found.sessions.drain(..found.sessions.partition_point(|session| session.end <= expired));
        found.insert(Session::of(time, added), self.step);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Nobody;
    use crate::test_tables::feature;

    #[test]
    fn an_event_joins_the_sessions_beside_it() {
        let asking = Asking::new(Box::new(Nobody));
        let (latest, mut state) = (Feature { step: 10, ..feature(Reducer::Session) }, None);
        for (time, value) in [(100, 1_u8), (115, 2), (107, 3), (140, 4)] {
            let added = Added::Value(Box::new([value]));
            assert!(latest.add_session(&mut state, time, &added, (140, &asking)));
        }
        let Some(State::Sessions(found)) = &state else { panic!("no sessions") };
        let spans: Vec<_> = found.sessions.iter().map(|each| (each.begin, each.end, each.events)).collect();
        assert_eq!(spans, [(100, 115, 3), (140, 140, 1)]);
        let one = |value: u8| Box::from([value]);
        assert_eq!(found.sessions[0].first, Some((100, one(1))));
        assert_eq!(found.sessions[0].last, Some((115, one(2))));
        let mut out = Writer::default();
        found.write(&mut out);
        assert_eq!(State::read(&out.0), state);
    }

    #[test]
    fn of_values_of_one_time_the_event_that_arrives_is_the_last() {
        let (mut session, other) = (Session::of(5, &Added::Value(Box::new([1]))), Session::of(5, &Added::Event));
        session.join(other, true);
        assert_eq!((&session.first, session.events), (&session.last, 2));
        session.join(Session::of(5, &Added::Value(Box::new([2]))), true);
        assert_eq!(session.first, Some((5, Box::from([1]))));
        assert_eq!(session.last, Some((5, Box::from([2]))));
    }
}

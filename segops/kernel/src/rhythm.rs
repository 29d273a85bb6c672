//! Figures of sessions and of periods (`segops.core.rules.execution.rhythm`).

use crate::msgpack::Reader;
use crate::periods::{next_stage, stage, Periods};
use crate::series::Value;
use crate::sessions::{Session, Timed};
use crate::state::State;
use crate::view::{View, Window};

/// A figure of the rhythm of events. Lengths are in milliseconds.
#[derive(Debug)]
pub enum Rhythm {
    /// The number of sessions that begin in a window; in a fixed one from a time on, before another time.
    Sessions(Window, Option<i64>, Option<i64>),
    /// A part of the current session, or of the last one that has ended, by the gap after which it ends.
    Session(bool, Part, i64),
    /// The number of periods with an event; it is read again where it crosses a number.
    Periods(Periods, usize),
    /// The stage of a lifecycle, by the length of its periods.
    Stage(i64),
}

/// What is read of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the first event to the last one, in milliseconds.
    Duration,
    /// The number of events.
    Events,
    /// The first value.
    First,
    /// The last value.
    Last,
}

impl Rhythm {
    /// Read what `segops.kernel.rhythm` has written.
    pub fn read(name: &str, reader: &mut Reader<'_>) -> Option<Rhythm> {
        Some(match name {
            "sessions" => Rhythm::Sessions(Window::read(reader)?, reader.opt_int()?, reader.opt_int()?),
            "session" => {
                let is_current = reader.bool()?;
                let part = match reader.str()? {
                    "duration" => Part::Duration,
                    "events" => Part::Events,
                    "first" => Part::First,
                    "last" => Part::Last,
                    _ => return None,
                };
                Rhythm::Session(is_current, part, reader.int()?)
            }
            "periods" => Rhythm::Periods(Periods { length: reader.int()?, number: reader.int()? }, reader.size()?),
            "stage" => Rhythm::Stage(reader.int()?),
            _ => return None,
        })
    }

    /// The value at an instant.
    pub fn value<'v>(&self, view: View<'v>, state: Option<&'v State>, now: i64) -> Value<'v> {
        match (self, state) {
            (Rhythm::Sessions(..), Some(State::Sessions(found))) => {
                let (after, upto) = self.span(view, now);
                let begun = |time| found.sessions.partition_point(|session| session.begin <= time) as i64;
                Value::Count(begun(upto) - begun(after))
            }
            (Rhythm::Session(is_current, part, gap), Some(State::Sessions(found))) => {
                latest(&found.sessions, *is_current, *gap, now)
                    .map_or(Value::Missing, |session| part_of(session, *part))
            }
            (Rhythm::Periods(periods, _), Some(State::Marks(times))) => Value::Count(periods.count(times, now)),
            (Rhythm::Stage(period), Some(State::Marks(times))) => {
                stage(times, *period, now).map_or(Value::Missing, Value::Raw)
            }
            (Rhythm::Sessions(..) | Rhythm::Periods(..), _) => Value::Count(0),
            (Rhythm::Session(..) | Rhythm::Stage(_), _) => Value::Missing,
        }
    }

    /// The first later instant at which the value may differ as a rule can see.
    pub fn next(&self, view: View<'_>, state: Option<&State>, now: i64) -> Option<i64> {
        match (self, state?) {
            (Rhythm::Sessions(window, ..), State::Sessions(found)) => {
                let next = |age: i64| {
                    let at = found.sessions.partition_point(|session| session.begin <= now - age);
                    found.sessions.get(at).map(|session| session.begin + age)
                };
                match *window {
                    Window::Fixed => None,
                    Window::Sliding(length) => next(length),
                    Window::Between(from, to) => next(to).into_iter().chain(next(from)).min(),
                    Window::Calendar(calendar) => {
                        let (begin, end) = view.asking.period(calendar, now);
                        found.sessions.last().filter(|session| session.begin >= begin).map(|_| end)
                    }
                }
            }
            (Rhythm::Session(_, _, gap), State::Sessions(found)) => {
                found.sessions.last().map(|session| session.end + gap).filter(|at| *at > now)
            }
            (Rhythm::Periods(periods, k), State::Marks(times)) => periods.next_crossing(times, *k, now),
            (Rhythm::Stage(period), State::Marks(times)) => next_stage(times, *period, now),
            _ => None,
        }
    }

    fn span(&self, view: View<'_>, now: i64) -> (i64, i64) {
        match self {
            Rhythm::Sessions(Window::Fixed, since, until) => {
                (since.map_or(i64::MIN, |since| since - 1), until.map_or(now, |until| now.min(until - 1)))
            }
            Rhythm::Sessions(window, ..) => window.span(view.asking, now),
            _ => (now, now),
        }
    }
}

/// The current session, or the last one that has ended.
fn latest(sessions: &[Session], is_current: bool, gap: i64, now: i64) -> Option<&Session> {
    let (newest, earlier) = sessions.split_last()?;
    match (now >= newest.end + gap, is_current) {
        (true, true) => None,
        (true, false) | (false, true) => Some(newest),
        (false, false) => earlier.last(),
    }
}

fn part_of(session: &Session, part: Part) -> Value<'_> {
    fn of(value: &Timed) -> Value<'_> {
        value.as_ref().map_or(Value::Missing, |(_, value)| Value::Raw(value))
    }
    match part {
        Part::Duration => Value::Count(session.end - session.begin),
        Part::Events => Value::Count(session.events),
        Part::First => of(&session.first),
        Part::Last => of(&session.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_a_gap_after_its_last_event() {
        let session = |begin, end| Session { begin, end, events: 2, first: None, last: None };
        let sessions = [session(10, 20), session(40, 45)];
        let begin = |is_current, now| latest(&sessions, is_current, 10, now).map(|session| session.begin);
        assert_eq!([begin(true, 54), begin(false, 54)], [Some(40), Some(10)]);
        assert_eq!([begin(true, 55), begin(false, 55)], [None, Some(40)]);
        assert_eq!(part_of(&sessions[0], Part::Duration), Value::Count(10));
        assert_eq!(part_of(&sessions[0], Part::First), Value::Missing);
    }
}

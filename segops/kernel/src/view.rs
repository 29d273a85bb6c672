//! What rules read of a profile at an instant.

use std::cell::Cell;

use crate::ask::Asking;
use crate::msgpack::{Kind, Reader};
use crate::profile::Profile;
use crate::state::State;

/// The events that count at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Those of a fixed time, or all.
    Fixed,
    /// Those of a length in milliseconds up to now.
    Sliding(i64),
    /// Those of a calendar's current period.
    Calendar(u32),
    /// Those between two ages in milliseconds: younger than the first, and at least as old as the second.
    Between(i64, i64),
}

impl Window {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Window> {
        Some(match reader.kind()? {
            Kind::Nil => reader.nil().then_some(Window::Fixed)?,
            Kind::Int => Window::Sliding(reader.int()?),
            _ => match *reader.list(Reader::int)? {
                [from, to] => Window::Between(from, to),
                [calendar] => Window::Calendar(u32::try_from(calendar).ok()?),
                _ => return None,
            },
        })
    }

    /// The times that count at an instant: those after the first one, up to the second one.
    pub fn span(self, asking: &Asking, now: i64) -> (i64, i64) {
        match self {
            Window::Fixed => (i64::MIN, now),
            Window::Sliding(length) => (now - length, now),
            Window::Calendar(calendar) => (asking.period(calendar, now).0 - 1, now),
            Window::Between(from, to) => (now - from, now - to),
        }
    }

    /// The length of a sliding window.
    pub fn length(self) -> Option<i64> {
        match self {
            Window::Sliding(length) => Some(length),
            _ => None,
        }
    }
}

/// What rules read: a profile, and Python's answers.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// The profile.
    pub profile: &'v Profile,
    /// What answers questions.
    pub asking: &'v Asking,
    /// Whether an answer failed: the verdict means nothing then.
    pub failed: &'v Cell<bool>,
    /// The refresh as of which frozen features are read, in milliseconds.
    pub refreshed: i64,
}

impl<'v> View<'v> {
    /// The state of a feature; of a frozen one, that as of the refresh.
    pub fn kept(self, feature: u32) -> Option<&'v State> {
        match self.profile.state(feature)? {
            State::Frozen(frozen) => frozen.as_of(self.refreshed),
            state => Some(state),
        }
    }

    /// The state of a feature, unless it is of an earlier period.
    pub fn state(self, feature: u32, window: Window, now: i64) -> Option<&'v State> {
        let state = self.kept(feature)?;
        match window {
            Window::Calendar(calendar) => {
                let (begin, _) = self.asking.period(calendar, now);
                Some(state).filter(|state| state.since() == Some(begin))
            }
            _ => Some(state),
        }
    }

    /// When the current period of a calendar, of which there is a state, ends.
    pub fn period_end(self, feature: u32, window: Window, now: i64) -> Option<i64> {
        let Window::Calendar(calendar) = window else {
            return None;
        };
        self.state(feature, window, now)?;
        Some(self.asking.period(calendar, now).1)
    }

    /// An answer; what stands for one that failed means nothing.
    pub fn answered<T: Default>(self, answer: Option<T>) -> T {
        if answer.is_none() {
            self.failed.set(true);
        }
        answer.unwrap_or_default()
    }
}

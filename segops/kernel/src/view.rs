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
}

impl Window {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Window> {
        Some(match reader.kind()? {
            Kind::Nil => reader.nil().then_some(Window::Fixed)?,
            Kind::Int => Window::Sliding(reader.int()?),
            _ => Window::Calendar(u32::try_from(*reader.list(Reader::wide)?.first()?).ok()?),
        })
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
}

impl<'v> View<'v> {
    /// The state of a feature, unless it is of an earlier period.
    pub fn state(self, feature: u32, window: Window, now: i64) -> Option<&'v State> {
        let state = self.profile.state(feature)?;
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

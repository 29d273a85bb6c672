//! Frozen features and leaves: read at the latest refresh, of the events that had arrived before it
//! (`segops.core.features.frozen`, `segops.core.rules.execution.frozen`).

use crate::ask::Asking;
use crate::feature::{Added, Feature};
use crate::msgpack::{Reader, Writer};
use crate::profile::Profile;
use crate::rule::Node;
use crate::state::State;
use crate::view::View;

/// The state of a feature now, and as of the refresh before its latest event.
#[derive(Clone, Debug, PartialEq)]
pub struct Frozen {
    /// The latest refresh at the time of that event, in milliseconds.
    pub refreshed: i64,
    /// The state as of that refresh.
    pub base: Option<State>,
    /// The state now.
    pub live: Option<State>,
}

impl Frozen {
    /// The state as of a refresh, the latest one at a reading.
    pub fn as_of(&self, refreshed: i64) -> Option<&State> {
        if self.refreshed >= refreshed {
            self.base.as_ref()
        } else {
            self.live.as_ref()
        }
    }

    /// Both states.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.base.iter().chain(&self.live)
    }

    /// Read a state after its tag.
    pub fn read(reader: &mut Reader<'_>) -> Option<Frozen> {
        let state = |reader: &mut Reader<'_>| {
            if reader.nil() {
                return Some(None);
            }
            State::read(reader.raw()?).map(Some)
        };
        Some(Frozen { refreshed: reader.int()?, base: state(reader)?, live: state(reader)? })
    }

    /// Append the state with its tag.
    pub fn write(&self, out: &mut Writer) {
        out.array(4);
        out.int(45);
        out.int(self.refreshed);
        for state in [&self.base, &self.live] {
            match state {
                Some(state) => state.write(out),
                None => out.nil(),
            }
        }
    }
}

impl Feature {
    /// Add an event to a feature that is read at refreshes, whose number is given.
    pub fn add_frozen(
        &self,
        state: &mut Option<State>,
        time: i64,
        added: &Added,
        (refresh, now, asking): (u32, i64, &Asking),
    ) -> bool {
        let (refreshed, _) = asking.refresh(refresh, now);
        match state {
            Some(State::Frozen(frozen)) => {
                if frozen.refreshed < refreshed {
                    frozen.base.clone_from(&frozen.live);
                    frozen.refreshed = refreshed;
                }
                self.add_live(&mut frozen.live, time, added, (now, asking))
            }
            Some(_) => false,
            None => {
                let mut live = None;
                if !self.add_live(&mut live, time, added, (now, asking)) {
                    return false;
                }
                *state = Some(State::Frozen(Box::new(Frozen { refreshed, base: None, live })));
                true
            }
        }
    }
}

/// A leaf that holds at the latest refresh.
#[derive(Debug)]
pub struct FrozenLeaf {
    refresh: u32,
    /// The leaf.
    pub of: Node,
}

impl FrozenLeaf {
    /// Read what `segops.kernel.rules` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<FrozenLeaf> {
        Some(FrozenLeaf { refresh: u32::try_from(reader.wide()?).ok()?, of: Node::read(reader)? })
    }

    /// Whether the leaf held at the latest refresh.
    pub fn holds(&self, view: View<'_>, now: i64) -> bool {
        let (refreshed, _) = view.asking.refresh(self.refresh, now);
        self.of.holds(View { refreshed, ..view }, refreshed)
    }

    /// The next refresh at which that may change.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<i64> {
        let (latest, following) = view.asking.refresh(self.refresh, now);
        let following = following?;
        if has_base(view.profile, latest) {
            return Some(following);
        }
        let edge = self.of.next_edge(View { refreshed: i64::MAX, ..view }, latest)?;
        match view.asking.refresh(self.refresh, edge) {
            (latest, _) if latest == edge => Some(edge),
            (_, following) => following,
        }
    }
}

/// Whether an event has come after a refresh, so that the next one may read another state.
fn has_base(profile: &Profile, refreshed: i64) -> bool {
    let is_newer = |state: &State| matches!(state, State::Frozen(frozen) if frozen.refreshed >= refreshed);
    profile.features.iter().any(|(_, state)| is_newer(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Ask, Fed, Origin};
    use crate::json::Odd;
    use crate::reduce::Reducer;
    use crate::test_tables::feature;

    /// Refreshes every 100 milliseconds.
    struct Hundreds;

    impl Ask for Hundreds {
        fn judge(&self, _: u32, _: &[u8], _: i64) -> Option<(bool, Option<i64>)> {
            None
        }

        fn feed(&self, _: &[u8], _: Origin<'_>, _: &[(u32, Option<&[u8]>)]) -> Result<Vec<Option<Fed>>, Odd> {
            Err(Odd)
        }

        fn period(&self, _: u32, _: i64) -> Option<(i64, i64)> {
            None
        }

        fn key(&self, _: u32, _: i64) -> Option<String> {
            None
        }

        fn refresh(&self, _: u32, now: i64) -> Option<(i64, Option<i64>)> {
            let latest = now - now.rem_euclid(100);
            Some((latest, Some(latest + 100)))
        }

        fn test(&self, _: u32, _: &[u8], _: i64) -> Option<(bool, Option<i64>)> {
            None
        }
    }

    #[test]
    fn events_are_read_from_the_next_refresh_on() {
        let asking = Asking::new(Box::new(Hundreds));
        let (count, mut state) = (Feature { refresh: Some(0), ..feature(Reducer::RunCount) }, None);
        for time in [150, 170, 210] {
            assert!(count.add(&mut state, time, &Added::Event, (time, &asking)));
        }
        let Some(State::Frozen(frozen)) = &state else { panic!("not frozen") };
        let read = |at| frozen.as_of(asking.refresh(0, at).0).cloned();
        assert_eq!(read(299), Some(State::Tally { since: 0, count: 2 }));
        assert_eq!(read(300), Some(State::Tally { since: 0, count: 3 }));
        let mut out = Writer::default();
        frozen.write(&mut out);
        assert_eq!(State::read(&out.0), state);
    }
}

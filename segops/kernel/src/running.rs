//! Windows that drop nothing, or all at once: all time, fixed dates, the calendar's period
//! (`segops.core.features.running`).

use crate::feature::{beats, blob_of, Added, Feature};
use crate::reduce::{Pick, Reducer};
use crate::state::State;

impl Feature {
    /// Add an event that is in the window; return whether the state changes. `since`: the begin of the period.
    pub fn run(&self, state: &mut Option<State>, since: i64, time: i64, added: &Added) -> bool {
        if state.as_ref().and_then(State::since) != Some(since) {
            *state = begun(self.reducer, since, time, added);
            return state.is_some();
        }
        match (state, added) {
            (Some(State::Tally { count, .. }), _) => {
                *count += 1;
                true
            }
            (Some(State::Total { count, total, .. }), Added::Exact(number)) => {
                *count += 1;
                **total = total.plus(*number);
                true
            }
            (Some(State::Keys { keys, .. }), Added::Key(key)) => self.insert_key(keys, key),
            (Some(State::Running { time: kept, value, .. }), added) => {
                if !self.replaces(*kept, value, time, added) {
                    return false;
                }
                *kept = time;
                *value = blob_of(added);
                true
            }
            _ => false,
        }
    }

    fn insert_key(&self, keys: &mut Vec<Box<str>>, key: &str) -> bool {
        match keys.binary_search_by(|known| (**known).cmp(key)) {
            Err(at) if self.capacity.is_none_or(|most| keys.len() < most) => {
                keys.insert(at, key.into());
                true
            }
            _ => false,
        }
    }

    fn replaces(&self, kept: i64, value: &[u8], time: i64, added: &Added) -> bool {
        let Reducer::RunPick(pick) = self.reducer else {
            return false;
        };
        match pick {
            Pick::Min => beats(added, value, true),
            Pick::Max => beats(added, value, false),
            Pick::Latest => time >= kept,
            Pick::Last => time > kept,
            Pick::Earliest | Pick::First => time < kept,
        }
    }
}

fn begun(reducer: Reducer, since: i64, time: i64, added: &Added) -> Option<State> {
    Some(match (reducer, added) {
        (Reducer::RunCount, _) => State::Tally { since, count: 1 },
        (Reducer::RunSum, Added::Exact(number)) => State::Total { since, count: 1, total: Box::new(*number) },
        (Reducer::RunDistinct, Added::Key(key)) => State::Keys { since, keys: vec![key.as_str().into()] },
        (Reducer::RunPick(_), added) => State::Running { since, time, value: blob_of(added) },
        _ => return None,
    })
}

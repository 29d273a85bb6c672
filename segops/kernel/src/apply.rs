//! What an event changes in a profile, as planned.

use crate::ask::Fed;
use crate::engine::Engine;
use crate::event::Event;
use crate::feature::{is_bounded, Added, Feature};
use crate::plan::{Feed, Plan};
use crate::profile::{append, Profile};
use crate::state::{Blob, State};
use crate::tables::Reads;

const DAY_MS: i64 = 86_400_000;

impl Engine<'_> {
    /// Apply an event at an instant; return the segments that it may have changed.
    pub fn apply(&self, profile: &mut Profile, event: &Event<'_>, (time, now): (i64, i64), plan: Plan<'_>) -> Vec<u32> {
        let mut touched = Vec::new();
        self.date(profile, time, &mut touched);
        self.note_names(profile, event, time, &mut touched);
        for (name, value, is_null) in plan.traits {
            set_trait(profile, name, (!is_null).then_some(value), time);
            touched.extend(self.tables.of_trait(name).iter().flat_map(|part| &part.segments));
        }
        for (number, added) in plan.histories {
            self.feed(profile, (number, &added), (time, now, plan.message), &mut touched);
        }
        if event.location.is_some() && time >= profile.location_ms {
            (profile.location, profile.location_ms) = (event.location, time);
            touched.extend(&self.tables.part(Reads::Location).segments);
        }
        for (number, feed) in plan.feeds {
            match feed {
                Feed::Native(added) => self.feed(profile, (number, &added), (time, now, plan.message), &mut touched),
                Feed::Asked(fed) => self.take(profile, (number, fed), plan.message, &mut touched),
            }
        }
        touched
    }

    fn date(&self, profile: &mut Profile, time: i64, touched: &mut Vec<u32>) {
        let tables = self.tables;
        match profile.first {
            None => touched.extend(&tables.part(Reads::Blank).segments),
            Some(_) if time.div_euclid(DAY_MS) != profile.latest.div_euclid(DAY_MS) => profile.note_day(time),
            Some(_) => {}
        }
        if profile.first.is_none_or(|first| time < first) {
            profile.first = Some(time);
            touched.extend(&tables.part(Reads::First).segments);
        }
        if time > profile.latest {
            profile.latest = time;
            touched.extend(&tables.part(Reads::Latest).segments);
        }
    }

    fn note_names(&self, profile: &mut Profile, event: &Event<'_>, time: i64, touched: &mut Vec<u32>) {
        let known = |profile: &Profile| [0, 1, 2].map(|number: usize| profile.names[number].value.is_some());
        let before = known(profile);
        for (number, value) in [event.user.as_deref(), event.anonymous.as_deref()].into_iter().enumerate() {
            if value.is_some() {
                profile.names[number].note(value, time);
            }
        }
        if event.email.is_some() || event.email_removed {
            profile.names[2].note(event.email.as_deref(), time);
        }
        if known(profile) != before {
            touched.extend(&self.tables.part(Reads::Identifiers).segments);
        }
    }

    fn feed(
        &self,
        profile: &mut Profile,
        (number, added): (u32, &Added),
        (time, now, message): (i64, i64, u64),
        touched: &mut Vec<u32>,
    ) {
        let feature = &self.tables.features[number as usize];
        let at = profile.features.iter().position(|(known, _)| *known == number);
        let mut state = at.map(|at| std::mem::replace(&mut profile.features[at].1, State::Times(vec![])));
        let changed = feature.add(&mut state, time, added, (now, &self.tables.asking));
        if changed {
            touched.extend(affected(feature, size_of(state.as_ref())));
            note_counted(profile, feature.id, (state.as_ref(), added), message);
        }
        let Some(state) = state else {
            return;
        };
        profile.is_full |= !is_bounded(&state);
        match at {
            Some(at) => profile.features[at].1 = state,
            None => append(&mut profile.features, (number, state)),
        }
    }

    /// Take over what Python has added to a feature.
    fn take(&self, profile: &mut Profile, (number, fed): (u32, Fed), message: u64, touched: &mut Vec<u32>) {
        let feature = &self.tables.features[number as usize];
        if let Some(tallies) = fed.tallies {
            touched.extend(affected(feature, fed.size));
            if let Some((_, counted)) = profile.counted.iter_mut().rev().find(|(known, _)| *known == message) {
                counted.tallies.extend(std::iter::repeat_n(feature.id, tallies));
                counted.totals.extend(fed.total.map(|total| (feature.id, total)));
            }
        }
        match profile.features.iter_mut().find(|(known, _)| *known == number) {
            Some((_, state)) => *state = State::Raw(fed.state),
            None => append(&mut profile.features, (number, State::Raw(fed.state))),
        }
    }
}

/// The number of entries of a state that has entries.
fn size_of(state: Option<&State>) -> Option<usize> {
    match state {
        Some(State::Times(times) | State::Values { times, .. }) => Some(times.len()),
        _ => None,
    }
}

fn set_trait(profile: &mut Profile, name: &str, value: Option<Blob>, time: i64) {
    match profile.trait_times.iter_mut().find(|(known, _)| **known == *name) {
        Some((_, at)) => *at = time,
        None => append(&mut profile.trait_times, (name.into(), time)),
    }
    let known = profile.traits.iter().position(|(each, _)| **each == *name);
    match (value, known) {
        (Some(value), Some(number)) => profile.traits[number].1 = value,
        (Some(value), None) => append(&mut profile.traits, (name.into(), value)),
        (None, Some(number)) => {
            profile.traits.remove(number);
        }
        (None, None) => {}
    }
}

/// The segments that a changed state of so many entries can affect.
fn affected(feature: &Feature, size: Option<usize>) -> &[u32] {
    let of_size = feature.by_size.as_ref().zip(size).and_then(|(by_size, size)| by_size.get(size));
    of_size.unwrap_or(&feature.segments)
}

/// Note what a message added to an accumulator.
fn note_counted(profile: &mut Profile, feature: u64, (state, added): (Option<&State>, &Added), message: u64) {
    let Some((_, counted)) = profile.counted.iter_mut().rev().find(|(known, _)| *known == message) else {
        return;
    };
    let state = match state {
        Some(State::Frozen(frozen)) => frozen.live.as_ref(),
        state => state,
    };
    match (state, added) {
        (Some(State::Sessions(sessions)), _) if sessions.is_recent => counted.tallies.push(feature),
        (Some(State::Tally { .. }), _) => counted.tallies.push(feature),
        (Some(State::Total { .. }), Added::Exact(number)) => counted.totals.push((feature, *number)),
        _ => {}
    }
}

//! The engine: applies events and time to a profile, as `segops.core.engine` does.
//!
//! A step is planned before it changes anything, so that what only Python can do is left to it whole.

use std::borrow::Cow;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::change::traits_json;
use crate::event::Event;
use crate::feature::{is_bounded, Added, Feature, Reducer};
use crate::json::{Odd, Val};
use crate::msgpack::Writer;
use crate::profile::{Member, Profile};
use crate::state::{Blob, State};
use crate::tables::{Part, Reads, Tables};

const DAY_MS: i64 = 86_400_000;

/// Why a record is left to Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// It has no key: a tick or a request.
    Keyless,
    /// It is a message from another profile.
    Message,
    /// Its key or its headers are unusual.
    Origin,
    /// Python has the profile.
    Held,
    /// The stored profile is one that the kernel cannot hold.
    Stored,
    /// The event or a value in it is unusual.
    Event,
    /// The event names an identifier that the profile does not know.
    Identity,
    /// A feature that only Python changes reads the event.
    Feature,
    /// A segment that only Python evaluates may change.
    Segment,
    /// The profile is large.
    Large,
}

impl From<Odd> for Why {
    fn from(_: Odd) -> Why {
        Why::Event
    }
}

/// The names of the reasons, by number.
pub const REASONS: [&str; 10] =
    ["keyless", "message", "origin", "held", "stored", "event", "identity", "feature", "segment", "large"];

/// A membership change. Times are in milliseconds.
pub struct Change {
    /// The segment, by index.
    pub segment: u32,
    /// Whether the profile entered it.
    pub member: bool,
    /// Why: `event`, `time` or `merge`.
    pub reason: &'static str,
    /// When.
    pub at: i64,
    /// Its number among the changes of the profile.
    pub sequence: i64,
    /// When it flips without another event.
    pub flips_at: Option<i64>,
    /// The id of the event that caused it.
    pub event: Option<Box<str>>,
    /// The names that the profile had then.
    pub names: [Option<Box<str>>; 3],
    /// The traits that it had then, as JSON.
    pub traits: Arc<str>,
}

/// The changes of a step, in order.
pub type Changes = Vec<Change>;

/// What an event will do to a profile.
struct Plan<'a> {
    feeds: Vec<(u32, Added)>,
    traits: Vec<(&'a str, Blob, bool)>,
    message: u64,
}

/// One evaluation: its instant and its cause.
#[derive(Clone, Copy)]
struct Cause<'a> {
    now: i64,
    reason: &'static str,
    event: Option<&'a str>,
}

/// The outcome of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// Its message was applied before.
    Duplicate,
}

/// Whether an event gives a name to a profile that has none of its type, or removes its e-mail address.
fn becomes_known(profile: &Profile, event: &Event<'_>, time: i64) -> bool {
    let after = [event.user.is_some(), event.anonymous.is_some(), event.email.is_some()];
    let says = [after[0], after[1], after[2] || event.email_removed];
    profile
        .names
        .iter()
        .zip(after)
        .zip(says)
        .any(|((name, after), says)| says && time >= name.time && name.value.is_some() != after)
}

fn foreign(part: &Part) -> Result<(), Why> {
    if part.is_foreign {
        return Err(Why::Segment);
    }
    Ok(())
}

/// The segments that are evaluated, each once.
fn ordered(mut touched: Vec<u32>) -> Vec<u32> {
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// Applies steps by one set of tables. Times and instants are in milliseconds.
pub struct Engine<'t> {
    /// The tables.
    pub tables: &'t Tables,
}

impl<'t> Engine<'t> {
    /// Fire what is due up to an instant; Err, without a change, if Python evaluates some of it.
    pub fn on_timer(&self, profile: &mut Profile, clock: i64, changes: &mut Changes) -> Result<(), Why> {
        self.may_pass(profile, clock)?;
        self.pass_time(profile, clock, changes);
        Ok(())
    }

    /// Evaluate, at an instant, the segments that read identifiers, after a profile has got some.
    pub fn on_joined(&self, profile: &mut Profile, clock: i64, changes: &mut Changes) -> Result<(), Why> {
        let [identifiers, lists] = [Reads::Identifiers, Reads::Lists].map(|part| self.tables.part(part));
        let touched: Vec<u32> = identifiers.segments.iter().chain(&lists.segments).copied().collect();
        if touched.is_empty() || profile.first.is_none() {
            return Ok(());
        }
        foreign(identifiers)?;
        foreign(lists)?;
        self.may_pass(profile, clock)?;
        self.pass_time(profile, clock, changes);
        let cause = Cause { now: clock.max(profile.latest), reason: "merge", event: None };
        self.evaluate(profile, &ordered(touched), cause, changes);
        profile.set_due();
        Ok(())
    }

    /// Apply an event without unknown identifiers; Err, without a change, if Python has to.
    ///
    /// `source` stands in for the id of a message without one.
    pub fn on_event(
        &self,
        profile: &mut Profile,
        event: &Event<'_>,
        (time, clock, source): (i64, i64, &str),
        changes: &mut Changes,
    ) -> Result<Outcome, Why> {
        let message = event.message.clone().unwrap_or(Cow::Borrowed(source));
        let hash = xxh3_64(message.as_bytes());
        if profile.has_seen(hash) {
            return Ok(Outcome::Duplicate);
        }
        let plan = self.plan(profile, event, (time, hash))?;
        self.may_pass(profile, time.max(clock))?;
        let now = time.max(clock).max(profile.latest);
        self.pass_time(profile, time.max(clock), changes);
        profile.remember(plan.message, time, now);
        let touched = self.apply(profile, event, (time, now), plan);
        if !touched.is_empty() {
            let cause = Cause { now, reason: "event", event: event.message.as_deref() };
            self.evaluate(profile, &ordered(touched), cause, changes);
            profile.set_due();
        }
        Ok(Outcome::Applied)
    }

    /// Decide whether the kernel can take the whole step, and read what the event adds.
    fn plan<'a>(&self, profile: &Profile, event: &Event<'a>, (time, message): (i64, u64)) -> Result<Plan<'a>, Why> {
        self.plan_dates(profile, event, time)?;
        let traits = self.plan_traits(profile, event, time)?;
        let mut selected = Vec::new();
        if let Some(watch) = self.tables.watch(&event.name) {
            watch.select(event, &mut selected)?;
        }
        let mut feeds = Vec::with_capacity(selected.len());
        for number in selected {
            let feature = &self.tables.features[number as usize];
            if feature.reducer == Reducer::Python {
                return Err(Why::Feature);
            }
            if feature.is_foreign {
                return Err(Why::Segment);
            }
            if profile.state(number).is_some_and(Feature::is_long) {
                return Err(Why::Large);
            }
            if let Some(added) = feature.extract(event)? {
                feeds.push((number, added));
            }
        }
        Ok(Plan { feeds, traits, message })
    }

    fn plan_dates(&self, profile: &Profile, event: &Event<'_>, time: i64) -> Result<(), Why> {
        let tables = self.tables;
        if profile.first.is_none() {
            foreign(tables.part(Reads::Blank))?;
            if profile.has_lists() {
                return Err(Why::Segment);
            }
        }
        if profile.first.is_none_or(|first| time < first) {
            foreign(tables.part(Reads::First))?;
        }
        if time > profile.latest {
            foreign(tables.part(Reads::Latest))?;
        }
        if event.location.is_some() && time >= profile.location_ms {
            foreign(tables.part(Reads::Location))?;
        }
        if becomes_known(profile, event, time) {
            foreign(tables.part(Reads::Identifiers))?;
        }
        Ok(())
    }

    fn plan_traits<'a>(
        &self,
        profile: &Profile,
        event: &Event<'a>,
        time: i64,
    ) -> Result<Vec<(&'a str, Blob, bool)>, Why> {
        let mut found = Vec::new();
        for (name, value) in event.merged_traits() {
            if self.tables.has_history(name) {
                return Err(Why::Segment);
            }
            let known = profile.trait_times.iter().find(|(known, _)| **known == *name);
            if known.is_some_and(|(_, at)| time < *at) {
                continue;
            }
            if self.tables.of_trait(name).is_some_and(|part| part.is_foreign) {
                return Err(Why::Segment);
            }
            let mut out = Writer::default();
            value.write(&mut out)?;
            for reading in self.tables.readings(name) {
                let part = crate::values::below(&out.0, reading.below());
                if !reading.fits(&part.map_or(crate::values::Scalar::Missing, crate::values::scalar_of)) {
                    return Err(Why::Event);
                }
            }
            found.push((name, out.0.into(), matches!(value, Val::Null)));
        }
        Ok(found)
    }

    /// Whether no segment that Python evaluates is due up to an instant.
    fn may_pass(&self, profile: &Profile, until: i64) -> Result<(), Why> {
        let is_due = profile.due.is_some_and(|due| due <= until);
        if is_due && profile.flips.iter().any(|(segment, at)| *at <= until && self.tables.is_foreign(*segment)) {
            return Err(Why::Segment);
        }
        Ok(())
    }

    fn pass_time(&self, profile: &mut Profile, until: i64, changes: &mut Changes) {
        while let Some(at) = profile.due.filter(|due| *due <= until) {
            let due = profile.flips.iter().filter(|(_, flips)| *flips == at).map(|(segment, _)| *segment).collect();
            self.evaluate(profile, &ordered(due), Cause { now: at, reason: "time", event: None }, changes);
            profile.set_due();
        }
    }

    fn apply(&self, profile: &mut Profile, event: &Event<'_>, (time, now): (i64, i64), plan: Plan<'_>) -> Vec<u32> {
        let mut touched = Vec::new();
        self.date(profile, time, &mut touched);
        self.note_names(profile, event, time, &mut touched);
        for (name, value, is_null) in plan.traits {
            set_trait(profile, name, (!is_null).then_some(value), time);
            touched.extend(self.tables.of_trait(name).iter().flat_map(|part| &part.segments));
        }
        if event.location.is_some() && time >= profile.location_ms {
            (profile.location, profile.location_ms) = (event.location, time);
            touched.extend(&self.tables.part(Reads::Location).segments);
        }
        for (number, added) in plan.feeds {
            self.feed(profile, (number, &added), (time, now, plan.message), &mut touched);
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
        let changed = feature.add(&mut state, time, added, now);
        if changed {
            touched.extend(affected(feature, state.as_ref()));
            note_counted(profile, feature.id, (state.as_ref(), added), message);
        }
        let Some(state) = state else {
            return;
        };
        profile.is_full |= !is_bounded(&state);
        match at {
            Some(at) => profile.features[at].1 = state,
            None => profile.features.push((number, state)),
        }
    }

    fn evaluate(&self, profile: &mut Profile, segments: &[u32], cause: Cause<'_>, changes: &mut Changes) {
        let mut traits: Option<Arc<str>> = None;
        for number in segments {
            let segment = &self.tables.segments[*number as usize];
            let Some(rule) = &segment.rule else {
                continue; // unreachable: such a step is Python's
            };
            let was = profile.members.iter().position(|member| member.segment == *number);
            let member = rule.holds(profile, cause.now);
            let flips_at = rule.next_flip(profile, cause.now, member);
            set_flip(profile, *number, flips_at);
            if member == was.is_some() {
                continue;
            }
            match was {
                Some(at) => {
                    profile.members.remove(at);
                }
                None => profile.members.push(membership(*number, segment.version, cause)),
            }
            profile.sequence += 1;
            let traits = traits.get_or_insert_with(|| traits_json(profile).into());
            changes.push(Change {
                segment: *number,
                member,
                reason: cause.reason,
                at: cause.now,
                sequence: profile.sequence,
                flips_at,
                event: cause.event.map(Box::from),
                names: [0, 1, 2].map(|number: usize| profile.names[number].value.clone()),
                traits: Arc::clone(traits),
            });
        }
    }
}

fn membership(segment: u32, version: i64, cause: Cause<'_>) -> Member {
    let reason = cause.event.is_none().then(|| cause.reason.into());
    Member { segment, since: cause.now, version, event: cause.event.map(Box::from), reason }
}

fn set_flip(profile: &mut Profile, segment: u32, flips_at: Option<i64>) {
    let known = profile.flips.iter().position(|(each, _)| *each == segment);
    match (flips_at, known) {
        (Some(at), Some(number)) => profile.flips[number].1 = at,
        (Some(at), None) => profile.flips.push((segment, at)),
        (None, Some(number)) => {
            profile.flips.remove(number);
        }
        (None, None) => {}
    }
}

fn set_trait(profile: &mut Profile, name: &str, value: Option<Blob>, time: i64) {
    match profile.trait_times.iter_mut().find(|(known, _)| **known == *name) {
        Some((_, at)) => *at = time,
        None => profile.trait_times.push((name.into(), time)),
    }
    let known = profile.traits.iter().position(|(each, _)| **each == *name);
    match (value, known) {
        (Some(value), Some(number)) => profile.traits[number].1 = value,
        (Some(value), None) => profile.traits.push((name.into(), value)),
        (None, Some(number)) => {
            profile.traits.remove(number);
        }
        (None, None) => {}
    }
}

/// The segments that a changed state can affect.
fn affected<'f>(feature: &'f Feature, state: Option<&State>) -> &'f [u32] {
    let size = match state {
        Some(State::Times(times) | State::Values { times, .. }) => Some(times.len()),
        _ => None,
    };
    let of_size = feature.by_size.as_ref().zip(size).and_then(|(by_size, size)| by_size.get(size));
    of_size.unwrap_or(&feature.segments)
}

/// Note what a message added to an accumulator.
fn note_counted(profile: &mut Profile, feature: u64, (state, added): (Option<&State>, &Added), message: u64) {
    let Some((_, counted)) = profile.counted.iter_mut().rev().find(|(known, _)| *known == message) else {
        return;
    };
    match (state, added) {
        (Some(State::Tally { .. }), _) => counted.tallies.push(feature),
        (Some(State::Total { .. }), Added::Exact(number)) => counted.totals.push((feature, *number)),
        _ => {}
    }
}

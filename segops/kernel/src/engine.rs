//! The engine: applies events and time to a profile, as `segops.core.engine` does.
//!
//! A step is planned before it changes anything, so that what only Python can do is left to it whole.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::ask::{Origin, CALENDAR_MS};
use crate::evaluate::{Cause, Changes};
use crate::event::Event;
use crate::json::Odd;
use crate::plan::foreign;
use crate::profile::Profile;
use crate::tables::{Reads, Tables};

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

/// The outcome of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// Its message was applied before.
    Duplicate,
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
        let now = time.max(clock).max(profile.latest);
        self.may_pass(profile, time.max(clock))?;
        let plan = self.plan(profile, event, Origin { time, now, source }, hash)?;
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

    /// Whether no segment that Python evaluates is due up to an instant.
    fn may_pass(&self, profile: &Profile, until: i64) -> Result<(), Why> {
        if self.tables.has_calendars && !(CALENDAR_MS.contains(&until) && CALENDAR_MS.contains(&profile.latest.max(0)))
        {
            return Err(Why::Event); // at such an instant, the rule may fail
        }
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
}

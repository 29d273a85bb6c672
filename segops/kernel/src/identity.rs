//! One profile per customer (`segops.core.identity.protocol`): claims, their simplest answers, and what waits.
//!
//! Profiles with content merge in Python, and so do conflicts, limits, aliases, erasures and splits.

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::{Engine, Outcome, Why};
use crate::evaluate::Changes;
use crate::event::Event;
use crate::limits::{is_user, type_of, Limits};
use crate::links::{Held, Links, Origin, MAX_HELD};
use crate::message::{Message, Says, Sent};
use crate::packed::{pack, unpack};
use crate::profile::{Profile, NEVER};

/// An event for a profile. Its time is in milliseconds.
pub struct Given<'e> {
    /// The event.
    pub event: &'e Event<'e>,
    /// Its time.
    pub time: i64,
    /// What stands in for a missing id of its message.
    pub id: &'e str,
    /// The event as a redirect relayed it; None: it came from the log.
    pub packed: Option<&'e [u8]>,
}

/// What a step changed besides the profile.
#[derive(Default)]
pub struct Effects {
    /// The membership changes.
    pub changes: Changes,
    /// Messages to other profiles.
    pub sent: Vec<Sent>,
    /// Events whose message was applied before.
    pub duplicates: u64,
    /// Whether the profile waits now, if that has changed.
    pub waits: Option<bool>,
    /// Whether it was an answer to a claim that the profile has no more.
    pub is_stale: bool,
}

/// The steps of a profile at the clock of its partition, by the timestamp of a record; both in milliseconds.
pub struct Identity<'t> {
    /// The engine.
    pub engine: Engine<'t>,
    /// The clock.
    pub clock: i64,
    /// The timestamp.
    pub arrived: i64,
}

impl<'t> Identity<'t> {
    fn limits(&self) -> &'t Limits {
        &self.engine.tables.limits
    }

    /// Apply an event, or hold it until claims are answered; return whether the profile changed.
    ///
    /// Err, without a change, if Python has to.
    pub fn on_event(&self, profile: &mut Profile, given: &Given<'_>, effects: &mut Effects) -> Result<bool, Why> {
        let unknown = self.unknown(profile, given.event)?;
        if unknown.is_empty() && !profile.waits() {
            return self.apply(profile, given, self.clock, effects);
        }
        let message = given.event.message.as_deref();
        let seen = profile.has_seen(xxh3_64(message.unwrap_or(given.id).as_bytes()));
        let claims = if seen { vec![] } else { unknown };
        if claims.is_empty() && !profile.waits() {
            return self.apply(profile, given, self.clock, effects);
        }
        self.hold(profile, given, &claims, effects)?;
        Ok(true)
    }

    fn apply(&self, profile: &mut Profile, given: &Given<'_>, clock: i64, effects: &mut Effects) -> Result<bool, Why> {
        if profile.is_full {
            return Err(Why::Stored);
        }
        let at = (given.time, clock, given.id);
        let outcome = self.engine.on_event(profile, given.event, at, &mut effects.changes)?;
        effects.duplicates += u64::from(outcome == Outcome::Duplicate);
        Ok(outcome == Outcome::Applied)
    }

    /// The identifiers of an event that the profile does not know, the one to route by first.
    fn unknown(&self, profile: &Profile, event: &Event<'_>) -> Result<Vec<String>, Why> {
        let mut found = Vec::new();
        for number in &self.limits().order {
            let (kind, value) = match number {
                0 => ("user_id", event.user.as_deref()),
                1 => ("email", event.email.as_deref()),
                _ => ("anonymous_id", event.anonymous.as_deref()),
            };
            let Some(value) = value else {
                continue;
            };
            let is_it = |id: &str| {
                id.len() == kind.len() + 1 + value.len()
                    && id.starts_with(kind)
                    && id.ends_with(value)
                    && id.as_bytes()[kind.len()] == b':'
            };
            let known = match &profile.links {
                None => is_it(&profile.id),
                Some(links) => {
                    links.owned.iter().chain(&links.refused).any(|id| is_it(id))
                        || links.pending.iter().any(|(id, _)| is_it(id))
                }
            };
            if known || is_it(&profile.id) {
                continue;
            }
            let of_kind = match &profile.links {
                None => usize::from(type_of(&profile.id) == kind),
                Some(links) => links.number_of(kind),
            };
            if of_kind >= self.limits().limit(kind) {
                return Err(Why::Identity); // it is reported
            }
            found.push(format!("{kind}:{value}"));
        }
        Ok(found)
    }

    fn hold(
        &self,
        profile: &mut Profile,
        given: &Given<'_>,
        claims: &[String],
        effects: &mut Effects,
    ) -> Result<(), Why> {
        if profile.links.as_ref().is_some_and(|links| links.held.len() >= MAX_HELD) {
            return Err(Why::Identity);
        }
        let event = match given.packed {
            Some(packed) => packed.into(),
            None => pack(given.event, given.time, given.id, Some(&self.limits().context))?.into(),
        };
        let (at, by) = (given.time.max(self.clock), &*profile.id);
        let links = profile.links.get_or_insert_with(|| Box::new(Links::new(by)));
        if links.pending.is_empty() {
            effects.waits = Some(true);
        }
        for of in claims {
            links.begin_waiting(of, at);
            links.note_origin(of, Origin { at, event: given.event.message.as_deref().map(Box::from) });
            let says = Says::Claim { of, by, explicit: false, at };
            effects.sent.push(Message { to: of, says, hops: 0 }.sent(self.arrived));
        }
        links.held.push(Held { clock: self.clock, event });
        Ok(())
    }

    /// Answer a claim of an identifier of this profile, if it hands nothing over; Err: Python has to.
    pub fn on_claim(&self, profile: &Profile, says: &Says<'_>, effects: &mut Effects) -> Result<(), Why> {
        let Says::Claim { of, by, explicit, at } = *says else {
            return Err(Why::Message);
        };
        let (owner, links) = (&*profile.id, profile.links.as_ref());
        let is_mine = by == owner || links.is_some_and(|links| links.owns(by) || links.undone(by).is_some());
        if is_mine || links.is_some_and(|links| !links.owns(of)) {
            return Err(Why::Message);
        }
        let both_users = is_user(owner) && is_user(by);
        let says = if both_users && !explicit {
            Says::Refused { of, owner, at }
        } else if !both_users && !self.limits().precedes(by, owner) {
            Says::Join { of, into: owner, explicit, at }
        } else {
            return Err(Why::Message);
        };
        effects.sent.push(Message { to: by, says, hops: 0 }.sent(self.arrived));
        Ok(())
    }

    /// Answer a claim of an identifier of which nothing is known; return the profile that it leads to from now on.
    pub fn on_claim_of_none<'m>(
        &self,
        owner: &str,
        says: &Says<'m>,
        sequence: i64,
        effects: &mut Effects,
    ) -> Result<&'m str, Why> {
        let Says::Claim { of, by, at, .. } = *says else {
            return Err(Why::Message);
        };
        if by == owner || (is_user(owner) && is_user(by)) || !self.limits().precedes(by, owner) {
            return Err(Why::Message);
        }
        let says = Says::Handover { of, source: owner, sequence, at };
        effects.sent.push(Message { to: by, says, hops: 0 }.sent(self.arrived));
        Ok(by)
    }

    /// Take in a profile without a state, and catch up if that was the last answer; Err: Python has to.
    pub fn on_handover(&self, profile: &mut Profile, says: &Says<'_>, effects: &mut Effects) -> Result<(), Why> {
        let (Says::Handover { of, source, sequence, at }, Some(links)) = (says, profile.links.as_ref()) else {
            return Err(Why::Message);
        };
        if links.undone(source).is_some_and(|undone| undone >= *sequence) || self.overflows(links, &[source, of]) {
            return Err(Why::Message);
        }
        let mut after = links.clone();
        let known = after.origin(of).filter(|origin| origin.at == *at).cloned();
        if **source != *profile.id {
            after.note_origin(source, known.unwrap_or(Origin { at: *at, event: None }));
        }
        let asked = after.claims(of);
        after.own(source);
        if asked {
            after.own(of);
        }
        if !after.pending.is_empty() {
            profile.links = Some(after);
            return Ok(());
        }
        let waited = profile.waits();
        let before = profile.links.take();
        let mut settled = profile.clone(); // a held event may be one that Python has to apply
        settled.links = Some(after);
        match self.catch_up(&mut settled, self.clock.max(*at), effects) {
            Ok(()) => *profile = settled,
            Err(why) => {
                profile.links = before;
                return Err(why);
            }
        }
        effects.waits = waited.then_some(false);
        Ok(())
    }

    /// Whether a profile gets more identifiers of a type than one takes in, which is counted.
    fn overflows(&self, links: &Links, more: &[&str; 2]) -> bool {
        let of_kind = |kind: &str| links.owned.iter().filter(|each| type_of(each) == kind).count();
        let room = usize::from(more[0] == more[1]);
        more.iter()
            .any(|each| !links.owns(each) && of_kind(type_of(each)) + 1 - room >= self.limits().limit(type_of(each)))
    }

    /// Apply the held events, as if the answers had been there before them. `clock` is in milliseconds.
    fn catch_up(&self, profile: &mut Profile, clock: i64, effects: &mut Effects) -> Result<(), Why> {
        let (mut at, mut held) = (clock, vec![]);
        if let Some(links) = &mut profile.links {
            if links.clock != NEVER {
                at = std::mem::replace(&mut links.clock, NEVER);
            }
            held = std::mem::take(&mut links.held);
        }
        for each in &held {
            at = at.max(each.clock);
            let found = unpack(&each.event)?;
            let given = Given { event: &found.event, time: found.time, id: found.id, packed: None };
            self.apply(profile, &given, at, effects)?;
        }
        self.engine.on_timer(profile, clock, &mut effects.changes)?;
        self.engine.on_joined(profile, clock, &mut effects.changes)
    }
}

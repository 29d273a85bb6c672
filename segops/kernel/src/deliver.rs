//! Messages that reach the profiles of a partition, and what each step changes besides its profile.

use std::sync::Arc;

use crate::engine::{Engine, Why};
use crate::identity::{Effects, Given, Identity};
use crate::message::{Message, Says};
use crate::packed::unpack;
use crate::partition::{Group, Partition};
use crate::profile::{Profile, Redirect};
use crate::slots::{Content, Meta};
use crate::tables::Tables;
use crate::timers::Fired;

/// A record with a message to a profile, or of any kind. The timestamp is in milliseconds.
#[derive(Clone, Copy)]
pub struct Letter<'r> {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp.
    pub timestamp: i64,
    /// The profile.
    pub key: &'r str,
    /// The message.
    pub value: &'r [u8],
}

impl Partition {
    /// Apply a message to a profile; Err if Python has to: only timers that are due may have fired.
    ///
    /// `base` is the first sequence of a new profile; 0: there is none.
    pub fn deliver(&mut self, letter: Letter<'_>, base: i64) -> Result<(), Why> {
        let message = Message::read(letter.value).filter(|message| message.to == letter.key).ok_or(Why::Message)?;
        let Some(number) = self.found(letter.key) else {
            return self.answer_for_none(letter, &message, base);
        };
        self.open(number)?;
        if letter.offset <= self.applied(number)? {
            return Ok(());
        }
        self.settle(number);
        let size = u64::from(self.slots[number].meta.size) + letter.value.len() as u64;
        if size > self.tables.max_bytes && matches!(message.says, Says::Forward(_)) {
            return Err(Why::Large);
        }
        if let Content::Redirect(_) = self.slots[number].content {
            self.relay(number, &message, letter)?;
        } else {
            if let Fired::Python(why) = self.fire(letter.key, self.clock.now) {
                return Err(why);
            }
            self.step(number, letter, true, |identity, profile, effects| handle(identity, profile, &message, effects))?;
        }
        self.slots[number].meta.size = u32::try_from(size).unwrap_or(u32::MAX);
        self.slots[number].meta.used = true;
        Ok(())
    }

    /// The offset of the last record applied to what is here; Err: Python has it.
    pub(crate) fn applied(&self, number: usize) -> Result<i64, Why> {
        match &self.slots[number].content {
            Content::Native(profile) => Ok(profile.applied),
            Content::Redirect(redirect) => Ok(redirect.applied),
            _ => Err(Why::Held),
        }
    }

    /// The steps of profiles now, by a record of this timestamp in milliseconds.
    pub(crate) fn identity<'t>(&self, tables: &'t Tables, arrived: i64) -> Identity<'t> {
        Identity { engine: Engine { tables }, clock: self.clock.now, arrived }
    }

    /// Take a step of a profile that is here. `dated`: its activity may have changed.
    pub(crate) fn step(
        &mut self,
        number: usize,
        letter: Letter<'_>,
        dated: bool,
        take: impl FnOnce(&Identity<'_>, &mut Profile, &mut Effects) -> Result<bool, Why>,
    ) -> Result<(), Why> {
        let tables = Arc::clone(&self.tables);
        let identity = self.identity(&tables, letter.timestamp);
        let Content::Native(profile) = &mut self.slots[number].content else {
            return Err(Why::Held);
        };
        let mut effects = Effects::default();
        let moved = take(&identity, profile, &mut effects)?;
        profile.applied = letter.offset;
        self.outdate(number);
        if moved {
            self.touch(number, dated);
        }
        self.take(letter, effects);
        Ok(())
    }

    /// Note for publication, and count, what a record caused.
    pub(crate) fn take(&mut self, letter: Letter<'_>, mut effects: Effects) {
        self.sent.append(&mut effects.sent);
        self.counts.duplicates += effects.duplicates;
        self.counts.stale += u64::from(effects.is_stale);
        if !effects.changes.is_empty() {
            let (profile, arrived) = (letter.key.into(), Some(letter.timestamp));
            self.groups.push(Group { profile, arrived, clock: self.clock.now, changes: effects.changes });
        }
        if let Some(waits) = effects.waits {
            let owned = (!waits).then(|| self.found(letter.key).map_or(0, |number| self.owned(number)));
            self.waits.push((letter.key.into(), owned));
        }
    }

    fn owned(&self, number: usize) -> usize {
        match &self.slots[number].content {
            Content::Native(profile) => profile.links.as_ref().map_or(0, |links| links.owned.len()),
            _ => 0,
        }
    }

    /// Insert a new profile or redirect; `size`: the bytes of its first record.
    pub(crate) fn insert(&mut self, id: &str, content: Content, size: usize) {
        let number = self.place(
            id,
            content,
            Meta { used: true, size: u32::try_from(size).unwrap_or(u32::MAX), ..Meta::default() },
        );
        self.native += 1;
        self.created.push(id.into());
        self.touch(number, true);
    }

    /// Relay a message to the profile that an identifier leads to.
    pub(crate) fn relay(&mut self, number: usize, message: &Message<'_>, letter: Letter<'_>) -> Result<(), Why> {
        let Content::Redirect(redirect) = &mut self.slots[number].content else {
            return Err(Why::Held);
        };
        if let Says::Forward(event) = message.says {
            unpack(event)?; // by another version it may have other fields
        }
        let sent = message.relayed(&redirect.into).ok_or(Why::Message)?.sent(letter.timestamp);
        redirect.applied = letter.offset;
        self.outdate(number);
        self.sent.push(sent);
        self.counts.relayed += 1;
        Ok(())
    }

    fn answer_for_none(&mut self, letter: Letter<'_>, message: &Message<'_>, base: i64) -> Result<(), Why> {
        let tables = Arc::clone(&self.tables);
        let mut effects = Effects::default();
        let identity = self.identity(&tables, letter.timestamp);
        let into = identity.on_claim_of_none(letter.key, &message.says, base, &mut effects)?.into();
        let redirect = Redirect { into, sequence: base, applied: letter.offset, version: None };
        self.insert(letter.key, Content::Redirect(Box::new(redirect)), letter.value.len());
        self.take(letter, effects);
        Ok(())
    }
}

fn handle(
    identity: &Identity<'_>,
    profile: &mut Profile,
    message: &Message<'_>,
    effects: &mut Effects,
) -> Result<bool, Why> {
    match &message.says {
        Says::Forward(packed) => {
            let found = unpack(packed)?;
            let given = Given { event: &found.event, time: found.time, id: found.id, packed: Some(packed) };
            identity.on_event(profile, &given, effects)
        }
        says @ Says::Claim { .. } => identity.on_claim(profile, says, effects).map(|()| true),
        _ if profile.links.is_none() => {
            effects.is_stale = true;
            Ok(false)
        }
        says @ Says::Handover { .. } => identity.on_handover(profile, says, effects).map(|()| true),
        Says::Join { .. } | Says::Refused { .. } => Err(Why::Message),
    }
}

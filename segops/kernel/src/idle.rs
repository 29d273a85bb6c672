//! Profiles that are not used for a while, as bytes, and the bytes that all of them take.
//!
//! A profile that the store has, and that was not used since the snapshot before the last, is kept as its
//! stored form until the next use. That form is what the kernel has written or would write of it now.

use crate::engine::Why;
use crate::partition::Partition;
use crate::slots::Content;
use crate::snapshot::Written;
use crate::stored;

/// About the bytes of a slot: itself, its identifier twice, its place in the index and in the order of use.
const SLOT: usize = 280;
/// About the bytes of a decoded profile for each byte of its stored form.
const DECODED: usize = 4;
/// About the bytes of a redirect.
const REDIRECT: usize = 112;

/// A decoded profile that the store has: its slot, and its stored form, current while the slot has its stamp.
pub(crate) struct Warm {
    number: u32,
    stamp: u32,
    state: Option<Box<[u8]>>,
}

impl Partition {
    /// About the bytes of the profiles here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Count the bytes of a slot as it is now.
    pub(crate) fn charge(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let bytes = match &slot.content {
            Content::Free | Content::Away => 0,
            Content::Native(_) => SLOT + DECODED * slot.meta.size as usize,
            Content::Redirect(_) => SLOT + REDIRECT,
            Content::Packed(state) => SLOT + state.len(),
        };
        self.bytes = self.bytes - std::mem::replace(&mut slot.charged, bytes) + bytes;
    }

    /// Note a use of a profile by a record.
    pub(crate) fn note_use(&mut self, number: usize) {
        self.slots[number].meta.used = true;
        self.recency.renew(number);
    }

    /// Note a decoded profile that is as the store has it: it is idle if it is not used until the next snapshot.
    pub(crate) fn warm_up(&mut self, number: usize) {
        if !std::mem::replace(&mut self.slots[number].is_warm, true) {
            self.warm.push(Warm { number: number as u32, stamp: 0, state: None });
        }
    }

    /// Decode a profile, if it is here as bytes.
    pub(crate) fn open(&mut self, number: usize) -> Result<(), Why> {
        let slot = &mut self.slots[number];
        let Content::Packed(state) = &slot.content else {
            return Ok(());
        };
        slot.content = stored::read(state, &slot.id, &self.tables).map(Content::of).ok_or(Why::Stored)?;
        self.charge(number);
        self.warm_up(number);
        Ok(())
    }

    /// Keep as bytes the profiles that were not used since the last call; the store has those in flight.
    pub(crate) fn rest(&mut self, flying: Vec<(u32, Option<Written>)>) {
        let former = std::mem::take(&mut self.warm);
        for each in &former {
            self.slots[each.number as usize].is_warm = false;
        }
        for (number, written) in flying {
            if let Some(written) = written {
                self.rest_one(Warm { number, stamp: written.stamp, state: Some(written.state.into_boxed_slice()) });
            }
        }
        former.into_iter().for_each(|each| self.rest_one(each));
    }

    fn rest_one(&mut self, Warm { number, stamp, state }: Warm) {
        let slot = &mut self.slots[number as usize];
        let Content::Native(profile) = &slot.content else {
            return;
        };
        if slot.is_warm || slot.meta.dirty || slot.pending.is_some() {
            return; // it has been here, or comes back when the store has it
        }
        let state = state.filter(|_| stamp != 0 && stamp == slot.stamp);
        if std::mem::take(&mut slot.meta.used) {
            slot.is_warm = true;
            self.warm.push(Warm { number, stamp, state });
            return;
        }
        let encoded = || stored::write(profile, &self.tables, &[], slot.meta.activity).into_boxed_slice();
        slot.content = Content::Packed(state.unwrap_or_else(encoded));
        self.charge(number as usize);
    }

    /// Evict profiles that the store has, the least recently used first, until all take at most `most` bytes.
    ///
    /// Those that the store does not have yet are passed over: the rest may take more.
    pub fn evict(&mut self, most: usize) {
        let mut passed = self.dirty.len() + self.in_flight.len();
        while self.bytes > most {
            let Some(number) = self.recency.oldest() else {
                return;
            };
            let slot = &self.slots[number];
            if !slot.meta.dirty && slot.pending.is_none() {
                self.release(number);
                self.native -= 1;
            } else if passed > 0 {
                passed -= 1;
                self.recency.renew(number);
            } else {
                return;
            }
        }
    }
}

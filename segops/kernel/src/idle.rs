//! The memory of the profiles here: those not used for a while are kept as bytes, and the oldest of these are evicted.
//!
//! Both happen to profiles that the store has, when all of them take more bytes than they may. A profile's bytes
//! are those that the last snapshot has written, or would write of it now. The bytes stay beside a profile that is
//! decoded for its use until it changes.

use crate::engine::Why;
use crate::pages::Place;
use crate::partition::Partition;
use crate::slots::{Content, Meta, Slot};
use crate::snapshot::Written;
use crate::stored;
use crate::weight;

/// About the bytes of a slot: itself, its identifier, and its place among the decoded.
const SLOT: usize = size_of::<Slot>() + 36;

impl Partition {
    /// About the bytes of the profiles here.
    pub fn bytes(&self) -> usize {
        self.slots.len() * SLOT + self.index.bytes() + self.pages.bytes() + self.decoded
    }

    pub fn breakdown(&self) -> Vec<usize> {
        let mut v = vec![
            self.slots.len(),
            self.slots.len() * SLOT,
            self.index.bytes(),
            self.decoded,
            self.slots.iter().filter(|s| s.weight > 0).count(),
            self.slots.iter().filter(|s| s.saved.is_some()).count(),
        ];
        v.extend(self.pages.breakdown());
        v
    }

    /// Count the bytes of what is decoded in a slot.
    pub(crate) fn weigh(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let weight = match &slot.content {
            Content::Native(profile) => weight::of_profile(profile),
            Content::Redirect(redirect) => weight::of_redirect(redirect),
            Content::Free | Content::Away | Content::Packed => 0,
        };
        self.decoded = self.decoded + weight - std::mem::replace(&mut slot.weight, weight as u32) as usize;
    }

    /// Note what is decoded in a slot, by weight and by age.
    pub(crate) fn queue(&mut self, number: usize) {
        self.weigh(number);
        if self.slots[number].weight > 0 && !std::mem::replace(&mut self.slots[number].is_queued, true) {
            self.queue.push_back(number as u32);
        }
    }

    /// Forget the bytes of a profile that changes, or is here no more.
    pub(crate) fn outdate(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let is_flying = std::mem::take(&mut slot.is_flying);
        if let Some(place) = slot.saved.take().filter(|_| !is_flying) {
            self.pages.free(place);
        }
    }

    /// Encode what is decoded in a slot, and keep the bytes; None if nothing is. `moves`: the encoded ones.
    pub(crate) fn save(&mut self, number: usize, moves: &[u8]) -> Option<Place> {
        self.outdate(number);
        let slot = &mut self.slots[number];
        self.scratch.clear();
        if !slot.content.encode(&slot.id, &self.tables, (moves, slot.meta.activity), &mut self.scratch) {
            return None;
        }
        slot.saved = Some(self.pages.save(number, &self.scratch));
        slot.saved
    }

    /// Decode a profile, if it is here as bytes.
    pub(crate) fn open(&mut self, number: usize) -> Result<(), Why> {
        let slot = &mut self.slots[number];
        let (Content::Packed, Some(place)) = (&slot.content, slot.saved) else {
            return Ok(());
        };
        let stored = stored::read(self.pages.get(place), &slot.id, &self.tables);
        slot.content = stored.map(Content::of).ok_or(Why::Stored)?;
        self.queue(number);
        Ok(())
    }

    /// Note that the store has profiles: keep their bytes, if they may have to be kept as bytes soon.
    pub(crate) fn land(&mut self, flying: &[(u32, Option<Written>)]) {
        for (number, written) in flying {
            let Some(place) = written.as_ref().map(|written| written.place) else {
                continue;
            };
            let slot = &mut self.slots[*number as usize];
            let is_current = slot.saved == Some(place);
            slot.is_flying &= !is_current;
            if !is_current || !self.is_tight {
                slot.saved = slot.saved.filter(|_| !is_current);
                self.pages.free(place);
            }
        }
    }

    /// Make all take at most `most` bytes, and what is decoded half of them: a quarter while others are evicted.
    ///
    /// Those not used for longest are kept as bytes first, and the oldest bytes are evicted. The store does not have
    /// some profiles yet: those stay decoded, and all may take more.
    pub fn shrink(&mut self, most: usize) {
        self.is_tight = self.decoded > most / 4 || self.bytes() > most / 4 * 3;
        if self.in_flight() > 0 {
            return; // their bytes must stay where they are
        }
        self.merge_pages();
        let mut has_idle = true;
        while has_idle && self.decoded > most / 8 * 3 {
            has_idle = self.pack_next();
        }
        while self.bytes() > most {
            if has_idle && self.decoded > most / 4 {
                has_idle = self.pack_next();
            } else if !self.evict_page() {
                if !has_idle {
                    return;
                }
                has_idle = self.pack_next();
            }
        }
    }

    fn merge_pages(&mut self) {
        while self.pages.has_holes() {
            let before = self.pages.len();
            self.pages.merge().into_iter().for_each(|(number, place)| self.slots[number].saved = Some(place));
            if self.pages.len() >= before {
                return;
            }
        }
    }

    /// Keep the next profile as bytes that was not used since the last time; false if there is none.
    fn pack_next(&mut self) -> bool {
        for _ in 0..2 * self.queue.len() {
            let Some(number) = self.queue.pop_front() else {
                return false;
            };
            let slot = &mut self.slots[number as usize];
            slot.is_queued = false;
            if slot.weight == 0 {
                continue; // it is decoded no more
            }
            let is_used = std::mem::take(&mut slot.meta.used);
            if !is_used && self.pack(number as usize) {
                return true;
            }
            self.slots[number as usize].is_queued = true;
            self.queue.push_back(number);
        }
        false
    }

    /// Keep a profile as bytes; false if these would not say all that is known of it.
    fn pack(&mut self, number: usize) -> bool {
        let slot = &self.slots[number];
        if slot.meta.dirty || slot.meta.dated || slot.meta.overlay_due.get().is_some() {
            return false;
        }
        let Some(place) = slot.saved.or_else(|| self.save(number, &[])) else {
            return false;
        };
        let (slot, state) = (&mut self.slots[number], self.pages.get(place));
        if (stored::timer(state), stored::activity(state)) != (slot.meta.stored_due.get(), slot.meta.activity) {
            return false;
        }
        slot.meta = Meta { size: state.len() as u32, ..std::mem::take(&mut slot.meta) };
        slot.content = Content::Packed;
        self.weigh(number);
        true
    }

    /// Evict the profiles that are kept as bytes in the oldest page; false if there is no page.
    fn evict_page(&mut self) -> bool {
        let Some(found) = self.pages.take_oldest() else {
            return false;
        };
        for number in found {
            self.slots[number].saved = None;
            if let Content::Packed = self.slots[number].content {
                self.release(number);
                self.native -= 1;
            }
        }
        true
    }
}

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

    /// About the bytes of those that the store does not have as they are: changed, or in flight.
    pub fn unstored_bytes(&self) -> usize {
        self.changed_bytes + self.flying_bytes
    }

    /// Count the bytes of what is decoded in a slot.
    pub(crate) fn weigh(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let weight = match &slot.content {
            Content::Native(profile) => weight::of_profile(profile),
            Content::Redirect(redirect) => weight::of_redirect(redirect),
            Content::Free | Content::Away | Content::Packed => 0,
        };
        let former = std::mem::replace(&mut slot.weight, weight as u32) as usize;
        self.decoded = self.decoded + weight - former;
        if slot.meta.dirty {
            self.changed_bytes = self.changed_bytes + weight - former;
        }
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

    /// Make all take at most `most` bytes, and what is decoded three eighths of them: a quarter while others are evicted.
    ///
    /// Those not used for longest are kept as bytes first, and the oldest bytes are evicted. The store does not have
    /// some profiles yet: those stay decoded, and all may take more. The allocator keeps much of what decoded profiles
    /// leave free: hence their own bound.
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

    /// Keep as bytes all profiles that can be, without need: for tests.
    pub fn pack_all(&mut self) {
        while self.in_flight() == 0 && self.pack_next() {}
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::partition::Record;
    use crate::test_tables::tables;

    const HUGE: usize = 1 << 40;

    fn partition() -> Partition {
        Partition::new(Arc::new(tables(&[(5, "run_count", None)])))
    }

    fn apply(partition: &mut Partition, offset: i64, user: usize, message: usize) {
        let (key, source, time) = (format!("user_id:u{user}"), format!("0:{offset}"), offset * 1_000);
        let text = format!(r#"{{"type":"track","event":"A","userId":"u{user}","messageId":"m{message}"}}"#);
        let value = text.as_bytes();
        let (offset, timestamp) = (offset, time);
        let record = Record { offset, timestamp, key: &key, value, source: &source, source_number: 0, time };
        assert_eq!(partition.apply(&record, 0), Ok(()));
    }

    fn begin(partition: &mut Partition) {
        partition.take_activities();
        partition.collect();
        partition.encode(3);
    }

    fn writes(partition: &mut Partition) -> HashMap<String, Vec<u8>> {
        let id = |state: &[u8]| stored::id_of(state).unwrap_or_default().to_string();
        partition.writes(0..usize::MAX).map(|(_, state)| (id(state), state.to_vec())).collect()
    }

    fn checkpoint(partition: &mut Partition) -> usize {
        begin(partition);
        let number = writes(partition).len();
        partition.written();
        number
    }

    /// The bytes of the stored forms that slots have.
    fn saved(partition: &Partition) -> usize {
        let places = partition.slots.iter().filter_map(|slot| slot.saved);
        places.map(|place| partition.pages.get(place).len() + 8).sum()
    }

    /// The bytes of what is decoded in the slots of changed profiles.
    fn changed(partition: &Partition) -> usize {
        let slots = partition.slots.iter().filter(|slot| slot.meta.dirty);
        slots.map(|slot| slot.weight as usize).sum()
    }

    fn packed(partition: &Partition) -> Vec<&str> {
        let slots = partition.slots.iter().filter(|slot| matches!(slot.content, Content::Packed));
        slots.map(|slot| &*slot.id).collect()
    }

    #[test]
    fn profiles_kept_as_bytes_are_those_that_stay_decoded() {
        let (mut plain, mut idle, mut state) = (partition(), partition(), 7_usize);
        let mut below = |most: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for offset in (0..6_000).step_by(2) {
            let (user, message, next) = (below(9), below(40), below(2) * 1_000); // many messages are repeated
            let both = [&mut plain, &mut idle];
            both.into_iter().for_each(|each| apply(each, offset, user, message));
            if below(4) == 0 {
                [&mut plain, &mut idle].into_iter().for_each(begin);
                [&mut plain, &mut idle].into_iter().for_each(|each| apply(each, offset + 1, user, message + next));
                assert_eq!(writes(&mut plain), writes(&mut idle));
                idle.is_tight = below(2) == 0;
                [&mut plain, &mut idle].into_iter().for_each(Partition::written);
                idle.pack_all();
                assert!(packed(&idle).len() + 1 >= idle.len());
            }
            for user in 0..9 {
                let id = format!("user_id:u{user}");
                assert_eq!(plain.state(&id), idle.state(&id), "{offset} {id}");
            }
            assert_eq!(saved(&idle), idle.pages.live());
            assert_eq!(changed(&idle), idle.changed_bytes());
        }
    }

    #[test]
    fn bytes_of_changed_profiles_are_counted_until_the_store_has_them() {
        let mut partition = partition();
        (0..50).for_each(|user| apply(&mut partition, user as i64, user, user));
        let all = partition.changed_bytes();
        assert_eq!((all, partition.unstored_bytes()), (changed(&partition), all));
        let Some((state, meta)) = partition.check_out("user_id:u7") else { panic!("missing") };
        assert_eq!(changed(&partition), partition.changed_bytes());
        assert!(partition.changed_bytes() < all && partition.check_in("user_id:u7", &state, meta));
        assert_eq!(changed(&partition), partition.changed_bytes());
        begin(&mut partition);
        assert_eq!(partition.changed_bytes(), 0);
        assert!(writes(&mut partition).len() == 50 && partition.unstored_bytes() > all);
        apply(&mut partition, 50, 7, 50);
        partition.written();
        assert_eq!((changed(&partition), partition.unstored_bytes()), (partition.changed_bytes(), changed(&partition)));
    }

    #[test]
    fn nothing_is_kept_as_bytes_without_need() {
        let mut partition = partition();
        (0..50).for_each(|user| apply(&mut partition, user as i64, user, user));
        checkpoint(&mut partition);
        partition.shrink(4 * partition.bytes());
        assert!(packed(&partition).is_empty() && partition.pages.bytes() <= 5 << 16);
    }

    #[test]
    fn those_not_used_for_longest_go_first_and_changed_ones_stay() {
        let mut partition = partition();
        (0..400).for_each(|user| apply(&mut partition, user as i64, user, user));
        checkpoint(&mut partition);
        partition.shrink(HUGE);
        while partition.pack_next() {
            if packed(&partition).len() == 200 {
                break;
            }
        }
        (100..110).for_each(|user| apply(&mut partition, 400 + user as i64, user, 1_000 + user));
        let most = partition.bytes() / 3;
        partition.shrink(most);
        assert!(partition.bytes() <= most, "{} {most}", partition.bytes());
        assert!(partition.len() < 390);
        (100..110).for_each(|user| assert!(partition.has(&format!("user_id:u{user}"))));
        assert!(!partition.has("user_id:u0") && partition.has("user_id:u399"));
        partition.shrink(0);
        assert_eq!((partition.len(), packed(&partition).len()), (10, 0));
        begin(&mut partition);
        partition.shrink(0);
        assert_eq!((partition.len(), writes(&mut partition).len()), (10, 10));
        partition.written();
        partition.shrink(0);
        assert_eq!((partition.len(), partition.decoded, partition.pages.len()), (0, 0, 0));
    }
}

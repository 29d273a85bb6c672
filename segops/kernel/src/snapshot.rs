//! What a partition has to write: changed profiles, those in flight, and the index of their due times.

use std::cmp::Reverse;
use std::ops::Range;

use crate::pages::Place;
use crate::partition::Partition;
use crate::slots::Due;

/// The write of a profile: where its stored form is, and the due time in the store before and after, in milliseconds.
pub struct Written {
    pub(crate) place: Place,
    /// The due time before.
    pub old_due: Option<i64>,
    /// The due time after.
    pub new_due: Option<i64>,
}

impl Partition {
    /// The number of profiles changed since the last snapshot.
    pub fn dirty(&self) -> usize {
        self.changed
    }

    /// About the bytes of the profiles changed since the last snapshot.
    pub fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// The number of profiles in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Encode a profile whose write is in flight and not encoded yet.
    pub(crate) fn settle(&mut self, number: usize) {
        let Some(at) = self.slots[number].pending.take() else {
            return;
        };
        let moves = self.moves.remove(&(number as u32)).unwrap_or_default();
        let Some(place) = self.save(number, &moves) else {
            return;
        };
        let slot = &mut self.slots[number];
        let new_due = slot.content.timer();
        let old_due = std::mem::replace(&mut slot.meta.stored_due, new_due.into()).get();
        slot.meta.size = self.scratch.len() as u32;
        slot.is_flying = true;
        self.flying_bytes += self.scratch.len();
        self.in_flight[at as usize].1 = Some(Written { place, old_due, new_due });
        self.weigh(number);
    }

    pub(crate) fn list(&mut self, number: usize) {
        self.changed += 1;
        if !std::mem::replace(&mut self.slots[number].listed, true) {
            self.dirty.push(number as u32);
        }
    }

    /// Mark a profile as changed, and index its due time. `dated`: its activity may have changed.
    pub(crate) fn touch(&mut self, number: usize, dated: bool) {
        self.outdate(number);
        let slot = &mut self.slots[number];
        if dated && !slot.meta.dated {
            slot.meta.dated = true;
            self.dated.push(number as u32);
        }
        let due = slot.content.timer();
        if !slot.meta.dirty {
            slot.meta.dirty = true;
            self.changed_bytes += slot.weight as usize;
            self.list(number);
        }
        let slot = &mut self.slots[number];
        if let Some(due) = due.filter(|due| slot.meta.overlay_due != Some(*due).into()) {
            slot.meta.overlay_due = Some(due).into();
            self.overlay.push(Reverse((due, slot.id.clone())));
        }
    }

    /// The activities that changed since the last call, as counted before and as they are.
    pub fn take_activities(&mut self) -> Vec<(Option<i32>, Option<i32>)> {
        let mut found = vec![];
        for number in std::mem::take(&mut self.dated) {
            let slot = &mut self.slots[number as usize];
            if slot.content.is_here() && slot.meta.dated {
                let activity = slot.content.activity();
                let former = std::mem::replace(&mut slot.meta.activity, activity);
                if former != activity {
                    found.push((former, activity));
                }
            }
        }
        found
    }

    /// Store encoded moves with the next write of a profile; false if it is not here.
    pub fn carry(&mut self, id: &str, moves: &[u8]) -> bool {
        let Some(number) = self.found(id).filter(|number| self.slots[*number].content.is_here()) else {
            return false;
        };
        self.moves.insert(number as u32, moves.into());
        true
    }

    /// Begin a snapshot of the changed profiles; `written` must follow.
    pub fn collect(&mut self) -> usize {
        self.dated.clear();
        (self.encoded, self.changed) = (0, 0);
        self.flying_bytes = std::mem::take(&mut self.changed_bytes);
        self.in_flight.clear();
        for number in std::mem::take(&mut self.dirty) {
            let slot = &mut self.slots[number as usize];
            slot.listed = false;
            if std::mem::take(&mut slot.meta.dirty) {
                slot.meta.dated = false;
                slot.pending = Some(self.in_flight.len() as u32);
                self.in_flight.push((number, None));
            }
        }
        self.in_flight.len()
    }

    /// Encode the next few profiles of the snapshot; whether there may be more.
    pub fn encode(&mut self, few: usize) -> bool {
        let end = self.in_flight.len().min(self.encoded + few);
        for at in self.encoded..end {
            let number = self.in_flight[at].0 as usize;
            if self.slots[number].pending == Some(at as u32) {
                self.settle(number);
            }
        }
        self.encoded = end;
        end < self.in_flight.len()
    }

    /// What the snapshot writes of some profiles in flight, each with its stored form; all of it is encoded.
    pub fn writes(&mut self, some: Range<usize>) -> impl Iterator<Item = (&Written, &[u8])> {
        self.encode(usize::MAX - self.encoded);
        let end = some.end.min(self.in_flight.len());
        let written = self.in_flight[some.start.min(end)..end].iter().filter_map(|(_, written)| written.as_ref());
        written.map(|written| (written, self.pages.get(written.place)))
    }

    /// Note that the store has the snapshot.
    pub fn written(&mut self) {
        let flying = std::mem::take(&mut self.in_flight);
        self.flying_bytes = 0;
        for (number, _) in &flying {
            self.slots[*number as usize].meta.overlay_due = Due::NEVER;
        }
        self.overlay.clear();
        for number in &self.dirty {
            let slot = &mut self.slots[*number as usize];
            if slot.content.is_here() && slot.meta.dirty {
                let due = slot.content.timer();
                slot.meta.overlay_due = due.into();
                if let Some(due) = due {
                    self.overlay.push(Reverse((due, slot.id.clone())));
                }
            }
        }
        self.land(&flying);
    }
}

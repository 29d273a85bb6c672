//! The profiles that the kernel holds: they are loaded, given to Python and taken back, and evicted.

use crate::partition::Partition;
use crate::profile::{Profile, Redirect};
use crate::stored::{self, Stored};
use crate::tables::Tables;

/// What is known of a profile beside its state. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Changed since the last snapshot.
    pub dirty: bool,
    /// Its activity may have changed since then.
    pub dated: bool,
    /// Used since the last eviction.
    pub used: bool,
    /// The due time in the store.
    pub stored_due: Option<i64>,
    /// The due time in the index of changed profiles.
    pub overlay_due: Option<i64>,
    /// Bytes of its last stored form and of the events since.
    pub size: u64,
    /// Its activity as counted.
    pub activity: Option<i64>,
    /// The encoded moves of the write in flight.
    pub moves: Vec<u8>,
}

/// What the kernel has under an identifier.
pub(crate) enum Content {
    /// Nothing: the slot can be used again.
    Free,
    /// Nothing: Python has it.
    Away,
    /// A profile.
    Native(Box<Profile>),
    /// A redirect.
    Redirect(Box<Redirect>),
}

impl Content {
    fn of(stored: Stored) -> Content {
        match stored {
            Stored::Profile(profile) => Content::Native(profile),
            Stored::Redirect(redirect) => Content::Redirect(Box::new(redirect)),
        }
    }

    /// Whether it is here.
    pub fn is_here(&self) -> bool {
        matches!(self, Content::Native(_) | Content::Redirect(_))
    }

    /// When its timer is due.
    pub fn timer(&self) -> Option<i64> {
        match self {
            Content::Native(profile) => profile.timer(),
            _ => None,
        }
    }

    /// Its activity.
    pub fn activity(&self) -> Option<i64> {
        match self {
            Content::Native(profile) => profile.activity(),
            _ => None,
        }
    }

    /// Its stored form with moves and an activity; None if it is not here.
    pub fn encode(&self, id: &str, tables: &Tables, moves: &[u8], activity: Option<i64>) -> Option<Vec<u8>> {
        match self {
            Content::Native(profile) => Some(stored::write(profile, tables, moves, activity)),
            Content::Redirect(redirect) => Some(stored::write_redirect(id, redirect, tables, moves)),
            _ => None,
        }
    }
}

/// An identifier, what is under it, and what is known of that.
pub(crate) struct Slot {
    pub id: Box<str>,
    pub content: Content,
    pub meta: Meta,
    /// Its number among those in flight, until it is encoded.
    pub pending: Option<usize>,
    /// Whether the list of changed profiles has it, perhaps from before Python had it.
    pub listed: bool,
}

impl Partition {
    /// The number of profiles here.
    pub fn len(&self) -> usize {
        self.native
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.native == 0
    }

    /// Whether a profile is here or away.
    pub fn knows(&self, id: &str) -> bool {
        self.index.contains_key(id)
    }

    /// Whether a profile is here.
    pub fn has(&self, id: &str) -> bool {
        self.found(id).is_some_and(|number| self.slots[number].content.is_here())
    }

    pub(crate) fn found(&self, id: &str) -> Option<usize> {
        self.index.get(id).map(|number| *number as usize)
    }

    pub(crate) fn place(&mut self, id: &str, content: Content, meta: Meta) -> usize {
        if let Some(number) = self.found(id) {
            self.slots[number].content = content;
            self.slots[number].meta = meta;
            return number;
        }
        let slot = Slot { id: id.into(), content, meta, pending: None, listed: false };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.index.insert(id.into(), number);
        number as usize
    }

    /// Note that Python has a profile.
    pub fn note_away(&mut self, id: &str) {
        self.place(id, Content::Away, Meta::default());
    }

    /// Note that Python has a profile no more.
    pub fn forget(&mut self, id: &str) {
        if let Some(number) = self.found(id).filter(|number| matches!(self.slots[*number].content, Content::Away)) {
            self.release(number);
        }
    }

    pub(crate) fn release(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        self.index.remove(&slot.id);
        *slot =
            Slot { id: Box::default(), content: Content::Free, meta: Meta::default(), pending: None, listed: false };
        self.free.push(number as u32);
    }

    /// Take a profile from the store; false for one that is Python's to read.
    pub fn load(&mut self, id: &str, state: &[u8], used: bool) -> bool {
        let Some(content) = stored::read(state, id, &self.tables).map(Content::of) else {
            return false;
        };
        let meta = Meta {
            used,
            stored_due: content.timer(),
            size: state.len() as u64,
            activity: content.activity(),
            ..Meta::default()
        };
        self.place(id, content, meta);
        self.native += 1;
        true
    }

    /// Give a profile to Python: its stored form, and what is known of it.
    pub fn check_out(&mut self, id: &str) -> Option<(Vec<u8>, Meta)> {
        let number = self.found(id)?;
        self.settle(number);
        let slot = &mut self.slots[number];
        let state = slot.content.encode(id, &self.tables, &[], slot.meta.activity)?;
        slot.content = Content::Away;
        self.native -= 1;
        let meta = std::mem::take(&mut slot.meta);
        self.changed -= usize::from(meta.dirty);
        Some((state, meta))
    }

    /// Take a profile back from Python; false for one that the kernel cannot hold.
    ///
    /// The index of Python keeps its due time, as this one did when it was checked out: whoever has the
    /// profile then fires it.
    pub fn check_in(&mut self, id: &str, state: &[u8], meta: Meta) -> bool {
        let Some(content) = stored::read(state, id, &self.tables).map(Content::of) else {
            return false;
        };
        let (dirty, dated) = (meta.dirty, meta.dated);
        let number = self.place(id, content, meta);
        self.native += 1;
        if dirty {
            self.list(number);
        }
        if dated {
            self.dated.push(number as u32);
        }
        true
    }

    /// The ids of the profiles here.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let native = self.slots.iter().filter(|slot| slot.content.is_here());
        native.map(|slot| &*slot.id)
    }

    /// The ids of those that the store does not have as they are: changed, or in flight.
    pub fn unstored(&self) -> Vec<Box<str>> {
        let flying = self.in_flight.iter().map(|(number, _)| number);
        let mut found: Vec<Box<str>> = vec![];
        for number in self.dirty.iter().chain(flying) {
            let slot = &self.slots[*number as usize];
            if slot.content.is_here() {
                found.push(slot.id.clone());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The current stored form of a profile that is here.
    pub fn state(&self, id: &str) -> Option<Vec<u8>> {
        let slot = &self.slots[self.found(id)?];
        slot.content.encode(id, &self.tables, &[], slot.content.activity())
    }

    /// Evict so many profiles that the store has, those not used since the last call first.
    pub fn evict(&mut self, over: usize) {
        let mut left = over;
        for used in [false, true] {
            for number in 0..self.slots.len() {
                if left == 0 {
                    break;
                }
                let slot = &self.slots[number];
                let is_clean = slot.content.is_here() && !slot.meta.dirty && slot.pending.is_none();
                if is_clean && slot.meta.used == used {
                    self.release(number);
                    self.native -= 1;
                    left -= 1;
                }
            }
        }
        for slot in &mut self.slots {
            slot.meta.used = false;
        }
    }
}

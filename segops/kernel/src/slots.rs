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
    /// A profile that the store has, in its stored form.
    Packed(Box<[u8]>),
}

impl Content {
    pub fn of(stored: Stored) -> Content {
        match stored {
            Stored::Profile(profile) => Content::Native(profile),
            Stored::Redirect(redirect) => Content::Redirect(Box::new(redirect)),
        }
    }

    /// Whether it is here.
    pub fn is_here(&self) -> bool {
        !matches!(self, Content::Free | Content::Away)
    }

    /// When its timer is due.
    pub fn timer(&self) -> Option<i64> {
        match self {
            Content::Native(profile) => profile.timer(),
            Content::Packed(state) => stored::timer(state),
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
            Content::Packed(state) => Some(state.to_vec()),
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
    /// Of its last encoding, while it is as that says; else 0.
    pub stamp: u32,
    /// Whether the list of decoded profiles that the store has names it.
    pub is_warm: bool,
    /// The bytes that it counts for.
    pub charged: usize,
}

impl Slot {
    fn new(id: &str, content: Content, meta: Meta) -> Slot {
        Slot { id: id.into(), content, meta, pending: None, listed: false, stamp: 0, is_warm: false, charged: 0 }
    }
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
        let number = self.found(id).unwrap_or_else(|| self.reserve(id));
        let slot = &mut self.slots[number];
        (slot.content, slot.meta, slot.stamp) = (content, meta, 0);
        match (slot.content.is_here(), slot.meta.used) {
            (true, true) => self.recency.renew(number),
            (true, false) => self.recency.put_last(number),
            _ => self.recency.remove(number),
        }
        self.charge(number);
        number
    }

    fn reserve(&mut self, id: &str) -> usize {
        let slot = Slot::new(id, Content::Free, Meta::default());
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number as usize
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.index.insert(id.into(), number as u32);
        number
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
        self.index.remove(&self.slots[number].id);
        self.slots[number].content = Content::Free;
        self.charge(number);
        self.slots[number] = Slot::new("", Content::Free, Meta::default());
        self.recency.remove(number);
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
        let number = self.place(id, content, meta);
        self.warm_up(number);
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
        self.recency.remove(number);
        self.charge(number);
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
        } else {
            self.warm_up(number);
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
}

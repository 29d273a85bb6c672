//! The profiles that the kernel holds: they are loaded, given to Python and taken back, and evicted.

use crate::index::hash_of;
use crate::pages::Place;
use crate::partition::Partition;
use crate::profile::{Profile, Redirect};
use crate::stored::{self, Stored};
use crate::tables::Tables;

/// A due time in milliseconds, or none, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due(i64);

impl Due {
    /// None.
    pub const NEVER: Due = Due(i64::MIN);

    /// The time.
    pub fn get(self) -> Option<i64> {
        Some(self.0).filter(|_| self != Due::NEVER)
    }
}

impl Default for Due {
    fn default() -> Due {
        Due::NEVER
    }
}

impl From<Option<i64>> for Due {
    fn from(due: Option<i64>) -> Due {
        due.map_or(Due::NEVER, Due)
    }
}

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
    pub stored_due: Due,
    /// The due time in the index of changed profiles.
    pub overlay_due: Due,
    /// Bytes of its last stored form and of the events since.
    pub size: u32,
    /// Its activity as counted.
    pub activity: Option<i32>,
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
    /// What the store has, as bytes: `Slot::saved`.
    Packed,
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

    /// When the timer of what is decoded is due.
    pub fn timer(&self) -> Option<i64> {
        match self {
            Content::Native(profile) => profile.timer(),
            _ => None,
        }
    }

    /// The activity of what is decoded.
    pub fn activity(&self) -> Option<i32> {
        match self {
            Content::Native(profile) => profile.activity(),
            _ => None,
        }
    }

    /// Append the stored form of what is decoded, with encoded moves and an activity; false if nothing is.
    pub fn encode(&self, id: &str, tables: &Tables, of_head: (&[u8], Option<i32>), out: &mut Vec<u8>) -> bool {
        match self {
            Content::Native(profile) => stored::write(profile, tables, of_head, out),
            Content::Redirect(redirect) => stored::write_redirect(id, redirect, tables, of_head.0, out),
            _ => return false,
        }
        true
    }
}

/// An identifier, what is under it, and what is known of that.
pub(crate) struct Slot {
    pub id: Box<str>,
    pub content: Content,
    pub meta: Meta,
    /// Its number among those in flight, until it is encoded.
    pub pending: Option<u32>,
    /// The bytes of a profile that the store has as they say.
    pub saved: Option<Place>,
    /// About the bytes of what is decoded.
    pub weight: u32,
    /// Whether the list of changed profiles has it, perhaps from before Python had it.
    pub listed: bool,
    /// Whether the queue of decoded profiles has it, perhaps from before it was released.
    pub is_queued: bool,
    /// Whether `saved` is of the write in flight.
    pub is_flying: bool,
}

impl Slot {
    fn free() -> Slot {
        Slot {
            id: Box::default(),
            content: Content::Free,
            meta: Meta::default(),
            pending: None,
            saved: None,
            weight: 0,
            listed: false,
            is_queued: false,
            is_flying: false,
        }
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
        self.found(id).is_some()
    }

    /// Whether a profile is here.
    pub fn has(&self, id: &str) -> bool {
        self.found(id).is_some_and(|number| self.slots[number].content.is_here())
    }

    pub(crate) fn found(&self, id: &str) -> Option<usize> {
        self.index.find(hash_of(id), |number| *self.slots[number].id == *id)
    }

    pub(crate) fn place(&mut self, id: &str, content: Content, meta: Meta) -> usize {
        let number = self.found(id).unwrap_or_else(|| self.reserve(id));
        self.outdate(number);
        (self.slots[number].content, self.slots[number].meta) = (content, meta);
        self.queue(number);
        number
    }

    fn reserve(&mut self, id: &str) -> usize {
        let number = self.free.pop().map_or(self.slots.len(), |number| number as usize);
        if number == self.slots.len() {
            self.slots.push(Slot::free());
        }
        self.slots[number].id = id.into();
        self.index.insert(hash_of(id), number);
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
        self.outdate(number);
        let slot = &mut self.slots[number];
        self.index.remove(hash_of(&slot.id), number);
        self.decoded -= slot.weight as usize;
        *slot = Slot { is_queued: slot.is_queued, ..Slot::free() };
        self.free.push(number as u32);
    }

    /// Take a profile from the store; false for one that is Python's to read.
    pub fn load(&mut self, id: &str, state: &[u8], used: bool) -> bool {
        let Some(content) = stored::read(state, id, &self.tables).map(Content::of) else {
            return false;
        };
        let meta = Meta {
            used,
            stored_due: content.timer().into(),
            size: state.len() as u32,
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
        let state = self.state_of(number, self.slots[number].meta.activity)?;
        self.outdate(number);
        self.moves.remove(&(number as u32));
        let slot = &mut self.slots[number];
        slot.content = Content::Away;
        let meta = std::mem::take(&mut slot.meta);
        if meta.dirty {
            self.changed_bytes -= slot.weight as usize;
        }
        self.weigh(number);
        self.native -= 1;
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
        let number = self.found(id)?;
        self.state_of(number, self.slots[number].content.activity())
    }

    /// The stored form of what is in a slot; with an activity if it is decoded.
    fn state_of(&self, number: usize, activity: Option<i32>) -> Option<Vec<u8>> {
        let (slot, mut state) = (&self.slots[number], vec![]);
        if let (Content::Packed, Some(place)) = (&slot.content, slot.saved) {
            return Some(stored::without_moves(self.pages.get(place)));
        }
        slot.content.encode(&slot.id, &self.tables, (&[], activity), &mut state).then_some(state)
    }

    /// When the timer of what is in a slot is due.
    pub(crate) fn due(&self, number: usize) -> Option<i64> {
        let slot = &self.slots[number];
        if let Content::Packed = slot.content {
            return slot.meta.stored_due.get();
        }
        slot.content.timer()
    }
}

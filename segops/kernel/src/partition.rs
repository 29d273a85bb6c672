//! The profiles of one partition that the kernel holds, and the records that it applies to them.
//!
//! A changed profile is *dirty* until the next snapshot, then *in flight* until the store has it. One in flight
//! is encoded before it changes again. A profile is either here or Python's ("away"), never both.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::{Engine, Outcome, Why};
use crate::evaluate::Changes;
use crate::event::Event;
use crate::profile::{is_another_day, Profile};
use crate::segment::Segment;
use crate::stored;
use crate::tables::{Tables, TextMap};

/// A record of a partition, its headers read. `source` is `<partition>:<offset>`, `time` in milliseconds.
pub struct Record<'r> {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in milliseconds.
    pub timestamp: i64,
    /// The profile.
    pub key: &'r str,
    /// The event.
    pub value: &'r [u8],
    /// Where the event came from.
    pub source: &'r str,
    /// The partition in `source`.
    pub source_number: usize,
    /// The time of the event.
    pub time: i64,
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

enum Content {
    Free,
    Away,
    Native(Box<Profile>),
}

struct Slot {
    id: Box<str>,
    content: Content,
    meta: Meta,
    /// Its number among those in flight, until it is encoded.
    pending: Option<usize>,
    /// Whether the list of changed profiles has it, perhaps from before Python had it.
    listed: bool,
}

/// A profile to write: its id, state, and the due time in the store before and after, in milliseconds.
pub struct Written {
    /// The profile.
    pub id: Box<str>,
    /// Its stored form.
    pub state: Vec<u8>,
    /// The due time before.
    pub old_due: Option<i64>,
    /// The due time after.
    pub new_due: Option<i64>,
}

/// The changes that one record, or one timer, caused.
pub struct Group {
    /// The profile.
    pub profile: Box<str>,
    /// The timestamp of the record; None for a timer.
    pub arrived: Option<i64>,
    /// The clock of the partition then.
    pub clock: i64,
    /// The changes.
    pub changes: Changes,
}

/// Counts since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events whose message was applied before.
    pub duplicates: u64,
    /// Events older than the clock.
    pub late: u64,
}

/// What became of a timer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fired {
    /// The profile is not here.
    Absent,
    /// It is not due.
    Early,
    /// It was so late, in milliseconds.
    Late(i64),
    /// Python has to fire it.
    Python(Why),
}

/// The profiles of one partition.
pub struct Partition {
    tables: Arc<Tables>,
    slots: Vec<Slot>,
    index: TextMap<u32>,
    free: Vec<u32>,
    /// Changed profiles, and some that Python has taken since.
    dirty: Vec<u32>,
    changed: usize,
    dated: Vec<u32>,
    in_flight: Vec<(u32, Option<Written>)>,
    encoded: usize,
    overlay: BinaryHeap<Reverse<(i64, Box<str>)>>,
    native: usize,
    /// The clock.
    pub clock: Clock,
    /// What was done and not taken yet.
    pub groups: Vec<Group>,
    /// Counts.
    pub counts: Counts,
}

impl Partition {
    /// A partition without profiles.
    pub fn new(tables: Arc<Tables>) -> Partition {
        Partition {
            tables,
            slots: vec![],
            index: TextMap::default(),
            free: vec![],
            dirty: vec![],
            changed: 0,
            dated: vec![],
            in_flight: vec![],
            encoded: 0,
            overlay: BinaryHeap::new(),
            native: 0,
            clock: Clock::default(),
            groups: vec![],
            counts: Counts::default(),
        }
    }

    /// A segment by its index.
    pub fn segment(&self, number: u32) -> &Segment {
        &self.tables.segments[number as usize]
    }

    /// The number of profiles here.
    pub fn len(&self) -> usize {
        self.native
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.native == 0
    }

    /// The number of profiles changed since the last snapshot.
    pub fn dirty(&self) -> usize {
        self.changed
    }

    /// The number of profiles in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a profile is here or away.
    pub fn knows(&self, id: &str) -> bool {
        self.index.contains_key(id)
    }

    /// Whether a profile is here.
    pub fn has(&self, id: &str) -> bool {
        self.found(id).is_some_and(|number| matches!(self.slots[number].content, Content::Native(_)))
    }

    fn found(&self, id: &str) -> Option<usize> {
        self.index.get(id).map(|number| *number as usize)
    }

    fn place(&mut self, id: &str, content: Content, meta: Meta) -> usize {
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

    fn release(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        self.index.remove(&slot.id);
        *slot =
            Slot { id: Box::default(), content: Content::Free, meta: Meta::default(), pending: None, listed: false };
        self.free.push(number as u32);
    }

    /// Take a profile from the store; false for one that is Python's to read.
    pub fn load(&mut self, id: &str, state: &[u8], used: bool) -> bool {
        let Some(profile) = stored::read(state, &self.tables).filter(|profile| *profile.id == *id) else {
            return false;
        };
        let meta = Meta {
            used,
            stored_due: profile.due,
            size: state.len() as u64,
            activity: profile.activity(),
            ..Meta::default()
        };
        self.place(id, Content::Native(Box::new(profile)), meta);
        self.native += 1;
        true
    }

    /// Give a profile to Python: its stored form, and what is known of it.
    pub fn check_out(&mut self, id: &str) -> Option<(Vec<u8>, Meta)> {
        let number = self.found(id)?;
        if !matches!(self.slots[number].content, Content::Native(_)) {
            return None;
        }
        self.settle(number);
        let slot = &mut self.slots[number];
        let Content::Native(profile) = std::mem::replace(&mut slot.content, Content::Away) else {
            return None;
        };
        self.native -= 1;
        let meta = std::mem::take(&mut slot.meta);
        self.changed -= usize::from(meta.dirty);
        Some((stored::write(&profile, &self.tables, &[], meta.activity), meta))
    }

    /// Take a profile back from Python; false for one that the kernel cannot hold.
    ///
    /// The index of Python keeps its due time, as this one did when it was checked out: whoever has the
    /// profile then fires it.
    pub fn check_in(&mut self, id: &str, state: &[u8], meta: Meta) -> bool {
        let Some(profile) = stored::read(state, &self.tables).filter(|profile| *profile.id == *id) else {
            return false;
        };
        let (dirty, dated) = (meta.dirty, meta.dated);
        let number = self.place(id, Content::Native(Box::new(profile)), meta);
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
        let native = self.slots.iter().filter(|slot| matches!(slot.content, Content::Native(_)));
        native.map(|slot| &*slot.id)
    }

    /// The ids of those that the store does not have as they are: changed, or in flight.
    pub fn unstored(&self) -> Vec<Box<str>> {
        let flying = self.in_flight.iter().map(|(number, _)| number);
        let mut found: Vec<Box<str>> = vec![];
        for number in self.dirty.iter().chain(flying) {
            let slot = &self.slots[*number as usize];
            if matches!(slot.content, Content::Native(_)) {
                found.push(slot.id.clone());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The current stored form of a profile that is here.
    pub fn state(&self, id: &str) -> Option<Vec<u8>> {
        match &self.slots[self.found(id)?].content {
            Content::Native(profile) => Some(stored::write(profile, &self.tables, &[], profile.activity())),
            _ => None,
        }
    }

    /// Encode a profile whose write is in flight and not encoded yet.
    fn settle(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        let (Some(at), Content::Native(profile)) = (slot.pending.take(), &slot.content) else {
            return;
        };
        let state = stored::write(profile, &self.tables, &slot.meta.moves, slot.meta.activity);
        let old_due = std::mem::replace(&mut slot.meta.stored_due, profile.due);
        slot.meta.size = state.len() as u64;
        slot.meta.moves.clear();
        self.in_flight[at].1 = Some(Written { id: slot.id.clone(), state, old_due, new_due: profile.due });
    }

    fn list(&mut self, number: usize) {
        self.changed += 1;
        if !std::mem::replace(&mut self.slots[number].listed, true) {
            self.dirty.push(number as u32);
        }
    }

    fn touch(&mut self, number: usize, dated: bool) {
        let slot = &mut self.slots[number];
        let Content::Native(profile) = &slot.content else {
            return;
        };
        if dated && !slot.meta.dated {
            slot.meta.dated = true;
            self.dated.push(number as u32);
        }
        let due = profile.due;
        if !slot.meta.dirty {
            slot.meta.dirty = true;
            self.list(number);
        }
        let slot = &mut self.slots[number];
        if let Some(due) = due.filter(|due| slot.meta.overlay_due != Some(*due)) {
            slot.meta.overlay_due = Some(due);
            self.overlay.push(Reverse((due, slot.id.clone())));
        }
    }

    /// Apply an event; Err, without a change but of the clock, if Python has to.
    ///
    /// `base` is the first sequence of a new profile; 0: there is none. A profile that is neither here nor
    /// away is new: what the store has was loaded before.
    pub fn apply(&mut self, record: &Record<'_>, base: i64) -> Result<(), Why> {
        if !self.clock.observe(record.source_number, record.time) {
            return Err(Why::Origin);
        }
        let clock = self.clock.now;
        match self.found(record.key) {
            Some(number) => self.apply_known(record, number, clock),
            None => self.apply_new(record, base, clock),
        }
    }

    fn apply_known(&mut self, record: &Record<'_>, number: usize, clock: i64) -> Result<(), Why> {
        let slot = &self.slots[number];
        let Content::Native(profile) = &slot.content else {
            return Err(Why::Held);
        };
        if record.offset <= profile.applied {
            return Ok(());
        }
        if profile.is_full {
            return Err(Why::Stored);
        }
        self.settle(number);
        let size = self.slots[number].meta.size + record.value.len() as u64;
        if size > self.tables.max_bytes {
            return Err(Why::Large);
        }
        let tables = Arc::clone(&self.tables);
        let event = Event::decode(record.value, &tables.limits)?;
        let slot = &mut self.slots[number];
        let Content::Native(profile) = &mut slot.content else {
            return Err(Why::Held);
        };
        let mut changes = Changes::new();
        let engine = Engine { tables: &tables };
        let outcome = engine.on_event(profile, &event, (record.time, clock, record.source), &mut changes)?;
        profile.applied = record.offset;
        slot.meta.size = size;
        slot.meta.used = true;
        let dated = is_another_day(slot.meta.activity, record.time);
        self.note(record, outcome == Outcome::Duplicate, clock, changes);
        if outcome == Outcome::Applied {
            self.touch(number, dated);
        }
        Ok(())
    }

    fn apply_new(&mut self, record: &Record<'_>, base: i64, clock: i64) -> Result<(), Why> {
        let tables = Arc::clone(&self.tables);
        if record.value.len() as u64 > tables.max_bytes {
            return Err(Why::Large);
        }
        let event = Event::decode(record.value, &tables.limits)?;
        let mut profile = Profile::new(record.key);
        profile.sequence = base;
        let mut changes = Changes::new();
        let engine = Engine { tables: &tables };
        engine.on_event(&mut profile, &event, (record.time, clock, record.source), &mut changes)?;
        profile.applied = record.offset;
        let meta = Meta { used: true, size: record.value.len() as u64, ..Meta::default() };
        let number = self.place(record.key, Content::Native(Box::new(profile)), meta);
        self.native += 1;
        self.note(record, false, clock, changes);
        self.touch(number, true);
        Ok(())
    }

    fn note(&mut self, record: &Record<'_>, duplicate: bool, clock: i64, changes: Changes) {
        self.counts.late += u64::from(record.time < clock);
        self.counts.duplicates += u64::from(duplicate);
        if !changes.is_empty() {
            self.groups.push(Group { profile: record.key.into(), arrived: Some(record.timestamp), clock, changes });
        }
    }

    /// Fire what is due of a profile by an instant in milliseconds.
    pub fn fire(&mut self, id: &str, now: i64) -> Fired {
        let Some(number) = self.found(id).filter(|number| matches!(self.slots[*number].content, Content::Native(_)))
        else {
            return Fired::Absent;
        };
        self.settle(number);
        let tables = Arc::clone(&self.tables);
        let Content::Native(profile) = &mut self.slots[number].content else {
            return Fired::Absent;
        };
        let Some(due) = profile.due.filter(|due| *due <= now) else {
            return Fired::Early;
        };
        let mut changes = Changes::new();
        if let Err(why) = (Engine { tables: &tables }).on_timer(profile, now, &mut changes) {
            return Fired::Python(why);
        }
        self.touch(number, false);
        if !changes.is_empty() {
            self.groups.push(Group { profile: id.into(), arrived: None, clock: now, changes });
        }
        Fired::Late(now - due)
    }

    /// The earliest changed profile that may be due by an instant in milliseconds.
    pub fn next_due(&self, until: i64) -> Option<(i64, &str)> {
        let Reverse((due, id)) = self.overlay.peek()?;
        (*due <= until).then_some((*due, id))
    }

    /// Take it from the index.
    pub fn pop_due(&mut self) {
        self.overlay.pop();
    }

    /// The activities that changed since the last call, as counted before and as they are.
    pub fn take_activities(&mut self) -> Vec<(Option<i64>, Option<i64>)> {
        let mut found = vec![];
        for number in std::mem::take(&mut self.dated) {
            let slot = &mut self.slots[number as usize];
            if let (Content::Native(profile), true) = (&slot.content, slot.meta.dated) {
                let activity = profile.activity();
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
        let Some(number) = self.found(id).filter(|number| matches!(self.slots[*number].content, Content::Native(_)))
        else {
            return false;
        };
        self.slots[number].meta.moves = moves.to_vec();
        true
    }

    /// Begin a snapshot of the changed profiles; `written` must follow.
    pub fn collect(&mut self) -> usize {
        self.dated.clear();
        (self.encoded, self.changed) = (0, 0);
        self.in_flight.clear();
        for number in std::mem::take(&mut self.dirty) {
            let slot = &mut self.slots[number as usize];
            slot.listed = false;
            if std::mem::take(&mut slot.meta.dirty) {
                slot.meta.dated = false;
                slot.pending = Some(self.in_flight.len());
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
            if self.slots[number].pending == Some(at) {
                self.settle(number);
            }
        }
        self.encoded = end;
        end < self.in_flight.len()
    }

    /// What the snapshot writes; all of it is encoded.
    pub fn writes(&mut self) -> impl Iterator<Item = &Written> {
        self.encode(usize::MAX - self.encoded);
        self.in_flight.iter().filter_map(|(_, written)| written.as_ref())
    }

    /// Note that the store has the snapshot.
    pub fn written(&mut self) {
        for (number, _) in std::mem::take(&mut self.in_flight) {
            self.slots[number as usize].meta.overlay_due = None;
        }
        self.overlay.clear();
        for number in &self.dirty {
            let slot = &mut self.slots[*number as usize];
            if let (Content::Native(profile), true) = (&slot.content, slot.meta.dirty) {
                slot.meta.overlay_due = profile.due;
                if let Some(due) = profile.due {
                    self.overlay.push(Reverse((due, slot.id.clone())));
                }
            }
        }
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
                let is_clean = matches!(slot.content, Content::Native(_)) && !slot.meta.dirty && slot.pending.is_none();
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

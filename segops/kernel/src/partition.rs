//! The profiles of one partition that the kernel holds, and the records that it applies to them.
//!
//! A changed profile is *dirty* until the next snapshot, then *in flight* until the store has it. One in flight
//! is encoded before it changes again. A profile is either here or Python's ("away"), never both.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Clock;
use crate::deliver::Letter;
use crate::engine::Why;
use crate::evaluate::Changes;
use crate::event::Event;
use crate::identity::{Effects, Given};
use crate::index::Index;
use crate::message::{Message, Says, Sent};
use crate::packed::pack;
use crate::pages::Pages;
use crate::profile::{is_another_day, Profile};
use crate::segment::Segment;
use crate::slots::{Content, Slot};
use crate::snapshot::Written;
use crate::tables::Tables;

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

impl<'r> Record<'r> {
    fn letter(&self) -> Letter<'r> {
        Letter { offset: self.offset, timestamp: self.timestamp, key: self.key, value: self.value }
    }
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
    /// Messages and events that a redirect relayed.
    pub relayed: u64,
    /// Answers to claims that an erased profile made.
    pub stale: u64,
}

/// The profiles of one partition.
pub struct Partition {
    pub(crate) tables: Arc<Tables>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) index: Index,
    pub(crate) free: Vec<u32>,
    /// Changed profiles, and some that Python has taken since.
    pub(crate) dirty: Vec<u32>,
    pub(crate) changed: usize,
    pub(crate) dated: Vec<u32>,
    pub(crate) in_flight: Vec<(u32, Option<Written>)>,
    pub(crate) encoded: usize,
    pub(crate) overlay: BinaryHeap<Reverse<(i64, Box<str>)>>,
    pub(crate) native: usize,
    /// Encoded moves of the writes in flight.
    pub(crate) moves: HashMap<u32, Box<[u8]>>,
    /// The stored forms of profiles, decoded or not.
    pub(crate) pages: Pages,
    /// Slots with what is decoded, and some that have it no more, in the order of age.
    pub(crate) queue: VecDeque<u32>,
    /// Reused for what is encoded.
    pub(crate) scratch: Vec<u8>,
    /// About the bytes of what is decoded.
    pub(crate) decoded: usize,
    /// About the bytes of what is changed.
    pub(crate) changed_bytes: usize,
    /// About the bytes of what is in flight, with its stored forms.
    pub(crate) flying_bytes: usize,
    /// Whether profiles may soon be kept as bytes.
    pub(crate) is_tight: bool,
    /// The clock.
    pub clock: Clock,
    /// What was done and not taken yet.
    pub groups: Vec<Group>,
    /// Messages to other profiles, in order.
    pub sent: Vec<Sent>,
    /// Profiles that wait now (None), or no longer, with so many identifiers.
    pub waits: Vec<(Box<str>, Option<usize>)>,
    /// The profiles that did not exist before.
    pub created: Vec<Box<str>>,
    /// Counts.
    pub counts: Counts,
}

impl Partition {
    /// A partition without profiles.
    pub fn new(tables: Arc<Tables>) -> Partition {
        Partition {
            tables,
            slots: vec![],
            index: Index::default(),
            free: vec![],
            dirty: vec![],
            changed: 0,
            dated: vec![],
            in_flight: vec![],
            encoded: 0,
            overlay: BinaryHeap::new(),
            native: 0,
            moves: HashMap::new(),
            pages: Pages::default(),
            queue: VecDeque::new(),
            scratch: vec![],
            decoded: 0,
            changed_bytes: 0,
            flying_bytes: 0,
            is_tight: false,
            clock: Clock::default(),
            groups: vec![],
            sent: vec![],
            waits: vec![],
            created: vec![],
            counts: Counts::default(),
        }
    }

    /// A segment by its index.
    pub fn segment(&self, number: u32) -> &Segment {
        &self.tables.segments[number as usize]
    }

    /// Apply an event; Err, without a change but of the clock, if Python has to.
    ///
    /// `base` is the first sequence of a new profile; 0: there is none. A profile that is neither here nor
    /// away is new: what the store has was loaded before.
    pub fn apply(&mut self, record: &Record<'_>, base: i64) -> Result<(), Why> {
        if !self.clock.observe(record.source_number, record.time) {
            return Err(Why::Origin);
        }
        match self.found(record.key) {
            Some(number) => self.apply_known(record, number),
            None => self.apply_new(record, base),
        }
    }

    fn apply_known(&mut self, record: &Record<'_>, number: usize) -> Result<(), Why> {
        self.open(number)?;
        if record.offset <= self.applied(number)? {
            return Ok(());
        }
        self.settle(number);
        let size = u64::from(self.slots[number].meta.size) + record.value.len() as u64;
        if size > self.tables.max_bytes {
            return Err(Why::Large);
        }
        let tables = Arc::clone(&self.tables);
        let event = Event::decode(record.value, &tables.limits)?;
        let given = Given { event: &event, time: record.time, id: record.source, packed: None };
        let dated = is_another_day(self.slots[number].meta.activity, record.time);
        if let Content::Redirect(_) = self.slots[number].content {
            let packed = pack(&event, record.time, record.source, None)?;
            let message = Message { to: record.key, says: Says::Forward(&packed), hops: 0 };
            self.relay(number, &message, record.letter())?;
        } else {
            self.step(number, record.letter(), dated, |identity, profile, effects| {
                identity.on_event(profile, &given, effects)
            })?;
        }
        self.counts.late += u64::from(record.time < self.clock.now);
        self.slots[number].meta.size = u32::try_from(size).unwrap_or(u32::MAX);
        self.slots[number].meta.used = true;
        Ok(())
    }

    fn apply_new(&mut self, record: &Record<'_>, base: i64) -> Result<(), Why> {
        let tables = Arc::clone(&self.tables);
        if record.value.len() as u64 > tables.max_bytes {
            return Err(Why::Large);
        }
        let event = Event::decode(record.value, &tables.limits)?;
        let mut profile = Profile::new(record.key);
        profile.sequence = base;
        let given = Given { event: &event, time: record.time, id: record.source, packed: None };
        let mut effects = Effects::default();
        self.identity(&tables, record.timestamp).on_event(&mut profile, &given, &mut effects)?;
        profile.applied = record.offset;
        self.counts.late += u64::from(record.time < self.clock.now);
        self.insert(record.key, Content::Native(Box::new(profile)), record.value.len());
        self.take(record.letter(), effects);
        Ok(())
    }
}

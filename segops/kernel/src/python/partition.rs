//! The profiles of a partition, for `segops.streaming.partition`.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::outboxes::PyOutbox;
use super::records::{profile_event, Profiled, PyRecords};
use super::rows::{noted, Noted, PyRows};
use super::PyEngine;
use crate::partition::Partition;
use crate::route::partition_of;
use crate::slots::Meta;
use crate::stored;

/// What is known of a profile beside its state, in the order of `Meta`. Times are in milliseconds.
type MetaTuple = (bool, bool, bool, Option<i64>, Option<i64>, u32, Option<i32>);

fn meta_tuple(meta: &Meta) -> MetaTuple {
    let (stored, overlay) = (meta.stored_due.get(), meta.overlay_due.get());
    (meta.dirty, meta.dated, meta.used, stored, overlay, meta.size, meta.activity)
}

fn meta_of(tuple: MetaTuple) -> Meta {
    let (dirty, dated, used, stored_due, overlay_due, size, activity) = tuple;
    let (stored_due, overlay_due) = (stored_due.into(), overlay_due.into());
    Meta { dirty, dated, used, stored_due, overlay_due, size, activity }
}

/// The marks, the idle sources, the least mark, the time, whether events are observed and move the time.
type ClockTuple = (Vec<i64>, Vec<bool>, i64, i64, bool, bool);

/// The profiles of one partition. Instants are in milliseconds. Ids are texts.
#[pyclass(name = "Partition", module = "segops.kernel._native")]
pub struct PyPartition {
    pub inner: Partition,
    /// Rows of a backfill that were not taken yet.
    rows: Vec<Noted>,
}

#[pymethods]
impl PyPartition {
    #[new]
    fn new(engine: &PyEngine) -> PyPartition {
        PyPartition { inner: Partition::new(Arc::clone(&engine.tables)), rows: vec![] }
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// The number of profiles changed since the last snapshot.
    #[getter]
    fn dirty(&self) -> usize {
        self.inner.dirty()
    }

    /// The number of profiles in flight.
    #[getter]
    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    /// Whether a profile is here or away.
    fn knows(&self, id: &str) -> bool {
        self.inner.knows(id)
    }

    /// Whether a profile is here.
    fn has(&self, id: &str) -> bool {
        self.inner.has(id)
    }

    /// The ids of the profiles here.
    fn ids(&self) -> Vec<&str> {
        self.inner.ids().collect()
    }

    /// The ids of those that the store does not have as they are.
    fn unstored(&self) -> Vec<String> {
        self.inner.unstored().into_iter().map(String::from).collect()
    }

    /// Note that Python has a profile.
    fn note_away(&mut self, id: &str) {
        self.inner.note_away(id);
    }

    /// Note that Python has a profile no more.
    fn forget(&mut self, id: &str) {
        self.inner.forget(id);
    }

    /// Those of the profiles `ids` that are neither here nor away, each once.
    fn unknown(&self, ids: Vec<PyBackedStr>) -> Vec<PyBackedStr> {
        let mut seen = HashSet::new();
        let is_new = |id: &PyBackedStr| !self.inner.knows(id) && seen.insert(id.to_string());
        ids.into_iter().filter(is_new).collect()
    }

    /// Take profiles from the store, as their `states` say, or None; return the indexes of those that are Python's to
    /// read, and of those that the store does not have. Other threads may run meanwhile.
    fn load(
        &mut self,
        py: Python<'_>,
        ids: Vec<PyBackedStr>,
        states: Vec<Option<PyBackedBytes>>,
        used: bool,
    ) -> (Vec<usize>, Vec<usize>) {
        let inner = &mut self.inner;
        py.allow_threads(|| {
            let (mut refused, mut absent) = (vec![], vec![]);
            for (number, (id, state)) in ids.iter().zip(&states).enumerate() {
                match state {
                    None => absent.push(number),
                    Some(state) if inner.load(id, state, used) => {}
                    Some(_) => refused.push(number),
                }
            }
            (refused, absent)
        })
    }

    /// Give a profile to Python: its stored form, and what is known of it; None if it is not here.
    fn check_out<'py>(&mut self, py: Python<'py>, id: &str) -> Option<(Bound<'py, PyBytes>, MetaTuple)> {
        let (state, meta) = self.inner.check_out(id)?;
        Some((PyBytes::new(py, &state), meta_tuple(&meta)))
    }

    /// Take a profile back; False for one that the kernel cannot hold.
    fn check_in(&mut self, id: &str, state: &[u8], meta: MetaTuple) -> bool {
        self.inner.check_in(id, state, meta_of(meta))
    }

    /// The current stored form of a profile; None if it is not here.
    fn state<'py>(&self, py: Python<'py>, id: &str) -> Option<Bound<'py, PyBytes>> {
        self.inner.state(id).map(|state| PyBytes::new(py, &state))
    }

    /// Take the clock from Python.
    fn set_clock(&mut self, clock: ClockTuple) {
        let (marks, idle, least, now, by_events, moves) = clock;
        self.inner.clock = crate::clock::Clock { marks, idle, least, now, by_events, moves };
    }

    /// The marks, the idle sources, the least mark and the time.
    fn clock(&self) -> (Vec<i64>, Vec<bool>, i64, i64) {
        let clock = &self.inner.clock;
        (clock.marks.clone(), clock.idle.clone(), clock.least, clock.now)
    }

    /// The profiles of records from the offset `start` on that are neither here nor away, each once.
    fn missing(&self, records: &PyRecords, start: i64) -> Vec<String> {
        let keys = records.views(0).filter(|view| view.offset >= start).filter_map(|view| view.key);
        let mut seen = HashSet::new();
        let texts = keys.map(String::from_utf8_lossy).filter(|key| !self.inner.knows(key) && seen.insert(key.clone()));
        texts.map(String::from).collect()
    }

    /// Apply records from index `at` and offset `start` on; `base`: the first sequence of a new profile.
    ///
    /// Returns the index of the first record that was not applied, the offset after those that were, their number, and why
    /// the record is Python's: a number of `REASONS`, or -1 after the last one. Other threads may run meanwhile.
    /// `rows`: keep the rows of a backfill.
    #[pyo3(signature = (records, place, base, rows = None))]
    fn feed(
        &mut self,
        py: Python<'_>,
        records: &PyRecords,
        place: (usize, i64),
        base: i64,
        rows: Option<&PyRows>,
    ) -> (usize, i64, usize, i32) {
        let (inner, kept, (at, start)) = (&mut self.inner, &mut self.rows, place);
        let tables = rows.map(|rows| &*rows.tables);
        py.allow_threads(|| {
            let (mut number, mut next, mut applied) = (at, start, 0);
            for view in records.views(at) {
                if view.offset >= next {
                    let done = profile_event(&view).and_then(|record| {
                        let row = tables.map_or(Ok(None), |tables| noted(inner, tables, &record))?;
                        match record {
                            Profiled::Event(event) => inner.apply(&event, base)?,
                            Profiled::Message(letter) => inner.deliver(letter, base)?,
                        }
                        kept.extend(row);
                        Ok(())
                    });
                    if let Err(why) = done {
                        return (number, next, applied, why as i32);
                    }
                    (next, applied) = (view.offset + 1, applied + 1);
                }
                number += 1;
            }
            (number, next, applied, -1)
        })
    }

    /// Fire what is due of the profiles `ids` from index `at` on by `now`, up to the first that is Python's.
    ///
    /// Returns its index or the number of ids; how late each timer was that fired, in order; and why it is Python's: a
    /// number of `REASONS`, or -1 if it is not here. Other threads may run meanwhile.
    fn fire(
        &mut self,
        py: Python<'_>,
        ids: &Bound<'_, PyList>,
        at: usize,
        now: i64,
    ) -> PyResult<(usize, Vec<i64>, i32)> {
        let ids: Vec<PyBackedStr> = ids.iter().skip(at).map(|id| id.extract()).collect::<PyResult<_>>()?;
        let inner = &mut self.inner;
        let slice = py.allow_threads(|| inner.fire_all(ids.iter().map(|id| &**id), now));
        Ok((at + slice.done, slice.late, slice.why.map_or(-1, |why| why as i32)))
    }

    /// Take at most `limit` changed profiles that may be due by `until`, with their due time, the earliest first.
    ///
    /// Those after `before`, the due time and id of the earliest that Python has, stay.
    fn take_due(&mut self, until: i64, limit: usize, before: Option<(i64, String)>) -> Vec<(i64, String)> {
        let before = before.as_ref().map(|(due, id)| (*due, id.as_str()));
        self.inner.take_due(until, limit, before).into_iter().map(|(due, id)| (due, id.into())).collect()
    }

    /// Take the changes: lists of `make(*fields)` by record, each with the record's timestamp and the clock.
    fn take_changes<'py>(&mut self, py: Python<'py>, make: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        self.changes_of(py, make)
    }

    /// Append the changes to the two membership topics, `changes` and `states`, with the wall clock in ms.
    ///
    /// `source` is that of CloudEvents. Returns counts by segment, action, reason and member; the moves by profile
    /// for the tallies; and the timestamps of records that caused changes. None: they are to be taken as objects.
    fn publish<'py>(
        &mut self,
        py: Python<'py>,
        changes: &mut PyOutbox,
        states: &mut PyOutbox,
        source: &[u8],
        wall_ms: i64,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.publish_to(py, (changes, states), source, wall_ms)
    }

    /// Take the numbers of duplicates, of late events, and of relayed and stale messages.
    fn take_counts(&mut self) -> (u64, u64, u64, u64) {
        let counts = std::mem::take(&mut self.inner.counts);
        (counts.duplicates, counts.late, counts.relayed, counts.stale)
    }

    /// Take the messages to other profiles: receiver, type, message, and the timestamp of the cause.
    fn take_messages<'py>(&mut self, py: Python<'py>) -> Vec<(String, &'static str, Bound<'py, PyBytes>, i64)> {
        let sent = std::mem::take(&mut self.inner.sent).into_iter();
        sent.map(|each| (each.to.into(), each.kind, PyBytes::new(py, &each.value), each.arrived)).collect()
    }

    /// Send the messages to other profiles through the outboxes of the partitions of profile events.
    ///
    /// Returns how many there were.
    fn send(&mut self, py: Python<'_>, outboxes: Vec<Py<PyOutbox>>) -> usize {
        let sent = std::mem::take(&mut self.inner.sent);
        for each in &sent {
            let number = partition_of(each.to.as_bytes(), outboxes.len());
            outboxes[number].borrow_mut(py).outbox.append(
                each.arrived,
                Some(each.to.as_bytes()),
                Some(&each.value),
                &[(b"segops-type", Some(each.kind.as_bytes()))],
            );
        }
        sent.len()
    }

    /// Take the profiles that wait now (None), or no longer, with so many identifiers.
    fn take_waits(&mut self) -> Vec<(String, Option<usize>)> {
        std::mem::take(&mut self.inner.waits).into_iter().map(|(id, owned)| (id.into(), owned)).collect()
    }

    /// Take the rows of a backfill in order: the profile, the offset of the record, and the row.
    fn take_rows<'py>(&mut self, py: Python<'py>) -> Vec<(String, i64, Bound<'py, PyBytes>)> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.map(|(id, offset, row)| (id, offset, PyBytes::new(py, &row))).collect()
    }

    /// Take the profiles that did not exist before.
    fn take_created(&mut self) -> Vec<String> {
        std::mem::take(&mut self.inner.created).into_iter().map(String::from).collect()
    }

    /// The activities that changed since the last call: as counted, and as they are.
    fn take_activities(&mut self) -> Vec<(Option<i32>, Option<i32>)> {
        self.inner.take_activities()
    }

    /// Store encoded moves with the next write of a profile; False if it is not here.
    fn carry(&mut self, id: &str, moves: &[u8]) -> bool {
        self.inner.carry(id, moves)
    }

    /// Begin a snapshot of the changed profiles; return their number.
    fn collect(&mut self) -> usize {
        self.inner.collect()
    }

    /// Encode the next few profiles of the snapshot; return whether there may be more.
    fn encode(&mut self, few: usize) -> bool {
        self.inner.encode(few)
    }

    /// What the snapshot writes of some profiles: `make(id, state, old due, new due)` of each.
    fn writes<'py>(
        &mut self,
        py: Python<'py>,
        make: &Bound<'py, PyAny>,
        start: usize,
        end: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for (written, state) in self.inner.writes(start..end) {
            let id = stored::id_of(state).unwrap_or_default();
            found.append(make.call1((id, PyBytes::new(py, state), written.old_due, written.new_due))?)?;
        }
        Ok(found)
    }

    /// Note that the store has the snapshot.
    fn written(&mut self) {
        self.inner.written();
    }

    /// About the bytes of memory of the profiles here.
    #[getter]
    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    /// About the bytes of memory of the profiles changed since the last snapshot.
    #[getter]
    fn changed_bytes(&self) -> usize {
        self.inner.changed_bytes()
    }

    /// About the bytes of memory of these and of those in flight.
    #[getter]
    fn unstored_bytes(&self) -> usize {
        self.inner.unstored_bytes()
    }

    /// Keep as bytes all profiles that can be, without need: for tests.
    fn pack_all(&mut self) {
        self.inner.pack_all();
    }

    /// Keep profiles as bytes, or evict them, until all take at most `most` bytes, but for those to be stored.
    fn shrink(&mut self, py: Python<'_>, most: usize) {
        let inner = &mut self.inner;
        py.allow_threads(|| inner.shrink(most));
    }
}

//! The Python module `segops.kernel._native`.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySequence, PyString, PyTuple};

use crate::change::change_id;
use crate::engine::{Why, REASONS};
use crate::event::Limits;
use crate::partition::{Fired, Group, Meta, Partition, Record};
use crate::python_ask::PyAsk;
use crate::route::Rules;
use crate::segment::Rule;
use crate::stored;
use crate::tables::{Tables, TABLES};

/// Compiled definitions: what `segops.kernel.tables` has written. Raises ValueError if it is of another version.
#[pyclass(frozen, name = "Engine", module = "segops.kernel._native")]
struct PyEngine {
    tables: Arc<Tables>,
}

#[pymethods]
impl PyEngine {
    #[new]
    fn new(tables: &[u8], python: Py<PyAny>) -> PyResult<PyEngine> {
        let tables = Tables::read_with(tables, Box::new(PyAsk::new(python)))
            .ok_or_else(|| PyValueError::new_err("tables of another version of segops"))?;
        Ok(PyEngine { tables: Arc::new(tables) })
    }

    /// The keys of the segments and indicators that Python evaluates.
    #[getter]
    fn left_to_python(&self) -> Vec<String> {
        let left = self.tables.segments.iter().filter(|segment| matches!(segment.rule, Rule::Python));
        left.map(|segment| segment.key.to_string()).collect()
    }
}

/// What is known of a profile beside its state, in the order of `Meta`. Times are in milliseconds.
type MetaTuple = (bool, bool, bool, Option<i64>, Option<i64>, u64, Option<i64>);

fn meta_tuple(meta: &Meta) -> MetaTuple {
    (meta.dirty, meta.dated, meta.used, meta.stored_due, meta.overlay_due, meta.size, meta.activity)
}

fn meta_of(tuple: MetaTuple) -> Meta {
    let (dirty, dated, used, stored_due, overlay_due, size, activity) = tuple;
    Meta { dirty, dated, used, stored_due, overlay_due, size, activity, moves: vec![] }
}

/// The marks, the idle sources, the least mark, the time, whether events are observed and move the time.
type ClockTuple = (Vec<i64>, Vec<bool>, i64, i64, bool, bool);

/// The profiles of one partition. Instants are in milliseconds. Ids are texts.
#[pyclass(name = "Partition", module = "segops.kernel._native")]
struct PyPartition {
    inner: Partition,
}

enum Read<'r> {
    Python(Why),
    Event(Record<'r>),
}

/// Digits as Python's `int` reads them, without its blanks and underscores.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()).flatten()?.parse().ok()
}

fn header<'py>(headers: &Bound<'py, PySequence>, at: usize) -> PyResult<(Bound<'py, PyString>, Bound<'py, PyAny>)> {
    let pair = headers.get_item(at)?;
    Ok((pair.get_item(0)?.downcast_into::<PyString>()?, pair.get_item(1)?))
}

/// The parts of a Python record that stay alive while it is read.
struct Parts<'py> {
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    source: Bound<'py, PyAny>,
    time: Bound<'py, PyAny>,
    offset: i64,
    timestamp: i64,
}

impl<'py> Parts<'py> {
    /// Read a record; Err: why Python has to apply it.
    fn of(record: &Bound<'py, PyAny>, offset: i64) -> PyResult<Result<Parts<'py>, Why>> {
        let py = record.py();
        let key = record.getattr(intern!(py, "key"))?;
        if key.is_none() {
            return Ok(Err(Why::Keyless));
        }
        let headers = record.getattr(intern!(py, "headers"))?.downcast_into::<PySequence>()?;
        let length = headers.len()?;
        if length == 0 {
            return Ok(Err(Why::Origin));
        }
        let (first, source) = header(&headers, 0)?;
        if first.to_str()? == "segops-type" {
            return Ok(Err(Why::Message));
        }
        if !(2..=3).contains(&length) || first.to_str()? != "segops-source" {
            return Ok(Err(Why::Origin));
        }
        let (second, time) = header(&headers, 1)?;
        if second.to_str()? != "segops-time" || (length == 3 && header(&headers, 2)?.0.to_str()? != "segops-from") {
            return Ok(Err(Why::Origin));
        }
        let value = record.getattr(intern!(py, "value"))?;
        let timestamp = record.getattr(intern!(py, "timestamp"))?.extract()?;
        Ok(Ok(Parts { key, value, source, time, offset, timestamp }))
    }

    fn record(&self) -> Read<'_> {
        let Some((key, source, time)) = self.texts() else {
            return Read::Python(Why::Origin);
        };
        let Ok(value) = self.value.downcast::<PyBytes>() else {
            return Read::Python(Why::Event);
        };
        let (partition, time) = (source.split(':').next().unwrap_or(""), number::<i64>(time));
        let (Some(source_number), Some(time)) = (number::<usize>(partition.as_bytes()), time) else {
            return Read::Python(Why::Origin);
        };
        Read::Event(Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key,
            value: value.as_bytes(),
            source,
            source_number,
            time,
        })
    }

    fn texts(&self) -> Option<(&str, &str, &[u8])> {
        let key = std::str::from_utf8(self.key.downcast::<PyBytes>().ok()?.as_bytes()).ok()?;
        let source = std::str::from_utf8(self.source.downcast::<PyBytes>().ok()?.as_bytes()).ok()?;
        Some((key, source, self.time.downcast::<PyBytes>().ok()?.as_bytes()))
    }
}

#[pymethods]
impl PyPartition {
    #[new]
    fn new(engine: &PyEngine) -> PyPartition {
        PyPartition { inner: Partition::new(Arc::clone(&engine.tables)) }
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

    /// Take a profile from the store; False for one that is Python's to read.
    fn load(&mut self, id: &str, state: &[u8], used: bool) -> bool {
        self.inner.load(id, state, used)
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

    /// Apply records from index `at` and offset `start` on; `base`: the first sequence of a new profile.
    ///
    /// Returns the index of the first record that was not applied, the offset after those that were, their number, and why
    /// the record is Python's: a number of `REASONS`, or -1 after the last one.
    fn feed(
        &mut self,
        records: &Bound<'_, PyList>,
        at: usize,
        start: i64,
        base: i64,
    ) -> PyResult<(usize, i64, usize, i32)> {
        let py = records.py();
        let (mut next, mut applied) = (start, 0);
        for number in at..records.len() {
            let record = records.get_item(number)?;
            let offset: i64 = record.getattr(intern!(py, "offset"))?.extract()?;
            if offset < next {
                continue;
            }
            let why = match Parts::of(&record, offset)? {
                Err(why) => Some(why),
                Ok(parts) => match parts.record() {
                    Read::Python(why) => Some(why),
                    Read::Event(record) => self.inner.apply(&record, base).err(),
                },
            };
            if let Some(why) = why {
                return Ok((number, next, applied, why as i32));
            }
            next = offset + 1;
            applied += 1;
        }
        Ok((records.len(), next, applied, -1))
    }

    /// Fire what is due of a profile by `now`.
    ///
    /// Returns how late it was; -1: the profile is not here, -2: it is not due; -10 and below: Python has to
    /// fire it, for reason -10 - n.
    fn fire(&mut self, id: &str, now: i64) -> i64 {
        match self.inner.fire(id, now) {
            Fired::Late(late) => late,
            Fired::Absent => -1,
            Fired::Early => -2,
            Fired::Python(why) => -10 - why as i64,
        }
    }

    /// The due time and id of the earliest changed profile that may be due by `until`; None: there is none.
    fn next_due(&self, until: i64) -> Option<(i64, &str)> {
        self.inner.next_due(until)
    }

    /// Take it from the index.
    fn pop_due(&mut self) {
        self.inner.pop_due();
    }

    /// Take the changes: lists of `make(*fields)` by record, each with the record's timestamp and the clock.
    fn take_changes<'py>(&mut self, py: Python<'py>, make: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for group in std::mem::take(&mut self.inner.groups) {
            let changes = PyList::empty(py);
            self.append_changes(&group, make, &changes)?;
            found.append((group.arrived, group.clock, changes))?;
        }
        Ok(found)
    }

    /// Take the number of duplicates and of late events.
    fn take_counts(&mut self) -> (u64, u64) {
        let counts = std::mem::take(&mut self.inner.counts);
        (counts.duplicates, counts.late)
    }

    /// The activities that changed since the last call: as counted, and as they are.
    fn take_activities(&mut self) -> Vec<(Option<i64>, Option<i64>)> {
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

    /// What the snapshot writes: `make(id, state, old due, new due)` of each profile.
    fn writes<'py>(&mut self, py: Python<'py>, make: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for written in self.inner.writes() {
            let state = PyBytes::new(py, &written.state);
            found.append(make.call1((&*written.id, state, written.old_due, written.new_due))?)?;
        }
        Ok(found)
    }

    /// Note that the store has the snapshot.
    fn written(&mut self) {
        self.inner.written();
    }

    /// Evict so many clean profiles.
    fn evict(&mut self, over: usize) {
        self.inner.evict(over);
    }
}

impl PyPartition {
    fn append_changes(&self, group: &Group, make: &Bound<'_, PyAny>, found: &Bound<'_, PyList>) -> PyResult<()> {
        let py = found.py();
        for change in &group.changes {
            let segment = self.inner.segment(change.segment);
            let [user, anonymous, email] = &change.names;
            let fields: [Py<PyAny>; 17] = [
                (&*group.profile).into_pyobject(py)?.into_any().unbind(),
                (&*segment.key).into_pyobject(py)?.into_any().unbind(),
                segment.version.into_pyobject(py)?.into_any().unbind(),
                (if change.member { intern!(py, "entered") } else { intern!(py, "exited") })
                    .clone()
                    .into_any()
                    .unbind(),
                change.member.into_pyobject(py)?.to_owned().into_any().unbind(),
                (if change.by_time { intern!(py, "time") } else { intern!(py, "event") }).clone().into_any().unbind(),
                change.at.into_pyobject(py)?.into_any().unbind(),
                0_i64.into_pyobject(py)?.into_any().unbind(),
                change.sequence.into_pyobject(py)?.into_any().unbind(),
                change_id(&group.profile, &segment.key, change.sequence).into_pyobject(py)?.into_any().unbind(),
                change.event.as_deref().into_pyobject(py)?.into_any().unbind(),
                change.flips_at.into_pyobject(py)?.into_any().unbind(),
                user.as_deref().into_pyobject(py)?.into_any().unbind(),
                anonymous.as_deref().into_pyobject(py)?.into_any().unbind(),
                email.as_deref().into_pyobject(py)?.into_any().unbind(),
                (&*change.traits).into_pyobject(py)?.into_any().unbind(),
                py.None(),
            ];
            found.append(make.call1(PyTuple::new(py, fields)?)?)?;
        }
        Ok(())
    }
}

/// Resolves events to their profile and time; what it cannot read exactly, `fallback` resolves.
///
/// `limits` are the blocked values, the sources of e-mail addresses by number, the types that name a profile
/// without a user by number, the most bytes, and two lengths in milliseconds: `max_ahead` and `min_skew`.
#[pyclass(frozen, name = "Route", module = "segops.kernel._native")]
struct PyRoute {
    rules: Rules,
    fallback: Py<PyAny>,
    make: Py<PyAny>,
}

/// The limits of `PyRoute`, in the order that it names them in.
type RouteLimits = (Vec<String>, Vec<u8>, Vec<u8>, usize, i64, i64);

#[pymethods]
impl PyRoute {
    #[new]
    fn new(limits: RouteLimits, fallback: Py<PyAny>, make: Py<PyAny>) -> PyRoute {
        let (blocked, email_sources, order, max_bytes, max_ahead, min_skew) = limits;
        let blocked = blocked.into_iter().map(String::into_boxed_str).collect();
        let limits = Limits { blocked, email_sources, counts: [true; 3] };
        PyRoute { rules: Rules { limits, order, max_bytes, max_ahead, min_skew }, fallback, make }
    }

    /// Return `make(profile_id, time_ms, clamped)`. Raises RejectedEvent.
    #[pyo3(signature = (value, *, now_ms, default_time_ms, repairs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        value: &Bound<'py, PyAny>,
        now_ms: i64,
        default_time_ms: Option<i64>,
        repairs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let routed =
            value.downcast::<PyBytes>().ok().map(|value| self.rules.route(value.as_bytes(), now_ms, default_time_ms));
        if let Some(Ok(routed)) = routed {
            return self.make.bind(py).call1((routed.profile, routed.time, routed.clamped));
        }
        let options = PyDict::new(py);
        options.set_item(intern!(py, "now_ms"), now_ms)?;
        options.set_item(intern!(py, "default_time_ms"), default_time_ms)?;
        options.set_item(intern!(py, "repairs"), repairs)?;
        self.fallback.bind(py).call((value,), Some(&options))
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("TABLES", TABLES)?;
    module.add("STATE_FORMAT", stored::FORMAT)?;
    module.add("STATE_FIELDS", stored::FIELDS)?;
    module.add("REASONS", REASONS.to_vec())?;
    module.add_class::<PyEngine>()?;
    module.add_class::<PyPartition>()?;
    module.add_class::<PyRoute>()?;
    Ok(())
}

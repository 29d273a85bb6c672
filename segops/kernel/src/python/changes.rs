//! The changes of a partition: as objects, or as records of the membership topics.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::outboxes::PyOutbox;
use super::partition::PyPartition;
use crate::change::change_id;
use crate::partition::Group;
use crate::publish::{publish, Published};

impl PyPartition {
    /// Take the changes: lists of `make(*fields)` by record, each with the record's timestamp and the clock.
    pub fn changes_of<'py>(&mut self, py: Python<'py>, make: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for group in std::mem::take(&mut self.inner.groups) {
            let changes = PyList::empty(py);
            self.append_changes(&group, make, &changes)?;
            found.append((group.arrived, group.clock, changes))?;
        }
        Ok(found)
    }

    /// Append the changes to the two membership topics, `changes` and `states`, with the wall clock.
    ///
    /// `source` is that of CloudEvents. Returns counts by segment, member and reason; the moves by profile for
    /// the tallies; and the timestamps of records that caused changes. None: the changes are to be taken as objects.
    pub fn publish_to<'py>(
        &mut self,
        py: Python<'py>,
        (changes, states): (&mut PyOutbox, &mut PyOutbox),
        source: &[u8],
        wall_ms: i64,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let inner = &mut self.inner;
        let outboxes = (&mut changes.outbox, &mut states.outbox);
        let Some(found) = py.allow_threads(|| publish(inner, outboxes, source, wall_ms)) else {
            return Ok(None);
        };
        self.summary(py, &found).map(Some)
    }

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
                change.reason.into_pyobject(py)?.into_any().unbind(),
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

    fn summary<'py>(&self, py: Python<'py>, found: &Published) -> PyResult<Bound<'py, PyTuple>> {
        let (counts, moves) = (PyList::empty(py), PyList::empty(py));
        let entered = intern!(py, "entered");
        let action = |member: bool| if member { entered } else { intern!(py, "exited") };
        for ((segment, member, reason), number) in &found.counts {
            let key = &*self.inner.segment(*segment).key;
            counts.append((key, action(*member), *reason, *member, number))?;
        }
        for each in &found.moves {
            let key = &*self.inner.segment(each.segment).key;
            let moved = (each.minute, key, each.reason, each.member);
            moves.append((&*each.profile, moved))?;
        }
        (counts, moves, &found.arrived).into_pyobject(py)
    }
}

//! Batches to be sent, for a client that takes them for its own builders.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::outbox::{Codec, Outbox, Ready};
use crate::python::partition::PyPartition;
use crate::stored;

/// The batches of one partition: filled by `append`, taken by `take`.
#[pyclass(name = "Outbox", module = "segops.kernel._native")]
pub struct PyOutbox {
    pub outbox: Outbox,
}

#[pymethods]
impl PyOutbox {
    /// Batches of at most `limit` bytes before compression by snappy.
    #[new]
    fn new(limit: usize, transactional: bool) -> PyOutbox {
        PyOutbox { outbox: Outbox::new(limit, Codec::Snappy, transactional) }
    }

    /// Append a record. The timestamp is in milliseconds.
    fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Vec<(Bound<'_, PyString>, Option<Bound<'_, PyBytes>>)>,
    ) -> PyResult<()> {
        let mut texts = Vec::with_capacity(headers.len());
        for (name, value) in &headers {
            texts.push((name.to_str()?.as_bytes(), value.as_ref().map(|value| value.as_bytes())));
        }
        self.outbox.append(timestamp, key, value, &texts);
        Ok(())
    }

    /// Append store writes: each has the text `profile_id` and the bytes `state` (None: it is deleted).
    fn append_writes(&mut self, py: Python<'_>, timestamp: i64, writes: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        for write in &writes {
            let (key, state) = (write.getattr(intern!(py, "profile_id"))?, write.getattr(intern!(py, "state"))?);
            let state = if state.is_none() { None } else { Some(state.downcast::<PyBytes>()?.as_bytes()) };
            self.outbox.append(timestamp, Some(key.downcast::<PyString>()?.to_str()?.as_bytes()), state, &[]);
        }
        Ok(())
    }

    /// Append what the snapshot of a partition writes of the profiles from `start` to `end`.
    fn append_snapshot(&mut self, timestamp: i64, partition: &mut PyPartition, start: usize, end: usize) {
        for (_, state) in partition.inner.writes(start..end) {
            let id = stored::id_of(state).unwrap_or_default();
            self.outbox.append(timestamp, Some(id.as_bytes()), Some(state), &[]);
        }
    }

    /// Take the full batches, or all.
    fn take(&mut self, py: Python<'_>, full_only: bool) -> Vec<PyReady> {
        let outbox = &mut self.outbox;
        let taken = if full_only { outbox.take(true) } else { py.allow_threads(|| outbox.take(false)) };
        taken.into_iter().map(|ready| PyReady { ready, state: (-1, -1, 0), built: None }).collect()
    }
}

/// A closed batch, by the methods that aiokafka uses of its builders.
#[pyclass(name = "ReadyBatch", module = "segops.kernel._native")]
pub struct PyReady {
    ready: Ready,
    state: (i64, i16, i32),
    built: Option<Py<PyBytes>>,
}

#[pymethods]
impl PyReady {
    /// Its bytes before compression.
    fn size(&self) -> usize {
        self.ready.size()
    }

    /// The number of records.
    fn record_count(&self) -> u32 {
        self.ready.records()
    }

    /// Do nothing: it is closed.
    fn close(&self) {}

    /// Return True.
    fn closed(&self) -> bool {
        true
    }

    /// Append nothing, as to any closed builder.
    #[pyo3(signature = (**_record))]
    fn append(&self, _record: Option<Bound<'_, pyo3::types::PyDict>>) -> Option<usize> {
        None
    }

    /// Set the producer's id, epoch and the sequence of the first record.
    fn _set_producer_state(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.state = (producer_id, producer_epoch, base_sequence);
        self.built = None;
    }

    /// Return the batch as it is sent, the same bytes each time.
    fn _build(&mut self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let (ready, state) = (&self.ready, self.state);
        let built = match self.built.take() {
            Some(built) => built,
            None => PyBytes::new_with(py, ready.sealed_len(), |out| {
                ready.seal(state, out);
                Ok(())
            })?
            .unbind(),
        };
        self.built = Some(built.clone_ref(py));
        Ok(built)
    }
}

//! Fetched batches and their records, of which Python makes objects only where it looks.

use std::sync::Arc;

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence, PySlice, PyString};

use crate::deliver::Letter;
use crate::engine::Why;
use crate::partition::Record;
use crate::record_batch::{heads, is_whole, Batch, Head, View};

/// A fetched batch, not decompressed. Offsets are Kafka's.
#[pyclass(frozen, name = "Batch", module = "segops.kernel._native")]
pub struct PyBatch {
    fetched: Py<PyBytes>,
    head: Head,
}

/// Divide fetched bytes into batches; None if one is of another format than 2.
#[pyfunction]
pub fn batches_of(fetched: Bound<'_, PyBytes>) -> Option<Vec<PyBatch>> {
    let found = heads(fetched.as_bytes())?;
    Some(found.into_iter().map(|head| PyBatch { fetched: fetched.clone().unbind(), head }).collect())
}

#[pymethods]
impl PyBatch {
    /// Where its bytes begin and end among those fetched.
    #[getter]
    fn place(&self) -> (usize, usize) {
        (self.head.start, self.head.end)
    }

    #[getter]
    fn base_offset(&self) -> i64 {
        self.head.base_offset
    }

    #[getter]
    fn next_offset(&self) -> i64 {
        self.head.next_offset
    }

    #[getter]
    fn producer_id(&self) -> i64 {
        self.head.producer_id
    }

    #[getter]
    fn is_transactional(&self) -> bool {
        self.head.is_transactional()
    }

    #[getter]
    fn is_control_batch(&self) -> bool {
        self.head.is_control()
    }

    /// Whether its checksum is right.
    fn validate_crc(&self, py: Python<'_>) -> bool {
        is_whole(&self.fetched.bind(py).as_bytes()[self.head.start..self.head.end])
    }

    /// Its records from the offset `begin` on; None if the client has to read them.
    fn records(&self, py: Python<'_>, begin: i64) -> Option<PyRecords> {
        let bytes = &self.fetched.bind(py).as_bytes()[self.head.start..self.head.end];
        let batch = py.allow_threads(|| Batch::read(bytes, &self.head, begin))?;
        Some(PyRecords::whole(batch))
    }
}

/// A record of a batch. The timestamp is in milliseconds.
#[pyclass(frozen, name = "Record", module = "segops.kernel._native")]
pub struct PyRecord {
    batch: Arc<Batch>,
    number: usize,
}

impl PyRecord {
    fn view(&self) -> PyResult<View<'_>> {
        self.batch.get(self.number).ok_or_else(|| PyIndexError::new_err(self.number))
    }
}

#[pymethods]
impl PyRecord {
    #[getter]
    fn offset(&self) -> PyResult<i64> {
        Ok(self.view()?.offset)
    }

    #[getter]
    fn timestamp(&self) -> PyResult<i64> {
        Ok(self.view()?.timestamp)
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(self.view()?.key.map(|key| PyBytes::new(py, key)))
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(self.view()?.value.map(|value| PyBytes::new(py, value)))
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        for (name, value) in self.view()?.headers {
            let name = std::str::from_utf8(name).unwrap_or_default();
            found.append((name, value.map(|value| PyBytes::new(py, value))))?;
        }
        Ok(found)
    }
}

/// Records of one partition in log order: a sequence of `Record`.
#[pyclass(name = "Records", module = "segops.kernel._native")]
pub struct PyRecords {
    /// Batches, each with its first record here and the one after its last.
    parts: Vec<(Arc<Batch>, usize, usize)>,
}

impl PyRecords {
    fn whole(batch: Batch) -> PyRecords {
        let count = batch.len();
        PyRecords { parts: vec![(Arc::new(batch), 0, count)] }
    }

    fn length(&self) -> usize {
        self.parts.iter().map(|(_, from, to)| to - from).sum()
    }

    /// The records from index `at` on.
    pub fn views(&self, at: usize) -> impl Iterator<Item = View<'_>> {
        let all = self.parts.iter().flat_map(|(batch, from, to)| (*from..*to).map(move |number| (batch, number)));
        all.skip(at).filter_map(|(batch, number)| batch.get(number))
    }

    fn between(&self, mut at: usize, mut length: usize) -> PyRecords {
        let mut parts = vec![];
        for (batch, from, to) in &self.parts {
            let passed = at.min(to - from);
            let taken = length.min(to - from - passed);
            (at, length) = (at - passed, length - taken);
            if taken > 0 {
                parts.push((Arc::clone(batch), from + passed, from + passed + taken));
            }
        }
        PyRecords { parts }
    }
}

#[pymethods]
impl PyRecords {
    /// The same records as objects of another client have. Raises TypeError for other types.
    #[staticmethod]
    fn of(records: &Bound<'_, PyAny>) -> PyResult<PyRecords> {
        let mut batch = Batch::default();
        for record in records.try_iter()? {
            add(&mut batch, &record?)?;
        }
        Ok(PyRecords::whole(batch))
    }

    fn __len__(&self) -> usize {
        self.length()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let length = self.length();
        if let Ok(slice) = index.downcast::<PySlice>() {
            let found = slice.indices(length as isize)?;
            if found.step != 1 {
                return Err(PyTypeError::new_err("expected a slice with a step of 1"));
            }
            return Ok(self.between(found.start as usize, found.slicelength).into_pyobject(py)?.into_any());
        }
        let index: isize = index.extract()?;
        let at = if index < 0 { index + length as isize } else { index };
        let one = self.between(usize::try_from(at).unwrap_or(length), 1);
        let (batch, number, _) = one.parts.into_iter().next().ok_or_else(|| PyIndexError::new_err(index))?;
        Ok(PyRecord { batch, number }.into_pyobject(py)?.into_any())
    }

    /// Add the records after these.
    fn extend(&mut self, later: &PyRecords) {
        self.parts.extend(later.parts.iter().cloned());
    }

    /// The latest value of each key, set in `values`; the number of records is returned.
    fn latest(&self, py: Python<'_>, values: &Bound<'_, pyo3::types::PyDict>) -> PyResult<usize> {
        let mut count = 0;
        for view in self.views(0) {
            count += 1;
            if let Some(key) = view.key {
                values.set_item(PyBytes::new(py, key), view.value.map(|value| PyBytes::new(py, value)))?;
            }
        }
        Ok(count)
    }
}

fn optional<'a>(bytes: &'a Bound<'_, PyAny>) -> PyResult<Option<&'a [u8]>> {
    if bytes.is_none() {
        return Ok(None);
    }
    Ok(Some(bytes.downcast::<PyBytes>()?.as_bytes()))
}

fn add(batch: &mut Batch, record: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = record.py();
    let place =
        (record.getattr(intern!(py, "offset"))?.extract()?, record.getattr(intern!(py, "timestamp"))?.extract()?);
    let (key, value) = (record.getattr(intern!(py, "key"))?, record.getattr(intern!(py, "value"))?);
    let mut headers = vec![];
    for header in record.getattr(intern!(py, "headers"))?.downcast::<PySequence>()?.try_iter()? {
        let header = header?;
        headers.push((header.get_item(0)?.downcast_into::<PyString>()?, header.get_item(1)?));
    }
    let mut texts = Vec::with_capacity(headers.len());
    for (name, value) in &headers {
        texts.push((name.to_str()?.as_bytes(), optional(value)?));
    }
    match batch.push(place, [optional(&key)?, optional(&value)?], &texts) {
        true => Ok(()),
        false => Err(PyValueError::new_err("too many bytes in a batch")),
    }
}

/// Digits as Python's `int` reads them, without its blanks and underscores.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()).flatten()?.parse().ok()
}

/// A record of profile events.
pub enum Profiled<'r> {
    /// An event.
    Event(Record<'r>),
    /// A message from another profile.
    Message(Letter<'r>),
}

/// Read the headers of a record of profile events; Err: why Python has to apply it.
pub fn profile_event<'r>(view: &View<'r>) -> Result<Profiled<'r>, Why> {
    let key = view.key.ok_or(Why::Keyless)?;
    let mut headers = view.headers;
    let (count, (first, source)) = (headers.count(), headers.next().ok_or(Why::Origin)?);
    let text = |bytes: &'r [u8]| std::str::from_utf8(bytes).map_err(|_| Why::Origin);
    if first == b"segops-type" {
        let (key, value) = (text(key)?, view.value.ok_or(Why::Event)?);
        return Ok(Profiled::Message(Letter { offset: view.offset, timestamp: view.timestamp, key, value }));
    }
    let (second, time) = headers.next().ok_or(Why::Origin)?;
    let is_plain = first == b"segops-source" && second == b"segops-time" && count <= 3;
    if !is_plain || headers.next().is_some_and(|(third, _)| third != b"segops-from") {
        return Err(Why::Origin);
    }
    let (key, source) = (text(key)?, text(source.ok_or(Why::Origin)?)?);
    let time = time.and_then(number).ok_or(Why::Origin)?;
    let value = view.value.ok_or(Why::Event)?;
    let partition = source.split(':').next().unwrap_or("");
    let source_number = number(partition.as_bytes()).ok_or(Why::Origin)?;
    let (offset, timestamp) = (view.offset, view.timestamp);
    Ok(Profiled::Event(Record { offset, timestamp, key, value, source, source_number, time }))
}

//! A replay of lines, for `segops.native_replay`.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::partition::PyPartition;
use super::route::PyRoute;
use crate::replay::{take_lines, Left, Place, Replay};
use crate::slots::Meta;
use crate::survey::Survey;

/// Of a line to be surveyed: its number from 1, where it begins and where it ends.
type Line = (usize, usize, usize);

/// Applies lines to the profiles of a `Partition`. `survey` is what `segops.kernel.surveys` has written.
///
/// Raises ValueError if it is damaged.
#[pyclass(name = "Replay", module = "segops.kernel._native")]
pub struct PyReplay {
    inner: Replay,
}

#[pymethods]
impl PyReplay {
    #[new]
    fn new(route: &PyRoute, survey: &[u8], wall_ms: i64) -> PyResult<PyReplay> {
        let survey = Survey::read(survey).ok_or_else(|| PyValueError::new_err("a survey of another version"))?;
        Ok(PyReplay { inner: Replay::new(Arc::clone(&route.rules), survey, wall_ms) })
    }

    /// Apply lines from index `at` on; `number` lines are before it.
    ///
    /// `before`: stop before an event of this time in milliseconds, or a later one. `all`: survey each line.
    /// Returns the place of the first line that was not applied, whether it is Python's, and whether Python has
    /// messages to deliver before. Other threads may run meanwhile.
    fn feed(
        &mut self,
        py: Python<'_>,
        partition: &mut PyPartition,
        text: &[u8],
        place: (usize, usize),
        before: Option<i64>,
        all: bool,
    ) -> (usize, usize, Option<&'static str>, bool) {
        let (inner, partition) = (&mut self.inner, &mut partition.inner);
        let (at, number) = place;
        let (place, left) = py.allow_threads(|| inner.feed(partition, text, Place { at, number }, before, all));
        let reason = match left {
            Some(Left::Line(why)) => Some(crate::engine::REASONS[why as usize]),
            Some(Left::Instant) => Some("instant"),
            Some(Left::Messages(_)) | None => None,
        };
        (place.at, place.number, reason, matches!(left, Some(Left::Messages(_))))
    }

    /// Take the lines to be surveyed, in order.
    fn take_observed(&mut self) -> Vec<Line> {
        let observed = std::mem::take(&mut self.inner.observed).into_iter();
        observed.map(|each| (each.place.number + 1, each.place.at, each.end)).collect()
    }

    /// Take the messages that Python has to deliver, in order.
    fn take_pending<'py>(&mut self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        std::mem::take(&mut self.inner.pending).iter().map(|each| PyBytes::new(py, each)).collect()
    }

    /// Take the numbers of events and of clamped ones.
    fn take_counts(&mut self) -> (u64, u64) {
        let counts = std::mem::take(&mut self.inner.counts);
        (counts.events, counts.clamped)
    }

    /// Take the changes as lines of JSON, and how many members each segment has won or lost.
    #[staticmethod]
    fn take_lines(py: Python<'_>, partition: &mut PyPartition) -> (String, Vec<(String, i64)>) {
        let inner = &mut partition.inner;
        let (lines, sizes) = py.allow_threads(|| take_lines(inner));
        (lines, sizes.into_iter().map(|(number, size)| (inner.segment(number).key.to_string(), size)).collect())
    }

    /// Take a profile from Python, with its due time; False for one that the kernel cannot hold.
    #[staticmethod]
    fn give(partition: &mut PyPartition, id: &str, state: &[u8]) -> bool {
        let inner = &mut partition.inner;
        let is_held = inner.check_in(id, state, Meta { used: true, ..Meta::default() });
        if let Some(number) = inner.found(id).filter(|_| is_held) {
            inner.touch(number, false);
        }
        is_held
    }
}

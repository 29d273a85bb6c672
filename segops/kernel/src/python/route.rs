//! The resolve step.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::outboxes::PyOutbox;
use super::records::PyRecords;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::route::Rules;

/// Resolves events to their profile and time; what it cannot read exactly, `fallback` resolves.
///
/// `limits` are the blocked values, the sources of e-mail addresses by number, the types that name a profile
/// without a user by number, the most bytes, and two lengths in milliseconds: `max_ahead` and `min_skew`.
#[pyclass(frozen, name = "Route", module = "segops.kernel._native")]
pub struct PyRoute {
    pub rules: Arc<Rules>,
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
        let limits = Limits { blocked, email_sources, ..Limits::default() };
        let rules = Arc::new(Rules { limits, order, max_bytes, max_ahead, min_skew });
        PyRoute { rules, fallback, make }
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

    /// Forward raw events from index `at` and offset `start` on to `outboxes`, the partitions of profile events.
    ///
    /// `source` is their partition. Returns the index of the first record that is Python's or the number of
    /// records, the offset after those that were forwarded, how many of them were clamped, the latest of their
    /// times, and the timestamp of the last. Other threads may run meanwhile.
    fn feed(
        &self,
        py: Python<'_>,
        records: &PyRecords,
        place: (usize, i64, usize),
        now_ms: i64,
        outboxes: Vec<Py<PyOutbox>>,
    ) -> Fed {
        let mut borrowed: Vec<PyRefMut<'_, PyOutbox>> =
            outboxes.iter().map(|outbox| outbox.bind(py).borrow_mut()).collect();
        let mut outboxes: Vec<&mut Outbox> = borrowed.iter_mut().map(|outbox| &mut outbox.outbox).collect();
        let rules = &self.rules;
        py.allow_threads(|| {
            let (mut at, start, source) = place;
            let mut fed = (at, start, 0, None, None);
            for view in records.views(at) {
                if view.offset >= fed.1 {
                    let Some(routed) = rules.forward(&view, now_ms, source, &mut outboxes) else {
                        break;
                    };
                    let latest = fed.3.max(Some(routed.time));
                    fed = (at, view.offset + 1, fed.2 + usize::from(routed.clamped), latest, Some(view.timestamp));
                }
                at += 1;
            }
            (at, fed.1, fed.2, fed.3, fed.4)
        })
    }
}

/// Of `PyRoute.feed`.
type Fed = (usize, i64, usize, Option<i64>, Option<i64>);

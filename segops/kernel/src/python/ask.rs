//! Questions to Python through an object with the methods of `segops.kernel.answers.Answers`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ask::{Ask, Fed, Origin};
use crate::decimal::Dec;
use crate::json::Odd;

/// Python as it is asked: a failure that is no answer ends the process with its message.
pub struct PyAsk {
    object: Py<PyAny>,
}

/// The state, the number of its entries, the number of tallies, and the total.
type FedTuple<'py> = (Bound<'py, PyBytes>, Option<usize>, Option<usize>, Option<String>);

impl PyAsk {
    /// Ask this object.
    pub fn new(object: Py<PyAny>) -> PyAsk {
        PyAsk { object }
    }
}

/// The answer; an exception is a fault of the program, and the profile may be half changed.
fn sound<T>(py: Python<'_>, answer: PyResult<T>) -> T {
    answer.unwrap_or_else(|error| {
        error.display(py);
        panic!("a question of the kernel has no answer: {error}")
    })
}

fn fed(found: Option<FedTuple<'_>>) -> Result<Option<Fed>, Odd> {
    let Some((state, size, tallies, total)) = found else {
        return Ok(None);
    };
    let total = match total {
        Some(text) => Some(Dec::parse(&text).ok_or(Odd)?),
        None => None,
    };
    Ok(Some(Fed { state: state.as_bytes().into(), size, tallies, total }))
}

impl Ask for PyAsk {
    fn judge(&self, segment: u32, profile: &[u8], now: i64) -> Option<(bool, Option<i64>)> {
        Python::with_gil(|py| {
            let answer = self.object.bind(py).call_method1("verdict", (segment, PyBytes::new(py, profile), now));
            sound(py, answer.and_then(|answer| answer.extract()))
        })
    }

    fn feed(&self, event: &[u8], origin: Origin<'_>, asked: &[(u32, Option<&[u8]>)]) -> Result<Vec<Option<Fed>>, Odd> {
        Python::with_gil(|py| {
            let states: Vec<_> =
                asked.iter().map(|(number, state)| (*number, state.map(|state| PyBytes::new(py, state)))).collect();
            let arguments = (PyBytes::new(py, event), (origin.time, origin.now, origin.source), states);
            let answer = self.object.bind(py).call_method1("feed", arguments).map_err(|_| Odd)?;
            let found: Option<Vec<Option<FedTuple<'_>>>> = sound(py, answer.extract());
            found.ok_or(Odd)?.into_iter().map(fed).collect()
        })
    }

    fn period(&self, calendar: u32, quarter: i64) -> Option<(i64, i64)> {
        Python::with_gil(|py| {
            let answer = self.object.bind(py).call_method1("period", (calendar, quarter));
            sound(py, answer.and_then(|answer| answer.extract()))
        })
    }

    fn key(&self, calendar: u32, quarter: i64) -> Option<String> {
        Python::with_gil(|py| {
            let answer = self.object.bind(py).call_method1("key", (calendar, quarter));
            sound(py, answer.and_then(|answer| answer.extract()))
        })
    }

    fn refresh(&self, refresh: u32, now: i64) -> Option<(i64, Option<i64>)> {
        Python::with_gil(|py| {
            let answer = self.object.bind(py).call_method1("refresh", (refresh, now));
            sound(py, answer.and_then(|answer| answer.extract()))
        })
    }

    fn test(&self, test: u32, value: &[u8], now: i64) -> Option<(bool, Option<i64>)> {
        Python::with_gil(|py| {
            let answer = self.object.bind(py).call_method1("test", (test, PyBytes::new(py, value), now));
            sound(py, answer.and_then(|answer| answer.extract()))
        })
    }
}

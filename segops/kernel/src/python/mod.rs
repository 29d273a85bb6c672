//! The Python module `segops.kernel._native`.

mod ask;
mod changes;
mod outboxes;
mod partition;
mod records;
mod replay;
mod restored;
mod route;
mod rows;

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use self::ask::PyAsk;
use crate::engine::REASONS;
use crate::floats;
use crate::segment::Rule;
use crate::stored;
use crate::tables::{Tables, TABLES};

/// Compiled definitions: what `segops.kernel.tables` has written. Raises ValueError if it is of another version.
#[pyclass(frozen, name = "Engine", module = "segops.kernel._native")]
pub struct PyEngine {
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

/// What the functions of scores make of some numbers: see `segops.kernel.floats`.
#[pyfunction]
fn probe(numbers: Vec<f64>, compensated: bool) -> Vec<Option<f64>> {
    floats::probe(&numbers, compensated)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("TABLES", TABLES)?;
    module.add("STATE_FORMAT", stored::FORMAT)?;
    module.add("STATE_FIELDS", stored::FIELDS)?;
    module.add("REASONS", REASONS.to_vec())?;
    module.add_class::<PyEngine>()?;
    module.add_class::<partition::PyPartition>()?;
    module.add_class::<replay::PyReplay>()?;
    module.add_class::<route::PyRoute>()?;
    module.add_class::<rows::PyRows>()?;
    module.add_class::<records::PyBatch>()?;
    module.add_class::<records::PyRecord>()?;
    module.add_class::<records::PyRecords>()?;
    module.add_class::<outboxes::PyOutbox>()?;
    module.add_class::<outboxes::PyReady>()?;
    module.add_class::<restored::PyHeads>()?;
    module.add_function(wrap_pyfunction!(records::batches_of, module)?)?;
    module.add_function(wrap_pyfunction!(probe, module)?)?;
    Ok(())
}

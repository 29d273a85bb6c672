//! Rows of a backfill, for `segops.streaming.partition.native_rows`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::records::{profile_event, Profiled, PyRecords};
use super::PyEngine;
use crate::engine::Why;
use crate::partition::Partition;
use crate::record_batch::View;
use crate::rows::{is_kept, row_of_message, row_of_record};
use crate::tables::Tables;

/// A profile, the offset of a record of it, and its row.
pub type Noted = (String, i64, Vec<u8>);
/// The index of a record, and its profile and row; None: Python has to read it.
type Found<'py> = (usize, Option<(String, Bound<'py, PyBytes>)>);

/// Writes the rows of events for the features of an `Engine` made for a backfill.
#[pyclass(frozen, name = "Rows", module = "segops.kernel._native")]
pub struct PyRows {
    pub tables: Arc<Tables>,
}

#[pymethods]
impl PyRows {
    #[new]
    fn new(engine: &PyEngine) -> PyRows {
        PyRows { tables: Arc::clone(&engine.tables) }
    }

    /// Return the rows of events with offsets from `start` to `end`, the end excluded, and what Python has to read.
    ///
    /// Records without a key, and events that no feature selects, are left out. Other threads may run meanwhile.
    fn of<'py>(&self, py: Python<'py>, records: &PyRecords, start: i64, end: i64) -> Vec<Found<'py>> {
        let tables = &self.tables;
        let found = py.allow_threads(|| {
            let inside = |view: &View<'_>| view.key.is_some() && start <= view.offset && view.offset < end;
            let numbered = records.views(0).enumerate().filter(|(_, view)| inside(view));
            numbered.filter_map(|(number, view)| read(tables, &view).map(|row| (number, row))).collect::<Vec<_>>()
        });
        let object = |(key, row): (String, Vec<u8>)| (key, PyBytes::new(py, &row));
        found.into_iter().map(|(number, row)| (number, row.map(object))).collect()
    }
}

/// Return the profile and row of a record; None: nothing is to be kept. Some(None): Python has to read it.
fn read(tables: &Tables, view: &View<'_>) -> Option<Option<(String, Vec<u8>)>> {
    let Ok(Profiled::Event(record)) = profile_event(view) else {
        return Some(None);
    };
    match row_of_record(tables, &record, &tables.limits) {
        Ok(row) => row.map(|row| Some((record.key.to_string(), row))),
        Err(_) => Some(None),
    }
}

/// Return the row to keep of a record that is about to be applied; Err: Python has to apply it.
pub fn noted(partition: &mut Partition, tables: &Tables, profiled: &Profiled<'_>) -> Result<Option<Noted>, Why> {
    let (key, offset, row) = match profiled {
        Profiled::Event(record) if is_kept(partition, record.key, record.offset) => {
            (record.key, record.offset, row_of_record(tables, record, &tables.limits)?)
        }
        Profiled::Message(letter) if is_kept(partition, letter.key, letter.offset) => {
            (letter.key, letter.offset, row_of_message(tables, letter.value, letter.timestamp)?)
        }
        _ => return Ok(None),
    };
    Ok(row.map(|row| (key.to_string(), offset, row)))
}

//! Changelog records that a recovery applies, for `segops.streaming.durability.restorer`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::restored::{Changes, Heads, Known};

/// A key and its state, and the due times of the former state and of this one.
type Row<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, Option<i64>, Option<i64>);
/// Numbers by members, numbers by activity, moves.
type Sums<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>, Vec<Bound<'py, PyBytes>>);
/// A key, its state, and its former state.
type Replacement<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>);

/// The heads of restored profiles.
#[pyclass(name = "Heads", module = "segops.kernel._native")]
pub struct PyHeads {
    heads: Heads,
}

#[pymethods]
impl PyHeads {
    /// Room for so many heads, of about 64 bytes each.
    #[new]
    fn new(room: usize) -> PyHeads {
        PyHeads { heads: Heads::new(room) }
    }

    /// Return those of the keys whose heads are not kept.
    fn unknown<'py>(&self, keys: Vec<Bound<'py, PyBytes>>) -> Vec<Bound<'py, PyBytes>> {
        keys.into_iter().filter(|key| self.heads.get(key.as_bytes()).is_none()).collect()
    }

    /// Return the rows of `values` in the order of their keys, how the sums change, and the keys left to Python.
    ///
    /// `known` are the former states of those that had one and whose head is not kept. Both map keys to bytes or
    /// None.
    fn replaced<'py>(
        &mut self,
        py: Python<'py>,
        values: &Bound<'py, PyDict>,
        known: &Bound<'py, PyDict>,
    ) -> PyResult<(Vec<Row<'py>>, Sums<'py>, Vec<Bound<'py, PyBytes>>)> {
        let found = replacements(values, known)?;
        let (mut rows, mut rest, mut changes) = (Vec::with_capacity(found.len()), vec![], Changes::default());
        for (key, new, old) in &found {
            let (kept, after) = (self.heads.get(key.as_bytes()), Known::of(bytes(new)));
            match (kept.or_else(|| Known::of(bytes(old))), &after) {
                (Some(before), Some(after)) => {
                    changes.replace(&before, after);
                    rows.push((key.clone(), new.clone(), before.due, after.due));
                }
                _ => rest.push(key.clone()),
            }
            self.heads.set(key.as_bytes(), after.as_ref());
        }
        Ok((rows, sums(py, &changes)?, rest))
    }
}

fn replacements<'py>(values: &Bound<'py, PyDict>, known: &Bound<'py, PyDict>) -> PyResult<Vec<Replacement<'py>>> {
    let mut found = Vec::with_capacity(values.len());
    for (key, value) in values.iter() {
        let old = known.get_item(&key)?.map(optional).transpose()?.flatten();
        found.push((key.downcast_into::<PyBytes>()?, optional(value)?, old));
    }
    found.sort_unstable_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
    Ok(found)
}

fn optional(value: Bound<'_, PyAny>) -> PyResult<Option<Bound<'_, PyBytes>>> {
    Ok(if value.is_none() { None } else { Some(value.downcast_into()?) })
}

fn bytes<'s>(value: &'s Option<Bound<'_, PyBytes>>) -> Option<&'s [u8]> {
    value.as_ref().map(|value| value.as_bytes())
}

fn sums<'py>(py: Python<'py>, changes: &Changes) -> PyResult<Sums<'py>> {
    let (members, activities) = (PyDict::new(py), PyDict::new(py));
    for (keys, count) in &changes.members {
        members.set_item(PyBytes::new(py, keys), count)?;
    }
    for (activity, count) in &changes.activities {
        activities.set_item(activity, count)?;
    }
    Ok((members, activities, changes.moves.iter().map(|moves| PyBytes::new(py, moves)).collect()))
}

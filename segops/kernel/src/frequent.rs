//! The most frequent of the values in a window; of several such values, the last one.

use std::collections::{HashMap, VecDeque};

use crate::msgpack::Reader;
use crate::series::Value;
use crate::values::{distinct_key, scalar_of};

/// The values of the events in a window. Events enter in order, and leave in the same order.
#[derive(Default)]
pub struct Frequent<'v> {
    /// By the key of a value: the places of its copies, and the copies.
    held: HashMap<String, VecDeque<(usize, &'v [u8])>>,
    best: String,
    entered: usize,
}

impl<'v> Frequent<'v> {
    /// Add the values of an event, a list; return whether the kernel can read them.
    pub fn enter(&mut self, values: &'v [u8]) -> bool {
        let Some(values) = listed(values) else {
            return false;
        };
        for (key, value) in values {
            self.held.entry(key.clone()).or_default().push_back((self.entered, value));
            self.entered += 1;
            if self.rank(&key) > self.rank(&self.best) {
                self.best = key;
            }
        }
        true
    }

    /// Remove the values of the event that entered first.
    pub fn leave(&mut self, values: &[u8]) {
        for (key, _) in listed(values).unwrap_or_default() {
            let is_empty = self.held.get_mut(&key).is_none_or(|places| {
                places.pop_front();
                places.is_empty()
            });
            if is_empty {
                self.held.remove(&key);
            }
            if key == self.best {
                let best = self.held.keys().max_by_key(|key| self.rank(key));
                self.best = best.cloned().unwrap_or_default(); // the others have only fallen
            }
        }
    }

    fn rank(&self, key: &str) -> (usize, Option<usize>) {
        self.held.get(key).map_or((0, None), |places| (places.len(), places.back().map(|(place, _)| *place)))
    }

    /// The last copy of the most frequent value.
    pub fn value(&self) -> Value<'v> {
        let copies = self.held.get(&self.best).and_then(VecDeque::back);
        copies.map_or(Value::Missing, |(_, value)| Value::Raw(value))
    }
}

/// The values in a list, each with its key; None if Python has to compare them.
fn listed(values: &[u8]) -> Option<Vec<(String, &[u8])>> {
    Reader::new(values).list(|reader| {
        let value = reader.raw()?;
        Some((distinct_key(&scalar_of(value))?, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_frequent_values_the_last_one_is_read() {
        let mut frequent = Frequent::default();
        let lists: [&[u8]; 4] = [&[0x91, 1], &[0x92, 2, 1], &[0x91, 2], &[0x91, 0x90]];
        assert!(matches!(frequent.value(), Value::Missing));
        assert!(frequent.enter(lists[0]) && frequent.enter(lists[1]));
        assert!(matches!(frequent.value(), Value::Raw([1])));
        assert!(frequent.enter(lists[2]));
        assert!(matches!(frequent.value(), Value::Raw([2])));
        lists[..2].iter().for_each(|values| frequent.leave(values));
        assert!(matches!(frequent.value(), Value::Raw([2])));
        assert!(!frequent.enter(lists[3]));
    }
}

//! Where the slots of a partition are, by identifier: a table of numbers that holds no identifiers itself.

use xxhash_rust::xxh3::xxh3_64;

const VACANT: u32 = u32::MAX;

/// A number, and the hash of its identifier, which says where the search for it begins.
#[derive(Clone, Copy)]
struct Cell {
    hash: u32,
    number: u32,
}

/// Numbers by the hashes of identifiers. At most three quarters of its cells are in use.
#[derive(Default)]
pub(crate) struct Index {
    cells: Vec<Cell>,
    len: usize,
}

/// The hash of an identifier.
pub(crate) fn hash_of(id: &str) -> u32 {
    xxh3_64(id.as_bytes()) as u32
}

impl Index {
    /// The bytes of its cells.
    pub fn bytes(&self) -> usize {
        self.cells.len() * size_of::<Cell>()
    }

    /// The number under a hash of which `is_it` holds.
    pub fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.begin(hash);
        loop {
            let cell = self.cells.get(at)?;
            if cell.number == VACANT {
                return None;
            }
            if cell.hash == hash && is_it(cell.number as usize) {
                return Some(cell.number as usize);
            }
            at = self.after(at);
        }
    }

    /// Insert a number that is not here.
    pub fn insert(&mut self, hash: u32, number: usize) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.grow();
        }
        self.put(Cell { hash, number: number as u32 });
        self.len += 1;
    }

    /// Remove a number, if it is here.
    pub fn remove(&mut self, hash: u32, number: usize) {
        let mut at = self.begin(hash);
        while self.cells.get(at).is_some_and(|cell| cell.number != number as u32) {
            if self.cells[at].number == VACANT {
                return;
            }
            at = self.after(at);
        }
        if at < self.cells.len() {
            self.len -= 1;
            self.close(at);
        }
    }

    /// Vacate a cell; move those behind it that a search would not reach any more.
    fn close(&mut self, mut hole: usize) {
        let mut at = self.after(hole);
        while self.cells[at].number != VACANT {
            let (reach, gap) = (self.distance(self.begin(self.cells[at].hash), at), self.distance(hole, at));
            if reach >= gap {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.cells[hole].number = VACANT;
    }

    fn grow(&mut self) {
        let most = (self.cells.len() * 2).max(8);
        let former = std::mem::replace(&mut self.cells, vec![Cell { hash: 0, number: VACANT }; most]);
        former.into_iter().filter(|cell| cell.number != VACANT).for_each(|cell| self.put(cell));
    }

    fn put(&mut self, cell: Cell) {
        let mut at = self.begin(cell.hash);
        while self.cells[at].number != VACANT {
            at = self.after(at);
        }
        self.cells[at] = cell;
    }

    fn begin(&self, hash: u32) -> usize {
        hash as usize & self.cells.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_is_a_map_with_any_changes() {
        let (mut index, mut map, mut state) = (Index::default(), HashMap::new(), 7_usize);
        assert_eq!(index.find(3, |_| true), None);
        index.remove(3, 4);
        for _ in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (number, hash) = ((state >> 33) % 60, ((state >> 33) % 60 / 3) as u32 * 7);
            if map.remove(&number).is_some() {
                index.remove(hash, number);
            } else {
                map.insert(number, hash);
                index.insert(hash, number);
            }
            for each in 0..60 {
                let found = index.find(each as u32 / 3 * 7, |found| found == each);
                assert_eq!(found.is_some(), map.contains_key(&each), "{each}");
            }
        }
        assert_eq!(index.len, map.len());
    }
}

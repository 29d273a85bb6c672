//! Memory of decompressed batches, kept for the next ones: pages that are new to the process cost about as much as
//! the decompression itself.

use std::sync::{Mutex, PoisonError};

/// The most blocks that are kept.
const MOST: usize = 8;
/// The most bytes of a block that is kept.
const LARGEST: usize = 4 << 20;

/// Blocks that are kept.
pub struct Spare(Mutex<Vec<Vec<u8>>>);

/// Those of the batches of this process.
pub static BODIES: Spare = Spare(Mutex::new(Vec::new()));

impl Spare {
    /// A kept block with its former bytes, to be overwritten; empty if none was kept.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keep a block for a later `take`, unless it is large or there are enough.
    pub fn keep(&self, block: Vec<u8>) {
        if block.is_empty() || block.capacity() > LARGEST {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_blocks_are_kept_and_no_large_ones() {
        let spare = Spare(Mutex::new(Vec::new()));
        spare.keep(vec![1; LARGEST + 1]);
        spare.keep(vec![]);
        assert!(spare.take().is_empty());
        (0..2 * MOST).for_each(|_| spare.keep(vec![1; 9]));
        (0..MOST).for_each(|_| assert_eq!(spare.take().len(), 9));
        assert!(spare.take().is_empty());
    }
}

//! Memory of decompressed batches, kept for the next ones: pages that are new to the process cost about as much as
//! the decompression itself.

use std::sync::{Mutex, PoisonError};

/// The most blocks that are kept.
const MOST: usize = 8;
/// The most bytes of a block that is kept.
const LARGEST: usize = 4 << 20;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory of a former batch, with its bytes, to be overwritten; empty if none was kept.
pub fn take() -> Vec<u8> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

/// Keep memory for a later `take`, if there is not enough of it.
pub fn keep(bytes: Vec<u8>) {
    if bytes.is_empty() || bytes.capacity() > LARGEST {
        return;
    }
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < MOST {
        spare.push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_blocks_are_kept_and_no_large_ones() {
        (0..2 * MOST).for_each(|_| keep(vec![1; 9]));
        keep(vec![1; LARGEST + 1]);
        keep(vec![]);
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(spare.len() <= MOST && spare.iter().all(|each| (1..=LARGEST).contains(&each.capacity())));
    }
}

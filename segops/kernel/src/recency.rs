//! The order in which the slots of a partition were used: a ring through them.

const OLDER: usize = 0;
const NEWER: usize = 1;

/// Numbers of slots by their last use. A change takes constant time.
pub(crate) struct Recency {
    /// The neighbours of each slot, which is here under its number plus one; first those of the ring's joint.
    links: Vec<[u32; 2]>,
}

impl Recency {
    /// No slots.
    pub fn new() -> Recency {
        Recency { links: vec![[0, 0]] }
    }

    /// Note a slot as the one used last.
    pub fn renew(&mut self, number: usize) {
        if self.links[0][OLDER] as usize != number + 1 {
            self.remove(number);
            self.insert(number as u32 + 1, self.links[0][OLDER]);
        }
    }

    /// Note a slot as the one not used for longest.
    pub fn put_last(&mut self, number: usize) {
        self.remove(number);
        self.insert(number as u32 + 1, 0);
    }

    /// Remove a slot, if it is here.
    pub fn remove(&mut self, number: usize) {
        while self.links.len() < number + 2 {
            let new = self.links.len() as u32;
            self.links.push([new, new]);
        }
        let at = number + 1;
        let [older, newer] = std::mem::replace(&mut self.links[at], [at as u32; 2]);
        self.links[older as usize][NEWER] = newer;
        self.links[newer as usize][OLDER] = older;
        self.links[at] = [at as u32; 2];
    }

    /// The slot not used for longest.
    pub fn oldest(&self) -> Option<usize> {
        (self.links[0][NEWER] as usize).checked_sub(1)
    }

    fn insert(&mut self, at: u32, older: u32) {
        let newer = self.links[older as usize][NEWER];
        self.links[at as usize] = [older, newer];
        self.links[older as usize][NEWER] = at;
        self.links[newer as usize][OLDER] = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(recency: &mut Recency) -> Vec<usize> {
        let mut found = vec![];
        while let Some(number) = recency.oldest() {
            recency.remove(number);
            found.push(number);
        }
        found
    }

    #[test]
    fn the_oldest_comes_first() {
        let mut recency = Recency::new();
        for number in [3, 0, 7, 0, 7] {
            recency.renew(number);
        }
        recency.put_last(5);
        assert_eq!(drained(&mut recency), [5, 3, 0, 7]);
        assert_eq!(recency.oldest(), None);
    }

    #[test]
    fn it_is_a_list_with_any_changes() {
        let (mut recency, mut list, mut state) = (Recency::new(), Vec::<usize>::new(), 7_usize);
        for _ in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (state >> 33) % 9;
            list.retain(|each| *each != number);
            match (state >> 60) % 3 {
                0 => recency.remove(number),
                1 => (list.insert(0, number), recency.put_last(number)).1,
                _ => (list.push(number), recency.renew(number)).1,
            }
            assert_eq!(recency.oldest(), list.first().copied());
        }
        assert_eq!(drained(&mut recency), list);
    }
}

//! Stored forms one after another in pages, the oldest first: no allocation for each of them, and no slack.
//!
//! An entry is the number of its slot and the length of its stored form, of four bytes each, and that form.
//! What is freed leaves a hole until its page is empty or merged with the one behind it.

use std::collections::VecDeque;

/// The bytes of a page; one with an entry that is longer has more.
const PAGE: usize = 64 << 10;
const HEAD: usize = 8;
/// So many empty pages are kept.
const SPARE: usize = 4;
/// The number of an entry that was freed.
const FREED: u32 = u32::MAX;

/// Where an entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    page: u32,
    at: u32,
}

#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    /// The bytes of the entries that were not freed.
    live: usize,
}

/// Stored forms by their place.
#[derive(Default)]
pub(crate) struct Pages {
    pages: Vec<Page>,
    /// The pages with entries, the oldest first; the last one is written to.
    order: VecDeque<u32>,
    spare: Vec<u32>,
    taken: usize,
    live: usize,
}

impl Pages {
    /// The bytes of memory that are in use, or kept.
    pub fn bytes(&self) -> usize {
        self.taken + self.spare.iter().map(|page| self.pages[*page as usize].bytes.capacity()).sum::<usize>()
    }

    /// Save the stored form of a slot.
    pub fn save(&mut self, number: usize, state: &[u8]) -> Place {
        let size = HEAD + state.len();
        let last = self.order.back().copied();
        let page = match last.filter(|page| self.pages[*page as usize].bytes.len() + size <= PAGE) {
            Some(page) => page,
            None => self.begin(size),
        };
        let bytes = &mut self.pages[page as usize].bytes;
        let place = Place { page, at: bytes.len() as u32 };
        bytes.extend_from_slice(&(number as u32).to_le_bytes());
        bytes.extend_from_slice(&(state.len() as u32).to_le_bytes());
        bytes.extend_from_slice(state);
        self.count(page, size);
        place
    }

    /// A stored form.
    pub fn get(&self, place: Place) -> &[u8] {
        let (bytes, at) = (&self.pages[place.page as usize].bytes, place.at as usize + HEAD);
        &bytes[at..at + self.size(place) - HEAD]
    }

    /// Free an entry.
    pub fn free(&mut self, place: Place) {
        let (size, at) = (self.size(place), place.at as usize);
        let page = &mut self.pages[place.page as usize];
        page.bytes[at..at + 4].copy_from_slice(&FREED.to_le_bytes());
        page.live -= size;
        self.live -= size;
        if page.live == 0 && self.order.back() != Some(&place.page) {
            self.recycle(place.page);
        }
    }

    /// Take all entries of the oldest page: the numbers of their slots.
    pub fn take_oldest(&mut self) -> Option<Vec<usize>> {
        let page = *self.order.front()?;
        let found = self.entries(page).into_iter().map(|(number, _)| number).collect();
        self.recycle(page);
        Some(found)
    }

    /// Whether so much of the pages is holes that two of them may fit into one.
    pub fn has_holes(&self) -> bool {
        self.taken > self.live + self.live / 2 + SPARE * PAGE
    }

    /// Move the entries of two neighbours, those with the fewest bytes, into one page: slots with their new places.
    ///
    /// There are none if no two fit.
    pub fn merge(&mut self) -> Vec<(usize, Place)> {
        let live = |at: usize| self.pages[self.order[at] as usize].live;
        let pairs = (0..self.order.len().saturating_sub(2)).map(|at| (live(at) + live(at + 1), at));
        let Some((size, at)) = pairs.min().filter(|(size, _)| *size <= PAGE) else {
            return vec![];
        };
        let (former, into) = ([self.order[at], self.order[at + 1]], self.open(size));
        let mut moved = vec![];
        for page in former {
            for (number, place) in self.entries(page) {
                moved.push((number, self.copy(place, into)));
            }
            self.recycle(page);
        }
        self.order.insert(at, into);
        moved
    }

    fn copy(&mut self, from: Place, into: u32) -> Place {
        let (size, at) = (self.size(from), from.at as usize);
        let source = std::mem::take(&mut self.pages[from.page as usize].bytes);
        let bytes = &mut self.pages[into as usize].bytes;
        let place = Place { page: into, at: bytes.len() as u32 };
        bytes.extend_from_slice(&source[at..at + size]);
        self.pages[from.page as usize].bytes = source;
        self.count(into, size);
        place
    }

    fn count(&mut self, page: u32, size: usize) {
        self.pages[page as usize].live += size;
        self.live += size;
        self.taken += size;
    }

    /// The entries of a page that were not freed.
    fn entries(&self, page: u32) -> Vec<(usize, Place)> {
        let (mut found, mut place) = (vec![], Place { page, at: 0 });
        while (place.at as usize) < self.pages[page as usize].bytes.len() {
            let number = self.word(place, 0);
            if number != FREED {
                found.push((number as usize, place));
            }
            place.at += self.size(place) as u32;
        }
        found
    }

    fn size(&self, place: Place) -> usize {
        HEAD + self.word(place, 4) as usize
    }

    fn word(&self, place: Place, at: usize) -> u32 {
        let begin = place.at as usize + at;
        let bytes = self.pages[place.page as usize].bytes[begin..begin + 4].try_into();
        bytes.map_or(FREED, u32::from_le_bytes)
    }

    /// Begin a page with room for so many bytes.
    fn begin(&mut self, size: usize) -> u32 {
        if let Some(last) = self.order.back().copied().filter(|page| self.pages[*page as usize].live == 0) {
            self.recycle(last);
        }
        let page = self.open(size);
        self.order.push_back(page);
        page
    }

    /// An empty page for so many bytes, or more.
    fn open(&mut self, size: usize) -> u32 {
        let page = self.spare.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() as u32 - 1
        });
        self.pages[page as usize].bytes.reserve_exact(size.max(PAGE));
        page
    }

    fn recycle(&mut self, page: u32) {
        self.order.retain(|each| *each != page);
        let kept = self.spare.iter().filter(|each| self.pages[**each as usize].bytes.capacity() > 0).count();
        let Page { bytes, live } = &mut self.pages[page as usize];
        self.taken -= bytes.len();
        self.live -= std::mem::take(live);
        bytes.clear();
        if kept >= SPARE || bytes.capacity() > PAGE {
            *bytes = Vec::new();
            self.spare.insert(0, page); // those with memory are taken first
        } else {
            self.spare.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(number: usize) -> Vec<u8> {
        vec![number as u8; 5_000 + number * 10]
    }

    #[test]
    fn forms_are_found_until_they_are_freed_and_pages_without_any_are_used_again() {
        let mut pages = Pages::default();
        for _ in 0..50 {
            let places: Vec<Place> = (0..40).map(|number| pages.save(number, &form(number))).collect();
            places.iter().enumerate().for_each(|(number, place)| assert_eq!(pages.get(*place), form(number)));
            places.into_iter().for_each(|place| pages.free(place));
        }
        assert!(pages.pages.len() <= 6 && pages.live == 0);
    }

    #[test]
    fn the_oldest_page_goes_first_and_without_what_was_freed() {
        let mut pages = Pages::default();
        let places: Vec<Place> = (0..40).map(|number| pages.save(number, &form(number))).collect();
        places.iter().step_by(2).for_each(|place| pages.free(*place));
        let mut left = vec![];
        while let Some(found) = pages.take_oldest() {
            left.extend(found);
        }
        assert_eq!(left, (0..40).skip(1).step_by(2).collect::<Vec<_>>());
        assert_eq!((pages.live, pages.taken), (0, 0));
    }

    #[test]
    fn merged_pages_keep_their_order_and_their_forms() {
        let mut pages = Pages::default();
        let mut places: Vec<Option<Place>> = (0..400).map(|number| Some(pages.save(number, &form(number)))).collect();
        for number in (0..400).filter(|number| number % 3 > 0) {
            places[number].take().into_iter().for_each(|place| pages.free(place));
        }
        let before = pages.taken;
        while pages.has_holes() {
            let moved = pages.merge();
            assert!(!moved.is_empty());
            moved.into_iter().for_each(|(number, place)| places[number] = Some(place));
        }
        assert!(pages.taken < before / 3 * 2);
        let kept = places.iter().enumerate().filter_map(|(number, place)| place.map(|place| (number, place)));
        kept.for_each(|(number, place)| assert_eq!(pages.get(place), form(number)));
        let mut order = vec![];
        while let Some(found) = pages.take_oldest() {
            order.extend(found);
        }
        assert_eq!(order, (0..400).step_by(3).collect::<Vec<_>>());
    }

    #[test]
    fn a_form_longer_than_a_page_has_one_of_its_own() {
        let mut pages = Pages::default();
        let long = vec![1; 3 * PAGE];
        let place = pages.save(7, &long);
        pages.save(8, b"x");
        assert_eq!(pages.get(place), long);
        pages.free(place);
        assert!(pages.bytes() < PAGE);
    }
}

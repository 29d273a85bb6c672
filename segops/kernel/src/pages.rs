//! Stored forms one after another in pages, the oldest first: no allocation for each of them, and no slack.
//!
//! An entry is the number of its slot and the length of its stored form, of four bytes each, and that form.
//! What is freed leaves a hole until its page is empty or merged with the one behind it.

use std::collections::VecDeque;

/// The bytes of a page; one with an entry that is longer has more.
const PAGE: usize = 64 << 10;
const HEAD: usize = 8;
/// So many empty pages are kept, if there are eight times as many others.
const SPARE: usize = 4;
/// At most about so many bytes at the end of a page are not used.
const REST: usize = 1 << 10;
/// At most so many pages are merged at once.
const NEIGHBOURS: usize = 8;
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
    /// The bytes of memory of all pages, those kept for later included.
    pub fn bytes(&self) -> usize {
        self.taken
    }

    /// The number of pages with entries.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The bytes of the entries that were not freed.
    #[cfg(test)]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Save the stored form of a slot.
    pub fn save(&mut self, number: usize, state: &[u8]) -> Place {
        let size = HEAD + state.len();
        let last = self.order.back().copied();
        let page = match last.filter(|page| self.has_room(*page, size)) {
            Some(page) => page,
            None => self.begin(),
        };
        self.extend(page, size);
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

    /// Whether so much of the pages is holes that some should be merged.
    pub fn has_holes(&self) -> bool {
        self.taken - self.live > self.live / 4 + SPARE * PAGE
    }

    /// Move the entries of some neighbours into fewer pages: slots with their new places.
    ///
    /// There are none if no neighbours have holes of a page in all.
    pub fn merge(&mut self) -> Vec<(usize, Place)> {
        let Some((begin, number)) = self.sparsest() else {
            return vec![];
        };
        let former: Vec<u32> = self.order.range(begin..begin + number).copied().collect();
        let (mut moved, mut into) = (vec![], vec![]);
        for page in former {
            for (number, place) in self.entries(page) {
                let size = self.size(place);
                let last = into.last().copied();
                let target = last.filter(|page| self.has_room(*page, size)).unwrap_or_else(|| {
                    into.push(self.open());
                    into[into.len() - 1]
                });
                moved.push((number, self.copy(place, target)));
            }
            self.recycle(page);
        }
        into.into_iter().enumerate().for_each(|(number, page)| self.order.insert(begin + number, page));
        moved
    }

    /// The fewest neighbours with holes of a page in all, but for the last page: where they begin, and their number.
    fn sparsest(&self) -> Option<(usize, usize)> {
        let holes = |page: &u32| PAGE.saturating_sub(self.pages[*page as usize].live);
        let holes: Vec<usize> = self.order.iter().take(self.order.len().saturating_sub(1)).map(holes).collect();
        let most = |number: usize| holes.windows(number).map(|window| window.iter().sum::<usize>()).enumerate();
        (2..=NEIGHBOURS).find_map(|number| {
            let (begin, holes) = most(number).max_by_key(|(_, holes)| *holes)?;
            (holes >= PAGE + number * REST).then_some((begin, number))
        })
    }

    fn has_room(&self, page: u32, size: usize) -> bool {
        self.pages[page as usize].bytes.len() + size <= PAGE
    }

    fn copy(&mut self, from: Place, into: u32) -> Place {
        let (size, at) = (self.size(from), from.at as usize);
        let source = std::mem::take(&mut self.pages[from.page as usize].bytes);
        self.extend(into, size);
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

    /// Begin a page.
    fn begin(&mut self) -> u32 {
        if let Some(last) = self.order.back().copied().filter(|page| self.pages[*page as usize].live == 0) {
            self.recycle(last);
        }
        let page = self.open();
        self.order.push_back(page);
        page
    }

    /// An empty page.
    fn open(&mut self) -> u32 {
        self.spare.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() as u32 - 1
        })
    }

    /// Make room for so many bytes: a page doubles until it is full.
    fn extend(&mut self, page: u32, size: usize) {
        let bytes = &mut self.pages[page as usize].bytes;
        let (length, before) = (bytes.len(), bytes.capacity());
        if length + size > before {
            bytes.reserve_exact((length + size).max((2 * before).min(PAGE)) - length);
            self.taken += bytes.capacity() - before;
        }
    }

    fn recycle(&mut self, page: u32) {
        self.order.retain(|each| *each != page);
        let kept = self.spare.iter().filter(|each| self.pages[**each as usize].bytes.capacity() > 0).count();
        let Page { bytes, live } = &mut self.pages[page as usize];
        self.live -= std::mem::take(live);
        bytes.clear();
        if kept >= SPARE.min(self.order.len() / 8) || bytes.capacity() != PAGE {
            self.taken -= bytes.capacity();
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
        assert!(pages.live == 0 && pages.taken <= SPARE * PAGE);
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

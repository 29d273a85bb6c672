//! The search for the spans of time in which a sequence holds, without another event.
//!
//! It proceeds from step to step, and remembers, for each step and what later steps compare with, the events after
//! which the rest completes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::sequence::{Link, Sequence, FOREVER};

/// Steps whose values later steps compare with, each with the first event that has the chosen values.
type Chosen = Vec<(usize, usize)>;
/// Events, in order, and when the sequence is complete after each, in milliseconds.
type Complete = Rc<(Vec<usize>, Vec<i64>)>;

/// One search.
pub struct Search<'s> {
    sequence: &'s Sequence,
    links: &'s [Link],
    referred: HashSet<usize>,
    /// Of each event the first one with the same values.
    same: Vec<usize>,
    /// By step, the events that match it, by their compared values.
    matching: Vec<HashMap<Vec<Option<&'s str>>, Vec<usize>>>,
    known: HashMap<(usize, Chosen), Complete>,
}

impl<'s> Search<'s> {
    /// A search in these events, oldest first.
    pub fn new(sequence: &'s Sequence, links: &'s [Link]) -> Search<'s> {
        let mut first = HashMap::new();
        let same = links.iter().enumerate().map(|(at, link)| *first.entry(&link.keys).or_insert(at)).collect();
        let referred = sequence.steps.iter().flat_map(|step| &step.same_as).map(|(_, earlier)| *earlier).collect();
        let mut matching: Vec<HashMap<_, Vec<usize>>> = vec![];
        for (number, step) in sequence.steps.iter().enumerate() {
            let mut found: HashMap<_, Vec<usize>> = HashMap::new();
            for (at, link) in links.iter().enumerate().filter(|(_, link)| link.steps >> number & 1 == 1) {
                let values: Vec<_> = step.same_as.iter().map(|(path, _)| link.keys[*path].as_deref()).collect();
                found.entry(values).or_default().push(at);
            }
            matching.push(found);
        }
        Search { sequence, links, referred, same, matching, known: HashMap::new() }
    }

    /// Disjoint spans in order, each from when to when, excluded, in milliseconds.
    pub fn spans(&mut self) -> Vec<(i64, i64)> {
        let complete = self.completing(0, vec![]);
        let end_of = |index: usize| self.sequence.within.map_or(FOREVER, |within| self.links[index].time + within);
        let mut found: Vec<(i64, i64)> =
            complete.0.iter().zip(&complete.1).map(|(at, begin)| (*begin, end_of(*at))).collect();
        found.retain(|(begin, end)| begin < end);
        merged(found)
    }

    fn candidates(&self, number: usize, chosen: &Chosen) -> &[usize] {
        let mut wanted = vec![];
        for (path, earlier) in &self.sequence.steps[number].same_as {
            let choice = chosen.iter().find(|(step, _)| step == earlier);
            let value = choice.and_then(|(_, event)| self.links[*event].keys[*path].as_deref());
            if value.is_none() {
                return &[];
            }
            wanted.push(value);
        }
        self.matching[number].get(&wanted).map_or(&[], Vec::as_slice)
    }

    /// The events that match a step and after which the rest completes, and when.
    fn completing(&mut self, step: usize, chosen: Chosen) -> Complete {
        let key = (step, chosen);
        if let Some(known) = self.known.get(&key) {
            return Rc::clone(known);
        }
        let (mut indexes, mut begins) = (vec![], vec![]);
        for index in self.candidates(step, &key.1).to_vec() {
            let mut noted = key.1.clone();
            if self.referred.contains(&step) {
                noted.push((step, self.same[index]));
            }
            if let Some(begin) = self.complete(step, index, &noted) {
                indexes.push(index);
                begins.push(begin);
            }
        }
        let found = Rc::new((indexes, begins));
        self.known.insert(key, Rc::clone(&found));
        found
    }

    /// When all steps after one that an event matches are satisfied.
    fn complete(&mut self, step: usize, index: usize, chosen: &Chosen) -> Option<i64> {
        let steps = &self.sequence.steps;
        let following = (step + 1..steps.len()).find(|number| !steps[*number].absent);
        let absent = step + 1..following.unwrap_or(steps.len());
        let Some(following) = following else {
            return self.deadline(absent, index, chosen);
        };
        let last = self.last(index, absent, following, chosen);
        let complete = self.completing(following, self.needed(following, chosen));
        let is_compared_later = self.referred.iter().any(|step| *step >= following);
        let mut earliest: Option<i64> = None;
        for at in complete.0.partition_point(|known| *known <= index)..complete.0.len() {
            let event = complete.0[at];
            if event as i64 > last || earliest.is_some_and(|earliest| self.links[event].time >= earliest) {
                break;
            }
            earliest = Some(earliest.map_or(complete.1[at], |earliest| earliest.min(complete.1[at])));
            if !is_compared_later {
                break; // an event that begins later completes later
            }
        }
        earliest
    }

    /// The choices that a step or a later one compares with.
    fn needed(&self, step: usize, chosen: &Chosen) -> Chosen {
        let later = &self.sequence.steps[step..];
        let is_needed = |number: usize| later.iter().any(|one| one.same_as.iter().any(|(_, each)| *each == number));
        chosen.iter().copied().filter(|(number, _)| is_needed(*number)).collect()
    }

    /// The last event that may match the next step, given the steps before it that must not happen.
    fn last(&self, index: usize, absent: std::ops::Range<usize>, following: usize, chosen: &Chosen) -> i64 {
        let (begin, steps) = (self.links[index].time, &self.sequence.steps);
        let last = if self.sequence.strict { index + 1 } else { self.links.len() - 1 };
        let mut last = (last as i64).min(self.last_within(begin, steps[following].within));
        for number in absent {
            let breaking = self.candidates(number, chosen);
            let next = breaking.get(breaking.partition_point(|known| *known <= index));
            if let Some(next) = next.filter(|next| **next as i64 <= self.last_within(begin, steps[number].within)) {
                last = last.min(*next as i64);
            }
        }
        last
    }

    fn last_within(&self, begin: i64, within: Option<i64>) -> i64 {
        let reached = |within: i64| self.links.partition_point(|link| link.time <= begin + within);
        within.map_or(self.links.len(), reached) as i64 - 1
    }

    /// The last deadline of the closing steps that must not happen; None if an event breaks one of them.
    fn deadline(&self, absent: std::ops::Range<usize>, index: usize, chosen: &Chosen) -> Option<i64> {
        let begin = self.links[index].time;
        let after = self.links.partition_point(|link| link.time <= begin);
        let mut last = begin;
        for number in absent {
            let deadline = begin + self.sequence.steps[number].within.unwrap_or(0);
            let breaking = self.candidates(number, chosen);
            let next = breaking.get(breaking.partition_point(|known| *known < after));
            if next.is_some_and(|next| self.links[*next].time <= deadline) {
                return None;
            }
            last = last.max(deadline);
        }
        Some(last)
    }
}

/// The spans in order, those united that overlap or touch.
fn merged(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let mut found: Vec<(i64, i64)> = vec![];
    for (begin, end) in spans {
        match found.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => found.push((begin, end)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_are_one() {
        assert_eq!(merged(vec![(5, 9), (1, 3), (3, 4)]), [(1, 4), (5, 9)]);
    }
}

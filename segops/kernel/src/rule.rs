//! Rules: the verdict on a profile at an instant, and when time alone changes it (`segops.core.rules.execution`).

use crate::compared::Compared;
use crate::condition::Condition;
use crate::decimal::Dec;
use crate::exact::ExactPredicate;
use crate::feature::{read_path, Path};
use crate::figure_score::FigureScore;
use crate::frozen::FrozenLeaf;
use crate::history::HasBeen;
use crate::leaves::{
    chains_of, count_of, crossing, days_since, leaving, picked, place_of, raw_trait_of, share_of, sum_of, time_of,
    times_of,
};
use crate::msgpack::Reader;
use crate::of_since::OfSince;
use crate::order_score::OrderScore;
use crate::predicate::Predicate;
use crate::reduce::Pick;
use crate::rfm::Rfm;
use crate::since::value;
use crate::state::State;
use crate::tested::Tested;
use crate::view::{View, Window};

/// Beyond this time and number of steps a search ends, as in Python.
const LOOK_AHEAD_MS: i64 = 3_653 * 86_400_000;
const MAX_STEPS: u32 = 64;
const DAY_MS: i64 = 86_400_000;

/// A rule. Lengths and ages are in milliseconds, features are indexes.
#[derive(Debug)]
pub enum Node {
    /// A rule that Python is asked about if it changes beyond `LOOK_AHEAD_MS`, where it counts other steps.
    Ahead(Box<Node>),
    /// Every child holds.
    All(Vec<Node>),
    /// A child holds.
    Any(Vec<Node>),
    /// The child does not hold.
    Not(Box<Node>),
    /// So many children hold.
    AtLeast(usize, Vec<Node>),
    /// A number of events or distinct values; in a sliding window, it falls below `falling` by expiry.
    Count {
        /// The feature.
        feature: u32,
        /// The window.
        window: Window,
        /// The predicate.
        test: Predicate,
        /// The thresholds, greatest first.
        falling: Vec<usize>,
    },
    /// A sum, a mean, or the number of values in a sliding window without limit.
    Sum {
        /// The feature.
        feature: u32,
        /// What is read of it.
        reads: Reads,
        /// The window.
        window: Window,
        /// The predicate.
        test: ExactPredicate,
    },
    /// One value.
    Picked {
        /// The feature.
        feature: u32,
        /// Which value.
        pick: Pick,
        /// The window.
        window: Window,
        /// The condition on it.
        test: Condition,
    },
    /// The age of the first or last event.
    Age {
        /// The feature.
        feature: u32,
        /// At least so old.
        older: Option<i64>,
        /// Younger.
        newer: Option<i64>,
    },
    /// A trait.
    Trait(Path, Condition),
    /// A value of the events after an anchor; without an anchor it is false.
    Since(u32, bool, OfSince),
    /// A test of a figure.
    Tested(Box<Tested>),
    /// A comparison of two figures.
    Compared(Box<Compared>),
    /// A leaf that is read at refreshes.
    Frozen(Box<FrozenLeaf>),
    /// A sequence of events.
    Sequence(u32),
    /// Digits of recency, frequency and monetary.
    Rfm(Box<Rfm>),
    /// The days since the latest event satisfy a predicate, which may change after so many days.
    Recency(Predicate, Vec<i64>),
    /// A score of orders.
    OrderScore(Box<OrderScore>),
    /// A score of figures.
    FigureScore(Box<FigureScore>),
    /// The last known location, not older than a length, satisfies a condition.
    Place(Condition, Option<i64>),
    /// A trait has satisfied a condition for long.
    HasBeen(HasBeen),
    /// The first event is so old.
    KnownFor(i64),
    /// A share of all profiles, in hundredths of a percent.
    Bucket {
        /// Which shares.
        salt: Box<str>,
        /// From here on.
        low: i64,
        /// Up to here, excluded.
        high: i64,
    },
    /// An identifier of one of these types.
    HasIdentifier(Vec<Box<str>>),
    /// The recorded membership of a paused segment.
    Member(u32),
}

/// What a rule reads of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The number of values.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

impl Reads {
    /// What is compared: a total and what it is divided by; None for the mean of nothing.
    pub fn number(self, count: i64, total: Dec) -> Option<(Dec, i64)> {
        match self {
            Reads::Count => Some((Dec::of_int(i128::from(count)), 1)),
            Reads::Sum => Some((total, 1)),
            Reads::Mean => (count > 0).then_some((total, count)),
        }
    }
}

impl Node {
    /// Read a rule that `segops.kernel.tables` has written; None for one that Python evaluates.
    pub fn read(reader: &mut Reader<'_>) -> Option<Node> {
        reader.array()?;
        let name = reader.str()?;
        let index = |reader: &mut Reader<'_>| u32::try_from(reader.wide()?).ok();
        Some(match name {
            "ahead" => Node::Ahead(Box::new(Node::read(reader)?)),
            "all" => Node::All(reader.list(Node::read)?),
            "any" => Node::Any(reader.list(Node::read)?),
            "not" => Node::Not(Box::new(Node::read(reader)?)),
            "at_least" => Node::AtLeast(reader.size()?, reader.list(Node::read)?),
            "count" => Node::Count {
                feature: index(reader)?,
                window: Window::read(reader)?,
                test: Predicate::read(reader)?,
                falling: reader.list(Reader::size)?,
            },
            "sum" => Node::Sum {
                feature: index(reader)?,
                reads: match reader.str()? {
                    "count" => Reads::Count,
                    "sum" => Reads::Sum,
                    "avg" => Reads::Mean,
                    _ => return None,
                },
                window: Window::read(reader)?,
                test: ExactPredicate::read(reader)?,
            },
            "picked" => Node::Picked {
                feature: index(reader)?,
                pick: match reader.str()? {
                    "min" | "max" | "earliest" => Pick::Earliest, // the oldest value that is kept
                    "latest" => Pick::Latest,
                    _ => return None,
                },
                window: Window::read(reader)?,
                test: Condition::read(reader)?,
            },
            "age" => Node::Age { feature: index(reader)?, older: reader.opt_int()?, newer: reader.opt_int()? },
            "trait" => Node::Trait(read_path(reader)?, Condition::read(reader)?),
            "since" => Node::Since(index(reader)?, reader.bool()?, OfSince::read(reader)?),
            "tested" => Node::Tested(Box::new(Tested::read(reader)?)),
            "compared" => Node::Compared(Box::new(Compared::read(reader)?)),
            "frozen" => Node::Frozen(Box::new(FrozenLeaf::read(reader)?)),
            "sequence" => Node::Sequence(index(reader)?),
            "rfm" => Node::Rfm(Box::new(Rfm::read(reader)?)),
            "recency" => Node::Recency(Predicate::read(reader)?, reader.list(Reader::int)?),
            "order_score" => Node::OrderScore(Box::new(OrderScore::read(reader)?)),
            "figure_score" => Node::FigureScore(Box::new(FigureScore::read(reader)?)),
            "place" => Node::Place(Condition::read(reader)?, reader.opt_int()?),
            "has_been" => Node::HasBeen(HasBeen {
                feature: index(reader)?,
                test: Condition::read(reader)?,
                length: reader.int()?,
            }),
            "known_for" => Node::KnownFor(reader.int()?),
            "bucket" => Node::Bucket { salt: reader.str()?.into(), low: reader.int()?, high: reader.int()? },
            "member" => Node::Member(index(reader)?),
            "has_identifier" => Node::HasIdentifier(read_path(reader)?),
            _ => return None,
        })
    }

    /// Whether the rule holds at an instant.
    pub fn holds(&self, view: View<'_>, now: i64) -> bool {
        let profile = view.profile;
        match self {
            Node::All(of) => of.iter().all(|node| node.holds(view, now)),
            Node::Any(of) => of.iter().any(|node| node.holds(view, now)),
            Node::Ahead(of) => of.holds(view, now),
            Node::Not(of) => !of.holds(view, now),
            Node::AtLeast(least, of) => of.iter().filter(|node| node.holds(view, now)).count() >= *least,
            Node::Count { feature, window, test, .. } => {
                test.counts(count_of(view.state(*feature, *window, now), window.length(), now))
            }
            Node::Sum { feature, reads, window, test } => {
                let (count, total) = sum_of(view.state(*feature, *window, now), window.length(), now);
                match reads.number(count, total) {
                    Some((number, divisor)) => test.holds(number, divisor),
                    None => test.holds_missing(),
                }
            }
            Node::Picked { feature, pick, window, test } => {
                let value = picked(view.state(*feature, *window, now), *pick, window.length(), now);
                view.answered(test.holds(value, now, view.asking))
            }
            Node::Age { feature, older, newer } => time_of(view.kept(*feature)).is_some_and(|time| {
                let age = now - time;
                older.is_none_or(|least| age >= least) && newer.is_none_or(|limit| age < limit)
            }),
            Node::Trait(path, test) => view.answered(test.holds(raw_trait_of(profile, path), now, view.asking)),
            Node::Since(feature, compares, of) => match view.kept(*feature) {
                Some(State::Since(since)) => of.holds(view, (since, *compares), now),
                _ => false,
            },
            Node::Tested(leaf) => view.answered(leaf.holds(view, now)),
            Node::Compared(leaf) => view.answered(leaf.holds(view, now)),
            Node::Frozen(leaf) => leaf.holds(view, now),
            Node::Sequence(feature) => chains_of(view.kept(*feature)).is_some_and(|chains| chains.holds(now)),
            Node::Rfm(leaf) => view.answered(leaf.holds(view, now)),
            Node::Recency(test, _) => test.holds(&days_since(profile, now), now),
            Node::OrderScore(leaf) => view.answered(leaf.holds(view, now)),
            Node::FigureScore(leaf) => view.answered(leaf.holds(view, now)),
            Node::Place(test, within) => {
                let is_stale = within.is_some_and(|within| now - profile.location_ms >= within);
                let place = place_of(profile).filter(|_| !is_stale);
                place.is_some_and(|place| view.answered(test.holds(Some(&place), 0, view.asking)))
            }
            Node::HasBeen(leaf) => view.answered(leaf.holds(view, now)),
            Node::KnownFor(length) => profile.first.is_some_and(|first| now - first >= *length),
            Node::Bucket { salt, low, high } => (*low..*high).contains(&share_of(salt, &profile.id)),
            Node::HasIdentifier(types) => types.iter().any(|kind| profile.has_identifier(kind)),
            Node::Member(segment) => profile.members.iter().any(|member| member.segment == *segment),
        }
    }

    /// The earliest instant after `now` at which time alone may change a leaf.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<i64> {
        let profile = view.profile;
        match self {
            Node::All(of) | Node::Any(of) | Node::AtLeast(_, of) => {
                of.iter().filter_map(|node| node.next_edge(view, now)).min()
            }
            Node::Ahead(of) | Node::Not(of) => of.next_edge(view, now),
            Node::Count { feature, window, falling, .. } => match window.length() {
                Some(length) => crossing(times_of(view.kept(*feature)?)?, length, falling, now),
                None => view.period_end(*feature, *window, now),
            },
            Node::Sum { feature, reads, window, test } => match window.length() {
                Some(length) => leaving(view.kept(*feature)?, (*reads, length, test), now),
                None => view.period_end(*feature, *window, now),
            },
            Node::Picked { feature, pick, window, test } => {
                let value = picked(view.state(*feature, *window, now), *pick, window.length(), now);
                let of_value = view.answered(test.next_edge(value, now, view.asking));
                let of_window = match window.length() {
                    Some(length) => view
                        .kept(*feature)
                        .and_then(times_of)
                        .and_then(|times| times.iter().map(|time| time + length).find(|at| *at > now)),
                    None => view.period_end(*feature, *window, now),
                };
                of_value.into_iter().chain(of_window).min()
            }
            Node::Age { feature, older, newer } => {
                let time = time_of(view.kept(*feature))?;
                [older, newer].into_iter().flatten().map(|age| time + age).filter(|at| *at > now).min()
            }
            Node::Trait(path, test) => view.answered(test.next_edge(raw_trait_of(profile, path), now, view.asking)),
            Node::Since(feature, compares, OfSince::Value(read, test)) => match view.kept(*feature) {
                Some(State::Since(since)) => {
                    let value = value(since.counting(*compares)?, *read);
                    view.answered(test.next_edge(value, now, view.asking))
                }
                _ => None,
            },
            Node::Since(..) => None,
            Node::Tested(leaf) => view.answered(leaf.next_edge(view, now)),
            Node::Compared(leaf) => view.answered(leaf.next_edge(view, now)),
            Node::Frozen(leaf) => leaf.next_edge(view, now),
            Node::Sequence(feature) => chains_of(view.kept(*feature))?.next_edge(now),
            Node::Rfm(leaf) => leaf.next_edge(view, now),
            Node::Recency(_, days) => {
                profile.first?;
                days.iter().map(|days| profile.latest + days * DAY_MS).filter(|at| *at > now).min()
            }
            Node::OrderScore(leaf) => view.answered(leaf.next_edge(view, now)),
            Node::FigureScore(leaf) => view.answered(leaf.next_edge(view, now)),
            Node::Place(_, within) => {
                profile.location?;
                Some(profile.location_ms + (*within)?).filter(|at| *at > now)
            }
            Node::HasBeen(leaf) => view.answered(leaf.next_edge(view, now)),
            Node::KnownFor(length) => profile.first.map(|first| first + length).filter(|at| *at > now),
            Node::Bucket { .. } | Node::HasIdentifier(_) | Node::Member(_) => None,
        }
    }

    /// The earliest instant after `now` at which the verdict differs from `member`, in milliseconds.
    pub fn next_flip(&self, view: View<'_>, now: i64, member: bool) -> Option<i64> {
        let mut at = self.next_edge(view, now);
        let mut steps = 0;
        while let Some(edge) = at {
            if matches!(self, Node::Ahead(_)) && edge - now > LOOK_AHEAD_MS {
                view.failed.set(true);
                return None;
            }
            if self.holds(view, edge) != member {
                return at;
            }
            steps += 1;
            if steps > MAX_STEPS && edge - now > LOOK_AHEAD_MS {
                return None;
            }
            at = self.next_edge(view, edge).filter(|later| *later > edge);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ask::{Asking, Nobody};
    use crate::profile::Profile;

    #[test]
    fn python_is_asked_about_a_flip_far_ahead() {
        let (asking, failed) = (Asking::new(Box::new(Nobody)), Cell::new(false));
        let mut profile = Profile::new("user_id:u");
        profile.first = Some(0);
        let view = View { profile: &profile, asking: &asking, failed: &failed, refreshed: i64::MAX };
        let flip = |length: i64| Node::Ahead(Box::new(Node::KnownFor(length))).next_flip(view, 0, false);
        assert_eq!((flip(LOOK_AHEAD_MS), failed.get()), (Some(LOOK_AHEAD_MS), false));
        assert_eq!((flip(LOOK_AHEAD_MS + 1), failed.get()), (None, true));
    }
}

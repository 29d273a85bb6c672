//! Rules: the verdict on a profile at an instant, and when time alone changes it (`segops.core.rules.execution`).

use sha2::{Digest, Sha256};

use crate::decimal::Dec;
use crate::feature::{read_path, Path, Pick};
use crate::msgpack::Reader;
use crate::predicate::{ExactPredicate, Predicate};
use crate::profile::Profile;
use crate::state::State;
use crate::values::{below, scalar_of, Scalar};

/// Beyond this time and number of steps a search ends, as in Python.
const LOOK_AHEAD_MS: i64 = 3_653 * 86_400_000;
const MAX_STEPS: u32 = 64;

/// A rule. Lengths and ages are in milliseconds, features are indexes.
#[derive(Debug)]
pub enum Node {
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
        /// The length of the sliding window, if it is one.
        length: Option<i64>,
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
        /// The length of the sliding window, if it is one.
        length: Option<i64>,
        /// The predicate.
        test: ExactPredicate,
    },
    /// One value.
    Picked {
        /// The feature.
        feature: u32,
        /// Which value.
        pick: Pick,
        /// The length of the sliding window, if it is one.
        length: Option<i64>,
        /// The predicate.
        test: Predicate,
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
    Trait(Path, Predicate),
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
    fn number(self, count: i64, total: Dec) -> Option<(Dec, i64)> {
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
            "all" => Node::All(reader.list(Node::read)?),
            "any" => Node::Any(reader.list(Node::read)?),
            "not" => Node::Not(Box::new(Node::read(reader)?)),
            "at_least" => Node::AtLeast(reader.size()?, reader.list(Node::read)?),
            "count" => Node::Count {
                feature: index(reader)?,
                length: reader.opt_int()?,
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
                length: reader.opt_int()?,
                test: ExactPredicate::read(reader)?,
            },
            "picked" => Node::Picked {
                feature: index(reader)?,
                pick: match reader.str()? {
                    "min" | "max" | "earliest" => Pick::Earliest, // the oldest value that is kept
                    "latest" => Pick::Latest,
                    _ => return None,
                },
                length: reader.opt_int()?,
                test: Predicate::read(reader)?,
            },
            "age" => Node::Age { feature: index(reader)?, older: reader.opt_int()?, newer: reader.opt_int()? },
            "trait" => Node::Trait(read_path(reader)?, Predicate::read(reader)?),
            "known_for" => Node::KnownFor(reader.int()?),
            "bucket" => Node::Bucket { salt: reader.str()?.into(), low: reader.int()?, high: reader.int()? },
            "has_identifier" => Node::HasIdentifier(read_path(reader)?),
            _ => return None,
        })
    }

    /// Whether the rule holds at an instant.
    pub fn holds(&self, profile: &Profile, now: i64) -> bool {
        match self {
            Node::All(of) => of.iter().all(|node| node.holds(profile, now)),
            Node::Any(of) => of.iter().any(|node| node.holds(profile, now)),
            Node::Not(of) => !of.holds(profile, now),
            Node::AtLeast(least, of) => of.iter().filter(|node| node.holds(profile, now)).count() >= *least,
            Node::Count { feature, length, test, .. } => test.counts(count_of(profile.state(*feature), *length, now)),
            Node::Sum { feature, reads, length, test } => {
                let (count, total) = sum_of(profile.state(*feature), *length, now);
                match reads.number(count, total) {
                    Some((number, divisor)) => test.holds(number, divisor),
                    None => test.holds_missing(),
                }
            }
            Node::Picked { feature, pick, length, test } => {
                test.holds(&picked(profile.state(*feature), *pick, *length, now), now)
            }
            Node::Age { feature, older, newer } => time_of(profile.state(*feature)).is_some_and(|time| {
                let age = now - time;
                older.is_none_or(|least| age >= least) && newer.is_none_or(|limit| age < limit)
            }),
            Node::Trait(path, test) => test.holds(&trait_of(profile, path), now),
            Node::KnownFor(length) => profile.first.is_some_and(|first| now - first >= *length),
            Node::Bucket { salt, low, high } => (*low..*high).contains(&share_of(salt, &profile.id)),
            Node::HasIdentifier(types) => types.iter().any(|kind| profile.has_identifier(kind)),
        }
    }

    /// The earliest instant after `now` at which time alone may change a leaf.
    fn next_edge(&self, profile: &Profile, now: i64) -> Option<i64> {
        match self {
            Node::All(of) | Node::Any(of) | Node::AtLeast(_, of) => {
                of.iter().filter_map(|node| node.next_edge(profile, now)).min()
            }
            Node::Not(of) => of.next_edge(profile, now),
            Node::Count { feature, length, falling, .. } => {
                crossing(times_of(profile.state(*feature)?)?, (*length)?, falling, now)
            }
            Node::Sum { feature, reads, length, test } => {
                leaving(profile.state(*feature)?, (*reads, (*length)?, test), now)
            }
            Node::Picked { feature, length, .. } => {
                let (times, length) = (times_of(profile.state(*feature)?)?, (*length)?);
                times.iter().map(|time| time + length).find(|at| *at > now)
            }
            Node::Age { feature, older, newer } => {
                let time = time_of(profile.state(*feature))?;
                [older, newer].into_iter().flatten().map(|age| time + age).filter(|at| *at > now).min()
            }
            Node::Trait(path, test) => test.next_edge(&trait_of(profile, path), now),
            Node::KnownFor(length) => profile.first.map(|first| first + length).filter(|at| *at > now),
            Node::Bucket { .. } | Node::HasIdentifier(_) => None,
        }
    }

    /// The earliest instant after `now` at which the verdict differs from `member`, in milliseconds.
    pub fn next_flip(&self, profile: &Profile, now: i64, member: bool) -> Option<i64> {
        let mut at = self.next_edge(profile, now);
        let mut steps = 0;
        while let Some(edge) = at {
            if self.holds(profile, edge) != member {
                return at;
            }
            steps += 1;
            if steps > MAX_STEPS && edge - now > LOOK_AHEAD_MS {
                return None;
            }
            at = self.next_edge(profile, edge).filter(|later| *later > edge);
        }
        None
    }
}

fn times_of(state: &State) -> Option<&[i64]> {
    match state {
        State::Times(times) | State::Values { times, .. } => Some(times),
        State::Sums(sums) => Some(&sums.times),
        _ => None,
    }
}

fn count_of(state: Option<&State>, length: Option<i64>, now: i64) -> i64 {
    match (state, length) {
        (Some(State::Tally { count, .. }), _) => *count,
        (Some(State::Keys { keys, .. }), _) => keys.len() as i64,
        (Some(State::Times(times) | State::Values { times, .. }), Some(length)) => {
            (times.len() - times.partition_point(|time| *time <= now - length)) as i64
        }
        // Another rule needs more of the feature than a count of the latest events.
        (Some(State::Sums(sums)), Some(length)) => {
            (sums.times.len() - sums.times.partition_point(|time| *time <= now - length)) as i64
        }
        _ => 0,
    }
}

fn sum_of(state: Option<&State>, length: Option<i64>, now: i64) -> (i64, Dec) {
    match (state, length) {
        (Some(State::Total { count, total, .. }), _) => (*count, *total),
        (Some(State::Sums(sums)), Some(length)) if !sums.times.is_empty() => {
            let begin = sums.times.partition_point(|time| *time <= now - length);
            left_of(sums, begin)
        }
        _ => (0, Dec::ZERO),
    }
}

/// The count and sum of the entries from an index on; there is at least one entry in all.
fn left_of(sums: &crate::state::Sums, begin: usize) -> (i64, Dec) {
    let (count, total) = sums.upto(begin);
    let (all, sum) = sums.upto(sums.times.len());
    (all - count, sum.minus(total))
}

/// When the number of times next falls below one of the thresholds (greatest first).
fn crossing(times: &[i64], length: i64, falling: &[usize], now: i64) -> Option<i64> {
    let reached = falling.iter().filter(|least| **least > 0 && **least <= times.len());
    reached.map(|least| times[times.len() - least] + length).find(|at| *at > now)
}

/// When entries that leave next take the number out of its band between thresholds.
fn leaving(state: &State, read: (Reads, i64, &ExactPredicate), now: i64) -> Option<i64> {
    let (reads, length, test) = read;
    let State::Sums(sums) = state else {
        return None;
    };
    let band = |begin: usize| {
        let (count, total) = left_of(sums, begin);
        reads.number(count, total).map(|(number, divisor)| test.band(number, divisor))
    };
    let begin = sums.times.partition_point(|time| *time <= now - length);
    if begin == sums.times.len() {
        return None;
    }
    let known = band(begin);
    let left = (begin..sums.times.len()).find(|at| band(at + 1) != known)?;
    Some(sums.times[left] + length)
}

fn picked<'p>(state: Option<&'p State>, pick: Pick, length: Option<i64>, now: i64) -> Scalar<'p> {
    match (state, length) {
        (Some(State::Running { value, .. }), _) => scalar_of(value),
        (Some(State::Values { times, values }), Some(length)) => {
            let begin = times.partition_point(|time| *time <= now - length);
            let inside = &values[begin..];
            let found = if pick == Pick::Latest { inside.last() } else { inside.first() };
            found.map_or(Scalar::Missing, |value| scalar_of(value))
        }
        _ => Scalar::Missing,
    }
}

fn time_of(state: Option<&State>) -> Option<i64> {
    match state {
        Some(State::Running { time, .. }) => Some(*time),
        _ => None,
    }
}

/// The trait at a path.
pub fn trait_of<'p>(profile: &'p Profile, path: &[Box<str>]) -> Scalar<'p> {
    let Some((first, rest)) = path.split_first() else {
        return Scalar::Missing;
    };
    let found = profile.traits.iter().find(|(name, _)| name == first);
    found.and_then(|(_, value)| below(value, rest)).map_or(Scalar::Missing, scalar_of)
}

/// The bucket of a profile for a salt, in hundredths of a percent.
fn share_of(salt: &str, id: &str) -> i64 {
    let digest = Sha256::new().chain_update(salt).chain_update(":").chain_update(id).finalize();
    let number = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    (number % 10_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_python() {
        assert_eq!(share_of("spring", "user_id:u1"), 2044);
    }

    #[test]
    fn a_count_crosses_its_thresholds_one_after_the_other() {
        let times = [10, 20, 30];
        assert_eq!(crossing(&times, 100, &[3, 1], 50), Some(110));
        assert_eq!(crossing(&times, 100, &[3, 1], 110), Some(130));
        assert_eq!(crossing(&times, 100, &[4], 50), None);
    }

    #[test]
    fn events_are_counted_also_where_another_rule_needs_all_of_them() {
        let mut sums = crate::state::Sums::new();
        (sums.times, sums.counts, sums.totals) = (vec![10, 20], vec![1, 2], vec![Dec::ZERO; 2]);
        assert_eq!(count_of(Some(&State::Sums(sums)), Some(100), 115), 1);
    }

    #[test]
    fn a_sliding_minimum_ends_with_its_event() {
        let mut profile = Profile::new("user_id:u1");
        let values = vec![Box::from([1_u8]), Box::from([2_u8])];
        profile.features.push((0, State::Values { times: vec![10, 20], values }));
        let test = Predicate::default();
        let node = Node::Picked { feature: 0, pick: Pick::Earliest, length: Some(100), test };
        assert_eq!(node.next_edge(&profile, 50), Some(110));
        assert_eq!(node.next_edge(&profile, 110), Some(120));
        assert_eq!(node.next_edge(&profile, 120), None);
    }
}

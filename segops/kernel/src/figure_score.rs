//! Scores of logistic and linear models of figures: `segops.core.scoring.figure_scores`, operation by operation.
//!
//! Instants are in milliseconds. The outer None: a value fails, in Python too, or is one that Python is asked for.

use crate::feature::{read_path, Path};
use crate::floats::{div, exp, log1p, max, min, rounded};
use crate::leaves::{sum_of, time_of, times_of, trait_of};
use crate::marks::Marks;
use crate::msgpack::Reader;
use crate::predicate::Predicate;
use crate::state::State;
use crate::values::{Num, Scalar};
use crate::view::{View, Window};

const DAY_MS: i64 = 86_400_000;
/// Days of a figure beyond it count as it.
const MAX_DAYS: i64 = 3_650;
/// Numbers beyond it count as it.
const GREATEST: f64 = 1e100;
/// Log-odds beyond it are certain.
const CERTAIN: f64 = 700.0;

/// What an input reads.
#[derive(Debug)]
enum Figure {
    /// The number of events.
    Count(u32, Window),
    /// A sum.
    Sum(u32, Window),
    /// The days since an event.
    Days(u32),
    /// A trait.
    Trait(Path),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transform {
    Plain,
    Log1p,
    Present,
}

#[derive(Debug)]
struct Input {
    figure: Figure,
    transform: Transform,
    missing: f64,
    mean: f64,
    scale: f64,
    weight: f64,
}

#[derive(Debug)]
enum Link {
    Linear,
    Platt(f64, f64),
    Isotonic(Vec<(f64, f64)>),
}

/// A leaf about a score of figures.
#[derive(Debug)]
pub struct FigureScore {
    test: Predicate,
    marks: Marks,
    intercept: f64,
    link: Link,
    inputs: Vec<Input>,
}

/// A score is the same to a leaf between two scores of one place.
type Place = (usize, bool);

impl Input {
    fn read(reader: &mut Reader<'_>) -> Option<Input> {
        reader.array().filter(|fields| *fields == 8)?;
        let name = reader.str()?;
        let figure = match name {
            "trait" => Figure::Trait(read_path(reader)?),
            _ => Figure::read(name, u32::try_from(reader.wide()?).ok()?)?,
        };
        let window = Window::read(reader)?;
        Some(Input {
            figure: figure.within(window),
            transform: match reader.str()? {
                "none" => Transform::Plain,
                "log1p" | "days_log1p" => Transform::Log1p,
                "present" => Transform::Present,
                _ => return None,
            },
            missing: reader.float()?,
            mean: reader.float()?,
            scale: reader.float()?,
            weight: reader.float()?,
        })
    }

    fn term(&self, value: Option<f64>, is_present: bool) -> Option<f64> {
        let number = match (self.transform, value) {
            (Transform::Present, _) => f64::from(u8::from(is_present)),
            (_, None) => self.missing,
            (Transform::Plain, Some(number)) => number,
            (Transform::Log1p, Some(number)) => log1p(max(number, 0.0))?,
        };
        Some(self.weight * div(number - self.mean, self.scale)?)
    }

    fn term_at(&self, view: View<'_>, at: i64) -> Option<f64> {
        let number = match &self.figure {
            Figure::Count(feature, window) => Some(count(view.profile.state(*feature), *window, at) as f64),
            Figure::Sum(feature, window) => {
                let (_, total) = sum_of(view.profile.state(*feature), window.length(), at);
                Some(clamped(total.text().parse().ok()?))
            }
            Figure::Days(feature) => time_of(view.profile.state(*feature)).map(|since| days(since, at)),
            Figure::Trait(path) => {
                let value = trait_of(view.profile, path);
                return self.term(number_of(&value), value != Scalar::Missing);
            }
        };
        self.term(number, number.is_some())
    }

    /// The term at the other end of all that it will be without an event; None in it: the end is not known.
    fn other_end(&self, view: View<'_>, at: i64) -> Option<Option<f64>> {
        match &self.figure {
            Figure::Count(_, Window::Sliding(_)) => self.term(Some(0.0), true).map(Some),
            Figure::Sum(_, Window::Sliding(_)) => Some(None),
            Figure::Days(feature) if time_of(view.profile.state(*feature)).is_some() => {
                self.term(Some(MAX_DAYS as f64), true).map(Some)
            }
            _ => self.term_at(view, at).map(Some),
        }
    }
}

impl Figure {
    fn read(name: &str, feature: u32) -> Option<Figure> {
        Some(match name {
            "count" => Figure::Count(feature, Window::Fixed),
            "sum" => Figure::Sum(feature, Window::Fixed),
            "days" => Figure::Days(feature),
            _ => return None,
        })
    }

    fn within(self, window: Window) -> Figure {
        match self {
            Figure::Count(feature, _) => Figure::Count(feature, window),
            Figure::Sum(feature, _) => Figure::Sum(feature, window),
            figure => figure,
        }
    }

    /// A feature that events leave, and after how long.
    fn sliding(&self) -> Option<(u32, i64)> {
        match self {
            Figure::Count(feature, window) | Figure::Sum(feature, window) => Some((*feature, window.length()?)),
            _ => None,
        }
    }

    fn feature(&self) -> Option<u32> {
        match self {
            Figure::Count(feature, _) | Figure::Sum(feature, _) | Figure::Days(feature) => Some(*feature),
            Figure::Trait(_) => None,
        }
    }
}

fn count(state: Option<&State>, window: Window, at: i64) -> i64 {
    match state {
        Some(State::Tally { count, .. }) => *count,
        state => sum_of(state, window.length(), at).0,
    }
}

fn days(since: i64, at: i64) -> f64 {
    (at - since).div_euclid(DAY_MS).min(MAX_DAYS) as f64
}

fn clamped(number: f64) -> f64 {
    min(max(number, -GREATEST), GREATEST)
}

fn number_of(value: &Scalar<'_>) -> Option<f64> {
    match value {
        Scalar::Bool(value) => Some(f64::from(u8::from(*value))),
        Scalar::Num(Num::Int(number)) => Some(*number as f64),
        Scalar::Num(Num::Float(number)) => Some(clamped(*number) + 0.0), // there is no negative zero
        _ => None,
    }
}

fn probability(log_odds: f64) -> Option<f64> {
    if log_odds < -CERTAIN {
        return Some(0.0);
    }
    div(1.0, 1.0 + exp(-log_odds)?)
}

impl Link {
    fn read(reader: &mut Reader<'_>) -> Option<Link> {
        let name = reader.str()?;
        let points = reader.list(|reader| {
            reader.array().filter(|fields| *fields == 2)?;
            Some((reader.float()?, reader.float()?))
        })?;
        Some(match (name, &*points) {
            ("linear", []) => Link::Linear,
            ("platt", [(a, b)]) => Link::Platt(*a, *b),
            ("isotonic", [_, ..]) => Link::Isotonic(points),
            _ => return None,
        })
    }

    fn score(&self, total: f64) -> Option<f64> {
        rounded(match self {
            Link::Linear => total,
            Link::Platt(a, b) => probability(a * total + b)?,
            Link::Isotonic(points) => {
                let raw = probability(total)?;
                let at = points.partition_point(|(x, _)| *x < raw);
                if at == 0 || at == points.len() {
                    points[at.min(points.len() - 1)].1
                } else {
                    let ((left, low), (right, high)) = (points[at - 1], points[at]);
                    min(low + (high - low) * div(raw - left, right - left)?, high)
                }
            }
        })
    }
}

impl FigureScore {
    /// Read what `segops.kernel.figure_scores` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<FigureScore> {
        Some(FigureScore {
            test: Predicate::read(reader)?,
            marks: Marks::read(reader)?,
            intercept: reader.float()?,
            link: Link::read(reader)?,
            inputs: reader.list(Input::read)?,
        })
    }

    /// The features that it reads.
    pub fn features(&self) -> impl Iterator<Item = u32> + '_ {
        self.inputs.iter().filter_map(|input| input.figure.feature())
    }

    /// Whether the score at an instant satisfies the leaf.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        Some(self.place_at(view, now)?.1)
    }

    /// The earliest instant after `now` at which time alone may change the verdict.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let place = self.place_at(view, now)?;
        if self.is_settled(view, now, place)? {
            return Some(None);
        }
        let last = self.ages(view).max().map_or(now, |since| since + MAX_DAYS * DAY_MS);
        let mut at = now;
        for until in self.leaving(view, now) {
            let found = self.next_day(view, (at, last.min(until - 1)), place)?;
            if found.is_some() || self.place_at(view, until)? != place {
                return Some(found.or(Some(until)));
            }
            at = until;
        }
        self.next_day(view, (at, last), place)
    }

    /// Whether the place stays until the next event, whatever leaves.
    fn is_settled(&self, view: View<'_>, now: i64, place: Place) -> Option<bool> {
        let ends: Option<Vec<f64>> =
            self.inputs.iter().map(|input| input.other_end(view, now)).collect::<Option<_>>()?;
        ends.map_or(Some(false), |ends| self.agree(&self.terms(view, now)?, &ends, place))
    }

    fn place_at(&self, view: View<'_>, at: i64) -> Option<Place> {
        self.place(&self.terms(view, at)?)
    }

    fn terms(&self, view: View<'_>, at: i64) -> Option<Vec<f64>> {
        self.inputs.iter().map(|input| input.term_at(view, at)).collect()
    }

    fn place(&self, terms: &[f64]) -> Option<Place> {
        let score = self.link.score(terms.iter().fold(self.intercept, |total, term| total + term))?;
        Some((self.marks.rank(score), self.test.holds(&Scalar::Num(Num::Float(score)), 0)))
    }

    /// Whether all scores of terms between two lists have a place.
    fn agree(&self, ones: &[f64], others: &[f64], place: Place) -> Option<bool> {
        let side = |of: fn(f64, f64) -> f64| {
            let terms: Vec<f64> = ones.iter().zip(others).map(|(one, other)| of(*one, *other)).collect();
            self.place(&terms)
        };
        Some(side(min)? == place && side(max)? == place)
    }

    /// The instants from which inputs in days count.
    fn ages<'v>(&'v self, view: View<'v>) -> impl Iterator<Item = i64> + 'v {
        self.inputs.iter().filter_map(move |input| match input.figure {
            Figure::Days(feature) => time_of(view.profile.state(feature)),
            _ => None,
        })
    }

    /// When events leave the windows of inputs, in order.
    fn leaving(&self, view: View<'_>, now: i64) -> Vec<i64> {
        let mut found = vec![];
        for input in &self.inputs {
            if let Some((feature, length)) = input.figure.sliding() {
                let times = view.profile.state(feature).and_then(times_of).unwrap_or_default();
                found.extend(times.iter().map(|time| time + length).filter(|at| *at > now));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first whole day of an input, after one instant and up to another, at which the place is another one.
    ///
    /// Nothing leaves a window meanwhile. Days between whose bounds there is one place are passed over together.
    fn next_day(&self, view: View<'_>, (after, upto): (i64, i64), place: Place) -> Option<Option<i64>> {
        let mut waiting = vec![(after, upto)];
        while let Some((after, upto)) = waiting.pop() {
            if upto <= after || self.agree(&self.terms(view, after)?, &self.terms(view, upto)?, place)? {
                continue;
            }
            if upto - after > DAY_MS {
                let middle = (after + upto).div_euclid(2);
                waiting.extend([(middle, upto), (after, middle)]);
                continue;
            }
            let whole = |since: i64| after + DAY_MS - (after - since).rem_euclid(DAY_MS);
            let mut days: Vec<i64> = self.ages(view).map(whole).filter(|at| *at <= upto).collect();
            days.sort_unstable();
            for at in days {
                if self.place_at(view, at)? != place {
                    return Some(Some(at));
                }
            }
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_odds_are_calibrated() {
        let isotonic = Link::Isotonic(vec![(0.25, 0.1), (0.75, 0.3)]);
        assert_eq!(isotonic.score(0.0), Some(0.2));
        assert_eq!((isotonic.score(-9.0), isotonic.score(9.0)), (Some(0.1), Some(0.3)));
        assert_eq!(Link::Platt(2.0, 0.0).score(-1e9), Some(0.0));
        assert_eq!(Link::Linear.score(1.000_000_000_4), Some(1.0));
    }

    #[test]
    fn numbers_are_bounded() {
        let of = |number| number_of(&Scalar::Num(number));
        assert_eq!(of(Num::Float(-1e300)), Some(-1e100));
        assert_eq!(of(Num::Int(7)), Some(7.0));
        assert_eq!((number_of(&Scalar::Bool(true)), number_of(&Scalar::List)), (Some(1.0), None));
        assert_eq!((days(0, DAY_MS - 1), days(0, i64::MAX / 2), days(1, 0)), (0.0, 3_650.0, -1.0));
    }
}

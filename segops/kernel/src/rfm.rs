//! RFM: digits of recency, frequency and monetary, from edges (`segops.core.scoring.rfm`).

use crate::decimal::Dec;
use crate::msgpack::Reader;
use crate::orders::{Orders, Totals};
use crate::predicate::Predicate;
use crate::state::State;
use crate::view::View;

/// A leaf about the digits of a profile. Lengths are in milliseconds.
#[derive(Debug)]
pub struct Rfm {
    /// The feature with the orders.
    pub feature: u32,
    period: i64,
    recency: Vec<i64>,
    frequency: Vec<i64>,
    monetary: Vec<Dec>,
    /// The tiers in order: whether the leaf names it, and its lowest and highest digits.
    tiers: Vec<(bool, Vec<i64>)>,
    /// Without tiers: predicates of digits by number.
    tests: Vec<(usize, Predicate)>,
}

impl Rfm {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Rfm> {
        Some(Rfm {
            feature: u32::try_from(reader.wide()?).ok()?,
            period: reader.int()?,
            recency: reader.list(Reader::int)?,
            frequency: reader.list(Reader::int)?,
            monetary: reader.list(|reader| Dec::parse(reader.str()?))?,
            tiers: reader.list(|reader| {
                reader.array().filter(|fields| *fields == 2)?;
                Some((reader.bool()?, reader.list(Reader::int)?))
            })?,
            tests: reader.list(|reader| {
                reader.array().filter(|fields| *fields == 2)?;
                Some((reader.size().filter(|digit| *digit < 3)?, Predicate::read(reader)?))
            })?,
        })
    }

    fn orders<'v>(&self, view: View<'v>) -> Option<&'v Orders> {
        match view.kept(self.feature) {
            Some(State::Orders(orders)) => Some(orders),
            _ => None,
        }
    }

    /// Whether the digits satisfy the leaf; None beyond the bounds of exact addition.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        let Some(orders) = self.orders(view) else {
            return Some(false);
        };
        Some(orders.totals(now, self.period)?.is_some_and(|totals| self.fits(self.digits(&totals, now))))
    }

    fn digits(&self, totals: &Totals, now: i64) -> [i64; 3] {
        let (age, number) = (now - totals.last, totals.orders as i64);
        let passed = self.recency.iter().filter(|edge| **edge <= age).count();
        let bought = self.frequency.iter().filter(|edge| **edge < number).count();
        let spent = self.monetary.iter().filter(|edge| edge.cmp_exact(totals.net).is_lt()).count();
        [(self.recency.len() + 1 - passed) as i64, 1 + bought as i64, 1 + spent as i64]
    }

    fn fits(&self, digits: [i64; 3]) -> bool {
        if self.tiers.is_empty() {
            return self.tests.iter().all(|(digit, test)| test.counts(digits[*digit]));
        }
        let contains =
            |ends: &[i64]| ends.chunks_exact(2).zip(digits).all(|(ends, digit)| (ends[0]..=ends[1]).contains(&digit));
        self.tiers.iter().find(|(_, ends)| contains(ends)).is_some_and(|(is_named, _)| *is_named)
    }

    /// The earliest instant after `now` at which a digit may change.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<i64> {
        let orders = self.orders(view)?;
        let totals = orders.totals(now, self.period).flatten()?;
        let aged = self.recency.iter().map(|edge| totals.last + edge).find(|at| *at > now);
        aged.into_iter().chain(orders.next_leaving(now, self.period)).min()
    }
}

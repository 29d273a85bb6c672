//! The orders of a customer, each once, with the statements about them (`segops.core.features.orders`).

use crate::decimal::Dec;
use crate::feature::{Added, Feature};
use crate::msgpack::{Reader, Writer};
use crate::profile::NEVER;
use crate::state::State;

const DAY_MS: i64 = 86_400_000;

/// One order, or one statement about an order: its time in milliseconds, the id, the amount, and a hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The time.
    pub time: i64,
    /// The id of the order; empty: none.
    pub id: Box<str>,
    /// The amount.
    pub amount: Dec,
    /// What identifies copies of a statement; 0: unknown.
    pub key: u64,
}

impl Row {
    fn day(&self) -> i64 {
        self.time.div_euclid(DAY_MS)
    }
}

/// The list that keeps a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Orders.
    Orders,
    /// New amounts of orders.
    Updates,
    /// Refunds with an amount.
    Refunds,
    /// Refunds of whole orders.
    WholeRefunds,
    /// Cancellations.
    Cancellations,
}

const UPDATES: usize = 0;
const REFUNDS: usize = 1;
const WHOLE_REFUNDS: usize = 2;
const CANCELLATIONS: usize = 3;

/// The orders of a period, and the statements about them; lists are oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// The time of the last order that was not cancelled.
    last: i64,
    orders: Vec<Row>,
    /// Updates, refunds, refunds of whole orders, cancellations.
    statements: [Vec<Row>; 4],
    /// The time of the last order that is no longer kept; None in states of earlier versions.
    gone: Option<i64>,
}

/// The time of the last order, and the number and net revenue of those in the period.
pub struct Totals {
    /// The time in milliseconds.
    pub last: i64,
    /// The number.
    pub orders: usize,
    /// The revenue.
    pub net: Dec,
}

/// The days with orders: how many, the first and the last of them, each since 1970.
pub struct PurchaseHistory {
    /// How many.
    pub days: i64,
    /// The first one.
    pub first_day: i64,
    /// The last one.
    pub last_day: i64,
}

impl Default for Orders {
    fn default() -> Self {
        Orders { last: NEVER, orders: vec![], statements: Default::default(), gone: Some(NEVER) }
    }
}

fn insert(rows: &mut Vec<Row>, row: Row) {
    rows.insert(rows.partition_point(|known| known.time <= row.time), row);
}

impl Orders {
    /// The number of orders and statements.
    pub fn rows(&self) -> usize {
        self.orders.len() + self.statements.iter().map(Vec::len).sum::<usize>()
    }

    fn add(&mut self, part: Part, row: Row, (now, period): (i64, i64)) -> bool {
        self.expire(now, period);
        let changed = match part {
            Part::Orders => self.add_order(row, now, period),
            _ => self.add_statement(part as usize - 1, row, now, period),
        };
        if changed {
            self.expire(now, period);
        }
        changed
    }

    /// Add an order, unless it is a later copy of a known one.
    fn add_order(&mut self, row: Row, now: i64, period: i64) -> bool {
        let known = self.orders.iter().position(|order| !row.id.is_empty() && order.id == row.id);
        if let Some(at) = known {
            let later = self.orders[at].time - row.time;
            if !(0 < later && later < period) {
                return false;
            }
            self.orders.remove(at);
        } else if row.time <= now - period && !self.is_cancelled(&row, period) {
            self.gone = Some(row.time.max(self.gone_at()));
            return true;
        }
        insert(&mut self.orders, row);
        true
    }

    fn is_cancelled(&self, order: &Row, period: i64) -> bool {
        let until = order.time + period;
        self.statements[CANCELLATIONS].iter().any(|row| row.id == order.id && row.time < until)
    }

    fn gone_at(&self) -> i64 {
        let latest = self.orders.last().map_or(NEVER, |order| order.time);
        self.gone.unwrap_or(if self.last > latest { self.last } else { NEVER })
    }

    fn is_valid(&self, order: &Row) -> bool {
        !self.statements[CANCELLATIONS].iter().any(|row| row.id == order.id)
    }

    fn last_of(&self, orders: &[Row]) -> i64 {
        orders.iter().rev().find(|order| self.is_valid(order)).map_or(NEVER, |order| order.time)
    }

    /// The time of the kept order of an id; of several, the last one.
    fn time_of(&self, id: &str) -> Option<i64> {
        self.orders.iter().rev().find(|order| *order.id == *id).map(|order| order.time)
    }

    fn expire(&mut self, now: i64, period: i64) {
        let leaving = self.orders.partition_point(|order| order.time <= now - period);
        let gone = self.gone_at().max(self.last_of(&self.orders[..leaving]));
        let left: Vec<Row> = self.orders.drain(..leaving).collect();
        for part in 0..4 {
            let rows = std::mem::take(&mut self.statements[part]);
            let is_kept = |row: &Row| match self.time_of(&row.id) {
                Some(time) => row.time > time - period,
                None => row.time > now - period && !left.iter().any(|order| order.id == row.id),
            };
            self.statements[part] = rows.into_iter().filter(is_kept).collect();
        }
        self.gone = Some(gone);
        self.last = gone.max(self.last_of(&self.orders));
    }

    /// Add a statement, unless it has expired or an earlier copy is known.
    fn add_statement(&mut self, part: usize, row: Row, now: i64, period: i64) -> bool {
        if row.time <= self.time_of(&row.id).unwrap_or(now) - period {
            return false;
        }
        let is_refund = part == REFUNDS || part == WHOLE_REFUNDS;
        for other in if is_refund { REFUNDS..=WHOLE_REFUNDS } else { part..=part } {
            let rows = &mut self.statements[other];
            let copy = rows.iter().position(|known| row.key != 0 && known.key == row.key && known.id == row.id);
            if let Some(at) = copy {
                if precedes(other, &rows[at], part, &row) {
                    return false;
                }
                rows.remove(at);
            }
        }
        insert(&mut self.statements[part], row);
        true
    }

    /// Whether a list is so long that Python has to shorten it.
    pub fn is_long(&self, most: usize) -> bool {
        self.orders.len() >= most || self.statements.iter().any(|rows| rows.len() >= most)
    }

    /// The orders of the period up to an instant; None in it without an order. None beyond exact addition.
    pub fn totals(&self, now: i64, period: i64) -> Option<Option<Totals>> {
        if self.last <= NEVER {
            return Some(None);
        }
        let begin = self.orders.partition_point(|order| order.time <= now - period);
        let mut found = Totals { last: self.last, orders: 0, net: Dec::ZERO };
        for order in self.orders[begin..].iter().filter(|order| self.is_valid(order)) {
            found.orders += 1;
            found.net = found.net.plus(self.net_of(order)?);
            if !found.net.is_bounded() {
                return None;
            }
        }
        Some(Some(found))
    }

    /// The latest amount of an order less its refunds, which cannot exceed the amount.
    fn net_of(&self, order: &Row) -> Option<Dec> {
        if order.id.is_empty() {
            return Some(order.amount);
        }
        let ranked = self.statements[..CANCELLATIONS].iter().enumerate();
        let mut rows: Vec<(i64, usize, Dec)> = ranked
            .flat_map(|(rank, rows)| rows.iter().map(move |row| (rank, row)))
            .filter(|(_, row)| row.id == order.id)
            .map(|(rank, row)| (row.time, rank, row.amount))
            .collect();
        rows.sort_by_key(|(time, rank, _)| (*time, *rank));
        let (mut amount, mut refunded) = (order.amount, Dec::ZERO);
        for (time, rank, value) in rows {
            match rank {
                UPDATES if time >= order.time => amount = value,
                UPDATES => {}
                REFUNDS => refunded = refunded.plus(value),
                _ => refunded = greater(refunded, amount),
            }
            if !refunded.is_bounded() {
                return None;
            }
        }
        if refunded.c == 0 {
            return Some(amount);
        }
        let least = if amount.c < 0 { amount } else { Dec::ZERO };
        Some(greater(amount.minus(refunded), least))
    }

    fn valid(&self) -> impl Iterator<Item = &Row> {
        self.orders.iter().filter(|order| self.is_valid(order))
    }

    /// The days with orders (`segops.core.features.purchases`); None without an order.
    pub fn history(&self) -> Option<PurchaseHistory> {
        let mut days = self.valid().map(Row::day);
        let first_day = days.next()?;
        let mut found = PurchaseHistory { days: 1, first_day, last_day: first_day };
        for day in days {
            found.days += i64::from(day != found.last_day);
            found.last_day = day;
        }
        Some(found)
    }

    /// How many days after the first one brought money, and how much together. None beyond exact addition.
    pub fn spent(&self, first_day: i64) -> Option<(usize, Dec)> {
        let mut of_days: Vec<(i64, Dec)> = vec![];
        for order in self.valid() {
            let net = self.net_of(order)?;
            match of_days.last_mut() {
                Some((day, sum)) if *day == order.day() => *sum = bounded(sum.plus(net))?,
                _ => of_days.push((order.day(), net)),
            }
        }
        let mut priced = of_days.iter().filter(|(day, net)| *day > first_day && net.c > 0);
        priced.try_fold((0, Dec::ZERO), |(days, sum), (_, net)| Some((days + 1, bounded(sum.plus(*net))?)))
    }

    /// When the next order leaves the period after an instant.
    pub fn next_leaving(&self, now: i64, period: i64) -> Option<i64> {
        self.orders.iter().map(|order| order.time + period).find(|at| *at > now)
    }

    /// Read a state after its tag.
    pub fn read(reader: &mut Reader<'_>) -> Option<Orders> {
        let (last, orders, refunds) = (reader.int()?, reader.list(read_row)?, reader.list(read_row)?);
        let (gone, updates) = (reader.opt_int()?, reader.list(read_row)?);
        let statements = [updates, refunds, reader.list(read_row)?, reader.list(read_row)?];
        Some(Orders { last, orders, statements, gone })
    }

    /// Append the state with its tag.
    pub fn write(&self, out: &mut Writer) {
        out.array(8);
        out.int(9);
        out.int(self.last);
        write_rows(&self.orders, out);
        write_rows(&self.statements[REFUNDS], out);
        out.opt_int(self.gone);
        for part in [UPDATES, WHOLE_REFUNDS, CANCELLATIONS] {
            write_rows(&self.statements[part], out);
        }
    }
}

fn bounded(sum: Dec) -> Option<Dec> {
    sum.is_bounded().then_some(sum)
}

fn greater(a: Dec, b: Dec) -> Dec {
    if b.cmp_exact(a).is_gt() {
        b
    } else {
        a
    }
}

/// Whether a known copy of a statement is valid rather than another one: the least by time, then a stated
/// amount, then the larger one.
fn precedes(known_part: usize, known: &Row, part: usize, row: &Row) -> bool {
    let rank = |part: usize, row: &Row| (row.time, part == WHOLE_REFUNDS);
    let order = rank(known_part, known).cmp(&rank(part, row));
    order.then_with(|| row.amount.cmp_exact(known.amount)).is_le()
}

fn read_row(reader: &mut Reader<'_>) -> Option<Row> {
    reader.array().filter(|fields| *fields == 4)?;
    let (time, id) = (reader.int()?, reader.str()?.into());
    Some(Row { time, id, amount: Dec::parse(reader.str()?).filter(Dec::is_bounded)?, key: reader.uint()? })
}

fn write_rows(rows: &[Row], out: &mut Writer) {
    out.array(rows.len());
    for row in rows {
        out.array(4);
        out.int(row.time);
        out.str(&row.id);
        out.str(&row.amount.text());
        out.uint(row.key);
    }
}

impl Feature {
    /// Add an order or a statement about one.
    pub fn add_order(&self, state: &mut Option<State>, time: i64, added: &Added, now: i64) -> bool {
        let Added::Order(part, row) = added else {
            return false;
        };
        let row = Row { time, ..row.clone() };
        match state {
            Some(State::Orders(orders)) => orders.add(*part, row, (now, self.length)),
            None => {
                let mut orders = Orders::default();
                let changed = orders.add(*part, row, (now, self.length));
                *state = changed.then(|| State::Orders(Box::new(orders)));
                changed
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, id: &str, amount: i128, key: u64) -> Row {
        Row { time, id: id.into(), amount: Dec::of_int(amount), key }
    }

    #[test]
    fn an_order_counts_once_less_its_refunds() {
        let mut orders = Orders::default();
        let at = (100, 1_000);
        assert!(orders.add(Part::Orders, row(50, "a", 20, 0), at));
        assert!(!orders.add(Part::Orders, row(60, "a", 30, 0), at));
        assert!(orders.add(Part::Refunds, row(70, "a", 5, 1), at));
        assert!(!orders.add(Part::Refunds, row(80, "a", 5, 1), at));
        let net = |orders: &Orders| orders.totals(100, 1_000).flatten().map(|totals| totals.net);
        assert_eq!(net(&orders), Some(Dec::of_int(15)));
        assert!(orders.add(Part::Updates, row(75, "a", 3, 2), at));
        assert_eq!(net(&orders), Some(Dec::ZERO));
        assert!(orders.add(Part::Cancellations, row(90, "a", 0, 3), at));
        assert!(orders.totals(100, 1_000).is_some_and(|totals| totals.is_none()));
        let mut out = Writer::default();
        orders.write(&mut out);
        assert_eq!(State::read(&out.0), Some(State::Orders(Box::new(orders))));
    }
}

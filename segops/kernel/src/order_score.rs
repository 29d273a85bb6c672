//! Scores of orders: `segops.core.scoring.order_scores`, operation by operation. Instants are in milliseconds.
//!
//! The outer None: a value fails, in Python too, or is one that Python is asked for.

use std::borrow::Cow;

use crate::ask::CALENDAR_MS;
use crate::buying::{Buying, History, Spending};
use crate::crossing::{first_outside, guess_crossing, log_odds};
use crate::dates;
use crate::decimal::Dec;
use crate::floats::{div, exp, log, max, min, rounded};
use crate::losses::Spans;
use crate::marks::Marks;
use crate::msgpack::Reader;
use crate::orders::PurchaseHistory;
use crate::predicate::Predicate;
use crate::state::State;
use crate::values::{Num, Scalar};
use crate::view::View;

const DAY_MS: i64 = 86_400_000;
/// The last millisecond of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;
/// Instants and spans beyond it are not exact as floats.
const EXACT_MS: i64 = 1 << 52;
const HALF: f64 = 0.5e-9;
const SURELY: f64 = 1.0 - 1e-6;

/// A score, with the models that it needs.
#[derive(Debug)]
enum Formula {
    PAlive(Buying),
    ChurnRisk(Buying),
    Expected(Buying, Spans),
    OrderValue(Spending),
    Lifetime(Buying, Spans, Spending),
    /// The shape and the scale, in days, of the rate of orders; without them there is no score.
    NextOrder(Option<(f64, f64)>),
}

/// A leaf about a score of orders.
#[derive(Debug)]
pub struct OrderScore {
    /// The feature with the orders.
    pub feature: u32,
    formula: Formula,
    test: Predicate,
    /// The numbers at which its verdict may change, in order.
    marks: Marks,
}

/// What a score is computed from: the days with orders, and the number and the sum of those that brought money.
struct Past {
    read: PurchaseHistory,
    spent: (usize, Dec),
}

impl Past {
    fn at(&self, now: i64) -> Option<History> {
        let since = now.checked_sub(self.read.first_day * DAY_MS).filter(|since| since.abs() < EXACT_MS)?;
        Some(History {
            repeats: self.read.days - 1,
            last: (self.read.last_day - self.read.first_day) as f64,
            age: since as f64 / DAY_MS as f64,
        })
    }
}

impl Formula {
    fn read(reader: &mut Reader<'_>) -> Option<Formula> {
        Some(match reader.str()? {
            "p_alive" => Formula::PAlive(Buying::read(reader)?),
            "churn_risk" => Formula::ChurnRisk(Buying::read(reader)?),
            "expected_orders" => Formula::Expected(Buying::read(reader)?, Spans::read(reader)?),
            "order_value" => Formula::OrderValue(Spending::read(reader)?),
            "ltv" => Formula::Lifetime(Buying::read(reader)?, Spans::read(reader)?, Spending::read(reader)?),
            "next_order_at" if reader.nil() => Formula::NextOrder(None),
            "next_order_at" => {
                reader.array().filter(|fields| *fields == 2)?;
                Formula::NextOrder(Some((reader.float()?, reader.float()?)))
            }
            _ => return None,
        })
    }

    /// The model of a score that moves with time.
    fn buying(&self) -> Option<&Buying> {
        match self {
            Formula::PAlive(buying) | Formula::ChurnRisk(buying) => Some(buying),
            Formula::Expected(buying, _) | Formula::Lifetime(buying, ..) => Some(buying),
            Formula::OrderValue(_) | Formula::NextOrder(_) => None,
        }
    }

    fn is_probability(&self) -> bool {
        matches!(self, Formula::PAlive(_) | Formula::ChurnRisk(_))
    }

    fn reads_money(&self) -> bool {
        matches!(self, Formula::OrderValue(_) | Formula::Lifetime(..))
    }

    /// The number before rounding.
    fn raw(&self, past: &Past, now: i64) -> Option<f64> {
        match self {
            Formula::PAlive(buying) => buying.p_alive(past.at(now)?),
            Formula::ChurnRisk(buying) => Some(1.0 - rounded(buying.p_alive(past.at(now)?)?)?),
            Formula::Expected(buying, spans) => {
                let of = past.at(now)?;
                Some(buying.p_alive(of)? * buying.orders_over(of, spans)?)
            }
            Formula::OrderValue(spending) => spending.expected(past.spent),
            Formula::Lifetime(buying, spans, spending) => {
                let of = past.at(now)?;
                Some(buying.p_alive(of)? * spending.expected(past.spent)? * buying.orders_over(of, spans)?)
            }
            Formula::NextOrder(_) => None,
        }
    }

    fn number(&self, past: &Past, now: i64) -> Option<f64> {
        rounded(self.raw(past, now)?)
    }

    /// A bound of the number before rounding, of one that falls; of a risk, of 1 less it.
    fn most(&self, past: &Past, at: i64) -> Option<f64> {
        let of = past.at(at)?;
        match self {
            Formula::PAlive(buying) | Formula::ChurnRisk(buying) => buying.p_alive(of),
            Formula::Expected(buying, spans) => buying.most(of, spans.end()),
            Formula::Lifetime(buying, spans, spending) => {
                Some(buying.most(of, spans.end())? * spending.expected(past.spent)?)
            }
            Formula::OrderValue(_) | Formula::NextOrder(_) => None,
        }
    }
}

impl OrderScore {
    /// Read what `segops.kernel.order_scores` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<OrderScore> {
        Some(OrderScore {
            feature: u32::try_from(reader.wide()?).ok()?,
            test: Predicate::read(reader)?,
            marks: Marks::read(reader)?,
            formula: Formula::read(reader)?,
        })
    }

    /// What is read of a profile; the inner None: it has no order.
    fn past(&self, view: View<'_>) -> Option<Option<Past>> {
        let Some(State::Orders(orders)) = view.profile.state(self.feature) else {
            return Some(None);
        };
        let Some(read) = orders.history() else {
            return Some(None);
        };
        let spent = if self.formula.reads_money() { orders.spent(read.first_day)? } else { (0, Dec::ZERO) };
        Some(Some(Past { read, spent }))
    }

    /// Whether the score at an instant satisfies the leaf.
    pub fn holds(&self, view: View<'_>, now: i64) -> Option<bool> {
        Some(self.test.holds(&self.value(self.past(view)?.as_ref(), now)?, now))
    }

    fn value(&self, past: Option<&Past>, now: i64) -> Option<Scalar<'static>> {
        let Some(past) = past else {
            return Some(Scalar::Missing);
        };
        match &self.formula {
            Formula::NextOrder(None) => Some(Scalar::Missing),
            Formula::NextOrder(Some(gaps)) => next_order(past, *gaps),
            formula => Some(Scalar::Num(Num::Float(formula.number(past, now)?))),
        }
    }

    /// The earliest instant after `now` at which time alone may change the verdict.
    pub fn next_edge(&self, view: View<'_>, now: i64) -> Option<Option<i64>> {
        let past = self.past(view)?;
        if let Formula::NextOrder(_) = self.formula {
            return Some(self.test.next_edge(&self.value(past.as_ref(), now)?, now));
        }
        match (past, self.formula.buying()) {
            (Some(past), Some(buying)) => self.next_crossing(buying, &past, now),
            _ => Some(None),
        }
    }

    /// When the score next reaches, passes or leaves a number, up to the year 9999.
    fn next_crossing(&self, buying: &Buying, past: &Past, now: i64) -> Option<Option<i64>> {
        let begun = self.formula.number(past, now)?;
        let Some(target) = self.target(begun) else {
            return Some(None);
        };
        let place = self.marks.rank(begun);
        let inside = |at: i64| Some(self.marks.rank(self.formula.number(past, at)?) == place);
        let mut last = self.formula.most(past, LATEST_MS)?;
        if last > target * SURELY {
            if inside(LATEST_MS)? {
                return Some(None);
            }
            last = min(last, self.formula.raw(past, LATEST_MS)?);
        }
        let guess = self.guess((buying, past), target, now, (begun, last))?;
        first_outside(inside, (now, LATEST_MS), guess)
    }

    /// The value before rounding at which the place among the numbers changes; of a risk, 1 less it.
    fn target(&self, value: f64) -> Option<f64> {
        let rises = matches!(self.formula, Formula::ChurnRisk(_));
        let (left, right) = self.marks.around(value);
        let (at, sign) = match (right > left, rises) {
            (true, _) => (Some(left), -1.0),
            (false, true) => (Some(left), 1.0),
            (false, false) => (left.checked_sub(1), 1.0),
        };
        let number = self.marks.get(at?)?;
        Some((if rises { 1.0 - number } else { number }) + sign * HALF)
    }

    /// About when the score reaches the target, given about the score now and at the end.
    fn guess(&self, (buying, past): (&Buying, &Past), target: f64, now: i64, ends: (f64, f64)) -> Option<i64> {
        let is_probability = self.formula.is_probability();
        let begin = buying.alpha * DAY_MS as f64 + now as f64 - (past.read.first_day * DAY_MS) as f64;
        let latest = log(div((LATEST_MS - now) as f64 + begin, begin)?)?;
        let at = |log_time: f64| {
            let after = begin * (exp(min(max(log_time, 0.0), latest))? - 1.0);
            (after.abs() < EXACT_MS as f64).then(|| now + after as i64)
        };
        let line = |log_time: f64| {
            if is_probability {
                return Some(-buying.log_odds_lost(past.at(at(log_time)?)?)?);
            }
            log_of(self.formula.raw(past, at(log_time)?)?)
        };
        let known = if is_probability { (line(0.0)?, line(latest)?) } else { (log_of(ends.0)?, log_of(ends.1)?) };
        let straight = if is_probability { log_odds(target)? } else { log_of(target)? };
        at(guess_crossing(line, straight, (latest, known), div(1.0, begin)?)?)
    }
}

fn log_of(value: f64) -> Option<f64> {
    log(max(value, 1e-300))
}

/// The last day with orders and the expected gap, as a text.
fn next_order(past: &Past, (shape, scale): (f64, f64)) -> Option<Scalar<'static>> {
    let of = past.at(0)?;
    let days = div(scale + of.last, shape + of.repeats as f64 - 1.0)?;
    let at = (past.read.last_day * DAY_MS) as f64 + days * DAY_MS as f64;
    if at > LATEST_MS as f64 {
        return Some(Scalar::Missing);
    }
    let at = Some(at as i64).filter(|at| CALENDAR_MS.contains(at))?;
    Some(Scalar::Text(Cow::Owned(dates::written(at)?)))
}

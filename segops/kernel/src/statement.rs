//! What an event says about an order (`segops.core.features.orders.statement_of`).

use xxhash_rust::xxh3::xxh3_64;

use crate::decimal::Dec;
use crate::event::Event;
use crate::feature::{read_path, Added, Path};
use crate::json::{Odd, Val};
use crate::msgpack::Reader;
use crate::orders::{Part, Row};
use crate::values::Num;

/// How orders are read of events.
#[derive(Debug)]
pub enum Statements {
    /// By the names of events about orders.
    Orders(Option<Box<str>>),
    /// Each event is an order, with the amount at a path, if there is one.
    Actions(Option<Box<str>>, Option<Path>),
}

impl Statements {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Statements> {
        reader.array().filter(|fields| *fields == 3)?;
        let (is_action, currency) = (reader.bool()?, reader.opt_str()?.map(Box::from));
        let path = if reader.nil() { None } else { Some(read_path(reader)?) };
        Some(if is_action { Statements::Actions(currency, path) } else { Statements::Orders(currency) })
    }

    /// What an event says; None: nothing. Odd: an amount that is no number, or in another currency.
    ///
    /// `source` stands in for the id of a message without one.
    pub fn extract(&self, event: &Event<'_>, source: &str) -> Result<Option<Added>, Odd> {
        match self {
            Statements::Actions(currency, path) => {
                let value = match path {
                    Some(path) => event.property(path)?,
                    None => None,
                };
                let Some(value) = value else {
                    return Ok(Some(order("", Dec::ZERO)));
                };
                check_currency(event, currency.as_deref())?;
                Ok(Some(order("", exact(value)?)))
            }
            Statements::Orders(currency) => statement(event, currency.as_deref(), source),
        }
    }
}

fn order(id: &str, amount: Dec) -> Added {
    Added::Order(Part::Orders, Row { time: 0, id: id.into(), amount, key: 0 })
}

fn named<'a>(event: &Event<'a>, name: &str) -> Result<Option<Val<'a>>, Odd> {
    event.property(&[name.into()])
}

fn exact(value: Val<'_>) -> Result<Dec, Odd> {
    match value {
        Val::Num(number) => number.exact().filter(Dec::is_bounded).ok_or(Odd),
        _ => Err(Odd),
    }
}

fn check_currency(event: &Event<'_>, currency: Option<&str>) -> Result<(), Odd> {
    match (currency, named(event, "currency")?) {
        (Some(currency), Some(Val::Str(written))) if written.get() == currency => Ok(()),
        (Some(_), Some(_)) => Err(Odd),
        _ => Ok(()),
    }
}

/// An id as Python writes it; 7 and 7.0 are the same id.
fn text(value: Option<Val<'_>>) -> Result<String, Odd> {
    Ok(match value {
        None => String::new(),
        Some(Val::Str(text)) => text.get().into_owned(),
        Some(Val::Num(Num::Int(number))) => number.to_string(),
        Some(Val::Num(Num::Float(number))) if number.fract() == 0.0 && number.abs() < 1e15 => {
            (number as i64).to_string()
        }
        Some(Val::Bool(value)) => (if value { "True" } else { "False" }).to_string(),
        Some(_) => return Err(Odd),
    })
}

fn statement(event: &Event<'_>, currency: Option<&str>, source: &str) -> Result<Option<Added>, Odd> {
    let (part, names): (Part, &[&str]) = match &*event.name {
        "Order Completed" => (Part::Orders, &["revenue", "total"]),
        "Order Refunded" => (Part::Refunds, &["total", "revenue"]),
        "Order Updated" => (Part::Updates, &["revenue", "total"]),
        "Order Cancelled" => (Part::Cancellations, &[]),
        _ => return Err(Odd),
    };
    let id = text(named(event, "order_id")?)?;
    if !names.is_empty() {
        check_currency(event, currency)?;
    }
    let mut amount = None;
    for name in names {
        if let (None, Some(value)) = (amount, named(event, name)?) {
            amount = Some(exact(value)?);
        }
    }
    if part == Part::Orders {
        return Ok(Some(order(&id, amount.unwrap_or(Dec::ZERO))));
    }
    let refund = if part == Part::Refunds { text(named(event, "refund_id")?)? } else { String::new() };
    if id.is_empty() || (part == Part::Updates && amount.is_none()) {
        return Ok(None);
    }
    let message = event.message.as_deref().unwrap_or(source);
    let identity = if refund.is_empty() { format!("message {message}") } else { format!("refund {refund}") };
    let part = if part == Part::Refunds && amount.is_none() { Part::WholeRefunds } else { part };
    let mut amount = amount.filter(|amount| amount.c != 0).unwrap_or(Dec::ZERO);
    if part == Part::Refunds {
        amount.c = amount.c.abs();
    }
    let row = Row { time: 0, id: id.into(), amount, key: xxh3_64(identity.as_bytes()) };
    Ok(Some(Added::Order(part, row)))
}

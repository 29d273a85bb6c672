//! An event of the Segment specification.

use std::borrow::Cow;

use crate::json::{find, Odd, Pairs, Scanner, Val};
use crate::packed::value_below;
use crate::values::Scalar;

/// The type of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// track
    Track,
    /// identify
    Identify,
    /// page
    Page,
    /// screen
    Screen,
    /// group
    Group,
}

impl Call {
    /// Return the type of a name; an alias, and another letter case, are Python's.
    pub fn of(name: &str) -> Result<Call, Odd> {
        Ok(match name {
            "track" => Call::Track,
            "identify" => Call::Identify,
            "page" => Call::Page,
            "screen" => Call::Screen,
            "group" => Call::Group,
            _ => return Err(Odd),
        })
    }

    /// The name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Call::Track => "track",
            Call::Identify => "identify",
            Call::Page => "page",
            Call::Screen => "screen",
            Call::Group => "group",
        }
    }
}

/// Names that `properties` get from the call itself, in order.
pub const EXTRAS: [&str; 4] = ["name", "category", "groupId", "previousId"];

/// A decoded event. ``message`` is None if the producer sent no id.
pub struct Event<'a> {
    /// The name that `did` matches.
    pub name: Cow<'a, str>,
    /// The type of the call.
    pub call: Call,
    /// The id of the message.
    pub message: Option<Cow<'a, str>>,
    /// The known user.
    pub user: Option<Cow<'a, str>>,
    /// The anonymous id.
    pub anonymous: Option<Cow<'a, str>>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The event removes the e-mail address.
    pub email_removed: bool,
    /// Latitude and longitude in degrees.
    pub location: Option<(f64, f64)>,
    /// The properties as written.
    pub properties: Pairs<'a>,
    /// The traits of the call.
    pub traits: Pairs<'a>,
    /// The traits of its context.
    pub context_traits: Pairs<'a>,
    /// `name`, `category`, `groupId` and `previousId` of the call.
    pub extras: [Option<Val<'a>>; 4],
    /// The record that it was decoded from; None: a message had it.
    pub raw: Option<&'a [u8]>,
    /// timestamp, originalTimestamp, sentAt and receivedAt, as written.
    pub times: [Option<Val<'a>>; 4],
    /// The context as written.
    pub context: Option<&'a str>,
}

impl<'a> Event<'a> {
    fn root(&self, name: &str) -> Option<Val<'a>> {
        if let Some(value) = find(&self.properties, name) {
            return Some(value);
        }
        if matches!(self.call, Call::Identify | Call::Group) {
            if let Some(value) = find(&self.traits, name) {
                return Some(value);
            }
        }
        if self.call == Call::Track {
            return None;
        }
        let number = EXTRAS.iter().position(|each| *each == name)?;
        self.extras[number]
    }

    /// Return the property at a path; None if it is missing. Odd: the path leads through a list.
    pub fn property(&self, path: &[Box<str>]) -> Result<Option<Val<'a>>, Odd> {
        let (first, rest) = path.split_first().ok_or(Odd)?;
        below(self.root(first), rest)
    }

    /// The traits to merge, in order: those of the context, then the call's own.
    pub fn merged_traits(&self) -> Vec<(&'a str, Val<'a>)> {
        let own: &[(&str, Val<'a>)] = if self.call == Call::Group { &[] } else { &self.traits };
        let of_context = self.context_traits.iter().map(|(name, value)| (*name, find(own, name).unwrap_or(*value)));
        let mut merged: Vec<(&str, Val<'a>)> = of_context.collect();
        merged.extend(own.iter().filter(|(name, _)| find(&self.context_traits, name).is_none()));
        merged
    }
}

/// Return what is at a path below a value; None if it is missing. Odd: the path leads through a list.
pub fn below<'a>(mut found: Option<Val<'a>>, path: &[Box<str>]) -> Result<Option<Val<'a>>, Odd> {
    for name in path {
        match found {
            Some(Val::Obj(text)) => found = find(&Scanner::new(text).pairs(0)?, name),
            Some(Val::Packed(bytes)) => found = value_below(bytes, name)?,
            Some(Val::List(_)) => return Err(Odd),
            _ => return Ok(None),
        }
    }
    Ok(found.filter(|value| !matches!(value, Val::Null)))
}

/// Return a property as predicates read it; a path through a list leads nowhere.
pub fn scalar_at<'a>(event: &Event<'a>, path: &[Box<str>]) -> Result<Scalar<'a>, Odd> {
    Ok(event.property(path)?.map_or(Scalar::Missing, |value| value.scalar()))
}

//! An event of the Segment specification, read as `segops.schemas.events.decode` reads it.

use std::borrow::Cow;

use crate::json::{find, Odd, Pairs, Scanner, Val};
use crate::values::{Num, Scalar};

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
    fn of(name: &str) -> Result<Call, Odd> {
        Ok(match name {
            "track" => Call::Track,
            "identify" => Call::Identify,
            "page" => Call::Page,
            "screen" => Call::Screen,
            "group" => Call::Group,
            _ => return Err(Odd), // an alias, another letter case, or invalid
        })
    }

    fn name(self) -> &'static str {
        match self {
            Call::Track => "track",
            Call::Identify => "identify",
            Call::Page => "page",
            Call::Screen => "screen",
            Call::Group => "group",
        }
    }
}

/// The rules for identifiers, as `segops.schemas.identifying.IdentityLimits` has them.
#[derive(Debug, Default)]
pub struct Limits {
    /// Values in lower case that identify no one.
    pub blocked: Vec<Box<str>>,
    /// Where an e-mail address is read from: 0 traits, 1 context.traits, 2 properties.
    pub email_sources: Vec<u8>,
    /// Whether user_id, email and anonymous_id count as identifiers.
    pub counts: [bool; 3],
}

impl Limits {
    /// Return an identifier; None for a blocked value. Odd: Python has to decide.
    fn identifier<'a>(&self, text: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Odd> {
        if !text.is_ascii() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(Odd); // Python's tables say what is a blank, or a lower-case letter
        }
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(' ')),
            Cow::Owned(text) => Cow::Owned(text.trim_matches(' ').to_string()),
        };
        let is_blank = text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
        if is_blank || self.blocked.iter().any(|each| text.eq_ignore_ascii_case(each)) {
            return Ok(None);
        }
        Ok(Some(text))
    }

    fn written<'a>(&self, value: Option<Val<'a>>) -> Result<Option<Cow<'a, str>>, Odd> {
        match value {
            None | Some(Val::Null) => Ok(None),
            Some(Val::Str(text)) => self.identifier(text.get()),
            Some(Val::Num(Num::Int(number))) => self.identifier(Cow::Owned(number.to_string())),
            Some(_) => Err(Odd),
        }
    }
}

/// What the scan finds, before it is interpreted.
#[derive(Default)]
struct Written<'a> {
    call: Option<Call>,
    event: Option<Val<'a>>,
    message: Option<Val<'a>>,
    user: Option<Val<'a>>,
    anonymous: Option<Val<'a>>,
    extras: [Option<Val<'a>>; 4],
    properties: Pairs<'a>,
    traits: Pairs<'a>,
    context_traits: Pairs<'a>,
    location: Option<Val<'a>>,
    /// timestamp, originalTimestamp, sentAt and receivedAt.
    times: [Option<Val<'a>>; 4],
    seen: u32,
}

/// The times of an event, in the order of `Event::times`.
const TIMES: [&str; 4] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt"];

/// Names that `properties` get from the call itself, in order.
const EXTRAS: [&str; 4] = ["name", "category", "groupId", "previousId"];

impl<'a> Written<'a> {
    fn once(&mut self, bit: u32) -> Result<(), Odd> {
        if self.seen & (1 << bit) != 0 {
            return Err(Odd);
        }
        self.seen |= 1 << bit;
        Ok(())
    }

    fn member(&mut self, scanner: &mut Scanner<'a>, name: &str) -> Result<(), Odd> {
        match name {
            "type" => {
                self.once(0)?;
                let Val::Str(text) = scanner.value(1)? else {
                    return Err(Odd);
                };
                self.call = Some(Call::of(&text.get())?);
            }
            "event" => {
                self.once(1)?;
                self.event = Some(scanner.value(1)?);
            }
            "messageId" => {
                self.once(2)?;
                self.message = Some(scanner.value(1)?);
            }
            "userId" => {
                self.once(3)?;
                self.user = Some(scanner.value(1)?);
            }
            "anonymousId" => {
                self.once(4)?;
                self.anonymous = Some(scanner.value(1)?);
            }
            "traits" => {
                self.once(5)?;
                self.traits = scanner.pairs(1)?;
            }
            "properties" => {
                self.once(6)?;
                self.properties = scanner.pairs(1)?;
            }
            "context" => {
                self.once(7)?;
                scanner.walk(|scanner, name| self.context_member(scanner, Scanner::plain(name)?))?;
            }
            _ => self.extra(scanner, name)?,
        }
        Ok(())
    }

    fn extra(&mut self, scanner: &mut Scanner<'a>, name: &str) -> Result<(), Odd> {
        let value = scanner.value(1)?;
        if let Some(number) = EXTRAS.iter().position(|each| *each == name) {
            self.once(8 + number as u32)?;
            self.extras[number] = Some(value);
        }
        if let Some(number) = TIMES.iter().position(|each| *each == name) {
            self.once(20 + number as u32)?;
            self.times[number] = Some(value);
        }
        Ok(())
    }

    fn context_member(&mut self, scanner: &mut Scanner<'a>, name: &str) -> Result<(), Odd> {
        match name {
            "traits" => {
                self.once(16)?;
                self.context_traits = scanner.pairs(2)?;
            }
            "location" => {
                self.once(17)?;
                self.location = Some(scanner.value(2)?);
            }
            "device" | "externalIds" => match scanner.value(2)? {
                Val::Null => {}
                _ => return Err(Odd), // further identifiers
            },
            _ => {
                scanner.value(2)?;
            }
        }
        Ok(())
    }
}

/// A decoded event. ``message`` is None if the producer sent no id.
pub struct Event<'a> {
    /// The name that `did` matches.
    pub name: Cow<'a, str>,
    call: Call,
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
    properties: Pairs<'a>,
    traits: Pairs<'a>,
    context_traits: Pairs<'a>,
    extras: [Option<Val<'a>>; 4],
    /// The record that it was decoded from.
    pub raw: &'a [u8],
    /// timestamp, originalTimestamp, sentAt and receivedAt, as written.
    pub times: [Option<Val<'a>>; 4],
}

impl<'a> Event<'a> {
    /// Decode an event. Odd: Python has to.
    pub fn decode(value: &'a [u8], limits: &Limits) -> Result<Event<'a>, Odd> {
        let text = std::str::from_utf8(value).map_err(|_| Odd)?;
        let mut found = Written::default();
        let mut scanner = Scanner::new(text);
        scanner.walk(|scanner, name| found.member(scanner, Scanner::plain(name)?))?;
        if !scanner.is_done() {
            return Err(Odd);
        }
        let call = found.call.ok_or(Odd)?;
        let (email, email_removed) = email_of(&found, call, limits)?;
        Ok(Event {
            name: name_of(call, found.event)?,
            call,
            message: message_of(found.message)?,
            user: limits.written(found.user)?,
            anonymous: limits.written(found.anonymous)?,
            email,
            email_removed,
            location: location_of(found.location)?,
            properties: found.properties,
            traits: found.traits,
            context_traits: found.context_traits,
            extras: found.extras,
            raw: value,
            times: found.times,
        })
    }

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
        let mut found = self.root(first);
        for name in rest {
            match found {
                Some(Val::Obj(text)) => found = find(&Scanner::new(text).pairs(0)?, name),
                Some(Val::List(_)) => return Err(Odd),
                _ => return Ok(None),
            }
        }
        Ok(found.filter(|value| !matches!(value, Val::Null)))
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

fn name_of<'a>(call: Call, event: Option<Val<'a>>) -> Result<Cow<'a, str>, Odd> {
    if call != Call::Track {
        return Ok(Cow::Borrowed(call.name()));
    }
    match event {
        Some(Val::Str(text)) if !text.get().is_empty() => Ok(text.get()),
        _ => Err(Odd),
    }
}

fn message_of<'a>(message: Option<Val<'a>>) -> Result<Option<Cow<'a, str>>, Odd> {
    match message {
        None | Some(Val::Null | Val::Num(Num::Int(0))) => Ok(None),
        Some(Val::Str(text)) => Ok(Some(text.get()).filter(|text| !text.is_empty())),
        Some(Val::Num(Num::Int(number))) => Ok(Some(Cow::Owned(number.to_string()))),
        Some(_) => Err(Odd),
    }
}

fn email_of(found: &Written<'_>, call: Call, limits: &Limits) -> Result<(Option<String>, bool), Odd> {
    for source in &limits.email_sources {
        let part: &Pairs<'_> = match source {
            0 if call == Call::Group => continue,
            0 => &found.traits,
            1 => &found.context_traits,
            _ => &found.properties,
        };
        match find(part, "email") {
            None => {}
            Some(Val::Str(text)) => {
                let text = text.get();
                if !text.is_ascii() {
                    return Err(Odd);
                }
                let email = limits.identifier(Cow::Owned(text.to_ascii_lowercase()))?.map(Cow::into_owned);
                let removed = email.is_none();
                return Ok((email, removed));
            }
            Some(_) => return Ok((None, true)),
        }
    }
    Ok((None, false))
}

fn degrees(value: Option<Val<'_>>) -> Option<f64> {
    match value {
        Some(Val::Num(Num::Int(number))) => Some(number as f64),
        Some(Val::Num(Num::Float(number))) => Some(number),
        _ => None,
    }
}

fn location_of(written: Option<Val<'_>>) -> Result<Option<(f64, f64)>, Odd> {
    let Some(Val::Obj(text)) = written else {
        return Ok(None);
    };
    let pairs = Scanner::new(text).pairs(0)?;
    let (lat, lon) = (degrees(find(&pairs, "latitude")), degrees(find(&pairs, "longitude")));
    Ok(match (lat, lon) {
        (Some(lat), Some(lon)) if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) => Some((lat, lon)),
        _ => None,
    })
}

/// Return a property as predicates read it; a path through a list leads nowhere.
pub fn scalar_at<'a>(event: &Event<'a>, path: &[Box<str>]) -> Result<Scalar<'a>, Odd> {
    Ok(event.property(path)?.map_or(Scalar::Missing, |value| value.scalar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { blocked: vec!["null".into()], email_sources: vec![0, 1], counts: [true; 3] }
    }

    fn decoded(text: &str) -> Result<Event<'_>, Odd> {
        Event::decode(text.as_bytes(), &limits())
    }

    #[test]
    fn a_page_has_its_name_among_its_properties() {
        let Ok(event) = decoded(r#"{"type":"page","name":"Home","properties":{"path":"/"},"userId":" u1 "}"#) else {
            panic!("odd");
        };
        let path: Vec<Box<str>> = vec!["name".into()];
        assert_eq!(scalar_at(&event, &path), Ok(Scalar::Text("Home".into())));
        assert_eq!(event.user.as_deref(), Some("u1"));
        assert_eq!(event.name, "page");
    }

    #[test]
    fn what_needs_python_is_odd() {
        for text in [
            r#"{"type":"alias","userId":"u"}"#,
            r#"{"type":"track","userId":"u"}"#,
            r#"{"type":"track","event":"A","userId":1.5}"#,
            r#"{"type":"track","event":"A","properties":null}"#,
            r#"{"type":"track","event":"A","userId":"\u00e9"}"#,
            r#"{"type":"track","event":"A","context":{"device":{"id":"d"}}}"#,
            r#"{"type":"track","event":"A"} x"#,
        ] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn traits_of_the_context_come_first() {
        let text = r#"{"type":"identify","traits":{"a":1,"email":"A@x"},"context":{"traits":{"b":2,"a":3}}}"#;
        let Ok(event) = decoded(text) else { panic!("odd") };
        let names: Vec<&str> = event.merged_traits().iter().map(|pair| pair.0).collect();
        assert_eq!(names, ["b", "a", "email"]);
        assert_eq!(event.merged_traits()[1].1.scalar(), Scalar::Num(Num::Int(1)));
        assert_eq!(event.email.as_deref(), Some("a@x"));
    }

    #[test]
    fn blocked_and_removed_identifiers() {
        let text = r#"{"type":"identify","userId":"NULL","anonymousId":"000","traits":{"email":null}}"#;
        let Ok(event) = decoded(text) else { panic!("odd") };
        assert_eq!((event.user, event.anonymous, event.email, event.email_removed), (None, None, None, true));
    }
}

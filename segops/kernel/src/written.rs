//! The scan of an event's JSON, as `segops.schemas.events.decode` reads it.

use std::borrow::Cow;

use crate::event::{Call, Event, EXTRAS};
use crate::json::{find, Odd, Pairs, Scanner, Val};
use crate::limits::Limits;
use crate::values::Num;

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
    context: Option<&'a str>,
    seen: u32,
}

/// The times of an event, in the order of `Event::times`.
const TIMES: [&str; 4] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt"];

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
                let begin = scanner.at();
                scanner.walk(|scanner, name| self.context_member(scanner, Scanner::plain(name)?))?;
                self.context = Some(scanner.since(begin));
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
            raw: Some(value),
            times: found.times,
            context: found.context,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::scalar_at;
    use crate::values::Scalar;

    fn limits() -> Limits {
        Limits { blocked: vec!["null".into()], email_sources: vec![0, 1], ..Limits::default() }
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

//! Decoded events as msgpack: as profiles hold them, and as redirects relay them (`segops.core.events.Event`).

use std::borrow::Cow;

use crate::event::{Call, Event};
use crate::json::{find, Odd, Pairs, Scanner, Val};
use crate::msgpack::{Kind, Reader, Writer};

/// The names of the fields, in the order of the structure.
const FIELDS: [&str; 14] = [
    "name",
    "time_ms",
    "message_id",
    "properties",
    "traits",
    "user_id",
    "anonymous_id",
    "email",
    "named",
    "location",
    "previous_id",
    "others",
    "email_removed",
    "context",
];
/// Greater integers are Python's, as in JSON.
const MAX_INT: i128 = 1_000_000_000_000_000_000;

/// Return an event as msgpack. `time` is in milliseconds, `id` stands in for a missing id of the message.
///
/// `keys`: the parts of the context that it keeps; None: all. Odd: Python has to.
pub fn pack(event: &Event<'_>, time: i64, id: &str, keys: Option<&[Box<str>]>) -> Result<Vec<u8>, Odd> {
    let mut out = Writer(Vec::with_capacity(512));
    out.map(FIELDS.len());
    let mut fields = FIELDS.iter();
    let mut next = |out: &mut Writer| fields.next().into_iter().for_each(|name| out.str(name));
    next(&mut out);
    out.str(&event.name);
    next(&mut out);
    out.int(time);
    next(&mut out);
    out.str(event.message.as_deref().unwrap_or(id));
    next(&mut out);
    pairs(&properties(event), &mut out)?;
    next(&mut out);
    some_pairs(&event.merged_traits(), &mut out)?;
    for name in [event.user.as_deref(), event.anonymous.as_deref(), event.email.as_deref()] {
        next(&mut out);
        out.opt_str(name);
    }
    next(&mut out);
    out.bool(event.message.is_some());
    next(&mut out);
    match event.location {
        Some((lat, lon)) => {
            out.array(2);
            out.float(lat);
            out.float(lon);
        }
        None => out.nil(),
    }
    next(&mut out);
    out.nil(); // no alias
    next(&mut out);
    out.array(0); // no further identifiers
    next(&mut out);
    out.bool(event.email_removed);
    next(&mut out);
    some_pairs(&context(event, keys)?, &mut out)?;
    Ok(out.0)
}

fn properties<'a>(event: &Event<'a>) -> Pairs<'a> {
    if event.call == Call::Track {
        return event.properties.clone();
    }
    let mut found: Pairs<'a> = vec![];
    if matches!(event.call, Call::Identify | Call::Group) {
        let of_traits = event.traits.iter();
        found.extend(of_traits.map(|(name, value)| (*name, find(&event.properties, name).unwrap_or(*value))));
    }
    let before = found.len();
    for pair in &event.properties {
        if find(&found[..before], pair.0).is_none() {
            found.push(*pair);
        }
    }
    for (name, value) in crate::event::EXTRAS.into_iter().zip(event.extras) {
        if let Some(value) = value.filter(|value| !matches!(value, Val::Null)) {
            if find(&found, name).is_none() {
                found.push((name, value));
            }
        }
    }
    found
}

fn context<'a>(event: &Event<'a>, keys: Option<&[Box<str>]>) -> Result<Pairs<'a>, Odd> {
    let Some(text) = event.context.filter(|_| keys.is_none_or(|keys| !keys.is_empty())) else {
        return Ok(vec![]);
    };
    let mut found = Scanner::new(text).pairs(0)?;
    if let Some(keys) = keys {
        found.retain(|(name, _)| keys.iter().any(|key| **key == **name));
    }
    Ok(found)
}

fn pairs(found: &Pairs<'_>, out: &mut Writer) -> Result<(), Odd> {
    out.map(found.len());
    for (name, value) in found {
        out.str(name);
        value.write(out)?;
    }
    Ok(())
}

fn some_pairs(found: &Pairs<'_>, out: &mut Writer) -> Result<(), Odd> {
    if found.is_empty() {
        out.nil();
        return Ok(());
    }
    pairs(found, out)
}

/// An event that was decoded before. Its time is in milliseconds.
pub struct Unpacked<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Its time.
    pub time: i64,
    /// The id of its message, or what stands in for it.
    pub id: &'a str,
}

/// Read an event. Odd: Python has to.
pub fn unpack(bytes: &[u8]) -> Result<Unpacked<'_>, Odd> {
    read(bytes).ok_or(Odd)
}

fn read(bytes: &[u8]) -> Option<Unpacked<'_>> {
    let mut reader = Reader::new(bytes);
    reader.map().filter(|fields| *fields == FIELDS.len())?;
    let mut fields = FIELDS.iter();
    let mut next = |reader: &mut Reader<'_>| (reader.str()? == *fields.next()?).then_some(());
    next(&mut reader)?;
    let name = reader.str()?;
    next(&mut reader)?;
    let time = reader.int()?;
    next(&mut reader)?;
    let id = reader.str()?;
    next(&mut reader)?;
    let properties = read_pairs(&mut reader)?;
    next(&mut reader)?;
    let traits = if reader.nil() { vec![] } else { read_pairs(&mut reader)? };
    let mut names = [None; 3];
    for name in &mut names {
        next(&mut reader)?;
        *name = reader.opt_str()?;
    }
    next(&mut reader)?;
    let named = reader.bool()?;
    next(&mut reader)?;
    let location = read_location(&mut reader)?;
    next(&mut reader)?;
    reader.nil().then_some(())?;
    next(&mut reader)?;
    reader.array().filter(|others| *others == 0)?;
    next(&mut reader)?;
    let email_removed = reader.bool()?;
    next(&mut reader)?;
    reader.raw()?; // the kernel tests no condition on it
    let event = Event {
        raw: None,
        name: Cow::Borrowed(name),
        call: Call::Track, // the properties are complete
        message: named.then_some(Cow::Borrowed(id)),
        user: names[0].map(Cow::Borrowed),
        anonymous: names[1].map(Cow::Borrowed),
        email: names[2].map(str::to_string),
        email_removed,
        location,
        properties,
        traits,
        context_traits: vec![],
        extras: [None; 4],
        times: [None; 4],
        context: None,
    };
    reader.is_done().then_some(Unpacked { event, time, id })
}

fn read_location(reader: &mut Reader<'_>) -> Option<Option<(f64, f64)>> {
    if reader.nil() {
        return Some(None);
    }
    reader.array().filter(|length| *length == 2)?;
    Some(Some((reader.float()?, reader.float()?)))
}

fn read_pairs<'a>(reader: &mut Reader<'a>) -> Option<Pairs<'a>> {
    let length = reader.map()?;
    let mut found = Vec::with_capacity(length.min(1 << 16));
    for _ in 0..length {
        found.push((reader.str()?, value(reader)?));
    }
    Some(found)
}

fn value<'a>(reader: &mut Reader<'a>) -> Option<Val<'a>> {
    Some(match reader.kind()? {
        Kind::Nil => {
            reader.nil();
            Val::Null
        }
        Kind::Bool => Val::Bool(reader.bool()?),
        Kind::Int => Val::Num(crate::values::Num::Int(reader.wide().filter(|number| number.abs() < MAX_INT)?)),
        Kind::Float => {
            let is_plain = |number: &f64| number.is_finite() && !(*number == 0.0 && number.is_sign_negative());
            Val::Num(crate::values::Num::Float(reader.float().filter(is_plain)?))
        }
        Kind::Str => Val::Str(crate::json::Str::of(reader.str()?)),
        Kind::Array | Kind::Map => Val::Packed(reader.raw()?),
    })
}

/// Return the value of a name in a list or an object; None if it is missing. Odd: it is a list.
pub fn value_below<'a>(bytes: &'a [u8], name: &str) -> Result<Option<Val<'a>>, Odd> {
    let mut reader = Reader::new(bytes);
    if reader.kind() != Some(Kind::Map) {
        return Err(Odd);
    }
    let found = read_pairs(&mut reader).ok_or(Odd)?;
    Ok(find(&found, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn events_are_read_again_with_their_properties_complete() -> Result<(), Odd> {
        let text = r#"{"type":"page","name":"Home","userId":"u","properties":{"o":{"r":[1]},"n":1.5},
            "context":{"ip":"x","locale":"en","traits":{"plan":"gold"}}}"#;
        let keys = ["locale".into()];
        let packed = pack(&Event::decode(text.as_bytes(), &Limits::default())?, 7, "0:1", Some(&keys))?;
        let found = unpack(&packed)?;
        assert_eq!((found.time, found.id, found.event.message), (7, "0:1", None));
        let names: Vec<&str> = found.event.properties.iter().map(|pair| pair.0).collect();
        assert_eq!(names, ["o", "n", "name"]);
        assert_eq!(found.event.traits[0].0, "plan");
        assert!(packed.ends_with(b"\x81\xa6locale\xa2en"));
        Ok(())
    }

    #[test]
    fn what_the_kernel_does_not_read_in_json_it_does_not_read_here() {
        for float in [-0.0, f64::INFINITY] {
            let mut out = Writer::default();
            out.float(float);
            assert!(value(&mut Reader::new(&out.0)).is_none());
        }
        assert!(value_below(&[0x90], "a").is_err());
    }
}

//! Which events Python has to survey (`segops.core.survey.Survey`): those that tell it something new.
//!
//! A survey records what segments read of events: that a path was there is recorded once, but a value that a
//! rule cannot read is counted. So an event is *quiet* if each value is of a kind that changes no count. Of quiet
//! events of one name, with values of the same kinds, one is enough.

use std::collections::HashSet;

use crate::dates::microseconds;
use crate::event::{below, Event};
use crate::feature::{read_path, Path};
use crate::json::{find, Odd, Val};
use crate::msgpack::Reader;
use crate::tables::{read_texts, TextMap};

/// Bits of the kinds of values that change no count, as `segops.kernel.surveys` writes them.
const MISSING: u8 = 1;
const STRING: u8 = 2;
const NUMBER: u8 = 4;
const BOOLEAN: u8 = 8;
const LIST: u8 = 16;
const OBJECT: u8 = 32;
/// A text that is a date in a common form.
const DATE: u8 = 64;

/// A path that a rule reads, and the kinds of values there that change no count.
struct Reading {
    path: Path,
    quiet: u8,
}

/// What segments read of events, and which quiet events Python has surveyed.
#[derive(Default)]
pub struct Survey {
    /// By the name of the event.
    readings: TextMap<Vec<Reading>>,
    /// Of events of any name.
    of_any: Vec<Reading>,
    traits: Vec<Reading>,
    /// Names of which each event is surveyed: Python alone reads a path of theirs.
    always: Vec<Box<str>>,
    /// Whether this holds for all names.
    is_blind: bool,
    known: HashSet<Box<[u8]>>,
    buffer: Vec<u8>,
}

impl Survey {
    /// Read what `segops.kernel.surveys` has written.
    pub fn read(bytes: &[u8]) -> Option<Survey> {
        let mut reader = Reader::new(bytes);
        reader.array().filter(|fields| *fields == 5)?;
        Some(Survey {
            readings: read_texts(&mut reader, |reader| reader.list(Reading::read))?,
            of_any: reader.list(Reading::read)?,
            traits: reader.list(Reading::read)?,
            always: read_path(&mut reader)?,
            is_blind: reader.bool()?,
            ..Survey::default()
        })
    }

    /// Whether Python has to survey an event. It is assumed that it does.
    pub fn needs(&mut self, event: &Event<'_>) -> bool {
        if self.is_blind || self.always.iter().any(|name| **name == *event.name) {
            return true;
        }
        let mut found = std::mem::take(&mut self.buffer);
        found.clear();
        let is_quiet = self.describe(event, &mut found) == Ok(true);
        let needs = !is_quiet || !self.known.contains(&*found);
        if is_quiet && needs {
            self.known.insert(found.as_slice().into());
        }
        self.buffer = found;
        needs
    }

    /// Append what the survey reads of an event; whether each value changes no count.
    fn describe(&self, event: &Event<'_>, found: &mut Vec<u8>) -> Result<bool, Odd> {
        let has = [event.location.is_some(), event.user.is_some(), event.anonymous.is_some(), event.email.is_some()];
        found.extend(has.map(u8::from));
        let mut is_quiet = true;
        for reading in self.readings.get(&*event.name).into_iter().flatten().chain(&self.of_any) {
            is_quiet &= reading.note(event.property(&reading.path)?, found);
        }
        let merged = if self.traits.is_empty() { vec![] } else { event.merged_traits() };
        for reading in self.traits.iter().filter(|_| !merged.is_empty()) {
            let (first, rest) = reading.path.split_first().ok_or(Odd)?;
            is_quiet &= reading.note(below(find(&merged, first), rest)?, found);
        }
        found.extend(event.name.bytes());
        Ok(is_quiet)
    }
}

impl Reading {
    fn read(reader: &mut Reader<'_>) -> Option<Reading> {
        reader.array().filter(|fields| *fields == 2)?;
        Some(Reading { path: read_path(reader)?, quiet: u8::try_from(reader.wide()?).ok()? })
    }

    /// Append the kind of a value; whether it changes no count.
    fn note(&self, value: Option<Val<'_>>, found: &mut Vec<u8>) -> bool {
        let kind = match value {
            None | Some(Val::Null) => MISSING,
            Some(Val::Str(text)) if self.quiet & DATE != 0 && microseconds(&text.get()).is_some() => DATE,
            Some(Val::Str(_)) => STRING,
            Some(Val::Num(_)) => NUMBER,
            Some(Val::Bool(_)) => BOOLEAN,
            Some(Val::List(_)) => LIST,
            Some(Val::Obj(_)) => OBJECT,
            Some(Val::Packed(_)) => 0,
        };
        found.push(kind);
        (self.quiet | MISSING) & kind != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn survey() -> Survey {
        let reading = |name: &str, quiet| Reading { path: vec![name.into()], quiet };
        let readings = [("A".into(), vec![reading("p", NUMBER), reading("q", DATE)])].into_iter().collect();
        Survey { readings, traits: vec![reading("t", STRING)], always: vec!["B".into()], ..Survey::default() }
    }

    fn needs(survey: &mut Survey, text: &str) -> bool {
        let text = format!(r#"{{"type":"track","userId":"u",{text}}}"#);
        Event::decode(text.as_bytes(), &Limits::default()).map_or(true, |event| survey.needs(&event))
    }

    #[test]
    fn quiet_events_of_the_same_kinds_are_surveyed_once() {
        let mut survey = survey();
        let mut of_a = |text: &str| needs(&mut survey, &format!(r#""event":"A","properties":{{{text}}}"#));
        assert!(of_a(r#""p":1"#) && !of_a(r#""p":2.5"#) && !of_a(r#""p":3,"q":null"#));
        assert!(of_a("") && !of_a(r#""other":1"#));
        assert!(of_a(r#""q":"1970-01-02""#) && !of_a(r#""q":"1970-01-03""#));
    }

    #[test]
    fn what_is_counted_is_surveyed_each_time() {
        let mut survey = survey();
        for text in
            [r#""event":"A","properties":{"p":"5"}"#, r#""event":"A","properties":{"q":"soon"}"#, r#""event":"B""#]
        {
            assert!(needs(&mut survey, text) && needs(&mut survey, text), "{text}");
        }
    }

    #[test]
    fn traits_and_identifiers_are_new_once() {
        let mut survey = survey();
        let texts = [
            r#""event":"C""#,
            r#""event":"C","context":{"traits":{"t":"x"}}"#,
            r#""event":"C","context":{"traits":{"u":1}}"#,
            r#""event":"C","anonymousId":"a""#,
            r#""event":"C","context":{"location":{"latitude":1,"longitude":2}}"#,
        ];
        for text in texts {
            assert!(needs(&mut survey, text) && !needs(&mut survey, text), "{text}");
        }
    }
}

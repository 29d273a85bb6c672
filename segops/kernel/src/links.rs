//! The links of a profile: its identifiers, and its pending claims (`segops.core.links`).

use crate::limits::type_of;
use crate::msgpack::{Reader, Writer};
use crate::profile::NEVER;
use crate::state::Blob;

/// More held events are Python's.
pub const MAX_HELD: usize = 1_000;
const FIELDS: usize = 12;

/// When an identifier was first seen, in milliseconds, and in which event.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// When.
    pub at: i64,
    /// The id of the event, if it has one.
    pub event: Option<Box<str>>,
}

/// An event that waits for answers, and the clock at its arrival in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The clock.
    pub clock: i64,
    /// The event (`packed`).
    pub event: Blob,
}

/// The links of a profile that waits for identifiers at most: it has no source to merge and no deferred request.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    /// The identifiers that lead to the profile.
    pub owned: Vec<Box<str>>,
    /// Claimed identifiers, and whether explicitly.
    pub pending: Vec<(Box<str>, bool)>,
    /// Identifiers of others.
    pub refused: Vec<Box<str>>,
    /// Events that arrived meanwhile.
    pub held: Vec<Held>,
    /// The clock of the profile while it waits, in milliseconds; else `NEVER`.
    pub clock: i64,
    /// Hand-overs received, as stored.
    pub merged: Blob,
    /// Where identifiers were first seen.
    pub origins: Vec<(Box<str>, Origin)>,
    /// Profiles split off -> the sequence of the undone hand-over.
    pub split_off: Vec<(Box<str>, i64)>,
}

impl Links {
    /// The links of a profile that has only its id.
    pub fn new(id: &str) -> Links {
        Links {
            owned: vec![id.into()],
            pending: vec![],
            refused: vec![],
            held: vec![],
            clock: NEVER,
            merged: Blob::from([0x80]),
            origins: vec![],
            split_off: vec![],
        }
    }

    /// Read the links; None for those that are Python's.
    pub fn read(bytes: &[u8]) -> Option<Links> {
        let mut reader = Reader::new(bytes);
        reader.array().filter(|fields| *fields == FIELDS)?;
        let found = Links {
            owned: texts(&mut reader)?,
            pending: entries(&mut reader, |reader| reader.bool())?,
            refused: texts(&mut reader)?,
            held: reader.list(held)?,
            clock: reader.int()?,
            merged: none_but(&mut reader)?,
            origins: {
                none(&mut reader)?;
                none(&mut reader)?;
                entries(&mut reader, origin)?
            },
            split_off: {
                none(&mut reader)?;
                entries(&mut reader, |reader| reader.int())?
            },
        };
        let idle = found.pending.is_empty() && (!found.held.is_empty() || found.clock != NEVER);
        (reader.is_done() && !idle).then_some(found)
    }

    /// Append the links.
    pub fn write(&self, out: &mut Writer) {
        out.array(FIELDS);
        write_texts(&self.owned, out);
        out.map(self.pending.len());
        for (identifier, explicit) in &self.pending {
            out.str(identifier);
            out.bool(*explicit);
        }
        write_texts(&self.refused, out);
        out.array(self.held.len());
        for held in &self.held {
            out.array(2);
            out.int(held.clock);
            out.raw(&held.event);
        }
        out.int(self.clock);
        out.array(0); // sources
        out.raw(&self.merged);
        out.array(0); // deferred claims
        out.array(0); // deferred erasures
        out.map(self.origins.len());
        for (identifier, origin) in &self.origins {
            out.str(identifier);
            out.array(2);
            out.int(origin.at);
            out.opt_str(origin.event.as_deref());
        }
        out.array(0); // deferred splits
        out.map(self.split_off.len());
        for (source, sequence) in &self.split_off {
            out.str(source);
            out.int(*sequence);
        }
    }

    /// Whether an identifier leads to the profile.
    pub fn owns(&self, identifier: &str) -> bool {
        self.owned.iter().any(|each| **each == *identifier)
    }

    /// Whether it is claimed.
    pub fn claims(&self, identifier: &str) -> bool {
        self.pending.iter().any(|(each, _)| **each == *identifier)
    }

    /// Whether nothing is to be done about an identifier: it is known, claimed or refused.
    pub fn knows(&self, identifier: &str) -> bool {
        self.owns(identifier) || self.refused.iter().any(|each| **each == *identifier) || self.claims(identifier)
    }

    /// The number of identifiers of a type, claimed ones among them.
    pub fn number_of(&self, kind: &str) -> usize {
        let pending = self.pending.iter().map(|(each, _)| each);
        self.owned.iter().chain(pending).filter(|each| type_of(each) == kind).count()
    }

    /// Claim an identifier; the first claim stops the clock of the profile.
    pub fn begin_waiting(&mut self, identifier: &str, clock: i64) {
        if self.pending.is_empty() {
            self.clock = clock;
        }
        self.pending.push((identifier.into(), false));
    }

    /// Add an identifier to the profile's own.
    pub fn own(&mut self, identifier: &str) {
        if !self.owns(identifier) {
            self.owned.push(identifier.into());
        }
        self.pending.retain(|(each, _)| **each != *identifier);
        self.split_off.retain(|(each, _)| **each != *identifier);
        self.refused.retain(|each| **each != *identifier);
    }

    /// Note where an identifier was first seen.
    pub fn note_origin(&mut self, identifier: &str, origin: Origin) {
        if self.origin(identifier).is_none() {
            self.origins.push((identifier.into(), origin));
        }
    }

    /// Where an identifier was first seen.
    pub fn origin(&self, identifier: &str) -> Option<&Origin> {
        self.origins.iter().find(|(each, _)| **each == *identifier).map(|(_, origin)| origin)
    }

    /// The sequence of the undone hand-over of a source; None if it was not split off.
    pub fn undone(&self, source: &str) -> Option<i64> {
        self.split_off.iter().find(|(each, _)| **each == *source).map(|(_, sequence)| *sequence)
    }
}

fn texts(reader: &mut Reader<'_>) -> Option<Vec<Box<str>>> {
    reader.list(|reader| reader.str().map(Box::from))
}

fn write_texts(texts: &[Box<str>], out: &mut Writer) {
    out.array(texts.len());
    texts.iter().for_each(|text| out.str(text));
}

fn entries<T>(
    reader: &mut Reader<'_>,
    mut value: impl FnMut(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<(Box<str>, T)>> {
    let length = reader.map()?;
    let mut found = Vec::with_capacity(length.min(1 << 16));
    for _ in 0..length {
        found.push((reader.str()?.into(), value(reader)?));
    }
    Some(found)
}

/// Pass over the sources, of which there may be none; read what follows them as it is stored.
fn none_but(reader: &mut Reader<'_>) -> Option<Blob> {
    none(reader)?;
    reader.raw().map(Into::into)
}

fn none(reader: &mut Reader<'_>) -> Option<()> {
    reader.array().filter(|length| *length == 0).map(|_| ())
}

fn held(reader: &mut Reader<'_>) -> Option<Held> {
    reader.array().filter(|fields| *fields == 2)?;
    Some(Held { clock: reader.int()?, event: reader.raw()?.into() })
}

fn origin(reader: &mut Reader<'_>) -> Option<Origin> {
    reader.array().filter(|fields| *fields == 2)?;
    Some(Origin { at: reader.int()?, event: reader.opt_str()?.map(Box::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_round_trip_and_an_owned_identifier_is_no_longer_claimed() {
        let mut links = Links::new("user_id:u");
        links.begin_waiting("anonymous_id:a", 5);
        links.begin_waiting("anonymous_id:b", 9);
        links.note_origin("anonymous_id:a", Origin { at: 5, event: Some("m".into()) });
        links.held.push(Held { clock: 5, event: Box::new([0x80]) });
        let mut out = Writer::default();
        links.write(&mut out);
        assert_eq!(Links::read(&out.0).as_ref(), Some(&links));
        assert_eq!((links.clock, links.number_of("anonymous_id")), (5, 2));
        links.own("anonymous_id:a");
        assert!(links.owns("anonymous_id:a") && !links.claims("anonymous_id:a") && links.claims("anonymous_id:b"));
    }

    #[test]
    fn sources_and_deferred_requests_are_pythons() {
        let mut out = Writer::default();
        Links::new("user_id:u").write(&mut out);
        let sources = out.0.iter().rposition(|byte| *byte == 0xd3).map_or(0, |at| at + 9);
        out.0[sources] = 0x91;
        assert_eq!(Links::read(&out.0), None);
    }
}

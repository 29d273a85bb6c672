//! Segments: how the membership of each is decided, and the parts of a profile that Python reads for it.

use crate::feature::{read_indexes, read_path, Path};
use crate::membership::Membership;
use crate::msgpack::{Reader, Writer};
use crate::profile::{Profile, NEVER};
use crate::rule::Node;
use crate::state::Blob;
use crate::stored::FIELDS;
use crate::tables::Tables;

/// A segment, or an indicator, which only Python evaluates.
pub struct Segment {
    /// Its key.
    pub key: Box<str>,
    /// The version of its rule.
    pub version: i64,
    /// Whether earlier memberships are recorded.
    pub remembers: bool,
    /// How its membership is decided.
    pub rule: Rule,
}

/// How the membership of a segment is decided.
pub enum Rule {
    /// By a rule of the kernel; Python gets the parts if an answer that it needs fails.
    Native(Node, Option<Parts>),
    /// By two rules of the kernel, and by earlier memberships.
    Limited(Membership, Option<Parts>),
    /// By Python, which gets these parts of the profile.
    Asked(Parts),
    /// It stays as it is: the segment is paused.
    Paused,
    /// By Python, which gets the whole profile: an event that may change it is Python's.
    Python,
}

/// The parts of a profile that a rule reads, beside its first and latest event, its names and its location.
#[derive(Debug, Default)]
pub struct Parts {
    features: Vec<u32>,
    traits: Path,
    /// The segments whose memberships are read.
    segments: Vec<u32>,
    has_links: bool,
    has_lists: bool,
}

impl Segment {
    /// Read a segment that `segops.kernel.tables` has written. `is_known`: whether the kernel has what a rule reads.
    pub fn read(reader: &mut Reader<'_>, is_known: impl Fn(&Node) -> bool) -> Option<Segment> {
        reader.array().filter(|fields| *fields == 6)?;
        let (key, version, remembers, paused) = (reader.str()?.into(), reader.int()?, reader.bool()?, reader.bool()?);
        let native = reader.raw()?;
        let mut inner = Reader::new(native);
        let node = Node::read(&mut inner).filter(|node| inner.is_done() && is_known(node));
        let mut inner = Reader::new(native);
        let limited = Membership::read(&mut inner).filter(|of| is_known(&of.outside) && is_known(&of.inside));
        let parts = if reader.nil() { None } else { Some(Parts::read(reader)?) };
        let rule = match (node, limited, parts) {
            _ if paused => Rule::Paused,
            (Some(node), _, parts) => Rule::Native(node, parts),
            (None, Some(limited), parts) => Rule::Limited(limited, parts),
            (None, None, Some(parts)) => Rule::Asked(parts),
            (None, None, None) => Rule::Python,
        };
        Some(Segment { key, version, remembers, rule })
    }
}

impl Parts {
    fn read(reader: &mut Reader<'_>) -> Option<Parts> {
        reader.array().filter(|fields| *fields == 5)?;
        Some(Parts {
            features: read_indexes(reader)?,
            traits: read_path(reader)?,
            segments: read_indexes(reader)?,
            has_links: reader.bool()?,
            has_lists: reader.bool()?,
        })
    }

    /// The parts of a profile, as a stored profile without its head.
    pub fn of(&self, profile: &Profile, tables: &Tables) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(256));
        out.array(FIELDS);
        out.str(&profile.id);
        out.int(profile.sequence);
        out.int(profile.applied);
        out.str(&tables.version);
        out.nil(); // due
        out.opt_int(profile.first);
        out.int(profile.latest);
        profile.names.iter().for_each(|name| out.opt_str(name.value.as_deref()));
        self.write_traits(profile, &mut out);
        self.write_features(profile, tables, &mut out);
        self.write_memberships(profile, tables, &mut out);
        match profile.location {
            Some((lat, lon)) => {
                out.array(2);
                out.float(lat);
                out.float(lon);
            }
            None => out.nil(),
        }
        out.int(profile.location_ms);
        if self.segments.is_empty() {
            out.map(0);
        } else {
            out.raw(&profile.past);
        }
        out.map(0); // what messages added
        out.nil(); // no redirect
        match &profile.links {
            Some(links) if self.has_links => links.write(&mut out),
            _ => out.nil(),
        }
        (0..3).for_each(|_| out.int(NEVER));
        out.nil(); // the former day
        out.map(0); // complete since
        if self.has_lists {
            out.raw(&profile.rest[1]);
        } else {
            out.map(0);
        }
        out.map(0); // published
        out.0
    }

    fn write_traits(&self, profile: &Profile, out: &mut Writer) {
        let found: Vec<_> = profile.traits.iter().filter(|(name, _)| self.traits.contains(name)).collect();
        out.map(found.len());
        for (name, value) in found {
            out.str(name);
            out.raw(value);
        }
        out.map(0); // the times of traits
        out.map(0); // messages
    }

    fn write_features(&self, profile: &Profile, tables: &Tables, out: &mut Writer) {
        let found: Vec<_> = self.features.iter().filter_map(|number| Some((number, profile.state(*number)?))).collect();
        out.map(found.len());
        for (number, state) in found {
            out.uint(tables.features[*number as usize].id);
            state.write(out);
        }
    }

    fn write_memberships(&self, profile: &Profile, tables: &Tables, out: &mut Writer) {
        let reads = |segment: u32| self.segments.contains(&segment);
        out.map(profile.members.iter().filter(|member| reads(member.segment)).count());
        for member in profile.members.iter().filter(|member| reads(member.segment)) {
            out.str(&tables.segments[member.segment as usize].key);
            out.array(4);
            out.int(member.since);
            out.int(member.version);
            out.opt_str(member.event.as_deref());
            out.opt_str(member.reason.as_deref());
        }
        out.map(profile.flips.iter().filter(|(segment, _)| reads(*segment)).count());
        for (segment, at) in profile.flips.iter().filter(|(segment, _)| reads(*segment)) {
            out.str(&tables.segments[*segment as usize].key);
            out.int(*at);
        }
    }
}

/// The earlier memberships of a profile, with the end of a current one of a segment, or the begin of a new one.
pub fn remembered(past: &[u8], key: &str, is_member: bool, now: i64) -> Blob {
    let mut rows = rows_of(past).unwrap_or_default();
    let known = rows.iter().position(|(name, ..)| *name == key);
    let (entries, left) = past_of(past, key, is_member);
    let row = if is_member { (key, entries, Some(now)) } else { (key, entries + 1, left) };
    match known {
        Some(at) => rows[at] = row,
        None => rows.push(row),
    }
    let mut out = Writer::default();
    out.map(rows.len());
    for (key, entries, left) in rows {
        out.str(key);
        out.array(2);
        out.int(entries);
        out.opt_int(left);
    }
    out.0.into()
}

/// How often a profile has entered a segment, and when it last left it.
///
/// A membership that began before they were recorded counts as the first.
pub fn past_of(past: &[u8], key: &str, is_member: bool) -> (i64, Option<i64>) {
    let rows = rows_of(past).unwrap_or_default();
    let known = rows.into_iter().find(|(name, ..)| *name == key);
    known.map_or((i64::from(is_member), None), |(_, entries, left)| (entries, left))
}

/// Segments, the number of entries, and when the last membership ended.
fn rows_of(past: &[u8]) -> Option<Vec<(&str, i64, Option<i64>)>> {
    let mut reader = Reader::new(past);
    let mut rows = vec![];
    for _ in 0..reader.map()? {
        let key = reader.str()?;
        reader.array().filter(|fields| *fields == 2)?;
        rows.push((key, reader.int()?, reader.opt_int()?));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_are_remembered_in_order() {
        let mut past = remembered(&[0x80], "a", true, 5);
        assert_eq!(rows_of(&past), Some(vec![("a", 1, Some(5))]));
        past = remembered(&past, "b", false, 6);
        past = remembered(&past, "a", false, 7);
        assert_eq!(rows_of(&past), Some(vec![("a", 2, Some(5)), ("b", 1, None)]));
    }
}

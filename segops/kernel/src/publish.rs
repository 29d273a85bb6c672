//! Changes as records of the two membership topics (`segops.streaming.publishers.ChangePublisher`).

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::change::{change_id, text};
use crate::dates::written;
use crate::evaluate::Change;
use crate::outbox::{Header, Outbox};
use crate::partition::{Group, Partition};

const MINUTE_MS: i64 = 60_000;

/// A change as the tallies count it: the minute of the clock (ms), the segment by index, the cause.
pub struct Move {
    /// The profile.
    pub profile: Box<str>,
    /// The minute.
    pub minute: i64,
    /// The segment.
    pub segment: u32,
    /// Whether the profile entered it.
    pub member: bool,
    /// Why it changed.
    pub reason: &'static str,
}

/// What was published.
#[derive(Default)]
pub struct Published {
    /// The number of changes by segment, member and reason.
    pub counts: BTreeMap<(u32, bool, &'static str), usize>,
    /// The changes of each profile in order.
    pub moves: Vec<Move>,
    /// The timestamps (ms) of the records that caused some.
    pub arrived: Vec<i64>,
}

/// Append all changes that were not taken yet to both topics, stamped with the wall clock in milliseconds.
///
/// None, and nothing is appended, if one happened at an instant that has no usual date.
pub fn publish(
    partition: &mut Partition,
    (changes, states): (&mut Outbox, &mut Outbox),
    source: &[u8],
    wall: i64,
) -> Option<Published> {
    if partition.groups.iter().flat_map(|group| &group.changes).any(|change| written(change.at).is_none()) {
        return None;
    }
    let mut found = Published::default();
    for group in std::mem::take(&mut partition.groups) {
        for change in &group.changes {
            let record = Record::of(partition, &group, change, wall);
            let headers = record.headers(source);
            changes.append(wall, Some(group.profile.as_bytes()), Some(record.value.as_bytes()), &headers);
            states.append(wall, Some(record.state_key.as_bytes()), Some(record.value.as_bytes()), &headers);
            let (segment, member, reason) = (change.segment, change.member, change.reason);
            *found.counts.entry((segment, member, reason)).or_default() += 1;
            let minute = group.clock.div_euclid(MINUTE_MS) * MINUTE_MS;
            found.moves.push(Move { profile: group.profile.clone(), minute, segment, member, reason });
        }
        found.arrived.extend(group.arrived);
    }
    Some(found)
}

/// A change as published.
struct Record {
    value: String,
    state_key: String,
    id: String,
    at: String,
    sequence: String,
    member: bool,
}

impl Record {
    fn of(partition: &Partition, group: &Group, change: &Change, wall: i64) -> Record {
        let segment = partition.segment(change.segment);
        let id = change_id(&group.profile, &segment.key, change.sequence);
        Record {
            value: value(group, change, (&segment.key, segment.version), &id, wall),
            state_key: format!("{}|{}", group.profile, segment.key),
            id,
            at: written(change.at).unwrap_or_default(),
            sequence: change.sequence.to_string(),
            member: change.member,
        }
    }

    fn headers<'h>(&'h self, source: &'h [u8]) -> [Header<'h>; 7] {
        let kind: &[u8] = if self.member { b"segops.membership.entered" } else { b"segops.membership.exited" };
        [
            (b"ce_specversion", Some(b"1.0")),
            (b"ce_source", Some(source)),
            (b"content-type", Some(b"application/json")),
            (b"ce_id", Some(self.id.as_bytes())),
            (b"ce_type", Some(kind)),
            (b"ce_time", Some(self.at.as_bytes())),
            (b"segops_version", Some(self.sequence.as_bytes())),
        ]
    }
}

/// A change as JSON, stamped with a wall clock in milliseconds, as `segops.schemas.changes.encode_change` writes it.
pub fn value(group: &Group, change: &Change, (segment, version): (&str, i64), id: &str, wall: i64) -> String {
    let (mut out, member) = (String::with_capacity(512 + change.traits.len()), change.member);
    out.push_str("{\"profile_id\":");
    text(&group.profile, &mut out);
    out.push_str(",\"segment_key\":");
    text(segment, &mut out);
    let action = if member { "entered" } else { "exited" };
    let reason = change.reason;
    let (at, sequence) = (change.at, change.sequence);
    // Writing to a String does not fail.
    let _ = write!(
        out,
        ",\"segment_version\":{version},\"action\":\"{action}\",\"member\":{member},\"reason\":\"{reason}\""
    );
    let _ = write!(out, ",\"occurred_at\":{at},\"evaluated_at\":{wall},\"sequence\":{sequence},\"change_id\":\"{id}\"");
    field(&mut out, "event_id", change.event.as_deref());
    match change.flips_at {
        Some(flips) => {
            let _ = write!(out, ",\"flips_at\":{flips}");
        }
        None => out.push_str(",\"flips_at\":null"),
    }
    for (name, written) in ["user_id", "anonymous_id", "email"].into_iter().zip(&change.names) {
        field(&mut out, name, written.as_deref());
    }
    field(&mut out, "traits_json", Some(&change.traits));
    out.push_str(",\"merged_into\":null}");
    out
}

fn field(out: &mut String, name: &str, written: Option<&str>) {
    let _ = write!(out, ",\"{name}\":");
    match written {
        Some(written) => text(written, out),
        None => out.push_str("null"),
    }
}

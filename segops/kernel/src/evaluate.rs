//! The evaluation of segments at an instant: memberships, when they flip, and the changes.

use std::cell::Cell;
use std::sync::Arc;

use crate::change::traits_json;
use crate::engine::Engine;
use crate::profile::{append, Member, Profile};
use crate::segment::{remembered, Parts, Rule};
use crate::view::View;

/// A membership change. Times are in milliseconds.
pub struct Change {
    /// The segment, by index.
    pub segment: u32,
    /// Whether the profile entered it.
    pub member: bool,
    /// Why: `event`, `time` or `merge`.
    pub reason: &'static str,
    /// When.
    pub at: i64,
    /// Its number among the changes of the profile.
    pub sequence: i64,
    /// When it flips without another event.
    pub flips_at: Option<i64>,
    /// The id of the event that caused it.
    pub event: Option<Box<str>>,
    /// The names that the profile had then.
    pub names: [Option<Box<str>>; 3],
    /// The traits that it had then, as JSON.
    pub traits: Arc<str>,
}

/// The changes of a step, in order.
pub type Changes = Vec<Change>;

/// One evaluation: its instant and its cause.
#[derive(Clone, Copy)]
pub struct Cause<'a> {
    /// Its instant.
    pub now: i64,
    /// Its kind: `event`, `time` or `merge`.
    pub reason: &'static str,
    /// The id of the event.
    pub event: Option<&'a str>,
}

impl Engine<'_> {
    /// Evaluate segments in order, and note when each flips next.
    pub fn evaluate(&self, profile: &mut Profile, segments: &[u32], cause: Cause<'_>, changes: &mut Changes) {
        let mut traits: Option<Arc<str>> = None;
        for number in segments {
            let segment = &self.tables.segments[*number as usize];
            let was = profile.members.iter().position(|member| member.segment == *number);
            let Some((member, flips_at)) = self.judge(profile, *number, was.is_some(), cause.now) else {
                set_flip(profile, *number, None); // the rule fails: the membership stays
                continue;
            };
            set_flip(profile, *number, flips_at);
            if member == was.is_some() {
                continue;
            }
            if segment.remembers {
                profile.past = (*remembered(&profile.past, &segment.key, was.is_some(), cause.now)).into();
            }
            match was {
                Some(at) => {
                    profile.members.remove(at);
                }
                None => append(&mut profile.members, membership(*number, segment.version, cause)),
            }
            profile.sequence += 1;
            let traits = traits.get_or_insert_with(|| traits_json(profile).into());
            changes.push(Change {
                segment: *number,
                member,
                reason: cause.reason,
                at: cause.now,
                sequence: profile.sequence,
                flips_at,
                event: cause.event.map(Box::from),
                names: [0, 1, 2].map(|number: usize| profile.names[number].value.clone()),
                traits: Arc::clone(traits),
            });
        }
    }

    /// Whether a profile is in a segment at an instant, and when that changes; None: the rule fails.
    fn judge(&self, profile: &Profile, number: u32, was: bool, now: i64) -> Option<(bool, Option<i64>)> {
        let asking = &self.tables.asking;
        let (segment, failed) = (&self.tables.segments[number as usize], Cell::new(false));
        let view = View { profile, asking, failed: &failed, refreshed: i64::MAX };
        match &segment.rule {
            Rule::Limited(limited, parts) => {
                let of = (number, &*segment.key);
                let member = limited.holds(view, of, now);
                let flips_at = limited.next_flip(view, of, now, member);
                match parts {
                    Some(parts) if failed.get() => self.ask(profile, (number, parts), now),
                    _ => Some((member, flips_at)),
                }
            }
            Rule::Native(rule, parts) => {
                let member = rule.holds(view, now);
                let flips_at = rule.next_flip(view, now, member);
                match parts {
                    Some(parts) if failed.get() => self.ask(profile, (number, parts), now),
                    _ => Some((member, flips_at)),
                }
            }
            Rule::Asked(parts) => self.ask(profile, (number, parts), now),
            Rule::Paused => Some((was, None)),
            Rule::Python => None, // unreachable: such a step is Python's
        }
    }

    fn ask(&self, profile: &Profile, (number, parts): (u32, &Parts), now: i64) -> Option<(bool, Option<i64>)> {
        self.tables.asking.python.judge(number, &parts.of(profile, self.tables), now)
    }
}

fn membership(segment: u32, version: i64, cause: Cause<'_>) -> Member {
    let reason = cause.event.is_none().then(|| cause.reason.into());
    Member { segment, since: cause.now, version, event: cause.event.map(Box::from), reason }
}

fn set_flip(profile: &mut Profile, segment: u32, flips_at: Option<i64>) {
    let known = profile.flips.iter().position(|(each, _)| *each == segment);
    match (flips_at, known) {
        (Some(at), Some(number)) => profile.flips[number].1 = at,
        (Some(at), None) => append(&mut profile.flips, (segment, at)),
        (None, Some(number)) => {
            profile.flips.remove(number);
        }
        (None, None) => {}
    }
}

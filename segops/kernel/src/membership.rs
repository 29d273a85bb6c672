//! Memberships that depend on earlier ones: with limits, or with other rules for members (`segops.core.memberships`).

use crate::msgpack::Reader;
use crate::rule::Node;
use crate::segment::past_of;
use crate::view::View;

/// The limits of a membership and its two rules. Lengths are in milliseconds.
#[derive(Debug)]
pub struct Membership {
    min_stay: i64,
    cool_down: i64,
    max_entries: Option<i64>,
    /// The rule for a profile outside.
    pub outside: Node,
    /// The rule for a member.
    pub inside: Node,
}

impl Membership {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Membership> {
        reader.array().filter(|fields| *fields == 6)?;
        reader.str().filter(|name| *name == "membership")?;
        Some(Membership {
            min_stay: reader.int()?,
            cool_down: reader.int()?,
            max_entries: reader.opt_int()?,
            outside: Node::read(reader)?,
            inside: Node::read(reader)?,
        })
    }

    /// Whether a profile is a member of the segment from an instant on, given its recorded memberships.
    pub fn holds(&self, view: View<'_>, (segment, key): (u32, &str), now: i64) -> bool {
        let member = view.profile.members.iter().find(|member| member.segment == segment);
        if let Some(member) = member {
            return now < member.since + self.min_stay || self.inside.holds(view, now);
        }
        let (entries, left) = past_of(&view.profile.past, key, false);
        if self.is_used_up(entries) || left.is_some_and(|left| now < left + self.cool_down) {
            return false;
        }
        self.outside.holds(view, now)
    }

    /// The earliest instant after `now` at which the membership changes; `member` is the verdict at `now`.
    pub fn next_flip(&self, view: View<'_>, (segment, key): (u32, &str), now: i64, member: bool) -> Option<i64> {
        let recorded = view.profile.members.iter().find(|member| member.segment == segment);
        if member {
            let since = recorded.map_or(now, |member| member.since);
            return flip_from(&self.inside, view, (now, since + self.min_stay), true);
        }
        let (entries, left) = past_of(&view.profile.past, key, recorded.is_some());
        if self.is_used_up(entries) {
            return None;
        }
        let left = if recorded.is_some() { Some(now) } else { left };
        let free = left.map_or(now, |left| left + self.cool_down);
        flip_from(&self.outside, view, (now, free), false)
    }

    fn is_used_up(&self, entries: i64) -> bool {
        self.max_entries.is_some_and(|most| entries >= most)
    }
}

/// When the verdict is first not `member`: after `now`, and not before `free`.
fn flip_from(rule: &Node, view: View<'_>, (now, free): (i64, i64), member: bool) -> Option<i64> {
    if free <= now {
        return rule.next_flip(view, now, member);
    }
    if rule.holds(view, free) != member {
        return Some(free);
    }
    rule.next_flip(view, free, member)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::ask::{Asking, Nobody};
    use crate::profile::{Member, Profile};

    #[test]
    fn a_member_stays_and_does_not_come_back_too_often() {
        let (asking, failed) = (Asking::new(Box::new(Nobody)), Cell::new(false));
        let mut profile = Profile::new("user_id:u");
        profile.first = Some(0);
        let of = |low| Node::KnownFor(low);
        let limited = Membership {
            min_stay: 50,
            cool_down: 20,
            max_entries: Some(1),
            outside: of(10),
            inside: Node::Not(Box::new(of(30))),
        };
        let view = View { profile: &profile, asking: &asking, failed: &failed, refreshed: i64::MAX };
        assert!(!limited.holds(view, (0, "a"), 5) && limited.holds(view, (0, "a"), 10));
        assert_eq!(limited.next_flip(view, (0, "a"), 5, false), Some(10));
        let mut member = profile.clone();
        member.members.push(Member { segment: 0, since: 10, version: 1, event: None, reason: None });
        let view = View { profile: &member, asking: &asking, failed: &failed, refreshed: i64::MAX };
        assert_eq!(limited.next_flip(view, (0, "a"), 20, true), Some(60));
        assert_eq!(limited.next_flip(view, (0, "a"), 60, false), None); // no entry is left
    }
}

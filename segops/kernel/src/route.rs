//! The resolve step of an event: its profile and its time (`segops.schemas.events.route`).

use crate::dates::microseconds;
use crate::event::Event;
use crate::json::{Odd, Val};
use crate::limits::Limits;
use crate::outbox::{Header, Outbox};
use crate::record_batch::View;

/// The rules of routing. Lengths are in milliseconds.
#[derive(Debug)]
pub struct Rules {
    /// The rules for identifiers.
    pub limits: Limits,
    /// The types that may name a profile without a user, the first one first: 1 is email, 2 anonymous_id.
    pub order: Vec<u8>,
    /// Larger events, in bytes, are Python's.
    pub max_bytes: usize,
    /// How far ahead of its receivedAt, or of the wall clock, an event may be.
    pub max_ahead: i64,
    /// The least gap between receivedAt and sentAt that corrects a sender's clock.
    pub min_skew: i64,
}

/// The profile and the time of an event, in milliseconds.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed {
    /// The profile.
    pub profile: String,
    /// The time.
    pub time: i64,
    /// Whether it was clamped.
    pub clamped: bool,
}

/// Read a time in microseconds; None if it is absent. Odd: Python has to read it, and counts it.
fn read(written: Option<Val<'_>>) -> Result<Option<i64>, Odd> {
    match written {
        None | Some(Val::Null) => Ok(None),
        Some(Val::Str(text)) => microseconds(&text.get()).map(Some).ok_or(Odd),
        Some(_) => Err(Odd),
    }
}

/// The partition of a key among `number` (`segops.schemas.records.partition_of`).
pub fn partition_of(key: &[u8], number: usize) -> usize {
    (crc32fast::hash(key) as usize).checked_rem(number).unwrap_or(0)
}

impl Rules {
    /// Return the profile and the time of an event. Odd: Python has to, or it is invalid.
    ///
    /// `now` is the wall clock, `default` the time of an event without one.
    pub fn route(&self, value: &[u8], now: i64, default: Option<i64>) -> Result<Routed, Odd> {
        if value.is_empty() || value.len() > self.max_bytes {
            return Err(Odd);
        }
        self.of(&Event::decode(value, &self.limits)?, now, default)
    }

    /// Return the profile and the time of a decoded event, as `route` does.
    pub fn of(&self, event: &Event<'_>, now: i64, default: Option<i64>) -> Result<Routed, Odd> {
        let profile = self.profile(event)?;
        let (time, clamped) = self.time(event, default)?;
        if time > now + self.max_ahead {
            return Ok(Routed { profile, time: now, clamped: true });
        }
        Ok(Routed { profile, time, clamped })
    }

    /// Append a raw event of partition `source` to the partition of its profile; None: Python has to.
    pub fn forward(&self, view: &View<'_>, now: i64, source: usize, outboxes: &mut [&mut Outbox]) -> Option<Routed> {
        if view.headers.into_iter().any(|(name, _)| name == b"segops-type") {
            return None;
        }
        let value = view.value?;
        let routed = self.route(value, now, Some(view.timestamp)).ok()?;
        let (origin, time) = (format!("{source}:{}", view.offset), routed.time.to_string());
        let mut headers: Vec<Header<'_>> =
            vec![(b"segops-source", Some(origin.as_bytes())), (b"segops-time", Some(time.as_bytes()))];
        // Of an event that was mapped: where its record is.
        headers.extend(view.headers.into_iter().filter(|(name, _)| *name == b"segops-from"));
        let number = partition_of(routed.profile.as_bytes(), outboxes.len());
        outboxes.get_mut(number)?.append(view.timestamp, Some(routed.profile.as_bytes()), Some(value), &headers);
        Some(routed)
    }

    fn profile(&self, event: &Event<'_>) -> Result<String, Odd> {
        if let Some(user) = &event.user {
            return Ok(format!("user_id:{user}"));
        }
        let found = self.order.iter().find_map(|kind| match kind {
            1 => event.email.as_ref().map(|email| format!("email:{email}")),
            _ => event.anonymous.as_ref().map(|id| format!("anonymous_id:{id}")),
        });
        found.ok_or(Odd)
    }

    fn time(&self, event: &Event<'_>, default: Option<i64>) -> Result<(i64, bool), Odd> {
        let [stamp, original, sent, arrived] = event.times;
        let (stamp, original, sent, arrived) = (read(stamp)?, read(original)?, read(sent)?, read(arrived)?);
        let corrected = self.corrected(original, sent, arrived);
        let Some(time) = stamp.or(corrected).or(original).or(sent).or(arrived) else {
            return default.map(|time| (time, false)).ok_or(Odd);
        };
        match arrived {
            Some(arrived) if time > arrived && (time - arrived).div_euclid(1_000) > self.max_ahead => {
                Ok((arrived.div_euclid(1_000), true))
            }
            _ => Ok((time.div_euclid(1_000), false)),
        }
    }

    /// The time by the receiver's clock; None if it is unknown, or if the clocks differ too little.
    fn corrected(&self, original: Option<i64>, sent: Option<i64>, arrived: Option<i64>) -> Option<i64> {
        let (original, sent, arrived) = (original?, sent?, arrived?);
        let skew = (arrived - sent).abs().div_euclid(1_000);
        (skew >= self.min_skew).then_some(arrived - (sent - original))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let limits = Limits { blocked: vec![], email_sources: vec![0], ..Limits::default() };
        Rules { limits, order: vec![1, 2], max_bytes: 1_000, max_ahead: 300_000, min_skew: 10_000 }
    }

    fn routed(rest: &str) -> Result<Routed, Odd> {
        let text = format!(r#"{{"type":"track","event":"A","anonymousId":"a",{rest}}}"#);
        rules().route(text.as_bytes(), 10_000_000_000, Some(7))
    }

    #[test]
    fn an_email_names_a_profile_before_a_device() {
        let found = routed(r#""traits":{"email":"A@x"},"timestamp":"1970-01-02""#);
        assert_eq!(found, Ok(Routed { profile: "email:a@x".into(), time: 86_400_000, clamped: false }));
    }

    #[test]
    fn a_senders_clock_is_corrected() {
        let times = r#""originalTimestamp":"1970-01-02T00:00:00Z","sentAt":"1970-01-02T00:00:05Z","receivedAt":"1970-01-02T01:00:05Z""#;
        assert_eq!(routed(times).map(|found| found.time), Ok(86_400_000 + 3_600_000));
    }

    #[test]
    fn what_is_ahead_is_clamped_and_what_is_unreadable_is_odd() {
        let ahead = r#""timestamp":"1970-01-02T01:00:00Z","receivedAt":"1970-01-02""#;
        assert_eq!(routed(ahead).map(|found| (found.time, found.clamped)), Ok((86_400_000, true)));
        assert_eq!(routed(r#""timestamp":"1999-01-01""#).map(|found| found.clamped), Ok(true));
        assert_eq!(routed(r#""timestamp":"soon""#), Err(Odd));
        assert_eq!(routed(r#""x":1"#).map(|found| found.time), Ok(7));
    }
}

//! Messages between profiles (`segops.core.messages`): those that the kernel reads, relays and sends.

use crate::msgpack::{Reader, Writer};

/// The version of their encoding.
const FORMAT: u8 = 1;
/// More often, Python gives up.
const MAX_HOPS: i64 = 1_000;

/// What a message says. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Says<'m> {
    /// An event that a redirect relays, as msgpack.
    Forward(&'m [u8]),
    /// A profile claims an identifier.
    Claim {
        /// The identifier.
        of: &'m str,
        /// The profile.
        by: &'m str,
        /// An alias says that the two are one.
        explicit: bool,
        /// Since when.
        at: i64,
    },
    /// An owner asks the claimant to merge into it.
    Join {
        /// The identifier.
        of: &'m str,
        /// The owner.
        into: &'m str,
        /// An alias says that the two are one.
        explicit: bool,
        /// Since when.
        at: i64,
    },
    /// A profile without a state hands itself over.
    Handover {
        /// The identifier that was claimed.
        of: &'m str,
        /// The profile.
        source: &'m str,
        /// The number of its changes.
        sequence: i64,
        /// Since when.
        at: i64,
    },
    /// An owner refuses a claim.
    Refused {
        /// The identifier.
        of: &'m str,
        /// The owner.
        owner: &'m str,
        /// Since when.
        at: i64,
    },
}

/// A message to a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'m> {
    /// The receiver.
    pub to: &'m str,
    /// What it says.
    pub says: Says<'m>,
    /// How often it was relayed.
    pub hops: i64,
}

/// A message to be published.
#[derive(Debug, PartialEq)]
pub struct Sent {
    /// The timestamp of the record that caused it, in milliseconds.
    pub arrived: i64,
    /// The receiver.
    pub to: Box<str>,
    /// Its type.
    pub kind: &'static str,
    /// The message.
    pub value: Vec<u8>,
}

impl<'m> Message<'m> {
    /// Read a message; None for one that is Python's.
    pub fn read(bytes: &'m [u8]) -> Option<Message<'m>> {
        let (format, body) = bytes.split_first()?;
        let mut reader = Reader::new(body);
        let fields = reader.array().filter(|_| *format == FORMAT)?;
        let (kind, to) = (reader.str()?, reader.str()?);
        let says = match (kind, fields) {
            ("forward", 4) => Says::Forward(reader.raw()?),
            ("claim", 7) => {
                Says::Claim { of: reader.str()?, by: reader.str()?, explicit: reader.bool()?, at: reader.int()? }
            }
            ("join", 7) => {
                Says::Join { of: reader.str()?, into: reader.str()?, explicit: reader.bool()?, at: reader.int()? }
            }
            ("handover", 8) => {
                let (of, source, sequence) = (reader.str()?, reader.str()?, reader.int()?);
                reader.nil().then_some(())?;
                Says::Handover { of, source, sequence, at: reader.int()? }
            }
            ("refused", 6) => Says::Refused { of: reader.str()?, owner: reader.str()?, at: reader.int()? },
            _ => return None,
        };
        let hops = reader.int()?;
        reader.is_done().then_some(Message { to, says, hops })
    }

    /// The message as a record caused it at a timestamp in milliseconds.
    pub fn sent(&self, arrived: i64) -> Sent {
        let mut out = Writer(Vec::with_capacity(128));
        out.0.push(FORMAT);
        let (kind, fields) = self.kind();
        out.array(fields);
        out.str(kind);
        out.str(self.to);
        match self.says {
            Says::Forward(event) => out.raw(event),
            Says::Claim { of, by: other, explicit, at } | Says::Join { of, into: other, explicit, at } => {
                out.str(of);
                out.str(other);
                out.bool(explicit);
                out.int(at);
            }
            Says::Handover { of, source, sequence, at } => {
                out.str(of);
                out.str(source);
                out.int(sequence);
                out.nil();
                out.int(at);
            }
            Says::Refused { of, owner, at } => {
                out.str(of);
                out.str(owner);
                out.int(at);
            }
        }
        out.int(self.hops);
        Sent { arrived, to: self.to.into(), kind, value: out.0 }
    }

    fn kind(&self) -> (&'static str, usize) {
        match self.says {
            Says::Forward(_) => ("forward", 4),
            Says::Claim { .. } => ("claim", 7),
            Says::Join { .. } => ("join", 7),
            Says::Handover { .. } => ("handover", 8),
            Says::Refused { .. } => ("refused", 6),
        }
    }

    /// The message relayed to another profile; None if Python has to give up.
    pub fn relayed<'o>(&self, into: &'o str) -> Option<Message<'o>>
    where
        'm: 'o,
    {
        (self.hops < MAX_HOPS).then(|| Message { to: into, says: self.says.clone(), hops: self.hops + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        for says in [
            Says::Forward(&[0x80]),
            Says::Claim { of: "a:1", by: "user_id:u", explicit: false, at: 5 },
            Says::Join { of: "a:1", into: "user_id:u", explicit: true, at: -5 },
            Says::Handover { of: "a:1", source: "a:1", sequence: 3, at: 5 },
            Says::Refused { of: "a:1", owner: "user_id:u", at: 5 },
        ] {
            let message = Message { to: "x:1", says, hops: 2 };
            assert_eq!(Message::read(&message.sent(0).value), Some(message));
        }
    }

    #[test]
    fn a_message_is_relayed_so_often_only() {
        let message = Message { to: "x:1", says: Says::Forward(&[0x80]), hops: MAX_HOPS };
        assert_eq!(message.relayed("y:1"), None);
        assert_eq!(Message::read(&[2]), None);
    }
}

//! The hot path of segops: events applied to profiles by compiled definitions.
//!
//! It is a second implementation of what `segops.core` and `segops.streaming.partition` do, for the common
//! cases: a record that it cannot apply exactly is left to Python whole. It does no I/O, reads no clock, and
//! logs nothing. Times are integer milliseconds since the epoch.

pub mod change;
pub mod clock;
pub mod dates;
pub mod decimal;
pub mod deliver;
pub mod engine;
pub mod event;
pub mod feature;
pub mod identity;
pub mod json;
pub mod json_text;
pub mod limits;
pub mod links;
pub mod message;
pub mod msgpack;
pub mod outbox;
pub mod packed;
pub mod partition;
pub mod predicate;
pub mod profile;
pub mod publish;
pub mod record_batch;
pub mod route;
pub mod rule;
pub mod slots;
pub mod snapshot;
pub mod state;
pub mod stored;
pub mod tables;
pub mod values;
pub mod written;

#[cfg(feature = "python")]
mod python;

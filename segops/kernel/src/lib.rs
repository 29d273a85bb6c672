//! The hot path of segops: events applied to profiles by compiled definitions.
//!
//! It is a second implementation of what `segops.core` and `segops.streaming.partition` do, for the common
//! cases: a record that it cannot apply exactly is left to Python whole. It does no I/O, reads no clock, and
//! logs nothing. Times are integer milliseconds since the epoch.

pub mod apply;
pub mod ask;
pub mod buying;
pub mod change;
pub mod clock;
pub mod compared;
pub mod condition;
pub mod crossing;
pub mod dates;
pub mod decimal;
pub mod deliver;
pub mod engine;
pub mod entries;
pub mod evaluate;
pub mod event;
pub mod exact;
pub mod feature;
pub mod figure;
pub mod figure_score;
pub mod floats;
pub mod fraction;
pub mod frequent;
pub mod frozen;
pub mod history;
pub mod identity;
pub mod idle;
pub mod index;
pub mod json;
pub mod json_text;
pub mod leaves;
pub mod limits;
pub mod links;
pub mod losses;
pub mod marks;
pub mod membership;
pub mod message;
pub mod msgpack;
pub mod of_since;
pub mod order_score;
pub mod orders;
pub mod outbox;
pub mod packed;
pub mod pages;
pub mod paired;
pub mod partition;
pub mod periods;
pub mod plan;
pub mod predicate;
pub mod profile;
pub mod publish;
pub mod record_batch;
pub mod reduce;
pub mod replay;
pub mod restored;
pub mod rfm;
pub mod rhythm;
pub mod route;
pub mod rows;
pub mod rule;
pub mod running;
pub mod search;
pub mod segment;
pub mod sequence;
pub mod series;
pub mod sessions;
pub mod since;
pub mod sliding;
pub mod slots;
pub mod snapshot;
pub mod spare;
pub mod state;
pub mod statement;
pub mod stored;
pub mod survey;
pub mod sweep;
pub mod tables;
pub mod tested;
pub mod timers;
pub mod values;
pub mod view;
pub mod watch;
pub mod weight;
pub mod writer;
pub mod written;

#[cfg(feature = "python")]
mod python;

#[cfg(feature = "python")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(test)]
mod test_tables;

//! Rows of a backfill: what its features read of one past event (`segops.core.backfill.rows`).
//!
//! A row that the kernel cannot write as Python does is Python's.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Why;
use crate::event::{below, Event};
use crate::feature::{blob_of, Added, Feature};
use crate::json::{find, Odd, Val};
use crate::limits::Limits;
use crate::message::{Message, Says};
use crate::msgpack::Writer;
use crate::packed::unpack;
use crate::partition::{Partition, Record};
use crate::reduce::Reducer;
use crate::slots::Content;
use crate::state::Blob;
use crate::tables::Tables;

/// The source of an event that a redirect forwarded: unknown, and before all others.
const UNKNOWN: (i64, i64) = (-1, -1);

/// A past event. Its time and its arrival are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Past<'e> {
    /// The time.
    pub time: i64,
    /// The Kafka timestamp of its record.
    pub arrival: i64,
    /// What stands in for a missing id of its message.
    pub id: &'e str,
    /// Its partition and offset in the source topic.
    pub source: (i64, i64),
}

/// Return the row of an event for the features of these tables; None if none selects it. Odd: Python has to.
pub fn row(tables: &Tables, event: &Event<'_>, past: Past<'_>) -> Result<Option<Vec<u8>>, Odd> {
    let mut values: Vec<(u64, Blob)> = vec![];
    let mut selected = vec![];
    if let Some(watch) = tables.watch(&event.name) {
        watch.select(event, &tables.asking, &mut selected)?;
    }
    for number in selected {
        let feature = &tables.features[number as usize];
        values.extend(value(tables, feature, event, (past.time, past.id))?.map(|value| (feature.id, value)));
    }
    add_traits(tables, event, &mut values)?;
    if values.is_empty() {
        return Ok(None);
    }
    let message = event.message.clone().unwrap_or(Cow::Borrowed(past.id));
    let mut out = Writer(Vec::with_capacity(64));
    out.array(6);
    out.int(past.time);
    out.int(past.arrival);
    out.uint(xxh3_64(message.as_bytes()));
    out.int(past.source.0);
    out.int(past.source.1);
    out.map(values.len());
    for (id, value) in values {
        out.uint(id);
        out.raw(&value);
    }
    Ok(Some(out.0))
}

/// What a feature reads of an event, as msgpack; None: the event has no such value.
fn value(tables: &Tables, feature: &Feature, event: &Event<'_>, id: (i64, &str)) -> Result<Option<Blob>, Odd> {
    match feature.reducer {
        Reducer::Python
        | Reducer::History
        | Reducer::Session
        | Reducer::Since(_)
        | Reducer::Orders
        | Reducer::Sequence => Err(Odd),
        _ => match (feature.extract(event, id, &tables.asking)?, &feature.path) {
            (Some(added), _) if matches!(feature.reducer, Reducer::Scan(_)) => Ok(Some(entry(&added))),
            (Some(Added::Exact(_)), Some(path)) => event.property(path)?.map(written).transpose(),
            (added, _) => Ok(added.map(|added| blob_of(&added))),
        },
    }
}

/// The value of an event that is kept, without values that change with time.
fn entry(added: &Added) -> Blob {
    let mut out = Writer::default();
    out.array(2);
    out.raw(&blob_of(added));
    out.array(0);
    out.0.into()
}

fn written(value: Val<'_>) -> Result<Blob, Odd> {
    let mut out = Writer::default();
    value.write(&mut out)?;
    Ok(out.0.into())
}

fn add_traits(tables: &Tables, event: &Event<'_>, values: &mut Vec<(u64, Blob)>) -> Result<(), Odd> {
    let traits = event.merged_traits();
    for (name, _) in &traits {
        for history in tables.histories(name) {
            let value = below(find(&traits, name), history.below())?.unwrap_or(Val::Null);
            values.push((tables.features[history.feature as usize].id, written(value)?));
        }
    }
    Ok(())
}

/// Return the row of a record with an event. Err: Python has to read it.
pub fn row_of_record(tables: &Tables, record: &Record<'_>, limits: &Limits) -> Result<Option<Vec<u8>>, Why> {
    let offset = record.source.split(':').nth(1).and_then(|text| text.parse().ok()).ok_or(Why::Origin)?;
    let source = (i64::try_from(record.source_number).map_err(|_| Why::Origin)?, offset);
    let past = Past { time: record.time, arrival: record.timestamp, id: record.source, source };
    Ok(row(tables, &Event::decode(record.value, limits)?, past)?)
}

/// Return the row of a message that relays an event; None of any other. Err: Python has to read it.
pub fn row_of_message(tables: &Tables, value: &[u8], arrival: i64) -> Result<Option<Vec<u8>>, Why> {
    let message = Message::read(value).ok_or(Why::Message)?;
    let Says::Forward(packed) = message.says else {
        return Ok(None);
    };
    let found = unpack(packed)?;
    let past = Past { time: found.time, arrival, id: found.id, source: UNKNOWN };
    Ok(row(tables, &found.event, past)?)
}

/// Whether a row is kept of an event for a profile: it is no redirect, and was not applied before.
///
/// It is decoded, as its use follows.
pub fn is_kept(partition: &mut Partition, id: &str, offset: i64) -> bool {
    let Some(number) = partition.found(id) else {
        return true;
    };
    let is_open = partition.open(number).is_ok();
    matches!(&partition.slots[number].content, Content::Native(profile) if is_open && offset > profile.applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use crate::slots::Meta;
    use crate::test_tables::tables;
    use std::sync::Arc;

    fn written(features: &[(u64, &str, Option<&str>)], properties: &str) -> Result<Option<Vec<u8>>, Odd> {
        let text = format!(r#"{{"type":"track","event":"A","userId":"u","properties":{properties}}}"#);
        let tables = tables(features);
        let past = Past { time: 5, arrival: 7, id: "1:3", source: (1, 3) };
        row(&tables, &Event::decode(text.as_bytes(), &tables.limits)?, past)
    }

    #[test]
    fn a_row_has_what_each_feature_reads() {
        let features = [(9, "run_count", None), (8, "run_sum", Some("n")), (7, "run_latest", Some("p"))];
        let mut expected = Writer::default();
        expected.array(6);
        expected.int(5);
        expected.int(7);
        expected.uint(xxh3_64(b"1:3"));
        expected.int(1);
        expected.int(3);
        expected.map(2);
        expected.uint(9);
        expected.nil();
        expected.uint(8);
        expected.float(0.5);
        assert_eq!(written(&features, r#"{"n":0.5}"#), Ok(Some(expected.0)));
    }

    #[test]
    fn an_event_without_a_value_has_no_row_and_an_unreadable_one_is_left() {
        let features = [(8, "run_sum", Some("n"))];
        assert_eq!(written(&features, "{}"), Ok(None));
        assert_eq!(written(&features, r#"{"n":"5"}"#), Err(Odd));
        assert_eq!(written(&[(8, "python", None)], "{}"), Err(Odd));
    }

    #[test]
    fn no_row_is_kept_of_what_was_applied() {
        let mut partition = Partition::new(Arc::new(tables(&[])));
        let mut profile = Profile::new("user_id:u");
        profile.applied = 4;
        partition.place("user_id:u", Content::Native(Box::new(profile)), Meta::default());
        partition.note_away("user_id:v");
        let mut kept = |id, offset| is_kept(&mut partition, id, offset);
        assert!(kept("user_id:u", 5) && !kept("user_id:u", 4) && kept("user_id:w", 0) && !kept("user_id:v", 0));
    }
}

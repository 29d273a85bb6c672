//! Tables for tests: features that read events named A, without segments.

use crate::feature::Feature;
use crate::msgpack::Writer;
use crate::reduce::Reducer;
use crate::tables::{Tables, TABLES};

/// Tables with features, each by its id, the name of its reducer, and the property that it reads.
pub fn tables(features: &[(u64, &str, Option<&str>)]) -> Tables {
    let mut out = Writer::default();
    out.array(14);
    out.int(TABLES);
    out.str("test");
    out.array(features.len());
    features.iter().for_each(|each| write_feature(each, &mut out));
    out.array(0); // segments
    out.map(1);
    out.str("A");
    write_watch(features.len(), &mut out);
    out.nil(); // what watches any other event
    (0..3).for_each(|_| out.map(0)); // traits
    out.array(0);
    out.array(6);
    (0..6).for_each(|_| out.array(0));
    out.array(7);
    (0..5).for_each(|_| out.array(0));
    out.int(10);
    out.array(0);
    out.int(1 << 20);
    out.bool(false);
    Tables::read(&out.0).unwrap_or_else(|| panic!("tables of another form"))
}

fn write_feature((id, reducer, property): &(u64, &str, Option<&str>), out: &mut Writer) {
    out.array(16);
    out.uint(*id);
    out.str(reducer);
    (0..11).for_each(|_| out.nil()); // windows, capacity, anchor, sequence, statements, periods, refresh
    match property {
        Some(name) => {
            out.array(1);
            out.str(name);
        }
        None => out.nil(),
    }
    out.array(0); // segments
    out.nil();
}

fn write_watch(features: usize, out: &mut Writer) {
    out.array(2);
    out.array(features);
    for number in 0..features {
        out.array(2);
        out.uint(number as u64);
        out.array(0); // conditions
    }
    out.array(0);
}

/// A feature of any window that keeps all events.
pub fn feature(reducer: Reducer) -> Feature {
    Feature {
        id: 1,
        reducer,
        since: None,
        until: None,
        calendar: None,
        anchor: None,
        statements: None,
        sequence: None,
        length: 0,
        days: None,
        step: 0,
        refresh: None,
        capacity: None,
        path: None,
        segments: vec![],
        by_size: None,
        is_foreign: false,
    }
}

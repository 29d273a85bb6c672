//! The stored form of a profile (`segops.schemas.state`): a head, then msgpack of its fields.

use std::collections::VecDeque;

use crate::dates::{instant, Read};
use crate::decimal::Dec;
use crate::feature::is_bounded;
use crate::leaves::trait_of;
use crate::links::Links;
use crate::msgpack::{Reader, Writer};
use crate::profile::{Counted, Member, Name, Profile, Redirect, NEVER};
use crate::state::{Blob, State};
use crate::tables::Tables;
use crate::values::Scalar;

/// The version of the stored form that the kernel reads and writes.
pub const FORMAT: u8 = 4;
/// The number of fields of a profile.
pub const FIELDS: usize = 29;
const HEAD: usize = 21;

/// Append the stored form. The encoded moves and the activity go into the head.
pub fn write(profile: &Profile, tables: &Tables, of_head: (&[u8], Option<i32>), into: &mut Vec<u8>) {
    let mut out = Writer(std::mem::take(into));
    write_head(profile, tables, of_head, &mut out.0);
    out.array(FIELDS);
    out.str(&profile.id);
    out.int(profile.sequence);
    out.int(profile.applied);
    out.str(&tables.version);
    out.opt_int(profile.due);
    out.opt_int(profile.first);
    out.int(profile.latest);
    for name in &profile.names {
        out.opt_str(name.value.as_deref());
    }
    write_contents(profile, tables, &mut out);
    match profile.location {
        Some((lat, lon)) => {
            out.array(2);
            out.float(lat);
            out.float(lon);
        }
        None => out.nil(),
    }
    out.int(profile.location_ms);
    out.raw(&profile.past);
    write_counted(profile, &mut out);
    out.nil(); // no redirect
    match &profile.links {
        Some(links) => links.write(&mut out),
        None => out.nil(),
    }
    for name in &profile.names {
        out.int(name.time);
    }
    out.opt_int(profile.former_day);
    for part in &profile.rest {
        out.raw(part);
    }
    *into = out.0;
}

fn write_head(profile: &Profile, tables: &Tables, (moves, activity): (&[u8], Option<i32>), out: &mut Vec<u8>) {
    let begin = out.len();
    out.push(FORMAT);
    out.extend_from_slice(&profile.timer().unwrap_or(i64::MIN).to_be_bytes());
    out.extend_from_slice(&[0; 4]); // of the keys that follow
    out.extend_from_slice(&(moves.len() as u32).to_be_bytes());
    out.extend_from_slice(&activity.unwrap_or(i32::MIN).to_be_bytes());
    for (number, member) in profile.members.iter().enumerate() {
        out.extend_from_slice(if number > 0 { b"\n" } else { b"" });
        out.extend_from_slice(tables.segments[member.segment as usize].key.as_bytes());
    }
    let keys = (out.len() - begin - HEAD) as u32;
    out[begin + 9..begin + 13].copy_from_slice(&keys.to_be_bytes());
    out.extend_from_slice(moves);
}

fn write_contents(profile: &Profile, tables: &Tables, out: &mut Writer) {
    out.map(profile.traits.len());
    for (name, value) in &profile.traits {
        out.str(name);
        out.raw(value);
    }
    out.map(profile.trait_times.len());
    for (name, time) in &profile.trait_times {
        out.str(name);
        out.int(*time);
    }
    out.map(profile.seen.len());
    for (message, at) in profile.seen.iter().zip(&profile.seen_at) {
        out.uint(*message);
        out.int(*at);
    }
    out.map(profile.features.len());
    for (feature, state) in &profile.features {
        out.uint(tables.features[*feature as usize].id);
        state.write(out);
    }
    out.map(profile.members.len());
    for member in &profile.members {
        out.str(&tables.segments[member.segment as usize].key);
        out.array(4);
        out.int(member.since);
        out.int(member.version);
        out.opt_str(member.event.as_deref());
        out.opt_str(member.reason.as_deref());
    }
    out.map(profile.flips.len());
    for (segment, at) in &profile.flips {
        out.str(&tables.segments[*segment as usize].key);
        out.int(*at);
    }
}

fn write_counted(profile: &Profile, out: &mut Writer) {
    out.map(profile.counted.len());
    for (message, counted) in &profile.counted {
        out.uint(*message);
        out.array(3);
        out.int(counted.time);
        out.array(counted.tallies.len());
        counted.tallies.iter().for_each(|id| out.uint(*id));
        out.map(counted.totals.len());
        for (id, number) in &counted.totals {
            out.uint(*id);
            out.str(&number.text());
        }
    }
}

/// When the timer of a stored profile is due, in milliseconds.
pub fn timer(state: &[u8]) -> Option<i64> {
    let head = state.get(1..9).and_then(|part| part.try_into().ok()).map(i64::from_be_bytes);
    head.filter(|due| *due != i64::MIN)
}

/// The activity of a stored profile.
pub fn activity(state: &[u8]) -> Option<i32> {
    let head = state.get(17..HEAD).and_then(|part| part.try_into().ok()).map(i32::from_be_bytes);
    head.filter(|activity| *activity != i32::MIN)
}

/// The keys of segments and the encoded moves in the head of a stored profile; None: it has another format, or is
/// damaged.
pub fn in_head(state: &[u8]) -> Option<(&[u8], &[u8])> {
    let (keys, moves) = (length(state, 9)?, length(state, 13)?);
    let begin = HEAD.checked_add(keys)?;
    let found = (state.get(HEAD..begin)?, state.get(begin..begin.checked_add(moves)?)?);
    (state.first() == Some(&FORMAT)).then_some(found)
}

/// A stored form as it is without moves.
pub fn without_moves(state: &[u8]) -> Vec<u8> {
    let (keys, moves) = (length(state, 9).unwrap_or(0), length(state, 13).unwrap_or(0));
    let (head, rest) = state.split_at(HEAD + keys);
    [&head[..13], &[0; 4], &head[17..], &rest[moves..]].concat()
}

/// The identifier of what is stored.
pub fn id_of(state: &[u8]) -> Option<&str> {
    let mut reader = fields(state)?;
    reader.array()?;
    reader.str()
}

/// A reader of the fields.
fn fields(state: &[u8]) -> Option<Reader<'_>> {
    Some(Reader::new(state.get(HEAD + length(state, 9)? + length(state, 13)?..)?))
}

fn length(state: &[u8], at: usize) -> Option<usize> {
    state.get(at..at + 4).and_then(|part| part.try_into().ok()).map(|part| u32::from_be_bytes(part) as usize)
}

/// Append the stored form of a redirect: that of a profile without a content.
pub fn write_redirect(id: &str, redirect: &Redirect, tables: &Tables, moves: &[u8], into: &mut Vec<u8>) {
    let mut out = Writer(std::mem::take(into));
    out.0.push(FORMAT);
    out.0.extend_from_slice(&i64::MIN.to_be_bytes());
    out.0.extend_from_slice(&0_u32.to_be_bytes());
    out.0.extend_from_slice(&(moves.len() as u32).to_be_bytes());
    out.0.extend_from_slice(&i32::MIN.to_be_bytes());
    out.0.extend_from_slice(moves);
    out.array(FIELDS);
    out.str(id);
    out.int(redirect.sequence);
    out.int(redirect.applied);
    out.str(redirect.version.as_deref().unwrap_or(&tables.version));
    write_blank(&redirect.into, &mut out);
    *into = out.0;
}

/// The fields of a redirect that follow the version of its definitions.
fn write_blank(into: &str, out: &mut Writer) {
    out.nil();
    out.nil();
    out.int(NEVER);
    (0..3).for_each(|_| out.nil());
    (0..6).for_each(|_| out.map(0));
    out.nil();
    out.int(NEVER);
    (0..2).for_each(|_| out.map(0));
    out.str(into);
    out.nil();
    (0..3).for_each(|_| out.int(NEVER));
    out.nil();
    (0..3).for_each(|_| out.map(0));
}

/// What is stored under an identifier.
pub enum Stored {
    /// A profile.
    Profile(Box<Profile>),
    /// A redirect.
    Redirect(Redirect),
}

/// Read what is stored under an identifier; None for what the kernel leaves to Python.
pub fn read(bytes: &[u8], id: &str, tables: &Tables) -> Option<Stored> {
    if bytes.first() != Some(&FORMAT) {
        return None;
    }
    let mut reader = fields(bytes)?;
    reader.array().filter(|fields| *fields == FIELDS)?;
    reader.str().filter(|found| *found == id)?;
    let (sequence, applied, version) = (reader.int()?, reader.int()?, reader.str()?);
    let is_former = version != &*tables.version;
    if let Some(into) = read_blank(&mut reader.clone()) {
        let version = is_former.then(|| version.into());
        return Some(Stored::Redirect(Redirect { into: into.into(), sequence, applied, version }));
    }
    if is_former {
        return None;
    }
    let mut profile = Profile::new(id);
    (profile.sequence, profile.applied) = (sequence, applied);
    read_rest(&mut profile, tables, &mut reader)?;
    Some(Stored::Profile(Box::new(profile)))
}

/// Where a redirect leads; None if the fields are not those of `write_blank`.
fn read_blank<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let nil = |reader: &mut Reader<'_>| reader.nil().then_some(());
    let never = |reader: &mut Reader<'_>| reader.int().filter(|at| *at == NEVER).map(|_| ());
    let empty = |reader: &mut Reader<'_>| reader.map().filter(|length| *length == 0).map(|_| ());
    nil(reader)?;
    nil(reader)?;
    never(reader)?;
    (0..3).try_for_each(|_| nil(reader))?;
    (0..6).try_for_each(|_| empty(reader))?;
    nil(reader)?;
    never(reader)?;
    (0..2).try_for_each(|_| empty(reader))?;
    let into = reader.str()?;
    nil(reader)?;
    (0..3).try_for_each(|_| never(reader))?;
    nil(reader)?;
    (0..3).try_for_each(|_| empty(reader))?;
    reader.is_done().then_some(into)
}

fn read_rest(profile: &mut Profile, tables: &Tables, reader: &mut Reader<'_>) -> Option<()> {
    profile.due = reader.opt_int()?;
    profile.first = reader.opt_int()?;
    profile.latest = reader.int()?;
    let names = [reader.opt_str()?, reader.opt_str()?, reader.opt_str()?];
    read_contents(profile, tables, reader)?;
    profile.location = read_location(reader)?;
    profile.location_ms = reader.int()?;
    profile.past = reader.raw()?.into();
    profile.counted = read_counted(reader)?;
    reader.nil().then_some(())?;
    profile.links = if reader.nil() { None } else { Some(Box::new(Links::read(reader.raw()?)?)) };
    for (number, value) in names.into_iter().enumerate() {
        profile.names[number] = Name { value: value.map(Box::from), time: reader.int()? };
    }
    profile.former_day = reader.opt_int()?;
    profile.rest = [reader.raw()?.into(), reader.raw()?.into(), reader.raw()?.into()];
    // One without events that waits for nothing is Python's: it is new, erased, or only on static lists.
    (reader.is_done() && (profile.first.is_some() || profile.waits()) && reads_its_dates(profile, tables)).then_some(())
}

/// Whether the kernel can read each trait that a rule reads as a date.
fn reads_its_dates(profile: &Profile, tables: &Tables) -> bool {
    tables.dates.iter().all(|path| match trait_of(profile, path) {
        Scalar::Text(text) => instant(&text) != Read::Unsure,
        _ => true,
    })
}

fn read_map<T>(reader: &mut Reader<'_>, mut item: impl FnMut(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let length = reader.map()?;
    let mut found = Vec::with_capacity(length.min(1 << 16));
    for _ in 0..length {
        found.push(item(reader)?);
    }
    Some(found)
}

fn read_contents(profile: &mut Profile, tables: &Tables, reader: &mut Reader<'_>) -> Option<()> {
    profile.traits = read_map(reader, |reader| Some((reader.str()?.into(), reader.raw()?.into())))?;
    profile.trait_times = read_map(reader, |reader| Some((reader.str()?.into(), reader.int()?)))?;
    let seen = reader.map()?;
    profile.seen.reserve_exact(seen.min(1 << 16));
    profile.seen_at.reserve_exact(seen.min(1 << 16));
    for _ in 0..seen {
        let (message, at) = (reader.uint()?, reader.int()?);
        profile.seen.push_back(message);
        profile.seen_at.push_back(at);
    }
    profile.features = read_map(reader, |reader| read_feature(tables, reader))?;
    profile.members = read_map(reader, |reader| {
        let segment = *tables.index.get(reader.str()?)?;
        reader.array().filter(|fields| *fields == 4)?;
        let (since, version) = (reader.int()?, reader.int()?);
        let (event, reason) = (reader.opt_str()?, reader.opt_str()?);
        Some(Member { segment, since, version, event: event.map(Box::from), reason: reason.map(Box::from) })
    })?;
    profile.flips = read_map(reader, |reader| Some((*tables.index.get(reader.str()?)?, reader.int()?)))?;
    Some(())
}

fn read_feature(tables: &Tables, reader: &mut Reader<'_>) -> Option<(u32, State)> {
    let number = *tables.feature_index.get(&reader.uint()?)?;
    let bytes = reader.raw()?;
    let reducer = tables.features[number as usize].reducer;
    let state =
        if reducer == crate::reduce::Reducer::Python { State::Raw(Blob::from(bytes)) } else { State::read(bytes)? };
    (reducer.fits(&state) && is_bounded(&state)).then_some((number, state))
}

fn read_location(reader: &mut Reader<'_>) -> Option<Option<(f64, f64)>> {
    if reader.nil() {
        return Some(None);
    }
    reader.array().filter(|length| *length == 2)?;
    Some(Some((reader.float()?, reader.float()?)))
}

fn read_counted(reader: &mut Reader<'_>) -> Option<VecDeque<(u64, Counted)>> {
    let found = read_map(reader, |reader| {
        let message = reader.uint()?;
        reader.array().filter(|fields| *fields == 3)?;
        let time = reader.int()?;
        let tallies = reader.list(Reader::uint)?;
        let totals = read_map(reader, |reader| Some((reader.uint()?, Dec::parse(reader.str()?)?)))?;
        Some((message, Counted { time, tallies, totals }))
    });
    Some(found?.into())
}

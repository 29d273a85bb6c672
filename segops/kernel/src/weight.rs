//! About the bytes of memory of decoded profiles: allocations, with what the allocator adds to each.

use crate::decimal::Dec;
use crate::frozen::Frozen;
use crate::links::{Held, Links, Origin};
use crate::orders::{Orders, Row};
use crate::profile::{Counted, Member, Profile, Redirect};
use crate::sequence::{Chains, Link};
use crate::sessions::{Session, Timed};
use crate::since::{Entry, Since};
use crate::state::{State, Sums};

/// The bytes that an allocation takes.
fn block(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    (bytes + 8).next_multiple_of(16).max(32)
}

fn items<T>(capacity: usize) -> usize {
    block(capacity * size_of::<T>())
}

/// Of a redirect.
pub fn of_redirect(redirect: &Redirect) -> usize {
    block(size_of::<Redirect>()) + block(redirect.into.len())
}

/// Of a profile.
pub fn of_profile(profile: &Profile) -> usize {
    let names = profile.names.iter().filter_map(|name| name.value.as_deref()).map(|name| block(name.len()));
    let traits = profile.traits.iter().map(|(name, value)| block(name.len()) + block(value.len()));
    let times = profile.trait_times.iter().map(|(name, _)| block(name.len()));
    let members = profile.members.iter().map(of_member);
    let features = profile.features.iter().map(|(_, state)| of_state(state));
    let parts = std::iter::once(&profile.past).chain(&profile.rest).map(|part| block(part.allocated()));
    let counted = profile.counted.iter().map(|(_, counted)| of_counted(counted));
    let links = profile.links.as_ref().map_or(0, |links| of_links(links));
    block(size_of::<Profile>())
        + block(profile.id.len())
        + items::<u64>(profile.seen.capacity())
        + items::<i64>(profile.seen_at.capacity())
        + items::<(Box<str>, Box<[u8]>)>(profile.traits.capacity())
        + items::<(Box<str>, i64)>(profile.trait_times.capacity())
        + items::<(u32, State)>(profile.features.capacity())
        + items::<Member>(profile.members.capacity())
        + items::<(u32, i64)>(profile.flips.capacity())
        + items::<(u64, Counted)>(profile.counted.capacity())
        + links
        + names.chain(traits).chain(times).chain(members).chain(features).chain(parts).chain(counted).sum::<usize>()
}

fn of_member(member: &Member) -> usize {
    [&member.event, &member.reason].into_iter().flatten().map(|text| block(text.len())).sum()
}

fn of_links(links: &Links) -> usize {
    let ids = links.owned.iter().chain(&links.refused).map(|id| 16 + block(id.len()));
    let held = links.held.iter().map(|held| items::<Held>(1) + block(held.event.len()));
    let origins = links.origins.iter().map(|(id, _)| items::<(Box<str>, Origin)>(1) + 2 * block(id.len()));
    items::<Links>(1) + block(links.merged.len()) + ids.chain(held).chain(origins).sum::<usize>()
}

fn of_counted(counted: &Counted) -> usize {
    items::<u64>(counted.tallies.capacity()) + items::<(u64, Dec)>(counted.totals.capacity())
}

fn of_blobs(values: &[Box<[u8]>], capacity: usize) -> usize {
    items::<Box<[u8]>>(capacity) + values.iter().map(|value| block(value.len())).sum::<usize>()
}

fn of_entries(entries: &[Entry]) -> usize {
    let keys = |entry: &Entry| entry.key.as_ref().map_or(0, |key| block(key.len()));
    entries.iter().map(|each| items::<Entry>(1) + block(each.value.len()) + keys(each)).sum()
}

fn of_timed(value: &Timed) -> usize {
    value.as_ref().map_or(0, |(_, value)| block(value.len()))
}

fn of_state(state: &State) -> usize {
    match state {
        State::Tally { .. } => 0,
        State::Total { .. } => items::<Dec>(1),
        State::Running { value, .. } => block(value.len()),
        State::Keys { keys, .. } => {
            items::<Box<str>>(keys.capacity()) + keys.iter().map(|key| block(key.len())).sum::<usize>()
        }
        State::Times(times) => items::<i64>(times.capacity()),
        State::Sums(sums) => {
            items::<Sums>(1) + 2 * items::<i64>(sums.times.capacity()) + items::<Dec>(sums.totals.capacity())
        }
        State::Values { times, values } => items::<i64>(times.capacity()) + of_blobs(values, values.capacity()),
        State::Entries(entries) => of_entries(entries),
        State::Sessions(found) => {
            items::<Session>(found.sessions.capacity())
                + found.sessions.iter().map(|session| of_timed(&session.first) + of_timed(&session.last)).sum::<usize>()
        }
        State::Marks(times) => items::<i64>(times.capacity()),
        State::Since(since) => items::<Since>(1) + of_entries(&since.entries),
        State::Frozen(frozen) => items::<Frozen>(1) + frozen.states().map(of_state).sum::<usize>(),
        State::Orders(orders) => items::<Orders>(1) + orders.rows() * (items::<Row>(1) + 32),
        State::Chains(chains) => items::<Chains>(1) + chains.len() * (items::<Link>(1) + 64),
        State::Raw(bytes) => block(bytes.len()),
    }
}

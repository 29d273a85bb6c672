//! What a recovery puts in place of stored profiles: their due times, and how the sums of the partition change.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::xxh3_128;

use crate::stored;

/// What the head of a stored profile says, borrowed from its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known<'s> {
    /// When the timer is due, in milliseconds.
    pub due: Option<i64>,
    /// The keys of its segments, one per line.
    pub members: &'s [u8],
    /// Its last active day and how it came to be active then, as one number (`segops.core.activity`).
    pub activity: Option<i32>,
    /// Its encoded moves.
    pub moves: &'s [u8],
}

impl<'s> Known<'s> {
    /// What the head of a state says; of no state, that of none. None: Python has to read it.
    pub fn of(state: Option<&'s [u8]>) -> Option<Known<'s>> {
        let Some(state) = state else {
            return Some(Known::default());
        };
        let (members, moves) = stored::in_head(state)?;
        let known = Known { due: stored::timer(state), members, activity: stored::activity(state), moves };
        members.is_ascii().then_some(known)
    }
}

/// How many more profiles have these members and this activity; the moves that are new.
#[derive(Debug, Default)]
pub struct Changes {
    /// By the keys of segments, one per line.
    pub members: BTreeMap<Vec<u8>, i64>,
    /// By activity.
    pub activities: BTreeMap<Option<i32>, i64>,
    /// Encoded moves, in the order of the profiles.
    pub moves: Vec<Vec<u8>>,
}

impl Changes {
    /// Note that a profile that was `before` is `after` now.
    pub fn replace(&mut self, before: &Known<'_>, after: &Known<'_>) {
        if before.members != after.members {
            self.count(before.members, -1);
            self.count(after.members, 1);
        }
        if before.activity != after.activity {
            *self.activities.entry(before.activity).or_default() -= 1;
            *self.activities.entry(after.activity).or_default() += 1;
        }
        if !after.moves.is_empty() && after.moves != before.moves {
            self.moves.push(after.moves.to_vec());
        }
    }

    fn count(&mut self, members: &[u8], by: i64) {
        match self.members.get_mut(members) {
            Some(number) => *number += by,
            None => drop(self.members.insert(members.to_vec(), by)),
        }
    }
}

/// The most bytes of members that are kept.
const MEMBERS_BYTES: usize = 4 << 20;

/// What is kept of a head. Profiles with the same members share them: by their number.
#[derive(Clone, Copy)]
struct Kept {
    due: Option<i64>,
    activity: Option<i32>,
    members: u32,
}

/// The heads of profiles that a recovery has written: reading them from the store took a third of its time.
///
/// Keys are known by their hash of 128 bits. A head with moves is not kept, and none beyond `room`.
pub struct Heads {
    room: usize,
    kept: HashMap<u128, Kept>,
    members: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u32>,
    bytes: usize,
}

impl Heads {
    /// Room for so many heads, of about 64 bytes each.
    pub fn new(room: usize) -> Heads {
        Heads { room, kept: HashMap::new(), members: vec![], numbers: HashMap::new(), bytes: 0 }
    }

    /// The head of a profile; None: it is not kept.
    pub fn get(&self, key: &[u8]) -> Option<Known<'_>> {
        let kept = self.kept.get(&xxh3_128(key))?;
        let members = self.members.get(kept.members as usize)?;
        Some(Known { due: kept.due, members, activity: kept.activity, moves: b"" })
    }

    /// Keep the head of a profile in place of its former one, as far as there is room; None: keep none of it.
    pub fn set(&mut self, key: &[u8], head: Option<&Known<'_>>) {
        let hash = xxh3_128(key);
        let has_room = self.kept.len() < self.room || self.kept.contains_key(&hash);
        let kept = head.filter(|head| has_room && head.moves.is_empty()).and_then(|head| {
            let members = self.number(head.members)?;
            Some(Kept { due: head.due, activity: head.activity, members })
        });
        match kept {
            Some(kept) => self.kept.insert(hash, kept),
            None => self.kept.remove(&hash),
        };
    }

    fn number(&mut self, members: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(members) {
            return Some(*number);
        }
        let bytes = self.bytes + members.len();
        let number = u32::try_from(self.members.len()).ok().filter(|_| bytes <= MEMBERS_BYTES)?;
        self.bytes = bytes;
        self.members.push(members.into());
        self.numbers.insert(members.into(), number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(due: i64, members: &[u8], moves: &[u8]) -> Vec<u8> {
        let lengths = [members.len() as u32, moves.len() as u32].map(u32::to_be_bytes).concat();
        [&[stored::FORMAT][..], &due.to_be_bytes(), &lengths, &7_i32.to_be_bytes(), members, moves, b"rest"].concat()
    }

    #[test]
    fn heads_that_are_whole_and_current_are_read() {
        let whole = state(5, b"a\nb", b"m");
        let known = Known { due: Some(5), members: b"a\nb", activity: Some(7), moves: b"m" };
        assert_eq!(Known::of(Some(&whole)), Some(known));
        assert_eq!(Known::of(Some(&state(i64::MIN, b"", b""))).map(|known| known.due), Some(None));
        assert_eq!(Known::of(None), Some(Known::default()));
        for other in [&whole[..22], &state(5, "ü".as_bytes(), b""), b"q", b""] {
            assert_eq!(Known::of(Some(other)), None);
        }
    }

    #[test]
    fn sums_change_by_the_difference() {
        let (one, two) = (state(1, b"a", b"m"), state(2, b"a\nb", b"m"));
        let (before, after) = (Known::of(Some(&one)), Known::of(Some(&two)));
        let mut changes = Changes::default();
        changes.replace(&before.unwrap_or_default(), &after.unwrap_or_default());
        assert_eq!(changes.members, BTreeMap::from([(b"a".to_vec(), -1), (b"a\nb".to_vec(), 1)]));
        assert!(changes.activities.is_empty() && changes.moves.is_empty());
        changes.replace(&Known::default(), &after.unwrap_or_default());
        assert_eq!((changes.activities.get(&Some(7)), &changes.moves[..]), (Some(&1), &[b"m".to_vec()][..]));
    }

    #[test]
    fn as_many_heads_are_kept_as_there_is_room_for() {
        let mut heads = Heads::new(2);
        let known = Known { due: Some(5), members: b"a", activity: None, moves: b"" };
        for key in [b"k", b"l", b"m"] {
            heads.set(key, Some(&known));
        }
        assert_eq!((heads.get(b"l"), heads.get(b"m")), (Some(known), None));
        heads.set(b"k", Some(&Known::default()));
        heads.set(b"l", Some(&Known { moves: b"m", ..known }));
        assert_eq!((heads.get(b"k"), heads.get(b"l")), (Some(Known::default()), None));
        heads.set(b"k", None);
        heads.set(b"n", Some(&Known { members: &[b'a'; MEMBERS_BYTES], ..known }));
        assert_eq!((heads.get(b"k"), heads.get(b"n")), (None, None));
        heads.set(b"n", Some(&Known { members: b"b", ..known }));
        assert_eq!(heads.get(b"n").map(|head| head.members), Some(&b"b"[..]));
    }
}

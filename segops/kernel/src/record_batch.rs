//! Fetched record batches of Kafka (format 2): heads, records, and where the bytes of each record are.
//!
//! What is unusual is not an error here: it is left to the client's own code, which says what is wrong.

use std::io::Read;

use crate::spare::BODIES;

/// The bytes of the head of a batch.
pub const HEAD: usize = 61;
/// The bytes before the part of a batch that its checksum covers.
pub const CHECKED: usize = 21;
/// What begins a framed snappy stream, as Java's clients write it.
pub const FRAMED: &[u8] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
/// More decompressed bytes of one batch are left to the client.
const MOST_BYTES: usize = 256 << 20;
const SNAPPY: u8 = 2;
const LZ4: u8 = 3;

/// Read a varint (zigzag, at most 64 bits) at a place, which moves behind it.
pub fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let (mut found, mut shift) = (0_u64, 0);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        found |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((found >> 1) as i64 ^ -((found & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

/// Append a varint.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// The bytes of a varint.
pub fn varint_len(value: i64) -> usize {
    let bits = 64 - (((value << 1) ^ (value >> 63)) as u64 | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The head of a batch, and where it is among fetched bytes. Offsets are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The offset of its first record, when it was written.
    pub base_offset: i64,
    /// The offset after its last record, when it was written.
    pub next_offset: i64,
    /// Compression, the kind of timestamps, transactions.
    pub attributes: i16,
    /// The producer; -1: unknown.
    pub producer_id: i64,
}

impl Head {
    /// Whether it is of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it is a marker of a transaction.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    fn read(bytes: &[u8], start: usize, end: usize) -> Option<Head> {
        let batch = bytes.get(start..end)?;
        let base_offset = i64::from_be_bytes(be(batch, 0)?);
        let last = i64::from(i32::from_be_bytes(be(batch, 23)?));
        Some(Head {
            start,
            end,
            base_offset,
            next_offset: base_offset.checked_add(last)?.checked_add(1)?,
            attributes: i16::from_be_bytes(be(batch, 21)?),
            producer_id: i64::from_be_bytes(be(batch, 43)?),
        })
    }
}

/// The heads of all whole batches; None if one is of another format.
pub fn heads(bytes: &[u8]) -> Option<Vec<Head>> {
    let (mut found, mut start) = (vec![], 0);
    while let Some(length) = be(bytes, start + 8) {
        let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
        let end = start + 12 + length;
        if end > bytes.len() {
            break;
        }
        if length < HEAD - 12 || bytes[start + 16] != 2 {
            return None;
        }
        found.push(Head::read(bytes, start, end)?);
        start = end;
    }
    Some(found)
}

/// Whether the checksum of a batch is right.
pub fn is_whole(batch: &[u8]) -> bool {
    let said = be(batch, CHECKED - 4).map(u32::from_be_bytes);
    batch.get(CHECKED..).is_some_and(|covered| said == Some(crc32c::crc32c(covered)))
}

type Span = Option<(u32, u32)>;

/// Where the parts of a record are in the body of its batch.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    timestamp: i64,
    key: Span,
    value: Span,
    headers: (u32, u32),
}

/// The records of a batch, decompressed.
#[derive(Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    entries: Vec<Entry>,
}

/// A record. The timestamp is in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct View<'b> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'b [u8]>,
    /// Its value.
    pub value: Option<&'b [u8]>,
    /// Its headers.
    pub headers: Headers<'b>,
}

/// The headers of a record: names (UTF-8) and values.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'b> {
    bytes: &'b [u8],
    at: usize,
    left: u32,
}

impl Headers<'_> {
    /// Their number.
    pub fn count(&self) -> usize {
        self.left as usize
    }
}

impl<'b> Iterator for Headers<'b> {
    type Item = (&'b [u8], Option<&'b [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = part(self.bytes, span(self.bytes, &mut self.at)?)?;
        Some((name, part(self.bytes, span(self.bytes, &mut self.at)?)))
    }
}

fn part(bytes: &[u8], span: Span) -> Option<&[u8]> {
    let (start, end) = span?;
    bytes.get(start as usize..end as usize)
}

/// Read a length and pass over so many bytes; a negative length is None within.
fn span(bytes: &[u8], at: &mut usize) -> Option<Span> {
    let Ok(length) = usize::try_from(varint(bytes, at)?) else {
        return Some(None);
    };
    let (start, end) = (*at, at.checked_add(length).filter(|end| *end <= bytes.len())?);
    *at = end;
    Some(Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?)))
}

impl Batch {
    /// The records of one whole batch from the offset `begin` on; None: the client has to read it.
    pub fn read(batch: &[u8], head: &Head, begin: i64) -> Option<Batch> {
        let (first, latest) = (i64::from_be_bytes(be(batch, 27)?), i64::from_be_bytes(be(batch, 35)?));
        let stamped = (head.attributes & 8 != 0).then_some(latest);
        let count = u32::from_be_bytes(be(batch, 57)?);
        let body = body(batch.get(HEAD..)?, (head.attributes & 7) as u8)?;
        let (mut entries, mut at) = (Vec::with_capacity((count as usize).min(body.len())), 0);
        for _ in 0..count {
            let entry = entry(&body, &mut at, (head.base_offset, first))?;
            if entry.offset >= begin || head.base_offset >= begin {
                entries.push(Entry { timestamp: stamped.unwrap_or(entry.timestamp), ..entry });
            }
        }
        (at == body.len()).then_some(Batch { body, entries })
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A record by its number among those here.
    pub fn get(&self, number: usize) -> Option<View<'_>> {
        let entry = self.entries.get(number)?;
        Some(View {
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: part(&self.body, entry.key),
            value: part(&self.body, entry.value),
            headers: Headers { bytes: &self.body, at: entry.headers.0 as usize, left: entry.headers.1 },
        })
    }

    /// Add a record that was not fetched in a batch; false if there are too many bytes.
    pub fn push(&mut self, view: (i64, i64), parts: [Option<&[u8]>; 2], headers: &[(&[u8], Option<&[u8]>)]) -> bool {
        let [key, value] = parts.map(|bytes| self.put(bytes));
        let at = self.body.len();
        for (name, value) in headers {
            for bytes in [Some(*name), *value] {
                put_varint(&mut self.body, bytes.map_or(-1, |bytes| bytes.len() as i64));
                self.body.extend_from_slice(bytes.unwrap_or_default());
            }
        }
        let headers = (at as u32, headers.len() as u32);
        self.entries.push(Entry { offset: view.0, timestamp: view.1, key, value, headers });
        self.body.len() < MOST_BYTES
    }

    fn put(&mut self, bytes: Option<&[u8]>) -> Span {
        let start = self.body.len();
        self.body.extend_from_slice(bytes?);
        Some((start as u32, self.body.len() as u32))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        BODIES.keep(std::mem::take(&mut self.body));
    }
}

fn entry(body: &[u8], at: &mut usize, (base, first): (i64, i64)) -> Option<Entry> {
    let length = usize::try_from(varint(body, at)?).ok()?;
    let end = at.checked_add(length)?;
    if *body.get(*at)? >= 0x80 {
        return None;
    }
    *at += 1;
    let timestamp = first.checked_add(varint(body, at)?)?;
    let offset = base.checked_add(varint(body, at)?)?;
    let (key, value) = (span(body, at)?, span(body, at)?);
    let count = u32::try_from(varint(body, at)?).ok()?;
    let headers = (u32::try_from(*at).ok()?, count);
    for _ in 0..count {
        let name = part(body, span(body, at)?)?;
        std::str::from_utf8(name).ok()?;
        span(body, at)?;
    }
    (*at == end).then_some(Entry { offset, timestamp, key, value, headers })
}

fn body(raw: &[u8], codec: u8) -> Option<Vec<u8>> {
    let mut out = BODIES.take();
    let length = match codec {
        0 => {
            out.clear();
            out.extend_from_slice(raw);
            raw.len()
        }
        SNAPPY => unsnappy(raw, &mut out)?,
        LZ4 => {
            out.clear();
            lz4_flex::frame::FrameDecoder::new(raw).take(MOST_BYTES as u64).read_to_end(&mut out).ok()?
        }
        _ => return None,
    };
    out.truncate(length);
    (length < MOST_BYTES).then_some(out)
}

/// Decompress to the beginning of `out`, whatever it has; the bytes there.
fn unsnappy(raw: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let Some(mut left) = raw.strip_prefix(FRAMED) else {
        return add_snappy(raw, out, 0);
    };
    let mut filled = 0;
    while !left.is_empty() {
        let length = u32::from_be_bytes(be(left, 0)?) as usize;
        let end = length.checked_add(4)?;
        filled = add_snappy(left.get(4..end)?, out, filled)?;
        left = &left[end..];
    }
    Some(filled)
}

/// Decompress a block behind the first `filled` bytes of `out`; the bytes with it.
fn add_snappy(block: &[u8], out: &mut Vec<u8>, filled: usize) -> Option<usize> {
    let end = filled + snap::raw::decompress_len(block).ok()?;
    if end > MOST_BYTES {
        return None;
    }
    if out.len() < end {
        out.resize(end, 0);
    }
    snap::raw::Decoder::new().decompress(block, &mut out[filled..end]).ok()?;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Codec, Outbox};

    fn batch(codec: Codec) -> Vec<u8> {
        let mut outbox = Outbox::new(1_000, codec, true);
        outbox.append(1_000, Some(b"k"), Some(&[b'v'; 90]), &[(b"a", Some(b"1")), (b"b", None)]);
        outbox.append(995, None, None, &[]);
        let ready = &outbox.take(false)[0];
        let mut sealed = vec![0; ready.sealed_len()];
        ready.seal((7, 1, 0), &mut sealed);
        sealed
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for codec in [Codec::None, Codec::Snappy] {
            let bytes = batch(codec);
            let found = heads(&bytes).unwrap_or_default();
            assert!(is_whole(&bytes) && found.len() == 1 && found[0].is_transactional());
            assert_eq!((found[0].next_offset, found[0].producer_id), (2, 7));
            let read = Batch::read(&bytes, &found[0], 0).unwrap_or_default();
            let (first, second) = (read.get(0), read.get(1));
            let first = first.map(|view| (view.timestamp, view.key.map(<[u8]>::len), view.headers.collect::<Vec<_>>()));
            let headers: Vec<(&[u8], Option<&[u8]>)> = vec![(b"a", Some(b"1")), (b"b", None)];
            assert_eq!(first, Some((1_000, Some(1), headers)));
            assert_eq!(second.map(|view| (view.offset, view.timestamp, view.value)), Some((1, 995, None)));
            let later = Batch::read(&bytes, &found[0], 1);
            assert_eq!(later.map(|read| read.len()), Some(1));
        }
    }

    #[test]
    fn damage_is_left_to_the_client() {
        let mut bytes = batch(Codec::None);
        let last = bytes.len() - 1;
        let head = heads(&bytes).unwrap_or_default()[0];
        bytes[last] += 2;
        assert!(!is_whole(&bytes) && Batch::read(&bytes, &head, 0).is_none());
        assert_eq!(heads(&bytes[..last]), Some(vec![]));
        bytes[16] = 1;
        assert_eq!(heads(&bytes), None);
    }

    #[test]
    fn varints_have_their_length() {
        for value in [0, -1, 63, 64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut out = vec![];
            put_varint(&mut out, value);
            assert_eq!((varint(&out, &mut 0), out.len()), (Some(value), varint_len(value)));
        }
    }
}

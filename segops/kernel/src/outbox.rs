//! Record batches to be sent to one partition (Kafka's format 2): filled, then full or cut off, then sealed.

use crate::record_batch::{put_varint, varint_len, CHECKED, FRAMED, HEAD};

/// Bytes that snappy compresses at once, as all of Kafka's clients do.
const BLOCK: usize = 32 << 10;

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// By snappy, framed; where that saves nothing, not at all.
    Snappy,
}

/// The records of one batch.
#[derive(Debug)]
pub struct Ready {
    /// Room for the head, then the records.
    bytes: Vec<u8>,
    records: u32,
    first: i64,
    latest: i64,
    codec: Codec,
    transactional: bool,
}

/// A header: its name (UTF-8) and value.
pub type Header<'h> = (&'h [u8], Option<&'h [u8]>);

impl Ready {
    fn new(timestamp: i64, codec: Codec, transactional: bool) -> Ready {
        Ready { bytes: vec![0; HEAD], records: 0, first: timestamp, latest: timestamp, codec, transactional }
    }

    /// Its bytes, before compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    fn length(&self, timestamp: i64, parts: [Option<&[u8]>; 2], headers: &[Header<'_>]) -> usize {
        let of = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| varint_len(bytes.len() as i64) + bytes.len());
        let place = varint_len(timestamp - self.first) + varint_len(i64::from(self.records));
        let headers_len: usize = headers.iter().map(|(name, value)| of(Some(name)) + of(*value)).sum();
        1 + place + of(parts[0]) + of(parts[1]) + varint_len(headers.len() as i64) + headers_len
    }

    fn put(&mut self, bytes: Option<&[u8]>) {
        put_varint(&mut self.bytes, bytes.map_or(-1, |bytes| bytes.len() as i64));
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
    }

    fn append(&mut self, timestamp: i64, parts: [Option<&[u8]>; 2], headers: &[Header<'_>], length: usize) {
        put_varint(&mut self.bytes, length as i64);
        self.bytes.push(0);
        put_varint(&mut self.bytes, timestamp - self.first);
        put_varint(&mut self.bytes, i64::from(self.records));
        parts.into_iter().for_each(|bytes| self.put(bytes));
        put_varint(&mut self.bytes, headers.len() as i64);
        for (name, value) in headers {
            self.put(Some(name));
            self.put(*value);
        }
        self.records += 1;
        self.latest = self.latest.max(timestamp);
    }

    /// The batch as it is sent: compressed, with the producer's id, epoch and first sequence.
    pub fn sealed(&self, (id, epoch, sequence): (i64, i16, i32)) -> Vec<u8> {
        let packed = (self.codec == Codec::Snappy).then(|| snappy(&self.bytes)).flatten();
        let is_packed = packed.is_some();
        let mut out = packed.unwrap_or_else(|| self.bytes.clone());
        let attributes = if is_packed { 2_i16 } else { 0 } | if self.transactional { 0x10 } else { 0 };
        let length = (out.len() - 12) as i32;
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
        out[16] = 2;
        out[21..23].copy_from_slice(&attributes.to_be_bytes());
        out[23..27].copy_from_slice(&(self.records as i32 - 1).to_be_bytes());
        out[27..35].copy_from_slice(&self.first.to_be_bytes());
        out[35..43].copy_from_slice(&self.latest.to_be_bytes());
        out[43..51].copy_from_slice(&id.to_be_bytes());
        out[51..53].copy_from_slice(&epoch.to_be_bytes());
        out[53..57].copy_from_slice(&sequence.to_be_bytes());
        out[57..61].copy_from_slice(&(self.records as i32).to_be_bytes());
        let sum = crc32c::crc32c(&out[CHECKED..]);
        out[CHECKED - 4..CHECKED].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// Room for the head and the compressed records; None if that is no shorter.
fn snappy(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 2 + HEAD);
    out.resize(HEAD, 0);
    out.extend_from_slice(FRAMED);
    let (mut encoder, mut block) = (snap::raw::Encoder::new(), vec![0; snap::raw::max_compress_len(BLOCK)]);
    for part in bytes[HEAD..].chunks(BLOCK) {
        let length = encoder.compress(part, &mut block).ok()?;
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
    (out.len() < bytes.len()).then_some(out)
}

/// The batches of one partition that were not taken yet.
#[derive(Debug)]
pub struct Outbox {
    limit: usize,
    codec: Codec,
    transactional: bool,
    open: Option<Ready>,
    full: Vec<Ready>,
}

impl Outbox {
    /// Batches of at most `limit` bytes before compression: more only if a record has more.
    pub fn new(limit: usize, codec: Codec, transactional: bool) -> Outbox {
        Outbox { limit, codec, transactional, open: None, full: vec![] }
    }

    /// Append a record. The timestamp is in milliseconds.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        let (codec, transactional, parts) = (self.codec, self.transactional, [key, value]);
        let mut open = self.open.take().unwrap_or_else(|| Ready::new(timestamp, codec, transactional));
        let mut length = open.length(timestamp, parts, headers);
        if open.records > 0 && open.size() + varint_len(length as i64) + length > self.limit {
            self.full.push(std::mem::replace(&mut open, Ready::new(timestamp, codec, transactional)));
            length = open.length(timestamp, parts, headers);
        }
        open.append(timestamp, parts, headers, length);
        self.open = Some(open);
    }

    /// Take the full batches, or all.
    pub fn take(&mut self, full_only: bool) -> Vec<Ready> {
        if !full_only {
            self.full.extend(self.open.take());
        }
        std::mem::take(&mut self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_is_cut_off_and_one_record_always_fits() {
        let mut outbox = Outbox::new(200, Codec::None, false);
        for _ in 0..3 {
            outbox.append(1, Some(b"key"), Some(&[0; 100]), &[]);
        }
        outbox.append(1, None, Some(&[0; 500]), &[]);
        let sizes: Vec<(u32, bool)> =
            outbox.take(true).iter().map(|batch| (batch.records(), batch.size() > 200)).collect();
        assert_eq!(sizes, [(1, false), (1, false), (1, false)]);
        assert_eq!(
            outbox.take(false).iter().map(Ready::size).collect::<Vec<_>>(),
            [HEAD + 2 + 1 + 2 + 1 + 2 + 500 + 1]
        );
        assert!(outbox.take(false).is_empty());
    }

    #[test]
    fn what_snappy_does_not_shorten_is_sent_as_it_is() {
        let mut outbox = Outbox::new(1_000, Codec::Snappy, true);
        outbox.append(1, None, Some(b"x"), &[]);
        let sealed = outbox.take(false)[0].sealed((1, 2, 3));
        assert_eq!((sealed[22], sealed.len()), (0x10, HEAD + 8));
        outbox.append(1, None, Some(&[7; 900]), &[]);
        let sealed = outbox.take(false)[0].sealed((1, 2, 3));
        assert!(sealed[22] == 0x12 && sealed.len() < 200);
    }
}

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

/// A header: its name (UTF-8) and value.
pub type Header<'h> = (&'h [u8], Option<&'h [u8]>);

/// A batch that is being filled.
#[derive(Debug)]
struct Open {
    /// Room for the head, then the records.
    bytes: Vec<u8>,
    records: u32,
    first: i64,
    latest: i64,
}

impl Open {
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
}

/// A closed batch, compressed; its head lacks the producer.
#[derive(Debug)]
pub struct Ready {
    /// Room for the head, then the records.
    bytes: Vec<u8>,
    is_packed: bool,
    /// The bytes before compression.
    size: usize,
    records: u32,
    first: i64,
    latest: i64,
    transactional: bool,
}

impl Ready {
    /// Its bytes, before compression.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of records.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// The number of bytes that are sent.
    pub fn sealed_len(&self) -> usize {
        self.bytes.len()
    }

    /// Write the batch as it is sent, with the producer's id, epoch and first sequence, to `sealed_len` bytes.
    pub fn seal(&self, (id, epoch, sequence): (i64, i16, i32), out: &mut [u8]) {
        out.copy_from_slice(&self.bytes);
        let attributes = if self.is_packed { 2_i16 } else { 0 } | if self.transactional { 0x10 } else { 0 };
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
    }
}

/// Compresses by snappy, with memory that it keeps.
struct Packer {
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
}

impl Packer {
    fn new() -> Packer {
        Packer { encoder: snap::raw::Encoder::new(), block: vec![0; snap::raw::max_compress_len(BLOCK)] }
    }

    /// Room for the head and the compressed records; None if that is no shorter.
    fn pack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len() / 2 + HEAD);
        out.resize(HEAD, 0);
        out.extend_from_slice(FRAMED);
        for part in bytes[HEAD..].chunks(BLOCK) {
            let length = self.encoder.compress(part, &mut self.block).ok()?;
            out.extend_from_slice(&(length as u32).to_be_bytes());
            out.extend_from_slice(&self.block[..length]);
        }
        (out.len() < bytes.len()).then_some(out)
    }
}

/// The batches of one partition that were not taken yet.
pub struct Outbox {
    limit: usize,
    transactional: bool,
    packer: Option<Packer>,
    open: Option<Open>,
    /// The memory of the last batch, for the next one.
    spare: Vec<u8>,
    full: Vec<Ready>,
}

impl Outbox {
    /// Batches of at most `limit` bytes before compression: more only if a record has more.
    pub fn new(limit: usize, codec: Codec, transactional: bool) -> Outbox {
        let packer = (codec == Codec::Snappy).then(Packer::new);
        Outbox { limit, transactional, packer, open: None, spare: vec![], full: vec![] }
    }

    /// Append a record. The timestamp is in milliseconds.
    pub fn append(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        let parts = [key, value];
        let mut open = self.open.take().unwrap_or_else(|| self.begin(timestamp));
        let mut length = open.length(timestamp, parts, headers);
        if open.records > 0 && open.bytes.len() + varint_len(length as i64) + length > self.limit {
            self.close(open);
            open = self.begin(timestamp);
            length = open.length(timestamp, parts, headers);
        }
        open.append(timestamp, parts, headers, length);
        self.open = Some(open);
    }

    fn begin(&mut self, timestamp: i64) -> Open {
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        bytes.resize(HEAD, 0);
        Open { bytes, records: 0, first: timestamp, latest: timestamp }
    }

    fn close(&mut self, open: Open) {
        let Open { bytes, records, first, latest } = open;
        let (size, transactional) = (bytes.len(), self.transactional);
        let packed = self.packer.as_mut().and_then(|packer| packer.pack(&bytes));
        let is_packed = packed.is_some();
        let bytes = match packed {
            Some(packed) => {
                self.spare = bytes;
                packed
            }
            None => bytes,
        };
        self.full.push(Ready { bytes, is_packed, size, records, first, latest, transactional });
    }

    /// Take the full batches, or all.
    pub fn take(&mut self, full_only: bool) -> Vec<Ready> {
        if let Some(open) = self.open.take_if(|_| !full_only) {
            self.close(open);
        }
        std::mem::take(&mut self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(batch: &Ready) -> Vec<u8> {
        let mut out = vec![0; batch.sealed_len()];
        batch.seal((1, 2, 3), &mut out);
        out
    }

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
        let bytes = sealed(&outbox.take(false)[0]);
        assert_eq!((bytes[22], bytes.len()), (0x10, HEAD + 8));
        outbox.append(1, None, Some(&[7; 900]), &[]);
        let bytes = sealed(&outbox.take(false)[0]);
        assert!(bytes[22] == 0x12 && bytes.len() < 200);
    }
}

//! Reads msgpack as msgspec writes it; `Writer` writes it.

pub use crate::writer::Writer;

/// The kind of the next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nil
    Nil,
    /// a boolean
    Bool,
    /// an integer
    Int,
    /// a float
    Float,
    /// a text
    Str,
    /// an array
    Array,
    /// a map
    Map,
}

/// Reads values from a buffer. Every method returns None if the next value is of another kind.
#[derive(Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the begin of a buffer.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Whether everything is read.
    pub fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let found = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    fn array_of<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array_of().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array_of().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array_of().map(u64::from_be_bytes)
    }

    /// The kind of the next value.
    pub fn kind(&self) -> Option<Kind> {
        Some(match *self.bytes.get(self.at)? {
            0xc0 => Kind::Nil,
            0xc2 | 0xc3 => Kind::Bool,
            0x00..=0x7f | 0xe0..=0xff | 0xcc..=0xd3 => Kind::Int,
            0xca | 0xcb => Kind::Float,
            0xa0..=0xbf | 0xd9..=0xdb => Kind::Str,
            0x90..=0x9f | 0xdc | 0xdd => Kind::Array,
            0x80..=0x8f | 0xde | 0xdf => Kind::Map,
            _ => return None,
        })
    }

    /// Read nil; false if the next value is another one, which is not read.
    pub fn nil(&mut self) -> bool {
        let found = self.bytes.get(self.at) == Some(&0xc0);
        self.at += usize::from(found);
        found
    }

    /// Read a boolean.
    pub fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            0xc2 => Some(false),
            0xc3 => Some(true),
            _ => None,
        }
    }

    /// Read an integer of at most 64 bits, signed or not.
    pub fn wide(&mut self) -> Option<i128> {
        let first = self.byte()?;
        Some(match first {
            0x00..=0x7f => i128::from(first),
            0xe0..=0xff => i128::from(first as i8),
            0xcc => i128::from(self.byte()?),
            0xcd => i128::from(self.u16()?),
            0xce => i128::from(self.u32()?),
            0xcf => i128::from(self.u64()?),
            0xd0 => i128::from(self.byte()? as i8),
            0xd1 => i128::from(self.u16()? as i16),
            0xd2 => i128::from(self.u32()? as i32),
            0xd3 => i128::from(self.u64()? as i64),
            _ => return None,
        })
    }

    /// Read an integer of 64 bits.
    pub fn int(&mut self) -> Option<i64> {
        Some(match self.byte()? {
            first @ 0x00..=0x7f => i64::from(first),
            first @ 0xe0..=0xff => i64::from(first as i8),
            0xcc => i64::from(self.byte()?),
            0xcd => i64::from(self.u16()?),
            0xce => i64::from(self.u32()?),
            0xcf => self.u64()?.try_into().ok()?,
            0xd0 => i64::from(self.byte()? as i8),
            0xd1 => i64::from(self.u16()? as i16),
            0xd2 => i64::from(self.u32()? as i32),
            0xd3 => self.u64()? as i64,
            _ => return None,
        })
    }

    /// Read an unsigned integer.
    pub fn uint(&mut self) -> Option<u64> {
        if self.bytes.get(self.at) != Some(&0xcf) {
            return self.int().and_then(|value| value.try_into().ok());
        }
        self.at += 1;
        self.u64()
    }

    /// Read a size.
    pub fn size(&mut self) -> Option<usize> {
        usize::try_from(self.wide()?).ok()
    }

    /// Read an integer or nil.
    pub fn opt_int(&mut self) -> Option<Option<i64>> {
        if self.nil() {
            return Some(None);
        }
        self.int().map(Some)
    }

    /// Read a float.
    pub fn float(&mut self) -> Option<f64> {
        match self.byte()? {
            0xca => Some(f64::from(f32::from_bits(self.u32()?))),
            0xcb => Some(f64::from_bits(self.u64()?)),
            _ => None,
        }
    }

    /// Read a text.
    pub fn str(&mut self) -> Option<&'a str> {
        let first = self.byte()?;
        let length = match first {
            0xa0..=0xbf => u64::from(first & 31),
            0xd9 => u64::from(self.byte()?),
            0xda => u64::from(self.u16()?),
            0xdb => u64::from(self.u32()?),
            _ => return None,
        };
        std::str::from_utf8(self.take(length as usize)?).ok()
    }

    /// Read a text or nil.
    pub fn opt_str(&mut self) -> Option<Option<&'a str>> {
        if self.nil() {
            return Some(None);
        }
        self.str().map(Some)
    }

    /// Read the head of an array: its length.
    pub fn array(&mut self) -> Option<usize> {
        let first = self.byte()?;
        match first {
            0x90..=0x9f => Some(usize::from(first & 15)),
            0xdc => Some(usize::from(self.u16()?)),
            0xdd => Some(self.u32()? as usize),
            _ => None,
        }
    }

    /// Read the head of a map: its length.
    pub fn map(&mut self) -> Option<usize> {
        let first = self.byte()?;
        match first {
            0x80..=0x8f => Some(usize::from(first & 15)),
            0xde => Some(usize::from(self.u16()?)),
            0xdf => Some(self.u32()? as usize),
            _ => None,
        }
    }

    /// Read a list by reading each of its items.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.array()?;
        let mut found = Vec::with_capacity(length.min(1 << 16));
        for _ in 0..length {
            found.push(item(self)?);
        }
        Some(found)
    }

    /// Read a list of integers.
    pub fn ints(&mut self) -> Option<Vec<i64>> {
        self.list(Reader::int)
    }

    /// Pass over the next value; return its bytes.
    pub fn raw(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            match self.kind()? {
                Kind::Nil | Kind::Bool => self.at += 1,
                Kind::Int => {
                    self.wide()?;
                }
                Kind::Float => {
                    self.float()?;
                }
                Kind::Str => {
                    self.str()?;
                }
                Kind::Array => left += self.array()?,
                Kind::Map => left += 2 * self.map()?,
            }
        }
        self.bytes.get(begin..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_their_shortest_form_and_are_read_again() {
        let mut writer = Writer::default();
        let values = [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 40, -1, -32, -33, -128, -129, -40_000, -(1 << 40)];
        for value in values {
            writer.int(value);
        }
        assert_eq!(&writer.0[..6], &[0, 127, 0xcc, 128, 0xcc, 255]);
        let mut reader = Reader::new(&writer.0);
        for value in values {
            assert_eq!(reader.int(), Some(value));
        }
        assert!(reader.is_done());
    }

    #[test]
    fn raw_passes_over_nested_values() {
        let mut writer = Writer::default();
        writer.map(1);
        writer.str("a");
        writer.ints(&[1, 300]);
        writer.bool(true);
        let mut reader = Reader::new(&writer.0);
        assert_eq!(reader.raw().map(<[u8]>::len), Some(writer.0.len() - 1));
        assert_eq!(reader.bool(), Some(true));
        assert_eq!(reader.raw(), None);
    }
}

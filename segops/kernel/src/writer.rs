//! Writes msgpack as msgspec does: every value in its shortest form.

/// Appends values to a buffer.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Append nil.
    pub fn nil(&mut self) {
        self.0.push(0xc0);
    }

    /// Append a boolean.
    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    /// Append an integer that is not negative.
    pub fn uint(&mut self, value: u64) {
        let out = &mut self.0;
        match value {
            0..=0x7f => out.push(value as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
            0x100..=0xffff => {
                out.push(0xcd);
                out.extend_from_slice(&(value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                out.push(0xce);
                out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                out.push(0xcf);
                out.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    /// Append an integer.
    pub fn int(&mut self, value: i64) {
        if value >= 0 {
            return self.uint(value as u64);
        }
        let out = &mut self.0;
        if value >= -32 {
            out.push(value as u8);
        } else if value >= i64::from(i8::MIN) {
            out.extend_from_slice(&[0xd0, value as u8]);
        } else if value >= i64::from(i16::MIN) {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        } else if value >= i64::from(i32::MIN) {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        } else {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }

    /// Append a float.
    pub fn float(&mut self, value: f64) {
        self.0.push(0xcb);
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Append a text.
    pub fn str(&mut self, text: &str) {
        let (out, length) = (&mut self.0, text.len());
        match length {
            0..=31 => out.push(0xa0 | length as u8),
            32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
            0x100..=0xffff => {
                out.push(0xda);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                out.push(0xdb);
                out.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn head(&mut self, length: usize, short: u8, long: u8) {
        match length {
            0..=15 => self.0.push(short | length as u8),
            16..=0xffff => {
                self.0.push(long);
                self.0.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.0.push(long + 1);
                self.0.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
    }

    /// Append the head of an array.
    pub fn array(&mut self, length: usize) {
        self.head(length, 0x90, 0xdc);
    }

    /// Append the head of a map.
    pub fn map(&mut self, length: usize) {
        self.head(length, 0x80, 0xde);
    }

    /// Append a text or nil.
    pub fn opt_str(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.str(text),
            None => self.nil(),
        }
    }

    /// Append an integer or nil.
    pub fn opt_int(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.int(value),
            None => self.nil(),
        }
    }

    /// Append a list of integers.
    pub fn ints(&mut self, values: &[i64]) {
        self.array(values.len());
        for value in values {
            self.int(*value);
        }
    }

    /// Append bytes that are msgpack already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

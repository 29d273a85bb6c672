//! Texts and names of JSON. Texts are resolved only where they are read.

use std::borrow::Cow;

use crate::json::{Odd, Pairs, Val};

/// A text between its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Str<'a> {
    /// What is between the quotes.
    pub raw: &'a str,
    /// Whether it has escapes, which are all valid.
    pub escaped: bool,
}

impl<'a> Str<'a> {
    /// A text without escapes.
    pub fn of(text: &'a str) -> Self {
        Str { raw: text, escaped: false }
    }

    /// The text itself.
    pub fn get(&self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescaped(self.raw))
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// The text of a name without escapes.
    pub fn plain(&self) -> Result<&'a str, Odd> {
        if self.escaped {
            return Err(Odd);
        }
        Ok(self.raw)
    }
}

/// Four hexadecimal digits; U+FFFD if they are none.
pub fn hex4(text: &str, at: usize) -> u32 {
    text.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd)
}

/// Resolve the escapes of a text that `Scanner::string` has accepted.
fn unescaped(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.as_bytes()[at + 1];
        let mut used = at + 2;
        match code {
            b'n' => out.push('\n'),
            b't' => out.push('\t'),
            b'r' => out.push('\r'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let mut point = hex4(rest, used);
                used += 4;
                if (0xd800..0xdc00).contains(&point) {
                    point = 0x10000 + ((point - 0xd800) << 10) + (hex4(rest, used + 2) - 0xdc00);
                    used += 6;
                }
                out.push(char::from_u32(point).unwrap_or('\u{fffd}'));
            }
            other => out.push(char::from(other)),
        }
        rest = &rest[used..];
    }
    out.push_str(rest);
    out
}

/// Return the value of a name.
pub fn find<'a>(pairs: &[(&str, Val<'a>)], name: &str) -> Option<Val<'a>> {
    pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// Odd: a name is repeated.
pub fn each_once(pairs: &Pairs<'_>) -> Result<(), Odd> {
    if pairs.len() > 64 {
        let mut names: Vec<&str> = pairs.iter().map(|pair| pair.0).collect();
        names.sort_unstable();
        return if names.windows(2).any(|two| two[0] == two[1]) { Err(Odd) } else { Ok(()) };
    }
    for (number, pair) in pairs.iter().enumerate() {
        if pairs[..number].iter().any(|other| other.0.len() == pair.0.len() && other.0 == pair.0) {
            return Err(Odd);
        }
    }
    Ok(())
}

/// The bytes before the first quote, backslash or control character; None: there is no such character.
pub fn plain_len(bytes: &[u8]) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    let mut passed = 0;
    for word in words.by_ref() {
        let marks = marks(u64::from_le_bytes(word.try_into().ok()?));
        if marks != 0 {
            return Some(passed + marks.trailing_zeros() as usize / 8);
        }
        passed += 8;
    }
    let found = words.remainder().iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'))?;
    Some(passed + found)
}

/// The top bit of the first of eight bytes that ends plain text, and of some after it; 0: none does.
///
/// A byte below n sets its top bit in `x - n` unless it had it before; a borrow reaches later bytes only.
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |bytes: u64, least: u64| bytes.wrapping_sub(ONES * least) & !bytes;
    let ends = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1);
    ends & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_ends_at_the_first_special_byte() {
        for byte in 0..=255_u8 {
            for place in 0..20 {
                let mut text = [b'!', 0x7f, 0x80, 0xff, b' ', b'#', b'[', b']'].repeat(3);
                text[place] = byte;
                text[22] = b'"';
                let expected = text.iter().position(|each| *each < 0x20 || *each == b'"' || *each == b'\\');
                assert_eq!(plain_len(&text), expected);
                assert_eq!(plain_len(&text[..22]), expected.filter(|at| *at < 22));
            }
        }
    }
}

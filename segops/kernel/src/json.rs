//! A validating scan of JSON. What is unusual is not an error here: the whole event is then Python's.

use crate::json_text::{each_once, hex4, plain_len};
pub use crate::json_text::{find, Str};
use crate::msgpack::Writer;
use crate::values::{scalar_of, Num, Scalar};

/// Deeper nesting is Python's.
const MAX_DEPTH: u32 = 60;
/// Integers of more digits are Python's.
const MAX_DIGITS: usize = 18;

/// The text is unusual or invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd;

/// A value; lists and objects keep their text.
#[derive(Clone, Copy, Debug)]
pub enum Val<'a> {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// a number
    Num(Num),
    /// a text
    Str(Str<'a>),
    /// a list
    List(&'a str),
    /// an object
    Obj(&'a str),
    /// a list or an object as msgpack
    Packed(&'a [u8]),
}

impl<'a> Val<'a> {
    /// The value as predicates read it.
    pub fn scalar(&self) -> Scalar<'a> {
        match self {
            Val::Null => Scalar::Missing,
            Val::Bool(value) => Scalar::Bool(*value),
            Val::Num(number) => Scalar::Num(*number),
            Val::Str(text) => Scalar::Text(text.get()),
            Val::List(_) => Scalar::List,
            Val::Obj(_) => Scalar::Object,
            Val::Packed(bytes) => scalar_of(bytes),
        }
    }

    /// Append the value as msgpack. Fails for an object with a repeated key, and with escapes in a key.
    pub fn write(&self, out: &mut Writer) -> Result<(), Odd> {
        match self {
            Val::Null => out.nil(),
            Val::Bool(value) => out.bool(*value),
            Val::Num(number) => number.write(out),
            Val::Str(text) => out.str(&text.get()),
            Val::List(text) => {
                let items = Scanner::new(text).items()?;
                out.array(items.len());
                for item in items {
                    item.write(out)?;
                }
            }
            Val::Obj(text) => {
                let pairs = Scanner::new(text).pairs(0)?;
                out.map(pairs.len());
                for (name, value) in pairs {
                    out.str(name);
                    value.write(out)?;
                }
            }
            Val::Packed(bytes) => out.raw(bytes),
        }
        Ok(())
    }
}

/// The members of an object, each name once and without escapes.
pub type Pairs<'a> = Vec<(&'a str, Val<'a>)>;

/// A position in a text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner at the begin of a text.
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Odd> {
        if self.peek() != byte {
            return Err(Odd);
        }
        self.at += 1;
        Ok(())
    }

    /// The position in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text from a former position to this one.
    pub fn since(&self, begin: usize) -> &'a str {
        &self.text[begin..self.at]
    }

    /// Whether only blanks are left.
    pub fn is_done(&mut self) -> bool {
        self.blanks();
        self.at == self.text.len()
    }

    fn string(&mut self) -> Result<Str<'a>, Odd> {
        self.expect(b'"')?;
        let (begin, bytes) = (self.at, self.text.as_bytes());
        let mut escaped = false;
        loop {
            self.at += plain_len(&bytes[self.at..]).ok_or(Odd)?;
            match bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(Str { raw: &self.text[begin..self.at - 1], escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(Odd),
            }
        }
    }

    /// Pass over an escape; half of a surrogate pair is odd.
    fn escape(&mut self) -> Result<(), Odd> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let point = self.hex(self.at + 2)?;
                self.at += 6;
                if (0xdc00..0xe000).contains(&point) {
                    return Err(Odd);
                }
                if (0xd800..0xdc00).contains(&point) {
                    let is_escape = bytes.get(self.at..self.at + 2) == Some(b"\\u");
                    if !is_escape || !(0xdc00..0xe000).contains(&self.hex(self.at + 2)?) {
                        return Err(Odd);
                    }
                    self.at += 6;
                }
            }
            _ => return Err(Odd),
        }
        Ok(())
    }

    fn hex(&self, at: usize) -> Result<u32, Odd> {
        let digits = self.text.as_bytes().get(at..at + 4).ok_or(Odd)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Odd);
        }
        Ok(hex4(self.text, at))
    }

    fn digits(&mut self) -> Result<usize, Odd> {
        let begin = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == begin {
            return Err(Odd);
        }
        Ok(self.at - begin)
    }

    fn number(&mut self) -> Result<Num, Odd> {
        let begin = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let leading = self.peek();
        let whole = self.digits()?;
        if leading == b'0' && whole > 1 {
            return Err(Odd);
        }
        let mut is_float = false;
        if self.peek() == b'.' {
            is_float = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            is_float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        let text = &self.text[begin..self.at];
        if is_float {
            let value: f64 = text.parse().map_err(|_| Odd)?;
            let is_plain = value.is_finite() && !(value == 0.0 && negative);
            return if is_plain { Ok(Num::Float(value)) } else { Err(Odd) };
        }
        if whole > MAX_DIGITS || (negative && leading == b'0') {
            return Err(Odd);
        }
        Ok(Num::Int(i128::from(text.parse::<i64>().map_err(|_| Odd)?)))
    }

    fn word(&mut self, word: &str) -> Result<(), Odd> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Odd);
        }
        self.at += word.len();
        Ok(())
    }

    /// Read the next value.
    pub fn value(&mut self, depth: u32) -> Result<Val<'a>, Odd> {
        self.blanks();
        if depth > MAX_DEPTH {
            return Err(Odd);
        }
        let begin = self.at;
        Ok(match self.peek() {
            b'"' => Val::Str(self.string()?),
            b'{' => {
                self.members(depth, |_, _| Ok(()))?;
                Val::Obj(&self.text[begin..self.at])
            }
            b'[' => {
                self.elements(depth, |_| ())?;
                Val::List(&self.text[begin..self.at])
            }
            b't' => {
                self.word("true")?;
                Val::Bool(true)
            }
            b'f' => {
                self.word("false")?;
                Val::Bool(false)
            }
            b'n' => {
                self.word("null")?;
                Val::Null
            }
            _ => Val::Num(self.number()?),
        })
    }

    fn elements(&mut self, depth: u32, mut note: impl FnMut(Val<'a>)) -> Result<(), Odd> {
        self.expect(b'[')?;
        self.blanks();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            note(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Odd),
            }
        }
    }

    /// Read an object: call ``note`` with each name and value.
    fn members(&mut self, depth: u32, mut note: impl FnMut(Str<'a>, Val<'a>) -> Result<(), Odd>) -> Result<(), Odd> {
        self.walk(|scanner, name| {
            let value = scanner.value(depth + 1)?;
            note(name, value)
        })
    }

    /// Read an object: ``note`` takes each value from the scanner.
    pub fn walk(&mut self, mut note: impl FnMut(&mut Self, Str<'a>) -> Result<(), Odd>) -> Result<(), Odd> {
        self.blanks();
        self.expect(b'{')?;
        self.blanks();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.expect(b':')?;
            self.blanks();
            note(self, name)?;
            self.blanks();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Odd),
            }
        }
    }

    fn items(&mut self) -> Result<Vec<Val<'a>>, Odd> {
        let mut found = Vec::new();
        self.elements(0, |item| found.push(item))?;
        Ok(found)
    }

    /// Read an object with each name once.
    pub fn pairs(&mut self, depth: u32) -> Result<Pairs<'a>, Odd> {
        let mut found = Vec::new();
        self.members(depth, |name, value| {
            found.push((name.plain()?, value));
            Ok(())
        })?;
        each_once(&found)?;
        Ok(found)
    }

    /// The name of a member, without escapes.
    pub fn plain(name: Str<'a>) -> Result<&'a str, Odd> {
        name.plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Scalar<'_>, Odd> {
        let mut scanner = Scanner::new(text);
        let found = scanner.value(0)?.scalar();
        if scanner.is_done() {
            Ok(found)
        } else {
            Err(Odd)
        }
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(value(r#""a\u00e9\n\ud83d\ude00\/""#), Ok(Scalar::Text("aé\n😀/".into())));
    }

    #[test]
    fn odd_texts() {
        let odd = [
            r#""\ud83d""#,
            r#""\udc00""#,
            "01",
            "-0",
            "-0.0",
            "1e999",
            "1234567890123456789",
            "nul",
            "[1,]",
            "\"a\nb\"",
            "1 2",
        ];
        for text in odd {
            assert_eq!(value(text), Err(Odd), "{text}");
        }
        assert!(Scanner::new(r#"{"a":1,"a":2}"#).pairs(0).is_err());
        assert!(Scanner::new(r#"{"\u0061":1}"#).pairs(0).is_err());
    }

    #[test]
    fn nested_values_become_msgpack() {
        let mut out = Writer::default();
        let text = r#"{"a":[1,2.5,null],"b":{"c":true}}"#;
        assert_eq!(Scanner::new(text).value(0).and_then(|found| found.write(&mut out)), Ok(()));
        assert_eq!(&out.0[..4], &[0x82, 0xa1, b'a', 0x93]);
        assert_eq!(&out.0[out.0.len() - 4..], &[0x81, 0xa1, b'c', 0xc3]);
    }

    #[test]
    fn deep_nesting_is_odd() {
        assert_eq!(value(&"[".repeat(100)), Err(Odd));
    }
}

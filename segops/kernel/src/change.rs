//! Membership changes as they are published: their ids, and the traits as JSON.

use sha2::{Digest, Sha256};

use crate::msgpack::{Kind, Reader};
use crate::profile::Profile;

/// The deterministic id of a change.
pub fn change_id(profile: &str, segment: &str, sequence: i64) -> String {
    let digest = Sha256::new()
        .chain_update(profile)
        .chain_update("|")
        .chain_update(segment)
        .chain_update("|")
        .chain_update(sequence.to_string())
        .finalize();
    let digits = b"0123456789abcdef";
    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(digits[usize::from(half)])).collect()
}

/// The traits of a profile as JSON, names in order at every level.
pub fn traits_json(profile: &Profile) -> String {
    let mut traits: Vec<(&str, &[u8])> = profile.traits.iter().map(|(name, value)| (&**name, &**value)).collect();
    traits.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let mut out = String::with_capacity(64);
    out.push('{');
    for (number, (name, value)) in traits.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        text(name, &mut out);
        out.push(':');
        // What is stored was written by the kernel or by msgspec: it is whole.
        let _ = json(&mut Reader::new(value), &mut out);
    }
    out.push('}');
    out
}

fn json(reader: &mut Reader<'_>, out: &mut String) -> Option<()> {
    match reader.kind()? {
        Kind::Nil => {
            reader.nil();
            out.push_str("null");
        }
        Kind::Bool => out.push_str(if reader.bool()? { "true" } else { "false" }),
        Kind::Int => out.push_str(&reader.wide()?.to_string()),
        Kind::Float => number(reader.float()?, out),
        Kind::Str => text(reader.str()?, out),
        Kind::Array => {
            out.push('[');
            for number in 0..reader.array()? {
                if number > 0 {
                    out.push(',');
                }
                json(reader, out)?;
            }
            out.push(']');
        }
        Kind::Map => object(reader, out)?,
    }
    Some(())
}

fn object(reader: &mut Reader<'_>, out: &mut String) -> Option<()> {
    let mut members = Vec::new();
    for _ in 0..reader.map()? {
        members.push((reader.str()?, reader.raw()?));
    }
    members.sort_unstable_by(|a, b| a.0.cmp(b.0));
    out.push('{');
    for (number, (name, value)) in members.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        text(name, out);
        out.push(':');
        json(&mut Reader::new(value), out)?;
    }
    out.push('}');
    Some(())
}

fn number(value: f64, out: &mut String) {
    if value.is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else {
        out.push_str("null");
    }
}

/// Append a text as JSON.
pub fn text(value: &str, out: &mut String) {
    out.push('"');
    let mut begin = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            8 => "\\b",
            12 => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&value[begin..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        begin = at + 1;
    }
    out.push_str(&value[begin..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::Writer;

    #[test]
    fn ids_are_those_of_python() {
        assert!(change_id("user_id:u1", "high-intent", 7).starts_with("eee18e462e97"));
    }

    #[test]
    fn traits_are_sorted_and_escaped() {
        let mut profile = Profile::new("user_id:u1");
        for (name, value) in [("b", "x\n\u{1}\"é"), ("a", "")] {
            let mut out = Writer::default();
            out.str(value);
            profile.traits.push((name.into(), out.0.into()));
        }
        assert_eq!(traits_json(&profile), "{\"a\":\"\",\"b\":\"x\\n\\u0001\\\"é\"}");
    }
}

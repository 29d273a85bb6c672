//! The rules for identifiers (`segops.schemas.identifying`, `segops.core.identifiers`).

use std::borrow::Cow;

use crate::json::{Odd, Val};
use crate::values::Num;

/// The rules for identifiers, as `segops.schemas.identifying.IdentityLimits` has them.
#[derive(Debug, Default)]
pub struct Limits {
    /// Values in lower case that identify no one.
    pub blocked: Vec<Box<str>>,
    /// Where an e-mail address is read from: 0 traits, 1 context.traits, 2 properties.
    pub email_sources: Vec<u8>,
    /// The used ones of user_id (0), email (1) and anonymous_id (2), the one to route by first.
    pub order: Vec<u8>,
    /// Types by rank; `*` stands for those that are not named.
    pub priority: Vec<Box<str>>,
    /// How many identifiers of a type one profile takes in implicitly.
    pub most: Vec<(Box<str>, usize)>,
    /// The same for other types.
    pub default_most: usize,
    /// The parts of an event's context that rules read.
    pub context: Vec<Box<str>>,
}

/// The part of an identifier before the first colon.
pub fn type_of(identifier: &str) -> &str {
    identifier.split_once(':').map_or(identifier, |(kind, _)| kind)
}

/// Whether an identifier names a known user.
pub fn is_user(identifier: &str) -> bool {
    type_of(identifier) == "user_id"
}

impl Limits {
    /// Whether one identifier is a profile's id rather than another.
    pub fn precedes(&self, one: &str, other: &str) -> bool {
        (self.rank(one), one) < (self.rank(other), other)
    }

    fn rank(&self, identifier: &str) -> usize {
        let of = |kind: &str| self.priority.iter().position(|each| &**each == kind);
        of(type_of(identifier)).or_else(|| of("*")).unwrap_or(self.priority.len())
    }

    /// How many identifiers of a type one profile takes in implicitly.
    pub fn limit(&self, kind: &str) -> usize {
        self.most.iter().find(|(each, _)| &**each == kind).map_or(self.default_most, |(_, most)| *most)
    }

    /// Return an identifier; None for a blocked value. Odd: Python has to decide.
    pub fn identifier<'a>(&self, text: Cow<'a, str>) -> Result<Option<Cow<'a, str>>, Odd> {
        if !text.is_ascii() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(Odd); // Python's tables say what is a blank, or a lower-case letter
        }
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(' ')),
            Cow::Owned(text) => Cow::Owned(text.trim_matches(' ').to_string()),
        };
        let is_blank = text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
        if is_blank || self.blocked.iter().any(|each| text.eq_ignore_ascii_case(each)) {
            return Ok(None);
        }
        Ok(Some(text))
    }

    /// Return an identifier as written. Odd: Python has to decide.
    pub fn written<'a>(&self, value: Option<Val<'a>>) -> Result<Option<Cow<'a, str>>, Odd> {
        match value {
            None | Some(Val::Null) => Ok(None),
            Some(Val::Str(text)) => self.identifier(text.get()),
            Some(Val::Num(Num::Int(number))) => self.identifier(Cow::Owned(number.to_string())),
            Some(_) => Err(Odd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_come_first_and_other_types_last() {
        let limits = Limits {
            priority: ["user_id", "email", "*"].map(Box::from).into(),
            most: vec![("user_id".into(), 1)],
            default_most: 5,
            ..Limits::default()
        };
        assert!(limits.precedes("user_id:b", "email:a") && limits.precedes("email:a", "loyalty:1"));
        assert!(limits.precedes("email:a", "email:b") && !limits.precedes("card:1", "card:1"));
        assert_eq!((limits.limit("user_id"), limits.limit("card")), (1, 5));
    }
}

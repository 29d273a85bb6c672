//! Which features an event is for: by its name, and by conditions on it (`segops.core.index`).

use crate::ask::Asking;
use crate::condition::Condition;
use crate::event::Event;
use crate::feature::{read_path, Path};
use crate::json::{Odd, Val};
use crate::msgpack::Reader;
use crate::tables::{read_texts, TextMap};

/// The features that read events of one name.
pub struct Watch {
    always: Vec<Watched>,
    by_value: Vec<(Path, TextMap<Vec<Watched>>)>,
}

impl Watch {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Watch> {
        reader.array().filter(|length| *length == 2)?;
        let always = reader.list(Watched::read)?;
        let by_value = reader.list(|reader| {
            reader.array().filter(|length| *length == 2)?;
            let path = read_path(reader)?;
            Some((path, read_texts(reader, |reader| reader.list(Watched::read))?))
        })?;
        Some(Watch { always, by_value })
    }

    /// Append the features that select an event, in order.
    pub fn select(&self, event: &Event<'_>, asking: &Asking, found: &mut Vec<u32>) -> Result<(), Odd> {
        for watched in &self.always {
            if watched.selects(event, asking)? {
                found.push(watched.feature);
            }
        }
        for (path, table) in &self.by_value {
            if let Some(Val::Str(text)) = event.property(path)? {
                for watched in table.get(&*text.get()).into_iter().flatten() {
                    if watched.selects(event, asking)? {
                        found.push(watched.feature);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A feature with the conditions on an event that select it.
pub struct Watched {
    /// The index of the feature.
    pub feature: u32,
    conditions: Vec<(Path, Condition)>,
}

impl Watched {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Watched> {
        reader.array().filter(|length| *length == 2)?;
        let feature = u32::try_from(reader.wide()?).ok()?;
        let conditions = reader.list(|reader| {
            reader.array().filter(|length| *length == 2)?;
            Some((read_path(reader)?, Condition::read(reader)?))
        })?;
        Some(Watched { feature, conditions })
    }

    /// Whether an event satisfies the conditions.
    pub fn selects(&self, event: &Event<'_>, asking: &Asking) -> Result<bool, Odd> {
        for (path, test) in &self.conditions {
            if !test.selects(event.property(path)?, asking)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

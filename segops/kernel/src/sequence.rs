//! Sequences of events: which events a step matches, and the state (`segops.core.features.sequence`).

use crate::ask::Asking;
use crate::condition::Condition;
use crate::event::Event;
use crate::feature::{read_path, Added, Feature, Path};
use crate::json::{Odd, Val};
use crate::msgpack::{Reader, Writer};
use crate::profile::NEVER;
use crate::search::Search;
use crate::state::{Blob, State};
use crate::values::{distinct_key, scalar_of, Scalar};

/// So many of the latest events are kept.
const MAX_LINKS: usize = 256;
/// The end of a span without one, in milliseconds.
pub const FOREVER: i64 = -NEVER;

/// One step. Lengths are in milliseconds.
#[derive(Debug)]
pub struct Step {
    /// The names of its events; None: any.
    names: Option<Path>,
    conditions: Vec<(Path, Condition)>,
    /// It follows the step before it within so long.
    pub within: Option<i64>,
    /// Its event must not happen.
    pub absent: bool,
    /// The numbers of compared values, each with the earlier step that has the same.
    pub same_as: Vec<(usize, usize)>,
}

/// Steps in order.
#[derive(Debug)]
pub struct Sequence {
    /// The steps.
    pub steps: Vec<Step>,
    paths: Vec<Path>,
    /// The greatest age of the event of the first step, in milliseconds.
    pub within: Option<i64>,
    /// Whether no other event may come between.
    pub strict: bool,
}

/// One event of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its time in milliseconds.
    pub time: i64,
    /// The steps that it matches, a bit each.
    pub steps: u64,
    /// Its compared values, as msgpack.
    values: Vec<Blob>,
    /// The keys of these; None: missing.
    pub keys: Vec<Option<Box<str>>>,
}

/// The events of a sequence, oldest first, and the spans of time in which it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chains {
    links: Vec<Link>,
    /// From when to when, excluded, in milliseconds.
    pub spans: Vec<(i64, i64)>,
}

/// The key that equal values share; None for one that is missing. Odd: Python has to compare it.
fn key_of(value: &[u8]) -> Result<Option<Box<str>>, Odd> {
    match scalar_of(value) {
        Scalar::Missing => Ok(None),
        scalar => Ok(Some(distinct_key(&scalar).ok_or(Odd)?.into())),
    }
}

impl Sequence {
    /// Read what `segops.kernel.tables` has written.
    pub fn read(reader: &mut Reader<'_>) -> Option<Sequence> {
        reader.array().filter(|fields| *fields == 4)?;
        Some(Sequence {
            steps: reader.list(read_step).filter(|steps| steps.len() <= 64)?,
            paths: reader.list(read_path)?,
            within: reader.opt_int()?,
            strict: reader.bool()?,
        })
    }

    /// What an event adds; None for one that is irrelevant.
    pub fn extract(&self, event: &Event<'_>, asking: &Asking) -> Result<Option<Added>, Odd> {
        let mut steps = 0_u64;
        for (number, step) in self.steps.iter().enumerate() {
            let is_named = step.names.as_ref().is_none_or(|names| names.iter().any(|name| **name == *event.name));
            if is_named && step.selects(event, asking)? {
                steps |= 1 << number;
            }
        }
        if steps == 0 && !self.strict {
            return Ok(None);
        }
        let mut link = Link { time: 0, steps, values: vec![], keys: vec![] };
        for path in &self.paths {
            let mut out = Writer::default();
            event.property(path)?.unwrap_or(Val::Null).write(&mut out)?;
            link.keys.push(key_of(&out.0)?);
            link.values.push(out.0.into());
        }
        Ok(Some(Added::Link(link)))
    }
}

impl Step {
    fn selects(&self, event: &Event<'_>, asking: &Asking) -> Result<bool, Odd> {
        for (path, test) in &self.conditions {
            if !test.selects(event.property(path)?, asking)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn read_step(reader: &mut Reader<'_>) -> Option<Step> {
    reader.array().filter(|fields| *fields == 5)?;
    Some(Step {
        names: if reader.nil() { None } else { Some(read_path(reader)?) },
        conditions: reader.list(|reader| {
            reader.array().filter(|fields| *fields == 2)?;
            Some((read_path(reader)?, Condition::read(reader)?))
        })?,
        within: reader.opt_int()?,
        absent: reader.bool()?,
        same_as: reader.list(|reader| {
            reader.array().filter(|fields| *fields == 2)?;
            Some((reader.size()?, reader.size()?))
        })?,
    })
}

impl Feature {
    /// Add an event of a sequence.
    pub fn add_link(&self, state: &mut Option<State>, time: i64, added: &Added, now: i64) -> bool {
        let (Some(sequence), Added::Link(link)) = (&self.sequence, added) else {
            return false;
        };
        let expired = sequence.within.map_or(NEVER, |within| now - within);
        if time <= expired {
            return false;
        }
        let mut links = match state {
            Some(State::Chains(chains)) => std::mem::take(&mut chains.links),
            _ => vec![],
        };
        links.retain(|link| link.time > expired);
        links.insert(links.partition_point(|known| known.time <= time), Link { time, ..link.clone() });
        let over = links.len().saturating_sub(MAX_LINKS);
        links.drain(..over);
        let spans = Search::new(sequence, &links).spans();
        *state = Some(State::Chains(Box::new(Chains { links, spans })));
        true
    }
}

impl Chains {
    /// The number of its events.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether the sequence holds at an instant.
    pub fn holds(&self, now: i64) -> bool {
        self.spans.iter().any(|(begin, end)| (*begin..*end).contains(&now))
    }

    /// The earliest instant after `now` at which that changes.
    pub fn next_edge(&self, now: i64) -> Option<i64> {
        let edges = self.spans.iter().flat_map(|(begin, end)| [*begin, *end]);
        edges.filter(|at| *at > now && *at < FOREVER).min()
    }

    /// Read a state after its tag.
    pub fn read(reader: &mut Reader<'_>) -> Option<Chains> {
        let links = reader.list(|reader| {
            reader.array().filter(|fields| *fields == 3)?;
            let (time, steps) = (reader.int()?, reader.uint()?);
            let values: Vec<Blob> = reader.list(|reader| reader.raw().map(Into::into))?;
            let keys = values.iter().map(|value| key_of(value)).collect::<Result<_, _>>().ok()?;
            Some(Link { time, steps, values, keys })
        })?;
        let spans = reader.list(|reader| {
            reader.array().filter(|ends| *ends == 2)?;
            Some((reader.int()?, reader.int()?))
        })?;
        Some(Chains { links, spans })
    }

    /// Append the state with its tag.
    pub fn write(&self, out: &mut Writer) {
        out.array(3);
        out.int(8);
        out.array(self.links.len());
        for link in &self.links {
            out.array(3);
            out.int(link.time);
            out.uint(link.steps);
            out.array(link.values.len());
            link.values.iter().for_each(|value| out.raw(value));
        }
        out.array(self.spans.len());
        for (begin, end) in &self.spans {
            out.array(2);
            out.int(*begin);
            out.int(*end);
        }
    }
}

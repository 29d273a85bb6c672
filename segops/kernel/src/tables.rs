//! The compiled definitions, as `segops.kernel.tables` writes them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::Xxh3;

use crate::ask::{Ask, Asking, Nobody};
use crate::feature::{read_indexes, read_path, Feature, Path};
use crate::limits::Limits;
use crate::msgpack::Reader;
use crate::reduce::Reducer;
use crate::rule::Node;
use crate::segment::{Rule, Segment};
use crate::values::Scalar;
use crate::watch::Watch;

/// A fast hasher of short keys.
#[derive(Default)]
pub struct FastHasher(Xxh3);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// A map by texts.
pub type TextMap<V> = HashMap<Box<str>, V, BuildHasherDefault<FastHasher>>;

/// The version of these tables; both sides must agree on it.
pub const TABLES: i64 = 5;

/// How rules read a trait: the kinds of values that they can read at a path within it.
pub struct Reading {
    path: Path,
    kinds: Vec<Box<str>>,
}

impl Reading {
    /// Whether a value fits, so that Python would count nothing; false if only Python knows.
    pub fn fits(&self, value: &Scalar<'_>) -> bool {
        let kind = match value {
            Scalar::Missing => return true,
            Scalar::Bool(_) => "boolean",
            Scalar::Num(_) => "number",
            Scalar::Text(_) => "string",
            Scalar::List => "list",
            Scalar::Object => "object",
        };
        let is_date = |text: &str| matches!(crate::dates::instant(text), crate::dates::Read::At(_));
        self.kinds.iter().any(|each| match (&**each, value) {
            ("date", Scalar::Text(text)) => is_date(text),
            (each, _) => each == kind,
        })
    }

    /// The path below the trait.
    pub fn below(&self) -> &[Box<str>] {
        self.path.get(1..).unwrap_or(&[])
    }
}

/// A feature that keeps the history of a trait.
pub struct History {
    path: Path,
    /// The feature.
    pub feature: u32,
}

impl History {
    /// The path of its value below the trait.
    pub fn below(&self) -> &[Box<str>] {
        self.path.get(1..).unwrap_or(&[])
    }
}

/// Segments by the part of the profile that they read, and whether Python evaluates one of them.
#[derive(Default)]
pub struct Part {
    /// The segments.
    pub segments: Vec<u32>,
    /// Whether Python evaluates one of them.
    pub is_foreign: bool,
}

/// The parts of a profile that rules read.
pub enum Reads {
    /// The first event.
    First,
    /// The latest event.
    Latest,
    /// The location.
    Location,
    /// The names.
    Identifiers,
    /// Segments that contain a profile without events.
    Blank,
    /// Static lists.
    Lists,
}

/// The compiled definitions.
pub struct Tables {
    /// The version of the set.
    pub version: Box<str>,
    /// Segments in order, then indicators.
    pub segments: Vec<Segment>,
    /// Their indexes by key.
    pub index: TextMap<u32>,
    /// The features.
    pub features: Vec<Feature>,
    /// Their indexes by id.
    pub feature_index: HashMap<u64, u32>,
    watches: TextMap<Watch>,
    watch_of_any: Option<Watch>,
    by_trait: TextMap<Part>,
    readings: TextMap<Vec<Reading>>,
    /// By trait, the features that keep its history, each with the path of the value.
    histories: TextMap<Vec<History>>,
    /// Paths of traits that rules read as dates.
    pub dates: Vec<Path>,
    parts: [Part; 6],
    /// The rules for identifiers.
    pub limits: Limits,
    /// An event that makes a profile larger than so many bytes is Python's.
    pub max_bytes: u64,
    /// Python, which answers questions.
    pub asking: Asking,
    /// Whether a window is the period of a calendar.
    pub has_calendars: bool,
}

impl Tables {
    /// Read the tables; None if they are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Option<Tables> {
        Tables::read_with(bytes, Box::new(Nobody))
    }

    /// Read the tables, with the Python that answers questions.
    pub fn read_with(bytes: &[u8], python: Box<dyn Ask>) -> Option<Tables> {
        let mut reader = Reader::new(bytes);
        reader.array().filter(|fields| *fields == 14)?;
        if reader.int()? != TABLES {
            return None;
        }
        let version = reader.str()?.into();
        let features = reader.list(Feature::read)?;
        let segments = reader.list(|reader| Segment::read(reader, |rule| is_known(rule, &features)))?;
        let mut tables = Tables {
            version,
            index: (0..).zip(&segments).map(|(number, segment)| (segment.key.clone(), number)).collect(),
            feature_index: (0..).zip(&features).map(|(number, feature)| (feature.id, number)).collect(),
            segments,
            features,
            watches: read_texts(&mut reader, Watch::read)?,
            watch_of_any: if reader.nil() { None } else { Some(Watch::read(&mut reader)?) },
            by_trait: read_texts(&mut reader, read_part)?,
            readings: read_texts(&mut reader, |reader| reader.list(read_reading))?,
            histories: read_texts(&mut reader, |reader| reader.list(read_history))?,
            dates: reader.list(read_path)?,
            parts: read_parts(&mut reader)?,
            limits: read_limits(&mut reader)?,
            max_bytes: reader.uint()?,
            asking: Asking::new(python),
            has_calendars: reader.bool()?,
        };
        tables.mark_foreign();
        reader.is_done().then_some(tables)
    }

    fn mark_foreign(&mut self) {
        let segments = &self.segments;
        let is_foreign = |number: &u32| match segments.get(*number as usize) {
            Some(segment) => matches!(segment.rule, Rule::Python),
            None => true,
        };
        let foreign = |of: &[u32]| of.iter().any(is_foreign);
        for feature in &mut self.features {
            feature.is_foreign = foreign(&feature.segments);
        }
        for part in self.by_trait.values_mut().chain(&mut self.parts) {
            part.is_foreign = foreign(&part.segments);
        }
    }

    /// The features that read events of a name.
    pub fn watch(&self, name: &str) -> Option<&Watch> {
        self.watches.get(name).or(self.watch_of_any.as_ref())
    }

    /// The segments that read a trait.
    pub fn of_trait(&self, name: &str) -> Option<&Part> {
        self.by_trait.get(name)
    }

    /// How rules read a trait.
    pub fn readings(&self, name: &str) -> &[Reading] {
        self.readings.get(name).map_or(&[], Vec::as_slice)
    }

    /// The features that keep the history of a trait.
    pub fn histories(&self, name: &str) -> &[History] {
        self.histories.get(name).map_or(&[], Vec::as_slice)
    }

    /// The segments that read a part of the profile.
    pub fn part(&self, reads: Reads) -> &Part {
        &self.parts[reads as usize]
    }

    /// Whether Python evaluates a segment.
    pub fn is_foreign(&self, segment: u32) -> bool {
        matches!(self.segments[segment as usize].rule, Rule::Python)
    }
}

/// Whether each feature of a rule is one that the kernel changes.
fn is_known(rule: &Node, features: &[Feature]) -> bool {
    let known = |feature: &u32| features.get(*feature as usize).is_some_and(|found| found.reducer != Reducer::Python);
    match rule {
        Node::All(of) | Node::Any(of) | Node::AtLeast(_, of) => of.iter().all(|node| is_known(node, features)),
        Node::Ahead(of) | Node::Not(of) => is_known(of, features),
        Node::Count { feature, .. } | Node::Sum { feature, .. } => known(feature),
        Node::Picked { feature, .. } | Node::Age { feature, .. } => known(feature),
        Node::HasBeen(leaf) => known(&leaf.feature),
        Node::Tested(leaf) => leaf.figure.features().iter().all(known),
        Node::Compared(leaf) => leaf.features().iter().all(known),
        Node::Frozen(leaf) => is_known(&leaf.of, features),
        Node::Since(feature, ..) | Node::Sequence(feature) => known(feature),
        Node::Rfm(leaf) => known(&leaf.feature),
        Node::OrderScore(leaf) => known(&leaf.feature),
        Node::FigureScore(leaf) => leaf.features().all(|feature| known(&feature)),
        Node::Recency(..) | Node::Place(..) => true,
        Node::Trait(..) | Node::KnownFor(_) | Node::Bucket { .. } => true,
        Node::HasIdentifier(_) | Node::Member(_) => true,
    }
}

/// Read a map by texts.
pub fn read_texts<V>(
    reader: &mut Reader<'_>,
    mut value: impl FnMut(&mut Reader<'_>) -> Option<V>,
) -> Option<TextMap<V>> {
    let mut found = TextMap::default();
    for _ in 0..reader.map()? {
        found.insert(reader.str()?.into(), value(reader)?);
    }
    Some(found)
}

fn read_part(reader: &mut Reader<'_>) -> Option<Part> {
    Some(Part { segments: read_indexes(reader)?, is_foreign: false })
}

fn read_history(reader: &mut Reader<'_>) -> Option<History> {
    reader.array().filter(|fields| *fields == 2)?;
    Some(History { path: read_path(reader)?, feature: u32::try_from(reader.wide()?).ok()? })
}

fn read_parts(reader: &mut Reader<'_>) -> Option<[Part; 6]> {
    reader.list(read_part)?.try_into().ok()
}

fn read_reading(reader: &mut Reader<'_>) -> Option<Reading> {
    reader.array().filter(|fields| *fields == 2)?;
    Some(Reading { path: read_path(reader)?, kinds: read_path(reader)? })
}

fn read_limits(reader: &mut Reader<'_>) -> Option<Limits> {
    reader.array().filter(|fields| *fields == 7)?;
    let numbers = |reader: &mut Reader<'_>| reader.list(|reader| u8::try_from(reader.wide()?).ok());
    Some(Limits {
        blocked: read_path(reader)?,
        email_sources: numbers(reader)?,
        order: numbers(reader)?,
        priority: read_path(reader)?,
        most: reader.list(|reader| {
            reader.array().filter(|fields| *fields == 2)?;
            Some((reader.str()?.into(), reader.size()?))
        })?,
        default_most: reader.size()?,
        context: read_path(reader)?,
    })
}

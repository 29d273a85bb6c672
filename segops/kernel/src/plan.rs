//! What an event will do to a profile, found before anything changes: what only Python can do is left to it whole.

use crate::ask::{Fed, Origin};
use crate::engine::{Engine, Why};
use crate::event::Event;
use crate::feature::{Added, Feature};
use crate::json::Val;
use crate::msgpack::Writer;
use crate::profile::Profile;
use crate::reduce::Reducer;
use crate::state::{Blob, State};
use crate::tables::{Part, Reads};
use crate::values::{below, scalar_of, Scalar};

/// What an event adds to a feature.
pub enum Feed {
    /// Something that the kernel adds.
    Native(Added),
    /// What Python has added.
    Asked(Fed),
}

/// What an event will do to a profile.
pub struct Plan<'a> {
    /// The features that it changes, in order.
    pub feeds: Vec<(u32, Feed)>,
    /// The traits that it sets, each as msgpack, and whether that is null.
    pub traits: Vec<(&'a str, Blob, bool)>,
    /// The histories of traits that it adds to.
    pub histories: Vec<(u32, Added)>,
    /// The hash of its message.
    pub message: u64,
}

/// Whether an event gives a name to a profile that has none of its type, or removes its e-mail address.
fn becomes_known(profile: &Profile, event: &Event<'_>, time: i64) -> bool {
    let after = [event.user.is_some(), event.anonymous.is_some(), event.email.is_some()];
    let says = [after[0], after[1], after[2] || event.email_removed];
    profile
        .names
        .iter()
        .zip(after)
        .zip(says)
        .any(|((name, after), says)| says && time >= name.time && name.value.is_some() != after)
}

/// Err if Python evaluates one of the segments of a part.
pub fn foreign(part: &Part) -> Result<(), Why> {
    if part.is_foreign {
        return Err(Why::Segment);
    }
    Ok(())
}

impl Engine<'_> {
    /// Decide whether the kernel can take the whole step, and read what the event adds.
    pub fn plan<'a>(
        &self,
        profile: &Profile,
        event: &Event<'a>,
        origin: Origin<'_>,
        message: u64,
    ) -> Result<Plan<'a>, Why> {
        self.plan_dates(profile, event, origin.time)?;
        let mut plan = Plan { feeds: vec![], traits: vec![], histories: vec![], message };
        self.plan_traits(profile, event, origin.time, &mut plan)?;
        self.plan_feeds(profile, event, origin, &mut plan)?;
        Ok(plan)
    }

    fn plan_feeds(
        &self,
        profile: &Profile,
        event: &Event<'_>,
        origin: Origin<'_>,
        plan: &mut Plan<'_>,
    ) -> Result<(), Why> {
        let Some(watch) = self.tables.watch(&event.name) else {
            return Ok(());
        };
        let mut selected = Vec::new();
        watch.select(event, &self.tables.asking, &mut selected)?;
        let mut asked = self.asked(profile, event, origin, &selected)?.into_iter();
        for number in selected {
            let feature = &self.tables.features[number as usize];
            if feature.is_foreign {
                return Err(Why::Segment);
            }
            if profile.state(number).is_some_and(Feature::is_long) {
                return Err(Why::Large);
            }
            let feed = if feature.reducer == Reducer::Python {
                asked.next().flatten().map(Feed::Asked)
            } else {
                feature.extract(event, (origin.time, origin.source), &self.tables.asking)?.map(Feed::Native)
            };
            plan.feeds.extend(feed.map(|feed| (number, feed)));
        }
        Ok(())
    }

    /// What the event adds to those of the features that Python changes, in order.
    fn asked(
        &self,
        profile: &Profile,
        event: &Event<'_>,
        origin: Origin<'_>,
        selected: &[u32],
    ) -> Result<Vec<Option<Fed>>, Why> {
        let features = &self.tables.features;
        let of_python = selected.iter().filter(|number| features[**number as usize].reducer == Reducer::Python);
        let asked: Vec<(u32, Option<&[u8]>)> = of_python
            .map(|number| match profile.state(*number) {
                Some(State::Raw(bytes)) => (*number, Some(&**bytes)),
                _ => (*number, None),
            })
            .collect();
        if asked.is_empty() {
            return Ok(vec![]);
        }
        let raw = event.raw.ok_or(Why::Feature)?;
        self.tables.asking.python.feed(raw, origin, &asked).map_err(|_| Why::Feature)
    }

    fn plan_dates(&self, profile: &Profile, event: &Event<'_>, time: i64) -> Result<(), Why> {
        let tables = self.tables;
        if profile.first.is_none() {
            foreign(tables.part(Reads::Blank))?;
            if profile.has_lists() {
                return Err(Why::Segment);
            }
        }
        if profile.first.is_none_or(|first| time < first) {
            foreign(tables.part(Reads::First))?;
        }
        if time > profile.latest {
            foreign(tables.part(Reads::Latest))?;
        }
        if event.location.is_some() && time >= profile.location_ms {
            foreign(tables.part(Reads::Location))?;
        }
        if becomes_known(profile, event, time) {
            foreign(tables.part(Reads::Identifiers))?;
        }
        Ok(())
    }

    fn plan_traits<'a>(&self, profile: &Profile, event: &Event<'a>, time: i64, plan: &mut Plan<'a>) -> Result<(), Why> {
        for (name, value) in event.merged_traits() {
            let known = profile.trait_times.iter().find(|(known, _)| **known == *name);
            let is_late = known.is_some_and(|(_, at)| time < *at);
            let histories = self.tables.histories(name);
            if is_late && histories.is_empty() {
                continue;
            }
            let mut out = Writer::default();
            value.write(&mut out)?;
            for history in histories {
                self.plan_history(profile, history.feature)?;
                let mut null = Writer::default();
                null.nil();
                let value = below(&out.0, history.below()).map_or_else(|| null.0.into(), Blob::from);
                plan.histories.push((history.feature, Added::Value(value)));
            }
            if is_late {
                continue;
            }
            if self.tables.of_trait(name).is_some_and(|part| part.is_foreign) {
                return Err(Why::Segment);
            }
            for reading in self.tables.readings(name) {
                if !reading.fits(&below(&out.0, reading.below()).map_or(Scalar::Missing, scalar_of)) {
                    return Err(Why::Event);
                }
            }
            plan.traits.push((name, out.0.into(), matches!(value, Val::Null)));
        }
        Ok(())
    }

    fn plan_history(&self, profile: &Profile, number: u32) -> Result<(), Why> {
        let feature = &self.tables.features[number as usize];
        if feature.is_foreign || feature.reducer == Reducer::Python {
            return Err(Why::Segment);
        }
        if profile.state(number).is_some_and(Feature::is_long) {
            return Err(Why::Large);
        }
        Ok(())
    }
}

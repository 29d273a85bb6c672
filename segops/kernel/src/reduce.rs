//! Reducers: how a feature changes its state, by its window and by what it keeps (`segops.core.features.families`).

use crate::state::State;

/// Which event of several a feature keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// That of the least value.
    Min,
    /// That of the greatest value.
    Max,
    /// The latest one, with its value.
    Latest,
    /// The earliest one, with its value.
    Earliest,
    /// The earliest one, of which only the time is read.
    First,
    /// The latest one, of which only the time is read.
    Last,
}

/// What is kept of each event, after an anchor or in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A number that is added up.
    Sum,
    /// A number that is compared.
    Number,
    /// The key of a distinct value.
    Key,
    /// The value, or nothing.
    Value,
    /// The value in a list.
    List,
}

/// How a feature changes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reducer {
    /// Python is asked.
    Python,
    /// The values of a trait.
    History,
    /// The events after an anchor.
    Since(Kept),
    /// The events in a window, all of them.
    Scan(Kept),
    /// The sessions that begin in a window.
    Sessions,
    /// The latest sessions.
    Session,
    /// The periods with an event.
    Periods,
    /// The periods of a lifecycle.
    Lifecycle,
    /// Orders, and statements about them.
    Orders,
    /// The events of a sequence.
    Sequence,
    /// The number of all events.
    RunCount,
    /// The sum of all values.
    RunSum,
    /// All distinct values.
    RunDistinct,
    /// One of all events.
    RunPick(Pick),
    /// The number of events in a sliding window.
    SlideCount,
    /// The number and sum of values in a sliding window.
    SlideSum,
    /// The distinct values in a sliding window.
    SlideDistinct,
    /// One of the events in a sliding window.
    SlidePick(Pick),
}

impl Reducer {
    /// The reducer of a name.
    pub fn of(name: &str) -> Option<Reducer> {
        let pick = |name: &str| {
            Some(match name {
                "min" => Pick::Min,
                "max" => Pick::Max,
                "latest" => Pick::Latest,
                "earliest" => Pick::Earliest,
                "first" => Pick::First,
                "last" => Pick::Last,
                _ => return None,
            })
        };
        let (family, kind) = name.split_once('_').unwrap_or((name, ""));
        Some(match (family, kind) {
            ("python", "") => Reducer::Python,
            ("history", "") => Reducer::History,
            ("sequence", "") => Reducer::Sequence,
            ("sessions", "") => Reducer::Sessions,
            ("session", "") => Reducer::Session,
            ("periods", "") => Reducer::Periods,
            ("lifecycle", "") => Reducer::Lifecycle,
            ("orders", "") => Reducer::Orders,
            ("since", "sum") => Reducer::Since(Kept::Sum),
            ("since", "min" | "max") => Reducer::Since(Kept::Number),
            ("since", "distinct") => Reducer::Since(Kept::Key),
            ("since", "count" | "latest" | "earliest") => Reducer::Since(Kept::Value),
            ("scan", "sum") => Reducer::Scan(Kept::Sum),
            ("scan", "min" | "max") => Reducer::Scan(Kept::Number),
            ("scan", "distinct") => Reducer::Scan(Kept::Key),
            ("scan", "count" | "latest" | "earliest") => Reducer::Scan(Kept::Value),
            ("scan", "most_frequent") => Reducer::Scan(Kept::List),
            ("run", "count") => Reducer::RunCount,
            ("run", "sum") => Reducer::RunSum,
            ("run", "distinct") => Reducer::RunDistinct,
            ("run", kind) => Reducer::RunPick(pick(kind)?),
            ("slide", "count") => Reducer::SlideCount,
            ("slide", "sum") => Reducer::SlideSum,
            ("slide", "distinct") => Reducer::SlideDistinct,
            ("slide", kind) => Reducer::SlidePick(pick(kind)?),
            _ => return None,
        })
    }

    /// Whether a stored state has the form that this reducer changes.
    pub fn fits(self, state: &State) -> bool {
        if let State::Frozen(frozen) = state {
            return frozen.states().all(|state| self.fits(state));
        }
        match self {
            Reducer::Python => true,
            Reducer::Sequence => matches!(state, State::Chains(_)),
            Reducer::Orders => matches!(state, State::Orders(_)),
            Reducer::Since(_) => matches!(state, State::Since(_)),
            Reducer::Sessions => matches!(state, State::Sessions(found) if !found.is_recent),
            Reducer::Session => matches!(state, State::Sessions(found) if found.is_recent),
            Reducer::Periods | Reducer::Lifecycle => matches!(state, State::Marks(_)),
            Reducer::Scan(_) => matches!(state, State::Entries(_)),
            Reducer::RunCount => matches!(state, State::Tally { .. }),
            Reducer::RunSum => matches!(state, State::Total { .. }),
            Reducer::RunDistinct => matches!(state, State::Keys { .. }),
            Reducer::RunPick(_) => matches!(state, State::Running { .. }),
            Reducer::SlideCount => matches!(state, State::Times(_)),
            Reducer::SlideSum => matches!(state, State::Sums(_)),
            Reducer::History | Reducer::SlideDistinct | Reducer::SlidePick(_) => matches!(state, State::Values { .. }),
        }
    }
}

//! The clock of a partition by the event times of its records (`segops.streaming.partition.clock`).

/// The mark of a source that was not heard of.
const UNKNOWN: i64 = -(1 << 62);

/// The clock, which Python owns; it is here while records are fed. Times are in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The latest time of each source.
    pub marks: Vec<i64>,
    /// Which sources are idle.
    pub idle: Vec<bool>,
    /// The least mark of those that are not.
    pub least: i64,
    /// The time.
    pub now: i64,
    /// Whether event times are observed.
    pub by_events: bool,
    /// Whether they move the clock: else reports of other partitions do.
    pub moves: bool,
}

impl Clock {
    /// Advance by the event time of a record; false for an unknown source. Again, it changes nothing.
    pub fn observe(&mut self, source: usize, time: i64) -> bool {
        if !self.by_events {
            return true;
        }
        let (Some(mark), Some(idle)) = (self.marks.get_mut(source), self.idle.get_mut(source)) else {
            return false;
        };
        let former = *mark;
        if time > former {
            *mark = time;
        } else if !*idle {
            return true;
        }
        if former > self.least && !*idle {
            return true;
        }
        *idle = false;
        self.recompute();
        if self.moves && self.least > self.now {
            self.now = self.least;
        }
        true
    }

    fn recompute(&mut self) {
        let awake = self.marks.iter().zip(&self.idle).filter(|(_, idle)| !**idle).map(|(mark, _)| *mark).min();
        self.least = awake.or_else(|| self.marks.iter().copied().max()).unwrap_or(UNKNOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_source_decides() {
        let mut clock = Clock {
            marks: vec![UNKNOWN; 2],
            idle: vec![false; 2],
            least: UNKNOWN,
            now: 0,
            by_events: true,
            moves: true,
        };
        assert!(clock.observe(0, 5_000));
        assert_eq!(clock.now, 0);
        assert!(clock.observe(1, 3_000));
        assert_eq!(clock.now, 3_000);
        assert!(!clock.observe(2, 1));
        clock.idle[1] = true;
        assert!(clock.observe(1, 2_000));
        assert_eq!((clock.now, clock.idle[1]), (3_000, false));
    }
}

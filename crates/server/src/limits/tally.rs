//! What an account is known to use between two counts, and whether more fits. Pure.
//!
//! A count of everything stored takes a while and is made now and then. In between, every put that
//! is let through is added as if it could only grow the account, so that what is known is never
//! less than what this node wrote: a quota is exceeded only by what other nodes wrote since the
//! last count.

use vb_api::oss::Fault;
use vb_engine::Usage;

/// The largest use that is allowed; `None`: any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ceiling {
    pub(super) vectors: Option<u64>,
    pub(super) bytes: Option<u64>,
}

impl Ceiling {
    /// Whether anything has a ceiling.
    pub(super) fn is_set(&self) -> bool {
        self.vectors.is_some() || self.bytes.is_some()
    }

    /// Whether `growth` fits on top of what is used. What does not grow always fits.
    ///
    /// # Errors
    /// [`Fault::VectorsQuota`], [`Fault::BytesQuota`].
    pub(super) fn check(&self, used: Usage, growth: Usage) -> Result<(), Fault> {
        let fits = |ceiling: Option<u64>, used: u64, growth: u64| {
            growth == 0 || ceiling.is_none_or(|ceiling| used.saturating_add(growth) <= ceiling)
        };
        if !fits(self.vectors, used.records, growth.records) {
            return Err(Fault::VectorsQuota);
        }
        let bytes_fit = fits(self.bytes, used.bytes, growth.bytes);
        if bytes_fit { Ok(()) } else { Err(Fault::BytesQuota) }
    }
}

/// What one account is known to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// As of the last count.
    counted: Usage,
    /// Everything let through since the process started.
    added: Usage,
    /// What of it was there when the last count began.
    before: Usage,
}

/// A count that is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counting(Usage);

impl Tally {
    /// A count begins.
    pub(super) fn begin(&self) -> Counting {
        Counting(self.added)
    }

    /// A count is done. What was let through while it was made is counted again: it may have seen it
    /// or not.
    pub(super) fn end(&mut self, counting: Counting, counted: Usage) {
        (self.counted, self.before) = (counted, counting.0);
    }

    /// What is used, at most as far as this node knows.
    pub(super) fn used(&self) -> Usage {
        Usage {
            records: self.counted.records.saturating_add(self.added.records - self.before.records),
            bytes: self.counted.bytes.saturating_add(self.added.bytes - self.before.bytes),
        }
    }

    /// Lets a growth through if it fits.
    ///
    /// # Errors
    /// As [`Ceiling::check`]; then nothing has changed.
    pub(super) fn add(&mut self, ceiling: &Ceiling, growth: Usage) -> Result<(), Fault> {
        ceiling.check(self.used(), growth)?;
        self.added += growth;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(records: u64, bytes: u64) -> Usage {
        Usage { records, bytes }
    }

    #[test]
    fn what_does_not_grow_always_fits() {
        let ceiling = Ceiling { vectors: Some(10), bytes: Some(100) };
        let full = usage(20, 200);
        assert_eq!(ceiling.check(full, usage(0, 0)), Ok(()));
        assert_eq!(ceiling.check(full, usage(1, 0)), Err(Fault::VectorsQuota));
        assert_eq!(ceiling.check(full, usage(0, 1)), Err(Fault::BytesQuota));
        assert_eq!(ceiling.check(usage(9, 99), usage(1, 1)), Ok(()));
        assert_eq!(Ceiling::default().check(full, usage(u64::MAX, u64::MAX)), Ok(()));
    }

    #[test]
    fn a_count_forgets_what_was_added_before_it() {
        let ceiling = Ceiling { vectors: Some(10), bytes: None };
        let mut tally = Tally::default();
        tally.add(&ceiling, usage(6, 60)).unwrap();
        let counting = tally.begin();
        tally.add(&ceiling, usage(3, 30)).unwrap();
        assert_eq!(tally.add(&ceiling, usage(2, 20)), Err(Fault::VectorsQuota));
        // Half of the first were overwrites.
        tally.end(counting, usage(3, 30));
        assert_eq!(tally.used(), usage(6, 60));
        tally.add(&ceiling, usage(2, 20)).unwrap();
    }

    proptest! {
        /// However counts fall, one node alone never exceeds the ceiling.
        #[test]
        fn one_node_alone_stays_below(
            steps in prop::collection::vec((0u64..30, 0u64..30, any::<bool>(), any::<bool>()), 1..100),
        ) {
            let ceiling = Ceiling { vectors: Some(100), bytes: None };
            let (mut tally, mut stored, mut counting) = (Tally::default(), 0, None);
            for (rows, new, begins, ends) in steps {
                let new = new.min(rows);
                if begins && counting.is_none() {
                    counting = Some((tally.begin(), stored));
                }
                if tally.add(&ceiling, usage(rows, 0)).is_ok() {
                    stored += new;
                }
                prop_assert!(stored <= tally.used().records, "{stored} {tally:?}");
                prop_assert!(stored <= 100);
                if let Some((begun, seen)) = counting.take_if(|_| ends) {
                    // The count saw nothing, or all, of what came while it was made.
                    let counted = if begins { seen } else { stored };
                    tally.end(begun, usage(counted, 0));
                }
            }
        }
    }
}

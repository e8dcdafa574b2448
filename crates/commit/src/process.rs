//! What a process brings along: the protocol's rules, its batch numbers, its randomness.
//!
//! A real process is [`Process::real`]. A simulation runs several in one, each with a series of its
//! own, and with rules taken out of the protocol to show that it notices.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::manifest::Manifest;
use crate::rules::Rules;
use crate::slot::WriterId;

/// The batch numbers of this process: one rising series over all its logs and stores.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A process as the protocol sees it. Clones are the same process.
#[doc(hidden)]
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    rules: Rules,
    simulated: Option<Simulated>,
}

struct Simulated {
    numbers: AtomicU64,
    random: Box<dyn Fn() -> u128 + Send + Sync>,
    /// What a collection that decides from memory remembers, per log.
    remembered: Mutex<BTreeMap<String, Manifest>>,
}

impl Process {
    /// This process, by all the rules.
    pub(crate) fn real() -> Self {
        Self(Arc::new(Inner { rules: Rules::SOUND, simulated: None }))
    }

    /// One of several processes in a simulation.
    pub fn simulated(rules: Rules, random: impl Fn() -> u128 + Send + Sync + 'static) -> Self {
        let simulated = Simulated {
            numbers: AtomicU64::new(1),
            random: Box::new(random),
            remembered: Mutex::default(),
        };
        Self(Arc::new(Inner { rules, simulated: Some(simulated) }))
    }

    pub(crate) fn rules(&self) -> Rules {
        self.0.rules
    }

    /// Takes `count` consecutive batch numbers and returns the first.
    pub(crate) fn take_numbers(&self, count: usize) -> u64 {
        let numbers = self.0.simulated.as_ref().map_or(&NUMBERS, |simulated| &simulated.numbers);
        numbers.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// The incarnation of a new life of a log.
    pub(crate) fn incarnation(&self) -> u64 {
        match &self.0.simulated {
            Some(simulated) => (simulated.random)() as u64,
            None => WriterId::random().0 as u64,
        }
    }

    /// Known bad, see [`Rules::collect_fresh`]: notes the manifest an open log knows.
    pub(crate) fn remember(&self, prefix: &str, manifest: &Manifest) {
        if let (false, Some(simulated)) = (self.0.rules.collect_fresh, &self.0.simulated) {
            let mut remembered =
                simulated.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.insert(prefix.to_owned(), manifest.clone());
        }
    }

    /// Known bad, see [`Rules::collect_fresh`].
    pub(crate) fn remembered(&self, prefix: &str) -> Option<Manifest> {
        let simulated = self.0.simulated.as_ref()?;
        let remembered = simulated.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(prefix).cloned()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.simulated.is_some() { "simulated" } else { "real" };
        write!(f, "Process({kind}, {:?})", self.0.rules)
    }
}

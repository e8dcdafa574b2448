//! Each thing is loaded once, however many ask for it meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::error::Error;

/// Loads that are under way.
#[derive(Debug)]
pub(super) struct Flights<K: Ord, V>(Arc<Mutex<BTreeMap<K, Wait<V>>>>);

/// Who is to load a thing.
pub(super) enum Ticket<K: Ord, V> {
    /// Whoever asked: nobody else does.
    Mine(Flight<K, V>),
    /// Somebody who does already.
    Others(Wait<V>),
}

/// The duty to load one thing. Dropped without [`Flight::land`], it leaves it to those who wait.
#[derive(Debug)]
pub(super) struct Flight<K: Ord, V> {
    flights: Flights<K, V>,
    key: K,
    landing: Wait<V>,
}

/// Waiting for a flight to end.
#[derive(Debug)]
pub(super) struct Wait<V>(Arc<Landing<V>>);

#[derive(Debug)]
struct Landing<V> {
    outcome: OnceLock<Result<V, Error>>,
    /// Closed at the end of the flight. Never has a permit; wakes those who wait in their order.
    end: Semaphore,
}

impl<V> Clone for Wait<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Ord, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone, V> Flights<K, V> {
    /// Joins the flight of `key`, or opens one.
    pub(super) fn board(&self, key: K) -> Ticket<K, V> {
        match self.0.lock().entry(key.clone()) {
            Entry::Occupied(flight) => Ticket::Others(flight.get().clone()),
            Entry::Vacant(place) => {
                let end = Semaphore::new(0);
                let landing = Wait(Arc::new(Landing { outcome: OnceLock::new(), end }));
                place.insert(landing.clone());
                Ticket::Mine(Flight { flights: Self(Arc::clone(&self.0)), key, landing })
            }
        }
    }
}

impl<K: Ord, V> Flight<K, V> {
    /// For whoever opened the flight to wait like the others.
    pub(super) fn wait(&self) -> Wait<V> {
        self.landing.clone()
    }

    /// Tells everybody. What was loaded must be where the next ones look before this is called.
    pub(super) fn land(self, outcome: Result<V, Error>) {
        let first = self.landing.0.outcome.set(outcome).is_ok();
        debug_assert!(first, "a flight lands once");
    }
}

impl<K: Ord, V> Drop for Flight<K, V> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
        self.landing.0.end.close();
    }
}

impl<V: Clone> Wait<V> {
    /// The outcome; `None` if the flight was given up.
    pub(super) async fn landed(self) -> Option<Result<V, Error>> {
        let ended = self.0.end.acquire().await;
        debug_assert!(ended.is_err(), "there are no permits");
        self.0.outcome.get().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Flights, Ticket};
    use crate::error::Error;

    fn is_mine(flights: &Flights<u8, u32>, key: u8) -> bool {
        matches!(flights.board(key), Ticket::Mine(_))
    }

    #[tokio::test]
    async fn everybody_gets_what_one_loads() {
        let flights = Flights::default();
        let Ticket::Mine(flight) = flights.board(1) else { panic!("nobody loads it") };
        let waiting: Vec<_> = (0..3)
            .map(|_| match flights.board(1) {
                Ticket::Others(wait) => wait,
                Ticket::Mine(_) => panic!("one load is enough"),
            })
            .collect();
        assert!(is_mine(&flights, 2), "other keys have their own flights");
        flight.land(Ok(7));
        for wait in waiting {
            assert!(matches!(wait.landed().await, Some(Ok(7))));
        }
        assert!(is_mine(&flights, 1), "it landed");
    }

    #[tokio::test]
    async fn a_flight_that_is_given_up_leaves_the_load_to_the_others() {
        let flights = Flights::<u8, u32>::default();
        let Ticket::Mine(flight) = flights.board(1) else { panic!("nobody loads it") };
        let Ticket::Others(wait) = flights.board(1) else { panic!("it is under way") };
        drop(flight);
        assert!(wait.landed().await.is_none());
        assert!(is_mine(&flights, 1));
    }

    #[tokio::test]
    async fn failures_are_told_too() {
        let flights = Flights::<u8, u32>::default();
        let Ticket::Mine(flight) = flights.board(1) else { panic!("nobody loads it") };
        let wait = flight.wait();
        flight.land(Err(Error::Closed));
        assert!(matches!(wait.landed().await, Some(Err(Error::Closed))));
    }
}

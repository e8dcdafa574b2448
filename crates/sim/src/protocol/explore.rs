//! Visits every reachable state of a bounded world.

use std::collections::{HashMap, HashSet, VecDeque};

use super::fingerprint::{Fingerprints, fingerprint};
use super::scenario::Scenario;
use super::world::{Action, Violation, World};

/// What an exploration found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    /// Different states visited.
    pub states: u64,
    /// Steps taken between them.
    pub steps: u64,
    /// What went wrong first, and the steps that lead there; `None`: nothing, anywhere.
    pub violation: Option<String>,
}

/// Visits every state, or stops at the first violation.
///
/// Depth first, which keeps few states in memory; `shortest` searches breadth first instead and so
/// finds a shortest way to a violation.
pub fn explore(scenario: &Scenario, shortest: bool) -> Explored {
    let mut search = Search::default();
    let first = World::begin(scenario);
    let mut frontier = VecDeque::from([(fingerprint(&first), first)]);
    search.seen.insert(frontier[0].0);
    while let Some((at, world)) = if shortest { frontier.pop_front() } else { frontier.pop_back() }
    {
        if let Err(violation) = world.probe() {
            let way = shortest.then(|| search.way(at, None, scenario));
            return search.end(Some(describe(&violation, way)));
        }
        for action in world.actions(scenario) {
            search.steps += 1;
            let mut next = world.clone();
            if let Err(violation) = next.step(scenario, action) {
                let way = shortest.then(|| search.way(at, Some(action), scenario));
                return search.end(Some(describe(&violation, way)));
            }
            let to = fingerprint(&next);
            if search.seen.insert(to) {
                if shortest {
                    search.came.insert(to, (at, action));
                }
                frontier.push_back((to, next));
            }
        }
    }
    search.end(None)
}

#[derive(Default)]
struct Search {
    seen: HashSet<u128, Fingerprints>,
    came: HashMap<u128, (u128, Action), Fingerprints>,
    steps: u64,
}

impl Search {
    fn end(self, violation: Option<String>) -> Explored {
        Explored { states: self.seen.len() as u64, steps: self.steps, violation }
    }

    /// The steps that lead to `at`, then the last one, each with what it did to the objects.
    fn way(&self, at: u128, last: Option<Action>, scenario: &Scenario) -> Vec<String> {
        let mut actions = Vec::from_iter(last);
        let mut at = at;
        while let Some((before, action)) = self.came.get(&at) {
            actions.push(*action);
            at = *before;
        }
        let mut world = World::begin(scenario);
        let mut lines = Vec::new();
        for action in actions.into_iter().rev() {
            let asked = world.pending(action);
            let _ = world.step(scenario, action);
            lines.push(format!("{action}{asked}"));
        }
        lines
    }
}

fn describe(violation: &Violation, way: Option<Vec<String>>) -> String {
    let steps = way.into_iter().flatten().map(|line| format!("\n  {line}"));
    std::iter::once(violation.0.clone()).chain(steps).collect()
}

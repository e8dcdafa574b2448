//! Model checking of the commit protocol: every interleaving of a bounded world.
//!
//! The world is one log, a few processes and a store. Each process drives the production
//! [`Machine`](vb_commit::machine::Machine); the model only decides when each request is executed,
//! whether its reply arrives, and what the processes want next. A state is the store's objects,
//! every process, and the requests still under way; [`explore()`] visits every reachable one.
//!
//! **Time.** Being sent, executed and answered are separate in the world. What a process does
//! between an answer and the execution of its next request touches nobody else, so an answer is
//! delivered at once and the *next* execution waits instead: every order of executions is explored,
//! and with it every stall of every process between any two of its requests. Requests sent at once
//! are executed in any order, with other processes' between them, and answered when the last one
//! is. Only where a check and a create are under way beside each other is a reply's arrival an event
//! of its own. Reads of several slots are executed slot by slot.
//!
//! **Faults**, from a budget: a create may go unanswered and stay under way, to be executed at any
//! later time or never (a lost request, a lost reply, a late duplicate); a create may be executed
//! and then answered "exists" (a retry inside the client), or be answered so and stay under way (a
//! conflict with a create that fails); a list or read may fail. A crash is a process that takes no
//! further step, which the order of steps covers.
//!
//! **Checks**, in every state (see `oracle`): the log as the store's objects define it only ever
//! grows at its end; no batch is in it twice; whatever was acknowledged is in it, whatever was
//! reported as certainly not written never is; what a process has applied is always a beginning of
//! it; a strong read shows everything acknowledged before it began (every process reads in
//! every state, through its log if it is idle and by proof whatever it does; reads that others interrupt have a budget); manifests count their batches right;
//! nothing is appended to a closed log.

mod actor;
mod collector;
mod explore;
mod fingerprint;
mod oracle;
mod reduction;
mod scenario;
mod shared;
mod world;

pub use explore::{Explored, explore};
pub use scenario::{Scenario, full, known_bad, quick};

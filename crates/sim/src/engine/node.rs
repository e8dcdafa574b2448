//! A simulated process: an engine on a runtime of its own, with a clock of its own.
//!
//! The runtime has one thread (the simulation's) and runs only inside [`Node::run_to`]: a node that
//! is not run stands still between two instructions, as a stopped process does, and when it goes on
//! all its timers have run out at once. A crash drops the runtime with every task at whatever it
//! waits for. Its clock is paused and jumps to the next timer when there is nothing else to do.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep_until};
use vb_engine::Engine;

/// How a node tells the simulation that it is to be looked at.
#[derive(Debug)]
pub(super) struct Signal {
    raised: AtomicBool,
    idle: AtomicBool,
    dead: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// The world's time at which the node's clock began, and that moment.
    began: Mutex<Option<(u64, Instant)>>,
}

impl Signal {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            raised: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            waker: Mutex::new(None),
            began: Mutex::new(None),
        })
    }

    /// Something left the node: once it has nothing else to do, the world goes on.
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// The node's time in the world's milliseconds.
    pub(super) fn now(&self) -> u64 {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        began.map_or(0, |(at, instant)| at + instant.elapsed().as_millis() as u64)
    }

    /// The runtime is about to sleep.
    fn parked(&self) {
        if self.raised.load(Ordering::Relaxed) {
            self.idle.store(true, Ordering::Relaxed);
            if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
                waker.wake_by_ref();
            }
        }
    }
}

/// One process.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) life: u64,
    pub(super) signal: Arc<Signal>,
    runtime: Runtime,
    /// The world's time up to which the node has run.
    clock: u64,
    /// The engine, once it is open.
    pub(super) engine: Option<Engine>,
    /// Not run before this time.
    pub(super) stalled_until: u64,
}

impl Node {
    /// A process started at `now`.
    pub(super) fn start(number: usize, life: u64, now: u64) -> Self {
        let signal = Signal::new();
        let hook = Arc::clone(&signal);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || hook.parked())
            .build()
            .expect("a runtime without I/O needs nothing of the system");
        let began = runtime.block_on(async { Instant::now() });
        *signal.began.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, began));
        Self { number, life, signal, runtime, clock: now, engine: None, stalled_until: 0 }
    }

    /// Starts a task on the node.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Whether it stands still at `now`.
    pub(super) fn is_stalled(&self, now: u64) -> bool {
        now < self.stalled_until
    }

    /// Runs everything that is ready; no time passes.
    pub(super) fn run_ready(&mut self) {
        self.signal.raise();
        self.run(self.clock + 1);
    }

    /// Runs up to the world's time `until`, or until something left the node.
    pub(super) fn run_to(&mut self, until: u64) {
        if until > self.clock {
            self.run(until);
        }
    }

    /// The node stood still; now its clock shows `now`.
    pub(super) fn resume(&mut self, now: u64) {
        if now > self.clock {
            let slept = Duration::from_millis(now - self.clock);
            self.runtime.block_on(tokio::time::advance(slept));
            self.clock = now;
        }
        self.run_ready();
    }

    fn run(&mut self, until: u64) {
        let signal = Arc::clone(&self.signal);
        self.runtime.block_on(async {
            let wait = Duration::from_millis(until - signal.now());
            let sleep = Box::pin(sleep_until(Instant::now() + wait));
            Turn { signal: &signal, sleep }.await;
        });
        self.signal.raised.store(false, Ordering::Relaxed);
        self.clock = self.clock.max(self.runtime.block_on(async { signal.now() }));
    }

    /// The process is killed: everything in it is gone, wherever it stood.
    pub(super) fn kill(self) {
        self.signal.dead.store(true, Ordering::Relaxed);
        drop(self.engine);
        self.runtime.shutdown_background();
    }
}

/// Ends when the node is idle after it raised its signal, or when its time has come.
struct Turn<'a> {
    signal: &'a Signal,
    sleep: Pin<Box<Sleep>>,
}

impl Future for Turn<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.idle.swap(false, Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let mut waker = self.signal.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *waker = Some(context.waker().clone());
        drop(waker);
        self.sleep.as_mut().poll(context)
    }
}

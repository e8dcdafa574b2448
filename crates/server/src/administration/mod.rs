//! Administering accounts: what there is to do, once, for two front ends.
//!
//! `vectorbucket admin` over a store and the admin API of a running service ask for the same
//! [`Verb`]s with the same arguments and get the same answers:
//!
//! ```text
//! command line --\                                                 /-- text or JSON
//!                 Verb + Arguments --Order::parse--> Order --Desk--> Value
//! HTTP body -----/                                                 \-- JSON
//! ```
//!
//! An [`Order`] that exists is complete. Whether somebody may give it is not asked here: the front
//! end does, with [`Order::touches`] and [`Verb::right`]. No answer holds a secret but the one that
//! makes an access key.

mod arguments;
mod change;
mod desk;
mod explain;
mod order;
mod refusal;
mod show;
mod verb;

pub(crate) use arguments::Arguments;
pub(crate) use desk::{Buckets, Desk, credentials};
pub(crate) use order::{Order, Touched};
pub(crate) use refusal::{Code, Refusal};
pub(crate) use verb::{Argument, Form, NOUNS, Right, VERBS, Verb};

//! The bucket's machine and its bytes.

use std::sync::Arc;

use bytes::Bytes;
use vb_search::{Metric, Schema, VectorField};

use super::command::{Command, CreateIndex};
use super::state::{Applied, Bucket, Dropped, Rejection};
use crate::records::{
    BucketChange, BucketSettings, IndexId, IndexSettings, IndexState, LoggingTarget,
};

fn create_bucket() -> Command {
    let settings = BucketSettings {
        resource_group: "rg".to_owned(),
        tags: vec![("k".to_owned(), "v".to_owned())],
    };
    Command::CreateBucket { created_ms: 5, settings }
}

fn create_index(name: &str, id: u128, indexes_max: u32) -> Command {
    let field = VectorField { name: "float32".into(), dimension: 3, metric: Metric::Cosine };
    let schema = Schema { vector_fields: vec![field], non_filterable: vec!["note".into()] };
    let settings = Arc::new(IndexSettings { schema, wire: Bytes::from_static(b"wire") });
    Command::CreateIndex(CreateIndex {
        name: name.as_bytes().into(),
        id: IndexId(id),
        created_ms: 6,
        indexes_max,
        settings,
    })
}

fn mark_deleted(id: u128) -> Command {
    Command::MarkDeleted { id: IndexId(id), at_ms: 9 }
}

/// One of each command and change.
pub(crate) fn commands() -> Vec<Command> {
    let target =
        LoggingTarget { bucket: "logs".to_owned(), prefix: "p".to_owned(), role: "r".to_owned() };
    let tags = vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())];
    let changes = [
        BucketChange::Policy(Some(Bytes::from_static(b"{}"))),
        BucketChange::Policy(None),
        BucketChange::Logging(Some(target)),
        BucketChange::Logging(None),
        BucketChange::Tags(tags),
        BucketChange::RemoveTags(Some(vec!["a".to_owned()])),
        BucketChange::RemoveTags(None),
        BucketChange::ResourceGroup("rg-2".to_owned()),
    ];
    let mut commands: Vec<Command> = changes.into_iter().map(Command::Configure).collect();
    commands.insert(0, create_bucket());
    commands.extend([
        create_index("one", 1, 10),
        create_index("two", 2, 10),
        Command::MarkDeleting(IndexId(1)),
        mark_deleted(1),
        Command::MarkDeleting(IndexId(2)),
        Command::Swept(IndexId(77)),
        Command::DeleteBucket,
    ]);
    commands
}

/// A bucket with everything a bucket can have.
pub(crate) fn full_bucket() -> Bucket {
    let mut bucket = Bucket::default();
    for command in commands() {
        // The last one is refused: an index is left.
        let _ = bucket.apply(&command);
    }
    let policy = BucketChange::Policy(Some(Bytes::from_static(b"{\"a\":1}")));
    bucket.apply(&Command::Configure(policy)).unwrap();
    bucket
}

#[test]
fn commands_and_states_come_back() {
    for command in commands() {
        assert_eq!(Command::decode(command.encode()), Ok(command));
    }
    let bucket = full_bucket();
    assert!(bucket.live.is_some() && !bucket.dropped.is_empty());
    assert_eq!(Bucket::decode(bucket.encode()), Ok(bucket));
    assert_eq!(Bucket::decode(Bucket::default().encode()), Ok(Bucket::default()));
}

/// Applies commands to an empty bucket and compares every outcome.
fn check(history: &[(Command, Result<Applied, Rejection>)]) -> Bucket {
    let mut bucket = Bucket::default();
    for (number, (command, outcome)) in history.iter().enumerate() {
        let before = bucket.clone();
        assert_eq!(bucket.judge(command), *outcome, "step {number}");
        assert_eq!(bucket.apply(command), *outcome, "step {number}");
        if outcome.is_err() {
            assert_eq!(bucket, before, "a rejected command changes nothing");
        }
    }
    bucket
}

const DONE: Result<Applied, Rejection> = Ok(Applied::Done);

#[test]
fn a_bucket_is_created_once_and_again_after_deletion() {
    check(&[
        (Command::DeleteBucket, Err(Rejection::NoSuchBucket)),
        (create_index("i", 1, 1), Err(Rejection::NoSuchBucket)),
        (Command::Configure(BucketChange::Policy(None)), Err(Rejection::NoSuchBucket)),
        (create_bucket(), DONE),
        (create_bucket(), Ok(Applied::BucketThere)),
        (Command::DeleteBucket, DONE),
        (Command::DeleteBucket, Err(Rejection::NoSuchBucket)),
        (create_bucket(), DONE),
    ]);
}

#[test]
fn an_index_holds_its_name_until_it_is_deleted() {
    let bucket = check(&[
        (create_bucket(), DONE),
        (create_index("i", 1, 2), DONE),
        (create_index("i", 2, 2), Err(Rejection::IndexExists)),
        (create_index("j", 3, 2), DONE),
        (create_index("k", 4, 2), Err(Rejection::TooManyIndexes)),
        (mark_deleted(1), Err(Rejection::NoSuchIndex)),
        (Command::MarkDeleting(IndexId(9)), Err(Rejection::NoSuchIndex)),
        (Command::MarkDeleting(IndexId(1)), DONE),
        (Command::MarkDeleting(IndexId(1)), DONE),
        (create_index("i", 5, 9), Err(Rejection::IndexExists)),
        (Command::DeleteBucket, Err(Rejection::BucketNotEmpty)),
        (mark_deleted(1), DONE),
        (mark_deleted(1), DONE),
        (create_index("i", 5, 2), DONE),
    ]);
    assert_eq!(bucket.dropped, [Dropped { id: IndexId(1), at_ms: 9 }]);
    assert!(bucket.half_dropped().is_empty());
    assert_eq!(bucket.index_of(IndexId(5)).map(|index| index.state), Some(IndexState::Live));
}

#[test]
fn dropped_ids_survive_the_bucket_until_they_are_swept() {
    let mut bucket = check(&[
        (create_bucket(), DONE),
        (create_index("i", 1, 2), DONE),
        (Command::MarkDeleting(IndexId(1)), DONE),
        (mark_deleted(1), DONE),
        (Command::DeleteBucket, DONE),
        (mark_deleted(1), DONE),
    ]);
    assert_eq!(bucket.dropped.len(), 1);
    assert_eq!(bucket.apply(&Command::Swept(IndexId(1))), DONE);
    assert!(bucket.dropped.is_empty());
}

//! Bucket policy operations.

use super::operation::{Api, Field, Kind, Operation, Place};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "put-bucket-policy",
        api: Api::PutBucketPolicy,
        about: "Set a bucket's policy",
        // Text, not JSON: the service keeps the document byte for byte.
        fields: &[Field::new(
            "body",
            Place::Body,
            Kind::Text,
            "The policy document, or file://PATH",
        )
        .required()],
    },
    Operation {
        name: "get-bucket-policy",
        api: Api::GetBucketPolicy,
        about: "Show a bucket's policy",
        fields: &[],
    },
    Operation {
        name: "delete-bucket-policy",
        api: Api::DeleteBucketPolicy,
        about: "Remove a bucket's policy",
        fields: &[],
    },
];

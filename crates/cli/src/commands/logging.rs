//! Access log settings.

use super::operation::{Api, Field, Kind, Operation, Place};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "put-bucket-logging",
        api: Api::PutBucketLogging,
        about: "Have a bucket's access log delivered",
        fields: &[Field::new(
            "bucket-logging-status",
            Place::Body,
            Kind::Json,
            "{\"BucketLoggingStatus\":{\"LoggingEnabled\":{\"TargetBucket\":\"logs\",\"TargetPrefix\":\"p/\"}}}",
        )
        .required()],
    },
    Operation {
        name: "get-bucket-logging",
        api: Api::GetBucketLogging,
        about: "Show where a bucket's access log goes",
        fields: &[],
    },
    Operation {
        name: "delete-bucket-logging",
        api: Api::DeleteBucketLogging,
        about: "Stop delivering a bucket's access log",
        fields: &[],
    },
];

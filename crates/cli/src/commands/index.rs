//! Index operations.

use super::operation::{Api, Field, Kind, Operation, Place};

/// The index an operation is about.
pub(super) const INDEX_NAME: Field =
    Field::new("index-name", Place::Member("indexName"), Kind::Text, "Vector index").required();

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "put-vector-index",
        api: Api::PutVectorIndex,
        about: "Make an index",
        fields: &[
            INDEX_NAME,
            Field::new("data-type", Place::Member("dataType"), Kind::Text, "float32"),
            Field::new(
                "dimension",
                Place::Member("dimension"),
                Kind::Integer,
                "Numbers per vector, 1-4096",
            ),
            Field::new(
                "distance-metric",
                Place::Member("distanceMetric"),
                Kind::Text,
                "euclidean or cosine",
            ),
            Field::new(
                "metadata",
                Place::Member("metadata"),
                Kind::Json,
                "{\"nonFilterableMetadataKeys\":[\"text\"]}",
            ),
        ],
    },
    Operation {
        name: "get-vector-index",
        api: Api::GetVectorIndex,
        about: "Show an index",
        fields: &[INDEX_NAME],
    },
    Operation {
        name: "list-vector-indexes",
        api: Api::ListVectorIndexes,
        about: "List a bucket's indexes",
        fields: &[
            Field::new(
                "max-results",
                Place::Member("maxResults"),
                Kind::Integer,
                "Indexes per answer, 1-500 (default 100)",
            ),
            Field::new(
                "next-token",
                Place::Member("nextToken"),
                Kind::Text,
                "Go on after the previous answer",
            ),
            Field::new("prefix", Place::Member("prefix"), Kind::Text, "Only names that start so"),
        ],
    },
    Operation {
        name: "delete-vector-index",
        api: Api::DeleteVectorIndex,
        about: "Delete an index and all its vectors",
        fields: &[INDEX_NAME],
    },
];

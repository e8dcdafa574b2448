//! Vector operations.

use super::index::INDEX_NAME;
use super::operation::{Api, Field, Kind, Operation, Place};

const RETURN_DATA: Field =
    Field::new("return-data", Place::Member("returnData"), Kind::Bool, "Answer with the vectors");
const RETURN_METADATA: Field = Field::new(
    "return-metadata",
    Place::Member("returnMetadata"),
    Kind::Bool,
    "Answer with the metadata",
);
const FILTER: Field = Field::new(
    "filter",
    Place::Member("filter"),
    Kind::Json,
    "Only records whose metadata match: {\"year\":{\"$gte\":2020}}",
);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "put-vectors",
        api: Api::PutVectors,
        about: "Write vectors, replacing those whose keys exist",
        fields: &[
            INDEX_NAME,
            Field::new(
                "vectors",
                Place::Member("vectors"),
                Kind::Json,
                "[{\"key\":\"a\",\"data\":{\"float32\":[0.1,0.2]},\"metadata\":{}}]",
            )
            .required(),
        ],
    },
    Operation {
        name: "get-vectors",
        api: Api::GetVectors,
        about: "Read vectors by key",
        fields: &[
            INDEX_NAME,
            Field::new(
                "keys",
                Place::Member("keys"),
                Kind::Keys,
                "Keys; a JSON array if one holds a comma",
            )
            .required(),
            RETURN_DATA,
            RETURN_METADATA,
        ],
    },
    Operation {
        name: "list-vectors",
        api: Api::ListVectors,
        about: "List an index's vectors, a page an answer",
        fields: &[
            INDEX_NAME,
            Field::new(
                "max-results",
                Place::Member("maxResults"),
                Kind::Integer,
                "Vectors per answer, 1-1000 (default 500)",
            ),
            Field::new(
                "next-token",
                Place::Member("nextToken"),
                Kind::Text,
                "Go on after the previous answer",
            ),
            RETURN_DATA,
            RETURN_METADATA,
            Field::new(
                "segment-count",
                Place::Member("segmentCount"),
                Kind::Integer,
                "Divide the index into so many parts, 1-16",
            ),
            Field::new(
                "segment-index",
                Place::Member("segmentIndex"),
                Kind::Integer,
                "List this part, from 0",
            ),
            FILTER,
        ],
    },
    Operation {
        name: "delete-vectors",
        api: Api::DeleteVectors,
        about: "Delete vectors by key",
        fields: &[
            INDEX_NAME,
            Field::new(
                "keys",
                Place::Member("keys"),
                Kind::Keys,
                "Keys; a JSON array if one holds a comma",
            )
            .required(),
        ],
    },
    Operation {
        name: "query-vectors",
        api: Api::QueryVectors,
        about: "Find the nearest vectors",
        fields: &[
            INDEX_NAME,
            Field::new(
                "query-vector",
                Place::Member("queryVector"),
                Kind::Json,
                "{\"float32\":[0.1,0.2]}",
            )
            .required(),
            Field::new("top-k", Place::Member("topK"), Kind::Integer, "How many to find, 1-500")
                .required(),
            FILTER,
            Field::new(
                "return-distance",
                Place::Member("returnDistance"),
                Kind::Bool,
                "Answer with the distances",
            ),
            RETURN_METADATA,
        ],
    },
];

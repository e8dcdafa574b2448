//! Bucket operations, with tags and resource group.

use super::operation::{Api, Field, Kind, Operation, Place};

const GROUP_HEADER: Place = Place::Header("x-oss-resource-group-id");

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "put-vector-bucket",
        api: Api::PutVectorBucket,
        about: "Make a bucket",
        fields: &[
            Field::new(
                "resource-group-id",
                GROUP_HEADER,
                Kind::Text,
                "Resource group of the new bucket",
            ),
            Field::new(
                "tagging",
                Place::Header("x-oss-bucket-tagging"),
                Kind::Text,
                "Tags of the new bucket: k1=v1&k2=v2",
            ),
        ],
    },
    Operation {
        name: "get-vector-bucket",
        api: Api::GetVectorBucket,
        about: "Show a bucket",
        fields: &[],
    },
    Operation {
        name: "list-vector-buckets",
        api: Api::ListVectorBuckets,
        about: "List the account's buckets",
        fields: &[
            Field::new("prefix", Place::Query("prefix"), Kind::Text, "Only names that start so"),
            Field::new("marker", Place::Query("marker"), Kind::Text, "Go on after this name"),
            Field::new(
                "max-keys",
                Place::Query("max-keys"),
                Kind::Integer,
                "Buckets per answer, 1-1000 (default 100)",
            ),
            Field::new(
                "resource-group-id",
                GROUP_HEADER,
                Kind::Text,
                "Only buckets of this resource group",
            ),
        ],
    },
    Operation {
        name: "delete-vector-bucket",
        api: Api::DeleteVectorBucket,
        about: "Delete a bucket that has no indexes",
        fields: &[],
    },
    Operation {
        name: "put-bucket-tags",
        api: Api::PutBucketTags,
        about: "Set a bucket's tags",
        fields: &[Field::new(
            "tagging",
            Place::Body,
            Kind::Json,
            "{\"Tagging\":{\"TagSet\":{\"Tag\":[{\"Key\":\"k\",\"Value\":\"v\"}]}}}",
        )
        .required()],
    },
    Operation {
        name: "get-bucket-tags",
        api: Api::GetBucketTags,
        about: "Show a bucket's tags",
        fields: &[],
    },
    Operation {
        name: "delete-bucket-tags",
        api: Api::DeleteBucketTags,
        about: "Remove a bucket's tags, all or those named",
        fields: &[Field::new("tagging", Place::SelectValue, Kind::Text, "Only these keys: k1,k2")],
    },
    Operation {
        name: "put-bucket-resource-group",
        api: Api::PutBucketResourceGroup,
        about: "Move a bucket to a resource group",
        fields: &[Field::new(
            "bucket-resource-group-configuration",
            Place::Body,
            Kind::Json,
            "{\"BucketResourceGroupConfiguration\":{\"ResourceGroupId\":\"rg-...\"}}",
        )
        .required()],
    },
    Operation {
        name: "get-bucket-resource-group",
        api: Api::GetBucketResourceGroup,
        about: "Show a bucket's resource group",
        fields: &[],
    },
];

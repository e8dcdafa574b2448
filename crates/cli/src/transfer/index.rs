//! The index a transfer is about.

use serde::Deserialize;

use crate::call::Call;
use crate::client::Client;
use crate::commands::object;
use crate::failure::Failure;
use crate::values;

/// What a transfer needs to know about its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) dimension: usize,
    pub(super) metric: String,
    /// When it was made; an index made again under the same name has another time.
    pub(super) created: String,
}

impl Index {
    pub(super) fn is_cosine(&self) -> bool {
        self.metric == "cosine"
    }
}

/// Bucket and index by name.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) bucket: String,
    pub(super) index: String,
}

/// The settings of an index to be made.
pub(super) struct Plan<'a> {
    pub(super) dimension: usize,
    pub(super) metric: &'a str,
    pub(super) non_filterable: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    index: Described,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    dimension: usize,
    distance_metric: String,
    #[serde(default)]
    create_time: String,
}

/// The index as the service describes it.
pub(super) fn describe(client: &Client, place: &Place) -> Result<Index, Failure> {
    let body = object(&[("indexName", values::string(&place.index))]);
    let answer = client.send(&Call::json(&place.bucket, "getVectorIndex", body))?;
    let Answer { index } =
        serde_json::from_slice(&answer).map_err(|error| Failure::Answer(error.to_string()))?;
    Ok(Index {
        dimension: index.dimension,
        metric: index.distance_metric,
        created: index.create_time,
    })
}

/// Makes the index; one that is there already stays as it is.
pub(super) fn create(client: &Client, place: &Place, plan: &Plan<'_>) -> Result<(), Failure> {
    let mut members = vec![
        ("indexName", values::string(&place.index)),
        ("dataType", values::string("float32")),
        ("dimension", values::raw(&plan.dimension)),
        ("distanceMetric", values::string(plan.metric)),
    ];
    if !plan.non_filterable.is_empty() {
        let names = object(&[("nonFilterableMetadataKeys", values::raw(&plan.non_filterable))]);
        let names = String::from_utf8(names).expect("names are text");
        members.push(("metadata", values::json("non-filterable", &names)?));
    }
    let made = client.send(&Call::json(&place.bucket, "putVectorIndex", object(&members)));
    forgive(made, "VectorBucketIndexAlreadyExist")
}

/// Makes the bucket; one that is there already stays as it is.
pub(super) fn create_bucket(client: &Client, bucket: &str) -> Result<(), Failure> {
    let call = Call { method: "PUT", query: Vec::new(), ..Call::json(bucket, "", Vec::new()) };
    forgive(client.send(&call), "BucketAlreadyExists")
}

fn forgive(made: Result<Vec<u8>, Failure>, code: &str) -> Result<(), Failure> {
    match made {
        Err(failure) if failure.code() == Some(code) => Ok(()),
        made => made.map(|_| ()),
    }
}

//! Answers: exact bodies and headers.
//!
//! Bodies are written straight into bytes, without a JSON tree. Numbers use the shortest digits
//! that read back to the same `f32`.

mod bucket;
mod headers;
mod index;
mod logging;
mod vector;

pub use bucket::{BucketInfo, BucketPage, bucket_info, bucket_list, resource_group, tagging};
pub use headers::{CONTENT_TYPE_JSON, common_headers, error_headers};
pub use index::{IndexInfo, IndexStatus, index_info, index_list};
pub use logging::bucket_logging;
pub use vector::{Explanation, HitRow, VectorRow, query_result, vector_list};

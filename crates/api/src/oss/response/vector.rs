//! Vector answers: the hot path of reads.

/// One record of GetVectors or ListVectors.
#[derive(Clone, Copy, Debug)]
pub struct VectorRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The vector, if asked for.
    pub data: Option<&'a [f32]>,
    /// The metadata object as written, if asked for and present.
    pub metadata: Option<&'a [u8]>,
}

/// One result of QueryVectors.
#[derive(Clone, Copy, Debug)]
pub struct HitRow<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The distance, if asked for.
    pub distance: Option<f32>,
    /// The metadata object as written, if asked for and present.
    pub metadata: Option<&'a [u8]>,
}

/// `{"vectors":[...]}`, with `nextToken` when there is a further page.
pub fn vector_list<'a>(
    _rows: impl IntoIterator<Item = VectorRow<'a>>,
    _next_token: Option<&str>,
) -> Vec<u8> {
    unimplemented!()
}

/// `{"vectors":[...]}` of a query.
pub fn query_result<'a>(_hits: impl IntoIterator<Item = HitRow<'a>>) -> Vec<u8> {
    unimplemented!()
}

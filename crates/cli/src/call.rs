//! One request to the service, described before it is signed or sent.

/// What to ask of the service. Pure data: no address, no credentials, no time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// HTTP method.
    pub(crate) method: &'static str,
    /// The bucket it is about; `None` asks the account.
    pub(crate) bucket: Option<String>,
    /// Query pairs, decoded, in the order they are sent. An empty value is sent as a bare key.
    pub(crate) query: Vec<(String, String)>,
    /// Headers beyond those every request has.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// A call of the JSON operation `operation` (`putVectors`, ...) on a bucket.
    pub(crate) fn json(bucket: &str, operation: &str, body: Vec<u8>) -> Self {
        Self {
            method: "POST",
            bucket: Some(bucket.to_owned()),
            query: vec![(operation.to_owned(), String::new())],
            headers: Vec::new(),
            body,
        }
    }

    /// The query string, percent-encoded, without the question mark.
    pub(crate) fn query_string(&self) -> String {
        let pairs = self.query.iter().map(|(key, value)| match value.as_str() {
            "" => encode(key),
            value => format!("{}={}", encode(key), encode(value)),
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        out
    })
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::Call;

    #[test]
    fn query_strings_keep_bare_keys_and_encode_values() {
        let mut call = Call::json("b", "tagging", Vec::new());
        assert_eq!(call.query_string(), "tagging");
        call.query = vec![("prefix".into(), "my-/p ü".into()), ("max-keys".into(), "10".into())];
        assert_eq!(call.query_string(), "prefix=my-%2Fp%20%C3%BC&max-keys=10");
    }
}

//! Bodies of fuzz targets: total functions on bytes that assert what must hold.
#![doc(hidden)]

use crate::{Document, Glob, Kind, Network};

/// Any bytes parse or are refused; an accepted document is not empty and parses again to itself.
pub fn policy(bytes: &[u8]) {
    let Ok(document) = Document::parse(Kind::Bucket, bytes) else { return };
    assert!(!document.statements.is_empty());
    for statement in &document.statements {
        assert!(!statement.resources.is_empty());
        for resource in &statement.resources {
            let again = crate::ResourcePattern::parse(Kind::Bucket, &resource.to_text());
            assert!(again.is_ok(), "{}", resource.to_text());
        }
    }
    assert_eq!(Document::parse(Kind::Bucket, bytes).as_ref(), Ok(&document));
}

/// The first byte cuts the rest into pattern and text; a literal pattern matches only itself.
pub fn glob(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(*cut).min(rest.len()));
    let (pattern, text) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
    let glob = Glob::new(&pattern);
    if glob.is_literal() {
        assert_eq!(glob.matches(&text), pattern == text);
    }
    assert!(Glob::new("*").matches(&text) && Glob::new(&format!("*{text}")).matches(&text));
    if let Some(network) = Network::parse(&text) {
        network.contains(std::net::IpAddr::from([127, 0, 0, 1]));
    }
}

//! Text of clients made safe for a log line.
//!
//! Invariants: what comes out is visible ASCII and spaces without `"` and `\` but those of `\xHH`,
//! so no byte of a client can end a field or a line; it is bounded in length; and no value of a
//! query parameter that carries a signature or a token is in it.

use std::borrow::Cow;

/// Longest text of a field, bytes as written; what is longer ends in `...`.
pub(super) const TEXT_BYTES_MAX: usize = 8 << 10;

/// Stands for a secret.
const MASK: &[u8] = b"***";

/// Words in the name of a query parameter whose value is a secret: those of all signature versions
/// of OSS and of its relatives.
const SECRET_WORDS: [&[u8]; 4] = [b"signature", b"token", b"secret", b"password"];

/// Ends of names that hold such a word and no secret.
const PUBLIC_ENDS: [&[u8]; 2] = [b"signature-version", b"signaturemethod"];

/// How often a value may be percent-encoded and its secrets are still found.
const DECODES_MAX: usize = 3;

/// Appends `bytes` with everything but plain visible characters and spaces as `\xHH`.
pub(super) fn push_escaped(out: &mut String, bytes: &[u8]) {
    let start = out.len();
    for &byte in bytes {
        if out.len() - start >= TEXT_BYTES_MAX {
            out.push_str("...");
            return;
        }
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => push_hex(out, byte),
            _ => out.push(char::from(byte)),
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
    out.push_str("\\x");
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

/// The text of a URL, or of what may be one, with the values of secret query parameters masked.
pub(super) fn masked(text: &[u8]) -> Cow<'_, [u8]> {
    // Without one, raw or encoded, nothing names a value.
    if !text.iter().any(|byte| matches!(byte, b'=' | b'%')) {
        return Cow::Borrowed(text);
    }
    let query_at = text.iter().position(|byte| *byte == b'?').map_or(0, |at| at + 1);
    let (head, query) = text.split_at(query_at);
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(if names_secret(head) { MASK } else { head });
    for (number, piece) in query.split(|byte| *byte == b'&').enumerate() {
        if number > 0 {
            out.push(b'&');
        }
        push_masked(&mut out, piece);
    }
    Cow::Owned(out)
}

/// Appends one query parameter.
fn push_masked(out: &mut Vec<u8>, piece: &[u8]) {
    let Some(equals) = piece.iter().position(|byte| *byte == b'=') else {
        // An encoded `=` does not name a value to us, but may to whom the text was meant for.
        out.extend_from_slice(if names_secret(piece) { MASK } else { piece });
        return;
    };
    let (name, value) = piece.split_at(equals);
    if is_secret_name(name) || names_secret(value) {
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(MASK);
    } else {
        out.extend_from_slice(piece);
    }
}

fn is_secret_name(name: &[u8]) -> bool {
    let name = plain(name);
    !PUBLIC_ENDS.iter().any(|end| name.ends_with(end))
        && SECRET_WORDS.iter().any(|word| contains(&name, word))
}

/// Whether some `word=` of a secret stands inside, however it is encoded.
fn names_secret(text: &[u8]) -> bool {
    let text = plain(text);
    let before_equals = text.split(|byte| *byte == b'=');
    let count = before_equals.clone().count();
    before_equals.take(count - 1).any(|part| SECRET_WORDS.iter().any(|word| part.ends_with(word)))
}

/// Lower case, percent-decoded.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_ascii_lowercase();
    for _ in 0..DECODES_MAX {
        if !text.contains(&b'%') {
            break;
        }
        text = decoded(&text).to_ascii_lowercase();
    }
    text
}

/// Percent-decoded once; what is no valid escape stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_escaped(&mut out, bytes);
        out
    }

    #[test]
    fn quotes_controls_and_other_alphabets_are_written_in_hex() {
        assert_eq!(escaped(b"plain text/1.0 (x; y)"), "plain text/1.0 (x; y)");
        assert_eq!(escaped(b"a\"b\\c\r\n\t\x7f"), r"a\x22b\x5Cc\x0D\x0A\x09\x7F");
        assert_eq!(escaped("ü".as_bytes()), r"\xC3\xBC");
        let long = escaped(&vec![b'"'; 100_000]);
        assert!(long.len() <= TEXT_BYTES_MAX + 6 && long.ends_with("..."));
    }

    #[test]
    fn values_that_sign_are_masked_and_tags_stay() {
        for (text, expected) in [
            ("/?putVectors", "/?putVectors"),
            ("/?policy&x-tag=a%20b", "/?policy&x-tag=a%20b"),
            ("/?x-oss-signature=abc?d&policy", "/?x-oss-signature=***&policy"),
            ("/?x-oss-signature-version=OSS4", "/?x-oss-signature-version=OSS4"),
            ("/?X-OSS-Security-Token=T%2B=", "/?X-OSS-Security-Token=***"),
            ("/?x-oss-%73ignature=abc", "/?x-oss-%73ignature=***"),
            ("/?Signature=abc&OSSAccessKeyId=k", "/?Signature=***&OSSAccessKeyId=k"),
            ("/?to=http%3A%2F%2Fx%3Fsecurity-token%3Dabc", "/?to=***"),
            ("/?to=x%253Fsignature%253Dabc", "/?to=***"),
            ("/?a%3Ftoken%3Dabc", "/?***"),
            ("https://h/p?x-oss-signature=a&b=c", "https://h/p?x-oss-signature=***&b=c"),
            ("x-oss-signature=abc", "x-oss-signature=***"),
            ("https://h/signature=abc?x", "***x"),
            ("100%", "100%"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(text.as_bytes())), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_escapes_the_escaping(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = escaped(&masked(&bytes));
            prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'));
            let mut rest = text.as_str();
            while let Some(at) = rest.find('\\') {
                let hex = &rest.as_bytes()[at..];
                prop_assert!(hex.len() >= 4 && hex[1] == b'x');
                prop_assert!(hex[2].is_ascii_hexdigit() && hex[3].is_ascii_hexdigit());
                rest = &rest[at + 4..];
            }
        }

        #[test]
        fn a_secret_never_comes_through(
            before in "[a-z0-9=&?%/]{0,20}", secret in "[A-Z]{12}", after in "(&[a-z0-9=&?%/]{0,20})?",
            name in prop::sample::select(vec!["x-oss-signature", "security-token", "Signature"]),
        ) {
            let text = format!("/?{before}&{name}={secret}{after}");
            let masked = String::from_utf8(masked(text.as_bytes()).into_owned()).unwrap();
            prop_assert!(!masked.contains(&secret), "{masked}");
        }
    }
}

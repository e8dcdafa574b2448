//! Enough XML to read an object store's answers: elements without attributes, text, entities.
//!
//! Anything malformed reads as "not there"; nothing panics on hostile bytes.

/// The text of the first element `tag`, with entities resolved.
pub(in crate::store::remote) fn first(xml: &str, tag: &str) -> Option<String> {
    each(xml, tag).next().map(text)
}

/// What is inside each element `tag`, in order. Elements of one name are not nested in answers.
pub(super) fn each<'a>(xml: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inside, behind) = after.split_once(&close)?;
        rest = behind;
        Some(inside)
    })
}

const ENTITIES: [(&str, char); 5] =
    [("lt;", '<'), ("gt;", '>'), ("amp;", '&'), ("quot;", '"'), ("apos;", '\'')];

fn text(escaped: &str) -> String {
    let mut parts = escaped.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match entity(part) {
            Some((character, rest)) => {
                text.push(character);
                text.push_str(rest);
            }
            None => {
                text.push('&');
                text.push_str(part);
            }
        }
    }
    text
}

fn entity(part: &str) -> Option<(char, &str)> {
    for (name, character) in ENTITIES {
        if let Some(rest) = part.strip_prefix(name) {
            return Some((character, rest));
        }
    }
    let (number, rest) = part.strip_prefix('#')?.split_once(';')?;
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    Some((char::from_u32(code)?, rest))
}

/// Text as it stands inside an element.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_found_in_order() {
        let xml = "<R><P>top</P><C><P>a/</P></C><C><P>b&amp;/&#x41;&#66;&x;</P></C><T/></R>";
        assert_eq!(each(xml, "C").count(), 2);
        let prefixes: Vec<_> = each(xml, "C").filter_map(|part| first(part, "P")).collect();
        assert_eq!(prefixes, ["a/", "b&/AB&x;"]);
        assert_eq!(first(xml, "P").as_deref(), Some("top"));
        assert_eq!(first(xml, "Missing"), None);
        assert_eq!(first("<A>never closed", "A"), None);
    }

    proptest! {
        #[test]
        fn escaped_text_reads_back(words in "\\PC*") {
            let xml = format!("<Key>{}</Key>", escape(&words));
            prop_assert_eq!(first(&xml, "Key"), Some(words));
        }

        #[test]
        fn any_text_is_survived(words in "[<>&;/#xKey0-9]*") {
            let _ = first(&words, "Key");
            let _ = text(&words);
        }
    }
}

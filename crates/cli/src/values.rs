//! Flag values: JSON given directly or in a file, and lists of keys.

use std::fs;

use serde_json::value::RawValue;

use crate::failure::Failure;

/// The text of a value: itself, or the content of the file after `file://`.
pub(crate) fn text(value: &str) -> Result<String, Failure> {
    match value.strip_prefix("file://") {
        Some(path) => fs::read_to_string(path).map_err(|cause| Failure::file(path, cause)),
        None => Ok(value.to_owned()),
    }
}

/// A JSON value, exactly as it is written: numbers keep their digits.
pub(crate) fn json(flag: &str, value: &str) -> Result<Box<RawValue>, Failure> {
    parse(&text(value)?, flag)
}

/// A list of keys: a JSON array of strings (for keys that hold commas), else comma-separated.
pub(crate) fn keys(flag: &str, value: &str) -> Result<Vec<String>, Failure> {
    let text = text(value)?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!(
                "--{flag} starts with [ but is not a JSON array of strings: {error}"
            ))
        });
    }
    Ok(text.trim_end_matches(['\r', '\n']).split(',').map(str::to_owned).collect())
}

/// A string as a JSON value.
pub(crate) fn string(text: &str) -> Box<RawValue> {
    raw(&text)
}

/// Any value as raw JSON.
pub(crate) fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value)
        .expect("strings, numbers and lists of them have a JSON form")
}

fn parse(text: &str, flag: &str) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let hint = if text.len() < 80 { format!(" (got {text})") } else { String::new() };
        Failure::usage(format!("--{flag} is not JSON: {error}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::{json, keys};

    #[test]
    fn keys_are_comma_separated_or_a_json_array() {
        for (value, expected) in [
            ("a,b", &["a", "b"][..]),
            ("a", &["a"]),
            (r#"["a,b","c\u00fc"]"#, &["a,b", "cü"]),
            (" [\"x\"] ", &["x"]),
        ] {
            assert_eq!(keys("keys", value).unwrap(), expected, "{value}");
        }
        assert!(keys("keys", "[a").is_err());
    }

    #[test]
    fn json_keeps_digits_and_reads_files() {
        let value = r#"{"float32":[0.10000000000000000001,1e-45]}"#;
        assert_eq!(json("v", value).unwrap().get(), value);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1, 2]\n").unwrap();
        assert_eq!(
            json("v", &format!("file://{}", file.path().display())).unwrap().get(),
            "[1, 2]"
        );
        assert!(json("v", "{nope").unwrap_err().to_string().contains("--v is not JSON"));
        assert!(
            json("v", "file:///does/not/exist")
                .unwrap_err()
                .to_string()
                .contains("/does/not/exist")
        );
    }
}

//! Client configuration files: our TOML and ossutil's ini, as maps from one set of names.
//!
//! Both spell the same settings differently (`access_key_id`, `accessKeyId`), so names are
//! compared without case, hyphens and underscores.

use std::collections::BTreeMap;
use std::path::Path;

/// Values by folded name (`accesskeyid`).
pub(crate) type Entries = BTreeMap<String, String>;

/// Reads a configuration file's text: TOML if the path ends in `.toml`, ossutil's ini otherwise.
///
/// Of an ini file the section `[profile]` (or `[profile NAME]`) is taken; of a TOML file the top
/// level, or the table `[profile.NAME]` for a profile other than `default`.
pub(crate) fn parse(path: &Path, text: &str, profile: &str) -> Result<Entries, String> {
    let found = match path.extension() {
        Some(extension) if extension == "toml" => toml_entries(text, profile),
        _ => Ok(ini_entries(text, profile)),
    };
    let found = found.map_err(|why| format!("{}: {why}", path.display()))?;
    found.ok_or_else(|| format!("{} has no profile {profile:?}", path.display()))
}

fn toml_entries(text: &str, profile: &str) -> Result<Option<Entries>, String> {
    // The parser's own message quotes the line it stumbled over, which may hold a secret.
    let root: toml::Table = text.parse().map_err(|error: toml::de::Error| match error.span() {
        Some(span) => format!("not TOML at byte {}", span.start),
        None => "not TOML".to_owned(),
    })?;
    let table = match profile {
        "default" => Some(&root),
        name => root.get("profile").and_then(|all| all.get(name)).and_then(toml::Value::as_table),
    };
    Ok(table.map(|table| {
        let scalars = table.iter().filter_map(|(key, value)| Some((fold(key), scalar(value)?)));
        scalars.collect()
    }))
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn ini_entries(text: &str, profile: &str) -> Option<Entries> {
    let mut entries = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let name = name.trim();
            inside = name.strip_prefix("profile ").map_or(name, str::trim) == profile;
            if inside {
                entries.get_or_insert_with(Entries::new);
            }
        } else if let (true, Some((key, value))) =
            (inside && !line.starts_with(['#', ';']), line.split_once('='))
        {
            entries
                .get_or_insert_with(Entries::new)
                .insert(fold(key.trim()), value.trim().to_owned());
        }
    }
    entries
}

/// A setting's name without what the two spellings differ in.
pub(crate) fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn both_formats_give_the_same_entries() {
        let toml = "endpoint = \"http://a\"\naccess_key_id = \"AK\"\naccount_id = 42\nextra = [1]\n[profile.other]\nregion = \"r\"";
        let ini = "# made by ossutil\n[default]\nendpoint = http://a\naccessKeyID=AK\naccount-id = 42\n[profile other]\nregion = r";
        for (path, text) in [("c.toml", toml), (".ossutilconfig", ini)] {
            let entries = parse(Path::new(path), text, "default").unwrap();
            assert_eq!(entries.get("endpoint").map(String::as_str), Some("http://a"), "{path}");
            assert_eq!(entries.get("accesskeyid").map(String::as_str), Some("AK"));
            assert_eq!(entries.get("accountid").map(String::as_str), Some("42"));
            assert_eq!(parse(Path::new(path), text, "other").unwrap()["region"], "r");
            assert!(parse(Path::new(path), text, "third").unwrap_err().contains("third"));
        }
    }

    #[test]
    fn broken_toml_is_reported_without_its_content() {
        let error =
            parse(Path::new("c.toml"), "access_key_secret = hunter2", "default").unwrap_err();
        assert!(error.contains("not TOML") && !error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*", path in "c(\\.toml)?") {
            let _ = parse(Path::new(&path), &text, "default");
        }
    }
}

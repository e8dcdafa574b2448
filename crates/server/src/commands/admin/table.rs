//! Answers for people.

use serde_json::Value;

use crate::administration::Verb;

/// What a verb's answer looks like on a terminal.
pub(super) fn human(verb: &Verb, told: &Value) -> String {
    match ((verb.noun, verb.verb), told) {
        (_, Value::Array(rows)) => table(rows),
        (("key", "create"), told) => format!(
            "access key id      {}\naccess key secret  {}\n\nThe secret is not shown again.\n",
            cell(&told["AccessKeyId"]),
            cell(&told["AccessKeySecret"])
        ),
        (("policy", "explain"), told) => format!("{}\n", cell(&told["explanation"]).trim_end()),
        (("ring", "rekey"), told) => format!(
            "{} secrets sealed anew, {} were current, {} cannot be opened\n",
            told["resealed"],
            told["current"],
            told["unavailable"].as_array().map_or(0, Vec::len)
        ),
        // A credentials provider reads JSON, whatever the flags.
        (("session", "open"), told) => format!("{told}\n"),
        ((_, "show"), told) => format!("{told:#}\n"),
        _ => "done\n".to_owned(),
    }
}

/// A table with one line per row; the first row names the columns.
fn table(rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else { return "none\n".to_owned() };
    let header: Vec<String> = first.keys().map(|name| name.to_uppercase()).collect();
    // A row of another service's version may lack a column.
    let line = |row: &Value| first.keys().map(|name| cell(&row[name])).collect();
    let mut lines: Vec<Vec<String>> = vec![header];
    lines.extend(rows.iter().map(line));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|c| width(c).unwrap_or(0)).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

/// A member's value as text.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [json!({"a": "long one", "b": ["x", "y"]}), json!({"a": null, "b": 7})];
        assert_eq!(table(&rows), "A         B\nlong one  x,y\n-         7\n");
        assert_eq!(table(&[]), "none\n");
    }
}

//! `docs/compatibility.md` names every operation and every error as the code has them.

use vb_api::oss::{Fault, Operation};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
    std::fs::read_to_string(path).expect("the compatibility table stands in docs/")
}

/// The cells of every table row.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines = document.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_operation_has_a_row() {
    let document = document();
    let rows = rows(&document);
    for operation in Operation::ALL {
        let found = rows.iter().find(|row| row[0] == operation.name() && row.len() == 4);
        let row = found.unwrap_or_else(|| panic!("no row for {}", operation.name()));
        let request = match operation.key() {
            "" => format!("`{} /", operation.method()),
            key => format!("`{} /?{key}", operation.method()),
        };
        assert!(row[1].starts_with(&request), "{}: {}", operation.name(), row[1]);
        assert!(row[2].starts_with(&operation.success().to_string()), "{}", operation.name());
    }
}

#[test]
fn every_error_has_its_row_and_every_row_its_error() {
    let document = document();
    let section = document.split("## Errors").nth(1).expect("a section on errors");
    let section = section.split("\n## ").next().expect("split gives one part at least");
    let rows: Vec<_> = rows(section).into_iter().skip(2).collect();
    assert_eq!(rows.len(), Fault::ALL.len());
    for (row, fault) in rows.iter().zip(Fault::ALL) {
        let status = fault.code().status().to_string();
        assert_eq!(row[..3], [status.as_str(), fault.code().as_str(), fault.ec()]);
        assert_eq!(row[3], fault.message());
    }
}

#[test]
fn every_open_point_has_a_row() {
    let document = document();
    for (title, count) in
        [("## Open points of the interface", 48), ("## Open points of identity", 30)]
    {
        let section = document.split(title).nth(1).expect(title);
        let section = section.split("\n## ").next().expect("split gives one part at least");
        let numbers: Vec<usize> =
            rows(section).iter().filter_map(|row| row[0].parse().ok()).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{title}");
    }
}

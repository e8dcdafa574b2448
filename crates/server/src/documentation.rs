//! `docs/operations.md` and `packaging/` against the code they describe.

use std::path::Path;

use crate::config::{SETTINGS, Sources, load};
use crate::metrics::{Finished, Metrics};

fn repository_file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_setting_and_its_flag_is_documented() {
    let text = repository_file("docs/operations.md");
    for setting in SETTINGS {
        assert!(text.contains(&format!("`{}`", setting.key)), "{} is not documented", setting.key);
        if let Some(flag) = setting.flag {
            assert!(text.contains(&format!("`--{flag}`")), "--{flag} is not documented");
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let text = repository_file("docs/operations.md");
    let metrics = Metrics::new();
    metrics.auth_failed("X");
    metrics.finish(&Finished {
        operation: "X",
        status: 200,
        code: "-",
        ec: "-",
        route: "here",
        bytes_in: 0,
        bytes_out: 0,
        elapsed: std::time::Duration::ZERO,
    });
    let rendered = metrics.render();
    let names = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE vectorbucket_"));
    for line in names {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        assert!(text.contains(&format!("`{name}`")), "{name} is not documented");
    }
    for name in crate::metrics::engine_names() {
        assert!(text.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let text = repository_file("docs/security.md");
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"));
    let mut named = 0;
    for (file, test) in quoted.filter(|(file, _)| file.ends_with(".rs")) {
        let folder = if file.contains('/') { "" } else { "crates/server/tests/" };
        let source = repository_file(&format!("{folder}{file}"));
        let head = format!("fn {test}(");
        assert!(source.contains(&head), "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 20, "only {named} tests are named");
}

#[test]
fn every_exit_code_is_documented() {
    let text = repository_file("docs/operations.md");
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 130] {
        assert!(text.contains(&format!("\n| {code} | ")), "{code} is not documented");
    }
}

#[test]
fn the_example_configuration_is_accepted() {
    let file = repository_file("packaging/vectorbucket.toml");
    let effective = load(&Sources { file: Some(&file), ..Sources::default() }).unwrap();
    assert_eq!(effective.config.main_domain(), "vectors.example.com");
}

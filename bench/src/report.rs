//! What was measured: printed as it comes, kept as JSON and as Markdown rows.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::{Outcome, machine};

/// Prints one line.
#[expect(clippy::print_stdout, reason = "the one place this program prints")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// One run's figures.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: machine::Description,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    group: String,
    name: String,
    value: f64,
    unit: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        let machine = machine::describe();
        say(&format!(
            "machine: {} ({} cores), kernels {}",
            machine.cpu, machine.cores, machine.kernels
        ));
        Self { machine, figures: Vec::new() }
    }

    /// Records one figure and prints it.
    pub(crate) fn add(&mut self, group: &str, name: &str, value: f64, unit: &str) {
        say(&format!("  {group:<22} {name:<46} {:>12} {unit}", rounded(value)));
        self.figures.push(Figure {
            group: group.into(),
            name: name.into(),
            value,
            unit: unit.into(),
        });
    }

    /// Writes `report.json` and `report.md` into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Outcome {
        let json = serde_json::to_vec_pretty(self).map_err(|e| e.to_string())?;
        let keep = |name: &str, bytes: &[u8]| {
            fs::write(folder.join(name), bytes).map_err(|e| format!("{name}: {e}"))
        };
        keep("report.json", &json)?;
        keep("report.md", self.markdown().as_bytes())?;
        say(&format!("written: {}", folder.join("report.{json,md}").display()));
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "Machine: {}, {} cores, kernels {}.\n\n| what | figure | value |\n|---|---|---|\n",
            self.machine.cpu, self.machine.cores, self.machine.kernels
        );
        for figure in &self.figures {
            let Figure { group, name, value, unit } = figure;
            text.push_str(&format!("| {group} | {name} | {} {unit} |\n", rounded(*value)));
        }
        text
    }
}

fn rounded(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

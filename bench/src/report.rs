//! The table, and the record of it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::lab::Lab;
use crate::stats::Spread;
use crate::{Result, machine};

/// Where results are kept, from the root of the sources.
const RECORD: &str = "bench/RESULTS.md";

const COLUMNS: [&str; 9] =
    ["measure", "ours", "nginx", "bare relay", "Node.js", "other", "ratio", "target", "met"];

/// A line of the table.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) ours: String,
    pub(crate) nginx: String,
    /// The bare relay, which is the limit.
    pub(crate) bare: String,
    pub(crate) node: String,
    /// Whatever else the measure names.
    pub(crate) other: String,
    pub(crate) ratio: String,
    pub(crate) target: Option<Target>,
}

/// What was aimed at, and whether it was reached.
pub(crate) struct Target {
    pub(crate) text: String,
    pub(crate) met: bool,
}

impl Target {
    pub(crate) fn at_least(limit: f64, value: f64) -> Self {
        Self { text: format!("≥ {}", shown(limit)), met: value >= limit }
    }

    pub(crate) fn faster(times: f64, value: f64) -> Self {
        Self { text: format!("{} times as fast (is {value:.2})", shown(times)), met: value >= times }
    }

    pub(crate) fn at_most(limit: f64, value: f64) -> Self {
        Self { text: format!("≤ {}", shown(limit)), met: value <= limit }
    }

    pub(crate) fn under(limit: f64, unit: &str, value: f64) -> Self {
        Self {
            text: format!("< {} {unit}", if limit.fract() > 0.0 { shown(limit) } else { format!("{limit:.0}") }),
            met: value < limit,
        }
    }
}

/// Everything a run found out.
pub(crate) struct Report {
    title: String,
    /// What is measured is not ours, and has nothing to reach.
    is_control: bool,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(lab: &Lab) -> Self {
        let mut title = machine::describe(lab.options.node);
        if lab.options.quick {
            title.push_str("; QUICK: loads too small to conclude from");
        }
        if lab.control() {
            title.push_str("; CONTROL: \"ours\" is a second nginx, or a second direct download");
        }
        Self { title, is_control: lab.control(), rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, row: Row) {
        let target = row.target.filter(|_| !self.is_control);
        self.rows.push(Row { target, ..row });
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn all_met(&self) -> bool {
        self.rows.iter().filter_map(|row| row.target.as_ref()).all(|target| target.met)
    }

    /// The report, as Markdown that also reads well on a terminal.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<[&str; 9]> = self.rows.iter().map(Row::cells).collect();
        // A column nobody filled is left out.
        let shown: Vec<usize> =
            (0..COLUMNS.len()).filter(|&column| lines.iter().any(|line| !line[column].is_empty())).collect();
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|column| {
                let cells = lines.iter().map(|line| line[column]);
                cells.chain([COLUMNS[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = format!("{}\n\n", self.title);
        let mut line = |cells: [&str; 9], fill: char| {
            for &column in &shown {
                text.push_str("| ");
                text.push_str(cells[column]);
                let missing = widths[column].saturating_sub(cells[column].chars().count());
                text.extend(std::iter::repeat_n(fill, missing));
                text.push(' ');
            }
            text.push_str("|\n");
        };
        line(COLUMNS, ' ');
        line([""; 9], '-');
        for cells in lines {
            line(cells, ' ');
        }
        for note in &self.notes {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    /// Appends the report, under a date, to the results kept with the sources.
    pub(crate) fn record(&self) -> Result<()> {
        let path = sources()?.join(RECORD);
        let new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if new {
            writeln!(
                file,
                "# Results\n\nAppended by `cargo xtask bench --record`; see README.md for how to read them."
            )?;
        }
        write!(file, "\n## {}\n\n{}", machine::today(), self.text())?;
        eprintln!("bench: recorded in {RECORD}");
        Ok(())
    }
}

impl Row {
    /// Of two that were measured in turn; where nothing was measured beside, of one.
    pub(crate) fn in_turn(measure: String, ours: &[f64], nginx: &[f64], decimals: usize) -> Self {
        let show = |values: &[f64]| Spread::of(values.iter().copied()).show(decimals);
        let row = Self { measure, ours: show(ours), ..Self::default() };
        if nginx.is_empty() {
            return row;
        }
        Self { nginx: show(nginx), ratio: Spread::of_ratios(ours, nginx).show(2), ..row }
    }

    fn cells(&self) -> [&str; 9] {
        let (target, met) = self
            .target
            .as_ref()
            .map_or(("", ""), |target| (target.text.as_str(), if target.met { "yes" } else { "NO" }));
        [&self.measure, &self.ours, &self.nginx, &self.bare, &self.node, &self.other, &self.ratio, target, met]
    }
}

/// With the decimals that a limit needs, one at least.
fn shown(limit: f64) -> String {
    let text = format!("{limit:.2}");
    text.strip_suffix('0').unwrap_or(&text).to_owned()
}

/// The sources are looked for from the working directory upwards: a path kept
/// at build time would be that of the machine it was built on.
pub(crate) fn sources() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .find(|root| root.join("bench/Cargo.toml").is_file())
        .map(PathBuf::from)
        .ok_or_else(|| "this works within the sources only".into())
}

/// Writes to standard output.
pub(crate) fn say(text: &str) -> Result<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_go() {
        let row = Row {
            measure: "blob".into(),
            ours: "10–20".into(),
            target: Some(Target::at_least(1.0, 0.5)),
            ..Row::default()
        };
        let mut report =
            Report { title: "here".into(), is_control: false, rows: vec![], notes: vec!["so".into()] };
        report.row(row);
        assert_eq!(
            report.text(),
            "here\n\n| measure | ours  | target | met |\n| ------- | ----- | ------ | --- |\n\
             | blob    | 10–20 | ≥ 1.0  | NO  |\n\nso\n"
        );
        assert!(!report.all_met());
    }

    #[test]
    fn limits_have_the_decimals_they_need() {
        let of = [Target::at_least(1.0, 1.0), Target::at_least(1.45, 1.0), Target::under(3.5, "min", 1.0)];
        assert_eq!(of.map(|target| target.text), ["≥ 1.0", "≥ 1.45", "< 3.5 min"]);
        assert_eq!(Target::under(48.0, "MiB", 1.0).text, "< 48 MiB");
    }

    #[test]
    fn a_control_has_nothing_to_reach() {
        let row = || Row { target: Some(Target::at_least(1.0, 0.5)), ..Row::default() };
        for is_control in [false, true] {
            let mut report = Report { title: String::new(), is_control, rows: vec![], notes: vec![] };
            report.row(row());
            assert_eq!(report.all_met(), is_control);
        }
    }
}

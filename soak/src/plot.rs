//! The course of a run as one picture: SVG for light and dark pages, of panels below one another.

use std::fmt::Write as _;
use std::time::Duration;

use crate::conductor::Results;
use crate::sample::Sample;
use crate::timetable::{Disturbance, Instance};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 56.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 44.0;
/// Points of a line; each is the largest of the values that fall on it.
const POINTS: u32 = 180;

const STYLE: &str = "\
svg { font: 12px system-ui, -apple-system, \"Segoe UI\", \"Noto Sans\", sans-serif }
    .paper { fill: #ffffff }
    text { fill: #1f2328 }
    .small { fill: #57606a; font-size: 11px }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    .axis { stroke: #8c959f; fill: none }
    .grid { stroke: #d8dee4; fill: none }
    .upstream { fill: #fff8c5 } .store { fill: #ffebe9 }
    .a { stroke: #0969da } .b { stroke: #bc4c00 } .c { stroke: #1a7f37 }
    text.a { fill: #0969da; stroke: none } text.b { fill: #bc4c00; stroke: none } text.c { fill: #1a7f37; stroke: none }
    polyline { fill: none; stroke-width: 1.3; stroke-linejoin: round }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 }
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .axis { stroke: #656c76 }
      .grid { stroke: #21262d }
      .upstream { fill: #272115 } .store { fill: #301b1c }
      .a { stroke: #4493f8 } .b { stroke: #f0883e } .c { stroke: #3fb950 }
      text.a { fill: #4493f8 } text.b { fill: #f0883e } text.c { fill: #3fb950 }
    }";

/// A line of a panel: its class, its name, and its values at times. A gap ends one piece and begins another.
struct Line {
    class: &'static str,
    name: String,
    pieces: Vec<Vec<(Duration, f64)>>,
}

struct Panel {
    title: &'static str,
    unit: &'static str,
    is_logarithmic: bool,
    lines: Vec<Line>,
}

/// The picture of a run.
pub(crate) fn svg(results: &Results) -> String {
    let panels = [
        of_processes("Resident memory", "MiB", results, |sample| mebi(sample.memory_kib << 10)),
        of_processes("Open descriptors", "", results, |sample| number(sample.descriptors)),
        of_processes("Threads", "", results, |sample| number(sample.threads)),
        latency(results),
        stores(results),
    ];
    let height = TOP + (PANEL + GAP) * 5.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n  \
         <title id=\"title\">The course of the soak</title>\n  \
         <desc id=\"desc\">Resident memory, descriptors, threads, latency and the size of the stores over time. Bands show when the \
         upstream was slow, down or answered 429, and when SeaweedFS was down.</desc>\n  \
         <style>\n    {STYLE}\n  </style>\n  <rect class=\"paper\" width=\"{WIDTH:.0}\" height=\"{height:.0}\"/>\n  \
         <rect class=\"upstream\" x=\"{LEFT:.0}\" y=\"8\" width=\"14\" height=\"12\"/>\
         <text class=\"small\" x=\"{:.0}\" y=\"18\">the upstream is slow, down or answers 429</text>\n  \
         <rect class=\"store\" x=\"{:.0}\" y=\"8\" width=\"14\" height=\"12\"/>\
         <text class=\"small\" x=\"{:.0}\" y=\"18\">SeaweedFS is down; a gap in a line: the process was killed or stopped, and started again</text>\n",
        LEFT + 20.0,
        LEFT + 260.0,
        LEFT + 280.0,
    );
    let mut top = TOP;
    for panel in &panels {
        draw(&mut svg, panel, top, results);
        top += PANEL + GAP;
    }
    svg + "</svg>\n"
}

fn of_processes(
    title: &'static str,
    unit: &'static str,
    results: &Results,
    value: impl Fn(&Sample) -> f64,
) -> Panel {
    let lines = Instance::ALL.into_iter().zip(["a", "b", "c"]).map(|(instance, class)| {
        let samples: Vec<&Sample> = results.samples.iter().filter(|sample| sample.instance == instance).collect();
        let lives = samples.chunk_by(|one, other| one.life == other.life);
        let pieces = lives.map(|life| life.iter().map(|sample| (sample.at, value(sample))).collect());
        Line { class, name: instance.to_string(), pieces: pieces.collect() }
    });
    Panel { title, unit, is_logarithmic: false, lines: lines.collect() }
}

fn latency(results: &Results) -> Panel {
    let lines =
        ["p50", "p99", "worst"].into_iter().zip(["c", "a", "b"]).enumerate().map(|(index, (name, class))| {
            let values = results.moments.iter().filter(|moment| moment.answers > 0);
            let piece =
                values.map(|moment| (moment.at, f64::from(moment.latency[index].max(1)) / 1000.0)).collect();
            Line { class, name: name.to_owned(), pieces: vec![piece] }
        });
    Panel {
        title: "Time until an answer's head, in all processes, for each ten seconds",
        unit: "ms",
        is_logarithmic: true,
        lines: lines.collect(),
    }
}

fn stores(results: &Results) -> Panel {
    let of = |value: &dyn Fn(&crate::sample::Moment) -> u64| {
        results.moments.iter().map(|moment| (moment.at, mebi(value(moment)))).collect()
    };
    let lines = vec![
        Line { class: "c", name: "directory".to_owned(), pieces: vec![of(&|moment| moment.directory)] },
        Line { class: "a", name: "SeaweedFS".to_owned(), pieces: vec![of(&|moment| moment.bucket)] },
    ];
    Panel { title: "Stores on disk", unit: "MiB", is_logarithmic: false, lines }
}

fn draw(svg: &mut String, panel: &Panel, top: f64, results: &Results) {
    let (bottom, right) = (top + PANEL, WIDTH - RIGHT);
    let total = results.length.as_secs_f64().max(1.0);
    let x = |at: Duration| LEFT + (right - LEFT) * (at.as_secs_f64() / total).min(1.0);
    let values = || panel.lines.iter().flat_map(|line| line.pieces.iter().flatten().map(|(_, value)| *value));
    let most = round_up(values().fold(0.0, f64::max));
    let least = if panel.is_logarithmic { 0.1 } else { 0.0 };
    let y = |value: f64| {
        let part = if panel.is_logarithmic {
            (value.max(least) / least).log10() / (most / least).log10().max(1.0)
        } else {
            value / most
        };
        bottom - PANEL * part.clamp(0.0, 1.0)
    };
    // Writing to a String does not fail.
    let _ = writeln!(svg, "  <text x=\"{LEFT:.0}\" y=\"{:.0}\">{}</text>", top - 8.0, panel.title);
    for window in &results.windows {
        let class = match window.disturbance {
            Disturbance::SlowUpstream | Disturbance::UpstreamDown | Disturbance::TooManyRequests => "upstream",
            Disturbance::StoreDown => "store",
            Disturbance::Killed(_) | Disturbance::Stopped(_) => continue,
        };
        let (from, to) = (x(window.from), x(window.to));
        let _ = writeln!(
            svg,
            "  <rect class=\"{class}\" x=\"{from:.1}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"{PANEL:.0}\"/>",
            (to - from).max(0.5)
        );
    }
    let marks: Vec<f64> = if panel.is_logarithmic {
        (-1..6).map(|power| 10_f64.powi(power)).filter(|mark| *mark <= most).collect()
    } else {
        vec![0.0, most / 2.0, most]
    };
    for mark in marks {
        let at = y(mark);
        let digits = usize::from(mark.fract() > 0.01);
        let _ = writeln!(
            svg,
            "  <path class=\"grid\" d=\"M{LEFT:.0} {at:.1}H{right:.0}\"/><text class=\"small end\" x=\"{:.0}\" y=\"{:.1}\">\
             {mark:.digits$} {}</text>",
            LEFT - 6.0,
            at + 4.0,
            panel.unit
        );
    }
    let decimals = usize::from(results.length < Duration::from_mins(12));
    for part in 0..=6_u32 {
        let at = results.length * part / 6;
        let _ = writeln!(
            svg,
            "  <text class=\"small middle\" x=\"{:.1}\" y=\"{:.0}\">{:.decimals$}{}</text>",
            x(at),
            bottom + 15.0,
            at.as_secs_f64() / 60.0,
            if part == 6 { " min" } else { "" }
        );
    }
    let _ = writeln!(svg, "  <path class=\"axis\" d=\"M{LEFT:.0} {top:.0}V{bottom:.0}H{right:.0}\"/>");
    for (row, line) in (0_u32..).zip(&panel.lines) {
        for piece in &line.pieces {
            let points: Vec<String> = thinned(piece, results.length)
                .map(|(at, value)| format!("{:.0},{:.0}", x(at), y(value)))
                .collect();
            let _ = writeln!(svg, "  <polyline class=\"{}\" points=\"{}\"/>", line.class, points.join(" "));
        }
        let _ = writeln!(
            svg,
            "  <text class=\"{}\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            line.class,
            right + 12.0,
            top + 14.0 + 18.0 * f64::from(row),
            line.name
        );
    }
}

/// At most so many points for a whole run.
fn thinned(piece: &[(Duration, f64)], total: Duration) -> impl Iterator<Item = (Duration, f64)> + '_ {
    let place = move |at: Duration| at.as_millis() * u128::from(POINTS) / total.as_millis().max(1);
    piece.chunk_by(move |one, other| place(one.0) == place(other.0)).filter_map(|part| {
        let most = part.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max);
        Some((part.first()?.0, most))
    })
}

/// The next number of one, two or five and zeros.
fn round_up(value: f64) -> f64 {
    let mut unit = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if step * unit >= value {
                return step * unit;
            }
        }
        unit *= 10.0;
    }
}

fn mebi(bytes: u64) -> f64 {
    number(bytes >> 10) / 1024.0
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_a_round_number() {
        assert_eq!(
            [0.3, 1.0, 3.0, 51.0, 99.0].map(round_up).map(|value| value.to_string()),
            ["1", "1", "5", "100", "100"]
        );
    }

    #[test]
    fn a_long_line_is_thinned_to_its_peaks() {
        let piece: Vec<(Duration, f64)> =
            (0..1800_u32).map(|number| (Duration::from_secs(number.into()), f64::from(number % 10))).collect();
        let points: Vec<(Duration, f64)> = thinned(&piece, Duration::from_mins(30)).collect();
        assert_eq!(points.len(), 180);
        assert!(points.iter().all(|(_, value)| (*value - 9.0).abs() < 0.1));
    }
}

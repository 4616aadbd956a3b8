//! The picture of a terminal: SVG made of recorded text, for light and dark pages. Lines appear one after the other where
//! motion is wanted, and stand there from the beginning where it is not.

use std::fmt::Write as _;

/// As wide as the terminal.
const COLUMNS: usize = 100;
const LINE_HEIGHT: usize = 19;
/// Of a character, in tenths of a pixel.
const TENTHS_PER_COLUMN: usize = 78;
const MARGIN: usize = 20;
/// Milliseconds before a command, and before a line of its output.
const PAUSE: (usize, usize) = (1500, 120);

const STYLE: &str = "\
svg { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, \"Liberation Mono\", monospace }
    rect { fill: #f6f8fa; stroke: #d0d7de }
    text { fill: #1f2328; white-space: pre }
    .typed { fill: #0969da; font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      rect { fill: #161b22; stroke: #30363d }
      text { fill: #e6edf3 }
      .typed { fill: #4493f8 }
    }
    @media (prefers-reduced-motion: no-preference) {
      @keyframes appear { from { opacity: 0 } to { opacity: 1 } }
      text { animation: appear 0.1s both }
    }";

/// Of a recording: commands begin with `$ `, lines with `#` are remarks and not shown.
pub(crate) fn svg(title: &str, recording: &str) -> String {
    let lines: Vec<String> = recording.lines().filter(|line| !line.starts_with('#')).flat_map(wrapped).collect();
    let width = COLUMNS * TENTHS_PER_COLUMN / 10 + 2 * MARGIN;
    let height = lines.len() * LINE_HEIGHT + 2 * MARGIN;
    let title = escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title\">\n  \
         <title id=\"title\">{title}</title>\n  <style>\n    {STYLE}\n  </style>\n  \
         <rect x=\"1\" y=\"1\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n",
        width - 2,
        height - 2
    );
    let mut milliseconds = 0;
    for (number, line) in lines.iter().enumerate() {
        let is_typed = line.starts_with("$ ");
        milliseconds += if is_typed { PAUSE.0 } else { PAUSE.1 };
        if line.is_empty() {
            continue;
        }
        let class = if is_typed { " class=\"typed\"" } else { "" };
        let y = MARGIN + (number + 1) * LINE_HEIGHT - 5;
        // Writing to a String does not fail.
        let _ = writeln!(
            svg,
            "  <text{class} x=\"{MARGIN}\" y=\"{y}\" style=\"animation-delay:{milliseconds}ms\" xml:space=\"preserve\">{}</text>",
            escaped(line)
        );
    }
    svg + "</svg>\n"
}

/// The rows that a terminal makes of a line.
fn wrapped(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(COLUMNS).map(|row| row.iter().collect()).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_output_are_told_apart_and_remarks_are_left_out() {
        let svg = svg("A & B", "# remark\n$ ls <x>\n\na  b\n");
        assert!(svg.contains("<title id=\"title\">A &amp; B</title>"), "{svg}");
        assert!(!svg.contains("remark"), "{svg}");
        let texts: Vec<&str> = svg.lines().filter(|line| line.contains("<text ")).collect();
        assert_eq!(
            texts,
            [
                "  <text class=\"typed\" x=\"20\" y=\"34\" style=\"animation-delay:1500ms\" xml:space=\"preserve\">$ ls &lt;x&gt;</text>",
                "  <text x=\"20\" y=\"72\" style=\"animation-delay:1740ms\" xml:space=\"preserve\">a  b</text>",
            ]
        );
    }

    #[test]
    fn a_long_line_goes_on_in_the_next_row() {
        assert_eq!(wrapped(&"x".repeat(COLUMNS + 1)), ["x".repeat(COLUMNS), "x".to_owned()]);
        assert_eq!(wrapped(""), [""]);
    }
}

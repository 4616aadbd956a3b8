//! What a run has shown, as a page: Markdown, with tables that a reader of the docs understands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use registry_proxy_bench_options::SoakOptions;

use crate::conductor::{DIRECTORY_BEYOND_MIB, DIRECTORY_MIB, Results, seconds};
use crate::journal::{Wrong, quantile};
use crate::timetable::Instance;
use crate::verdict::{self, Life, Measure, Verdict};

/// Faults that are shown one by one.
const SHOWN: usize = 20;

/// What was run, and where.
pub(crate) struct Setting {
    pub(crate) date: String,
    pub(crate) version: String,
    pub(crate) machine: String,
    pub(crate) command: String,
}

impl Setting {
    pub(crate) fn new(options: &SoakOptions, binary: &std::path::Path) -> Self {
        let SoakOptions { minutes, rate, clients, images, .. } = options;
        Self {
            date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
            version: first_line(Command::new(binary).arg("--version")),
            machine: machine(),
            command: format!(
                "cargo xtask soak --minutes {minutes} --rate {rate} --clients {clients} --images {images}"
            ),
        }
    }
}

/// The page, and what is wrong; nothing if the run passed.
pub(crate) fn page(results: &Results, options: &SoakOptions, setting: &Setting) -> (String, Vec<String>) {
    let lives = verdict::lives(&results.samples);
    let kinds = kinds(results);
    let wrong = wrong(results, &kinds, &lives);
    let mut page = String::new();
    head(&mut page, results, options, setting);
    verdicts(&mut page, &wrong);
    disturbances(&mut page, results);
    failures(&mut page, &kinds);
    growth(&mut page, &lives);
    latency(&mut page, results);
    (page, wrong)
}

/// Failures of a kind, each by what explains it.
type Kinds = BTreeMap<(Wrong, Option<&'static str>, String), usize>;

fn kinds(results: &Results) -> Kinds {
    let mut kinds = Kinds::new();
    for trouble in &results.entries.troubles {
        let (expected, why) = match verdict::judge(trouble, &results.windows) {
            Verdict::Expected(disturbance) => (Some(disturbance.name()), String::new()),
            Verdict::Fault(why) => (None, why.to_owned()),
        };
        *kinds.entry((trouble.wrong, expected, why)).or_default() += 1;
    }
    kinds
}

/// Everything that makes the run fail.
fn wrong(results: &Results, kinds: &Kinds, lives: &[Life]) -> Vec<String> {
    let mut wrong = results.faults.clone();
    for ((kind, expected, why), count) in kinds {
        if expected.is_none() {
            wrong.push(format!("{count} times: {} ({why})", said(*kind)));
        }
    }
    if results.entries.troubles_not_kept > 0 {
        wrong.push(format!("{} more failures were not looked at", results.entries.troubles_not_kept));
    }
    for life in lives {
        for measure in life.grown() {
            wrong.push(format!(
                "{} of {} grew, from minute {}",
                measure.name(),
                life.instance,
                minutes(life.from)
            ));
        }
    }
    let most = results.moments.iter().map(|moment| moment.directory).max().unwrap_or(0);
    if most > (DIRECTORY_MIB + DIRECTORY_BEYOND_MIB) << 20 {
        wrong.push(format!("the directory held {} MiB", most >> 20));
    }
    if results.evicted.0 < 1.0 {
        wrong.push("the directory evicted nothing, so eviction was not tried".to_owned());
    }
    if results.is_interrupted {
        wrong.push(format!("the run was interrupted after {} minutes", minutes(results.length)));
    }
    wrong
}

fn head(page: &mut String, results: &Results, options: &SoakOptions, setting: &Setting) {
    let Results { entries, length, .. } = results;
    let per_second = ratio(entries.requests, length.as_secs());
    let of_core = |milliseconds: u64| seconds(milliseconds) / length.as_secs_f64().max(1.0) * 100.0;
    let evicted = results.evicted;
    let mib = |bytes: u64| bytes >> 20;
    let most = |of: &dyn Fn(&crate::sample::Moment) -> u64| mib(results.moments.iter().map(of).max().unwrap_or(0));
    let lines = [
        ("date", setting.date.clone()),
        ("binary", setting.version.clone()),
        ("machine", setting.machine.clone()),
        ("command", format!("`{}`", setting.command)),
        ("length", format!("{} minutes", minutes(*length))),
        (
            "load",
            format!(
                "{} requests, {per_second:.0} a second, by {} clients; {} whole pulls; {} pulls left out because clients were busy; {} MiB of bodies, each body's SHA-256 checked",
                grouped(entries.requests),
                options.clients,
                grouped(entries.pulls),
                entries.skipped,
                grouped(mib(entries.bytes))
            ),
        ),
        (
            "upstream",
            format!(
                "{} images; {} tags moved; {} blobs and manifests of {} MiB together; {} requests, {} MiB sent",
                grouped(options.images.into()),
                grouped(results.moves.into()),
                grouped(results.blobs.0 as u64),
                grouped(mib(results.blobs.1)),
                grouped(results.upstream.0),
                grouped(mib(results.upstream.1))
            ),
        ),
        (
            "directory",
            format!(
                "`max_size` {DIRECTORY_MIB} MiB; at most {} MiB on disk; {} entries evicted, {:.0} MiB",
                most(&|moment| moment.directory),
                grouped_float(evicted.0),
                evicted.1 / 1_048_576.0
            ),
        ),
        ("SeaweedFS", format!("{} MiB on disk at the end, for two replicas", most(&|moment| moment.bucket))),
        (
            "processor time",
            format!(
                "replica 1 {:.1} %, replica 2 {:.1} %, directory {:.1} % of a core; clients and upstream together {:.1} %",
                of_core(results.cpu_ms[0]),
                of_core(results.cpu_ms[1]),
                of_core(results.cpu_ms[2]),
                of_core(results.own_cpu_ms)
            ),
        ),
    ];
    line(page, "| | |");
    line(page, "|---|---|");
    for (name, text) in lines {
        line(page, &format!("| {name} | {text} |"));
    }
}

fn verdicts(page: &mut String, wrong: &[String]) {
    line(page, "");
    if wrong.is_empty() {
        line(
            page,
            "**Passed.** No body was wrong; every failure has an outage that explains it; nothing grew beyond its margin.",
        );
    } else {
        line(page, "**Failed:**");
        line(page, "");
        for text in wrong.iter().take(SHOWN) {
            line(page, &format!("* {text}"));
        }
        if wrong.len() > SHOWN {
            line(page, &format!("* and {} more", wrong.len() - SHOWN));
        }
    }
}

fn disturbances(page: &mut String, results: &Results) {
    line(page, "\n| disturbance | times | seconds, together |");
    line(page, "|---|---|---|");
    let mut rows: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for window in &results.windows {
        let row = rows.entry(window.disturbance.name()).or_default();
        row.0 += 1;
        row.1 += window.to.min(results.length).saturating_sub(window.from);
    }
    for (name, (times, length)) in rows {
        line(page, &format!("| {name} | {times} | {} |", length.as_secs()));
    }
    line(page, &format!("| reload of all three (SIGHUP) | {} | |", results.reloads));
}

fn failures(page: &mut String, kinds: &Kinds) {
    line(page, "\n| failed requests | during | count |");
    line(page, "|---|---|---|");
    for ((kind, expected, why), count) in kinds {
        let during = expected.map_or_else(|| format!("**nothing explains it**: {why}"), str::to_owned);
        line(page, &format!("| {} | {during} | {} |", said(*kind), grouped(*count as u64)));
    }
    if kinds.is_empty() {
        line(page, "| none | | |");
    }
}

fn growth(page: &mut String, lives: &[Life]) {
    line(page, "\n| process | from minute | to | resident memory, MiB | descriptors | threads |");
    line(page, "|---|---|---|---|---|---|");
    for life in lives.iter().filter(|life| !life.is_short) {
        let cell = |index: usize, shift: u32| {
            let [first, middle, last] = life.thirds[index].map(|value| value >> shift);
            format!("{first}, {middle}, {last}; most {}", life.most[index] >> shift)
        };
        let Life { instance, from, to, .. } = life;
        let (from, to) = (minutes(*from), minutes(*to));
        line(page, &format!("| {instance} | {from} | {to} | {} | {} | {} |", cell(0, 10), cell(1, 0), cell(2, 0)));
    }
    let margins = Measure::ALL.map(|measure| match measure {
        Measure::MemoryKib => format!("{} MiB", measure.margin() >> 10),
        Measure::Descriptors => format!("{} descriptors", measure.margin()),
        Measure::Threads => format!("{} threads", measure.margin()),
    });
    line(
        page,
        &format!(
            "\nThe three numbers are the medians of the first, middle and last third of the process's life; lives of under ten \
             minutes are left out. The last may be above the middle one by a tenth and {}.",
            margins.join(", ")
        ),
    );
}

fn latency(page: &mut String, results: &Results) {
    line(page, "\n| time until an answer's head, ms | p50 | p99 | p99.9 | worst |");
    line(page, "|---|---|---|---|---|");
    let row = |name: String, mut values: Vec<u32>| {
        let cells = [500, 990, 999, 1000].map(|at| {
            let micros = quantile(&mut values, at).unwrap_or(0);
            format!("{:.1}", f64::from(micros) / 1000.0)
        });
        format!("| {name} | {} |", cells.join(" | "))
    };
    for instance in Instance::ALL {
        line(page, &row(format!("{instance}, whole run"), results.entries.heads[instance.index()].clone()));
    }
    let is_disturbed = |at: Duration| {
        let meets =
            |window: &&crate::timetable::Window| at >= window.from && at <= window.to + Duration::from_secs(30);
        results.windows.iter().any(|window| meets(&window))
    };
    let calm = results.moments.iter().filter(|moment| !is_disturbed(moment.at));
    let (half, most): (Vec<u32>, Vec<u32>) = calm.map(|moment| (moment.latency[0], moment.latency[1])).unzip();
    let median = |mut values: Vec<u32>| f64::from(quantile(&mut values, 500).unwrap_or(0)) / 1000.0;
    line(
        page,
        &format!(
            "\nIn the ten-second samples without a disturbance ({}), the median of p50 is {:.1} ms and that of p99 {:.1} ms. Images \
             that nobody has asked for before are among them: their answers come from the upstream.",
            half.len(),
            median(half),
            median(most)
        ),
    );
}

/// All samples, for other programs.
pub(crate) fn samples(results: &Results) -> String {
    let mut text =
        "seconds\tprocess\tlife\trss_kib\tdescriptors\tthreads\tcpu_ms\tanswers\tp50_us\tp99_us\tworst_us\n"
            .to_owned();
    for sample in &results.samples {
        let [half, most, all] = sample.latency;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{half}\t{most}\t{all}",
            sample.at.as_secs(),
            sample.instance,
            sample.life,
            sample.memory_kib,
            sample.descriptors,
            sample.threads,
            sample.cpu_ms,
            sample.answers
        );
    }
    text
}

/// All failures, for whoever looks for their cause.
pub(crate) fn failures_in_full(results: &Results) -> String {
    let mut text = "from\tto\tprocess\tasked\twrong\tverdict\tname\tdelivered\tdetail\n".to_owned();
    for trouble in &results.entries.troubles {
        let verdict = verdict::judge(trouble, &results.windows);
        let _ = writeln!(
            text,
            "{:.2}\t{:.2}\t{}\t{:?}\t{:?}\t{verdict:?}\t{}\t{:?}\t{}",
            trouble.from.as_secs_f64(),
            trouble.to.as_secs_f64(),
            trouble.instance,
            trouble.asked,
            trouble.wrong,
            trouble.name,
            trouble.delivered,
            trouble.detail.escape_debug()
        );
    }
    for window in &results.windows {
        let _ = writeln!(text, "# {window:?}");
    }
    text
}

fn said(wrong: Wrong) -> String {
    match wrong {
        Wrong::Digest => "a body with another digest".to_owned(),
        Wrong::Tag => "a tag with a digest that it never had".to_owned(),
        Wrong::OutdatedTag => "a tag that has pointed elsewhere for more than a minute".to_owned(),
        Wrong::Status(status) => format!("status {status}"),
        Wrong::NoAnswer => "no answer".to_owned(),
        Wrong::Cut => "a body that ended early".to_owned(),
        Wrong::Late => "an answer that took over two minutes".to_owned(),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name);
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), {} GiB, Linux {}", memory >> 20, kernel.trim())
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned()
}

fn minutes(at: Duration) -> u64 {
    at.as_secs().div_ceil(60)
}

fn ratio(count: u64, seconds: u64) -> f64 {
    let small = |value: u64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    small(count) / small(seconds.max(1))
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn grouped_float(number: f64) -> String {
    grouped(format!("{number:.0}").parse().unwrap_or(0))
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}

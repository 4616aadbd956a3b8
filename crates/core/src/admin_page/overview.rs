//! What arrives now, how the cache has done lately, and how the registries are.

use std::time::Duration;

use super::blocks::{PageBlock, PageCell, PageLink, PagePlot, PageTable, ProgressBar};
use super::plot::stacked_bars;
use super::{AdminPart, AdminView};
use crate::human::{size, span};
use crate::traffic::{Period, TrafficCounts};
use crate::upstream::{AccountBudget, LoginSource, UpstreamCondition};

/// Downloads that are shown.
const MAX_SHOWN: usize = 50;
/// Characters of a digest that are shown.
const DIGEST_CHARACTERS: usize = 19;

impl AdminView<'_> {
    pub(super) fn overview(&self) -> Vec<PageBlock> {
        let mut blocks = self.arriving();
        blocks.extend(self.plots());
        blocks.push(self.registries());
        blocks
    }

    /// Downloads that are running. Where readers may not all see the same, none is told what others fetch.
    fn arriving(&self) -> Vec<PageBlock> {
        let (running, rest) = self.request.env.fills.running(|upstream| self.knows(upstream), MAX_SHOWN);
        if running.is_empty() {
            return vec![PageBlock::Text(
                self.say("Nothing is being fetched just now.", "当前没有正在下载的内容。"),
            )];
        }
        let shown = running.into_iter().map(|fill| {
            // Of digests it is not known here of which repository they are.
            let name: String = if self.reader.sees_all() && self.request.env.settings.access.is_empty() {
                fill.digest.as_str().chars().take(DIGEST_CHARACTERS).collect()
            } else {
                "…".to_owned()
            };
            let amount = format!("{} / {}", size(fill.arrived_bytes), size(fill.total_bytes));
            let bar =
                ProgressBar { label: amount.clone(), part: fill.arrived_bytes, whole: fill.total_bytes.max(1) };
            vec![PageCell::text(name), PageCell::text(&*fill.upstream), PageCell::Bar(bar), PageCell::text(amount)]
        });
        let table = PageTable {
            caption: self.say("Being fetched now", "正在下载"),
            head: vec![
                self.say("Blob", "Blob"),
                self.say("Registry", "镜像仓库"),
                self.say("Progress", "进度"),
                self.say("Fetched", "已下载"),
            ],
            rows: shown.collect(),
        };
        let mut blocks = vec![PageBlock::Table(table)];
        if rest > 0 {
            blocks.push(PageBlock::Text(format!("+ {rest}")));
        }
        blocks
    }

    fn plots(&self) -> Vec<PageBlock> {
        let Some(traffic) = self.page.traffic() else { return Vec::new() };
        let asked = self.asked("period");
        let period = Period::ALL.into_iter().find(|period| period.id() == asked).unwrap_or(Period::Hour);
        let buckets = traffic.buckets(period, self.request.env.platform.clock.now());
        let mut all = TrafficCounts::default();
        for bucket in &buckets {
            all.add(*bucket);
        }
        let name = |period| match period {
            Period::Hour => self.say("Last hour", "最近一小时"),
            Period::Day => self.say("Last day", "最近一天"),
            Period::Week => self.say("Last week", "最近一周"),
        };
        let href = |shown: Period| self.href(AdminPart::Overview.path(), self.language, &[("period", shown.id())]);
        let links = Period::ALL.map(|shown| (PageLink { href: href(shown), text: name(shown) }, shown == period));
        let percent = |counts: TrafficCounts| {
            counts.hit_percent().map_or_else(|| "–".to_owned(), |part| format!("{part} %"))
        };
        let rate = Series {
            title: self.say("Hit rate", "命中率"),
            note: format!("{}: {}", name(period), percent(all)),
            columns: vec![self.say("Answered from the cache", "由缓存应答")],
            values: vec![buckets.iter().map(|bucket| bucket.hit_percent().unwrap_or_default()).collect()],
            full: 100,
            texts: buckets.iter().map(|bucket| vec![percent(*bucket)]).collect(),
        };
        let bytes = Series {
            title: self.say("Bytes sent to clients", "发送给客户端的字节数"),
            note: format!("{}: {} + {}", name(period), size(all.cache_bytes), size(all.upstream_bytes)),
            columns: vec![self.say("From the cache", "来自缓存"), self.say("From registries", "来自上游")],
            values: vec![
                buckets.iter().map(|bucket| bucket.cache_bytes).collect(),
                buckets.iter().map(|bucket| bucket.upstream_bytes).collect(),
            ],
            full: 0,
            texts: buckets
                .iter()
                .map(|bucket| vec![size(bucket.cache_bytes), size(bucket.upstream_bytes)])
                .collect(),
        };
        let saved = Series {
            title: self.say("Requests that registries were spared", "为上游节省的请求数"),
            note: format!("{}: {}", name(period), all.saved),
            columns: vec![self.say("Requests", "请求数")],
            values: vec![buckets.iter().map(|bucket| bucket.saved).collect()],
            full: 0,
            texts: buckets.iter().map(|bucket| vec![bucket.saved.to_string()]).collect(),
        };
        let mut blocks = vec![
            PageBlock::Heading(self.say("The cache", "缓存")),
            PageBlock::Links(self.say("Period", "时间范围"), links.into()),
        ];
        blocks.extend([rate, bytes, saved].map(|series| PageBlock::Plot(self.plot(series, period))));
        blocks
    }

    /// A picture, with the same numbers in a table: the newest first.
    fn plot(&self, series: Series, period: Period) -> PagePlot {
        let bucket = period.bucket_minutes() * 60;
        let ago = |place: usize| match place {
            0 => self.say("now", "当前"),
            _ => format!("−{}", span(place as u64 * bucket)),
        };
        let rows = series.texts.iter().rev().enumerate().map(|(place, texts)| {
            [ago(place)].into_iter().chain(texts.iter().cloned()).map(PageCell::Text).collect()
        });
        let names = match series.columns.len() {
            1 => Vec::new(),
            _ => series.columns.iter().cloned().enumerate().collect(),
        };
        PagePlot {
            note: series.note,
            names,
            paths: stacked_bars(&series.values, series.full).into_iter().enumerate().collect(),
            summary: self.say("The numbers", "数据表"),
            table: PageTable {
                caption: series.title,
                head: [self.say("When", "时间")].into_iter().chain(series.columns).collect(),
                rows: rows.collect(),
            },
        }
    }

    /// Whether the reader may know of this registry. With accounts of registries that is the one where the reader has logged in.
    fn knows(&self, upstream: &str) -> bool {
        self.reader.sees_all() || self.reader.is_of(upstream)
    }

    fn registries(&self) -> PageBlock {
        let rows = self.request.upstreams.iter().filter(|upstream| self.knows(upstream.name())).map(|upstream| {
            let condition = upstream.condition();
            let latency =
                condition.latency.map_or_else(|| "–".to_owned(), |latency| format!("{} ms", latency.as_millis()));
            let budgets: Vec<String> = condition.budgets.iter().map(|budget| self.budget(budget)).collect();
            let left = if budgets.is_empty() { "–".to_owned() } else { budgets.join("; ") };
            [upstream.name().to_owned(), self.health(&condition), latency, left].map(PageCell::Text).into()
        });
        PageBlock::Table(PageTable {
            caption: self.say("Registries", "上游镜像仓库"),
            head: vec![
                self.say("Registry", "镜像仓库"),
                self.say("Health", "状态"),
                self.say("Responses begin after", "响应延迟"),
                self.say("Pulls left", "剩余拉取次数"),
            ],
            rows: rows.collect(),
        })
    }

    fn health(&self, condition: &UpstreamCondition) -> String {
        let seconds = |left: Duration| span(left.as_secs().max(1));
        let mut words = Vec::new();
        for (at, resting) in condition.addresses.iter().enumerate() {
            let Some((trouble, left)) = resting else { continue };
            let which = if condition.addresses.len() > 1 { format!("{}: ", at + 1) } else { String::new() };
            let until = self.say("not asked for", "暂停访问");
            words.push(format!("{which}{trouble}; {until} {}", seconds(*left)));
        }
        if let Some(left) = condition.limited {
            words.push(format!("{} {}", self.say("limits requests for", "限流，剩余"), seconds(left)));
        }
        if words.is_empty() { self.say("well", "正常") } else { words.join("; ") }
    }

    fn budget(&self, budget: &AccountBudget) -> String {
        let account = match budget.account {
            None => self.say("without a login", "匿名"),
            Some(LoginSource::Account | LoginSource::Client) => "username".to_owned(),
            Some(LoginSource::Entry(index)) => format!("credentials[{index}]"),
            Some(LoginSource::DockerConfig) => "docker_config".to_owned(),
            Some(LoginSource::Cloud) => "login".to_owned(),
        };
        let of = budget.limit.map(|limit| format!(" / {limit}")).unwrap_or_default();
        let until = self.say("counts for", "有效期");
        format!("{}{of} ({account}; {until} {})", budget.remaining, span(budget.left.as_secs().max(1)))
    }
}

/// What a plot shows: of each column the values of all buckets, and of each bucket its texts.
struct Series {
    title: String,
    note: String,
    columns: Vec<String>,
    values: Vec<Vec<u64>>,
    full: u64,
    texts: Vec<Vec<String>>,
}

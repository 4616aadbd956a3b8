//! Images that are fetched before anybody pulls them: how far that has come, and a box for a list of more. Names of images may be
//! secret, so all of it is for admins.

use http::StatusCode;

use super::blocks::{PageBlock, PageCell, PageLink, PageList, PageOrder, PageTable, ProgressBar};
use super::order::Ordered;
use super::warming::NotAsked;
use super::{AdminPart, AdminView, ORDERS};
use crate::human::{size, span};
use crate::page::negotiation::Language;
use crate::warm_orders::{USUAL_NEWEST, WarmProgress, WarmReport, WarmRequest};

/// How long each part may wait for a registry that limits us, in seconds: as for programs.
const WAIT_SECONDS: u64 = 60;
/// Images with something missing that are named.
const MAX_SHOWN: usize = 20;
/// Bytes of a digest that are shown.
const SHOWN_DIGEST: usize = 19;

/// The images that somebody has written or pasted: one or more in each line; `#` begins a comment.
fn listed(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .flat_map(|line| line.split([' ', '\t', ',']))
        .map(str::trim)
        .filter(|image| !image.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn bar_row(what: String, (part, whole): (u64, u64), text: String) -> Vec<PageCell> {
    let bar = ProgressBar { label: format!("{what}: {text}"), part: part.min(whole), whole: whole.max(1) };
    vec![PageCell::Text(what), PageCell::Bar(bar), PageCell::Text(text)]
}

impl AdminView<'_> {
    /// What is being fetched, what waits and what has ended.
    pub(super) fn warmings(&self) -> Vec<PageBlock> {
        if !self.is_admin() {
            return vec![PageBlock::Text(self.say(
                "Only page.admins see what is warmed, and may have images warmed.",
                "只有 page.admins 中的用户可以查看和发起预热。",
            ))];
        }
        if self.request.env.cache.is_none() {
            return vec![PageBlock::Text(self.say("Nothing is cached here.", "此处没有缓存。"))];
        }
        let report = self.page.warmings.report();
        let mut blocks = Vec::new();
        match &report.running {
            Some(running) => blocks.extend(self.running(running)),
            None => blocks.push(PageBlock::Text(self.say("Nothing is being warmed now.", "当前没有预热任务。"))),
        }
        if !report.waiting.is_empty() {
            let waiting = report.waiting.len();
            blocks.push(PageBlock::Text(format!("{} {waiting}", self.say("Lists that wait:", "等待中的列表："))));
        }
        let label = self.say("Progress", "进度");
        let again = PageLink {
            href: self.href(AdminPart::Warming.path(), self.language, &[]),
            text: self.say("Look again", "刷新"),
        };
        blocks.push(PageBlock::Links(label, vec![(again, false)]));
        blocks.push(PageBlock::List(PageList {
            name: "images",
            label: self.say(
                "Images to warm, one in each line, for this server's platform",
                "要预热的镜像，每行一个，平台与本服务器相同",
            ),
            order: PageOrder {
                action: format!("{}/-/{ORDERS}", self.request.target.entry.prefix),
                token: self.seal_order(Ordered::Warm),
                button: self.say("Warm them", "开始预热"),
            },
        }));
        if !report.ended.is_empty() {
            blocks.push(PageBlock::Table(self.ended(&report.ended)));
            blocks.extend(self.incomplete(&report.ended));
        }
        blocks
    }

    /// The one that runs: its images, and the blobs on their way.
    fn running(&self, running: &WarmReport) -> Vec<PageBlock> {
        let idle = WarmProgress::default();
        let progress = running.progress.as_ref().unwrap_or(&idle);
        let images = (progress.images.max(running.images)) as u64;
        let mut rows = vec![bar_row(
            self.say("Images", "镜像"),
            (running.totals.images, images),
            format!("{} / {images}", running.totals.images),
        )];
        rows.extend(progress.arriving.iter().map(|blob| {
            let digest: String = blob.digest.chars().take(SHOWN_DIGEST).collect();
            let text = format!("{} / {}", size(blob.bytes), size(blob.total));
            bar_row(digest, (blob.bytes, blob.total), text)
        }));
        let caption = format!(
            "{} {} ({}): {}",
            self.say("Being warmed:", "正在预热："),
            running.id,
            running.by,
            progress.image
        );
        let head = [("What", "内容"), ("Progress", "进度"), ("Here / wanted", "已有 / 总量")]
            .map(|(en, zh)| self.say(en, zh));
        vec![PageBlock::Table(PageTable { caption, head: head.into(), rows })]
    }

    /// What came of the last ones.
    fn ended(&self, ended: &[WarmReport]) -> PageTable {
        let now = self.request.env.platform.clock.unix_seconds();
        let row = |report: &WarmReport| {
            let ago = report.ended.map(|ended| span(now.saturating_sub(ended))).unwrap_or_default();
            let totals = &report.totals;
            let came = match &report.error {
                Some(error) => error.clone(),
                None => format!("{} / {}", totals.complete, totals.images),
            };
            [report.id.to_string(), report.by.clone(), ago, came, size(totals.bytes_fetched)]
                .map(PageCell::Text)
                .into()
        };
        let head = [
            ("Number", "编号"),
            ("Asked by", "发起者"),
            ("Ended before", "结束至今"),
            ("Complete images", "完整的镜像"),
            ("Fetched", "获取量"),
        ];
        PageTable {
            caption: self.say("Last results", "最近的结果"),
            head: head.map(|(en, zh)| self.say(en, zh)).into(),
            rows: ended.iter().map(row).collect(),
        }
    }

    /// What is missing of them, and why.
    fn incomplete(&self, ended: &[WarmReport]) -> Option<PageBlock> {
        let images = ended.iter().flat_map(|report| report.incomplete.iter().map(move |image| (report.id, image)));
        let row = |(id, image): (u64, &crate::warm_orders::WarmedImage)| {
            let part = image.missing.first();
            let why = part.map(|part| format!("{}: {}", part.what, part.why)).unwrap_or_default();
            [id.to_string(), image.name.clone(), why].map(PageCell::Text).into()
        };
        let rows: Vec<Vec<PageCell>> = images.take(MAX_SHOWN).map(row).collect();
        let head = [("Number", "编号"), ("Image", "镜像"), ("First missing part", "首个缺少的部分")];
        (!rows.is_empty()).then(|| {
            PageBlock::Table(PageTable {
                caption: self.say("What is missing", "缺少的内容"),
                head: head.map(|(en, zh)| self.say(en, zh)).into(),
                rows,
            })
        })
    }

    /// Has the images of a list fetched.
    pub(super) fn warm_list(&self, text: &str, language: Language) -> (Vec<PageBlock>, StatusCode) {
        let images = listed(text);
        let count = images.len();
        let request = WarmRequest {
            images,
            platforms: Vec::new(),
            referrers: false,
            jobs: 1,
            wait_seconds: WAIT_SECONDS,
            newest: USUAL_NEWEST,
        };
        let back = PageLink {
            href: self.href(AdminPart::Warming.path(), language, &[]),
            text: language.say("How far it has come", "查看进度").to_owned(),
        };
        let back = PageBlock::Links(language.say("Progress", "进度").to_owned(), vec![(back, false)]);
        let (said, status) = match self.ask_to_warm(request, true) {
            Ok(id) => {
                let words = language.say("Images that are warmed:", "将预热的镜像数：");
                let number = language.say("number", "编号");
                return (vec![PageBlock::Text(format!("{words} {count} ({number} {id})")), back], StatusCode::OK);
            }
            Err(NotAsked::Wrong(why)) => (why, StatusCode::BAD_REQUEST),
            Err(NotAsked::TooMany) => (
                language.say("Too many lists wait. Try again.", "等待的列表过多，请稍后再试。").to_owned(),
                StatusCode::TOO_MANY_REQUESTS,
            ),
        };
        (vec![PageBlock::Alert(said), back], status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_have_lines_spaces_commas_and_comments() {
        for (text, expected) in [
            ("", &[][..]),
            ("\r\n  \n# nothing\n", &[]),
            ("alpine:3.20", &["alpine:3.20"]),
            ("a:1\r\nb:2\n\n  c:3  # the third\n", &["a:1", "b:2", "c:3"]),
            ("a:1, b:2\tc:3", &["a:1", "b:2", "c:3"]),
        ] {
            assert_eq!(listed(text), expected, "{text:?}");
        }
    }
}

//! The largest and the least used images, and what a purge would take. A reader is told of an image only where a pull by the
//! same reader would tell of it, too.

use std::sync::Arc;

use http::StatusCode;

use super::blocks::{PageBlock, PageCell, PageField, PageLink, PageOrder, PageQuestion, PageTable};
use super::order::{Ordered, what_of};
use super::survey::NoSurvey;
use super::{AdminPart, AdminView, ORDERS};
use crate::admin::{CacheAdmin, Image, Purged};
use crate::human::{size, span};
use crate::name::RepositoryName;
use crate::platform::within;
use crate::request::OwnRequest;
use crate::route::{Endpoint, MatchedBy, Target};

/// Images of each order that are shown.
const MAX_SHOWN: usize = 20;
/// Images of a purge that are shown.
const MAX_PREVIEWED: usize = 100;

impl AdminView<'_> {
    pub(super) async fn images(&self) -> (Vec<PageBlock>, StatusCode) {
        let Some(admin) = self.cache_admin() else {
            return (vec![PageBlock::Text(self.say("Nothing is cached here.", "此处没有缓存。"))], StatusCode::OK);
        };
        let asked = self.asked("purge");
        if !asked.is_empty() {
            return self.preview(&admin, &asked).await;
        }
        let surveys = &self.page.surveys;
        let limit = self.request.env.settings.timeouts.head.0;
        let found = within(&*self.request.env.platform.clock, limit, surveys.images(&admin)).await;
        let images = match found {
            Ok(Ok(images)) => images,
            Ok(Err(why)) => return self.unanswered(why),
            Err(_) => return self.unanswered(NoSurvey::Failed("timeouts.head".to_owned())),
        };
        let mut blocks = Vec::new();
        for (caption, list) in [
            (self.say("Largest", "最大的镜像"), &images.largest),
            (self.say("Longest unused", "最久未使用的镜像"), &images.unused),
        ] {
            let told = list.iter().filter(|image| self.may_be_told(&image.name)).take(MAX_SHOWN);
            blocks.push(PageBlock::Table(self.table(caption, told)));
        }
        blocks.push(PageBlock::Text(self.say(
            "Layers that images share count for each of them. The list is counted at most once a minute.",
            "镜像共享的层会分别计入每个镜像。列表最多每分钟统计一次。",
        )));
        if self.is_admin() {
            blocks.push(PageBlock::Heading(self.say("Purge", "清除")));
            blocks.push(self.purge_question(""));
        }
        (blocks, StatusCode::OK)
    }

    /// What would go, and the button that lets it go.
    async fn preview(&self, admin: &CacheAdmin, asked: &str) -> (Vec<PageBlock>, StatusCode) {
        if !self.is_admin() {
            let text = self.say("Only page.admins may purge.", "只有 page.admins 中的用户可以清除。");
            return (vec![PageBlock::Alert(text)], StatusCode::FORBIDDEN);
        }
        let what = match what_of(asked) {
            Ok(what) => what,
            Err(text) => {
                return (vec![PageBlock::Alert(text), self.purge_question(asked)], StatusCode::BAD_REQUEST);
            }
        };
        let limit = self.request.env.settings.timeouts.head.0;
        let preview = self.page.surveys.purge(admin, what, true);
        let report = match within(&*self.request.env.platform.clock, limit, preview).await {
            Ok(Ok(report)) => report,
            Ok(Err(why)) => return self.unanswered(why),
            Err(_) => return self.unanswered(NoSurvey::Failed("timeouts.head".to_owned())),
        };
        let mut blocks = vec![PageBlock::Heading(format!("{} {asked}", self.say("Purge", "清除")))];
        blocks.push(PageBlock::Text(format!(
            "{} {}",
            self.say("This would go:", "将清除："),
            self.totals(&report.totals)
        )));
        let told: Vec<&Image> = report.images.iter().filter(|image| self.may_be_told(&image.name)).collect();
        let untold = report.totals.tags.saturating_sub(told.len().min(MAX_PREVIEWED) as u64);
        if !told.is_empty() {
            blocks.push(PageBlock::Table(
                self.table(self.say("Images", "镜像"), told.into_iter().take(MAX_PREVIEWED)),
            ));
        }
        if untold > 0 {
            blocks.push(PageBlock::Text(format!(
                "{} {untold}",
                self.say("Tags that are not listed:", "未列出的标签：")
            )));
        }
        if report.totals == (Purged { dry_run: true, ..Purged::default() }) {
            blocks.push(PageBlock::Text(self.say("Nothing in the cache fits.", "缓存中没有匹配的内容。")));
        } else {
            blocks.push(PageBlock::Order(PageOrder {
                action: format!("{}/-/{ORDERS}", self.request.target.entry.prefix),
                token: self.seal_order(Ordered::Purge(asked.to_owned())),
                button: self.say("Purge it now", "立即清除"),
            }));
        }
        blocks.push(self.purge_question(asked));
        (blocks, StatusCode::OK)
    }

    pub(super) fn cache_admin(&self) -> Option<CacheAdmin> {
        let env = self.request.env;
        env.cache.as_ref().map(|cache| CacheAdmin::of_cache(Arc::clone(cache), Arc::clone(&env.fills)))
    }

    pub(super) fn unanswered(&self, why: NoSurvey) -> (Vec<PageBlock>, StatusCode) {
        let (text, status) = match why {
            NoSurvey::Busy => (
                self.say(
                    "The cache is being looked through for somebody else. Try again in a moment.",
                    "缓存正在为其他请求统计，请稍后再试。",
                ),
                StatusCode::CONFLICT,
            ),
            NoSurvey::Failed(what) => {
                let words = self.say(
                    "The cache could not be looked through; registry-proxy cache list has no deadline. The reason:",
                    "无法统计缓存；registry-proxy cache list 没有时间限制。原因：",
                );
                (format!("{words} {what}"), StatusCode::GATEWAY_TIMEOUT)
            }
        };
        (vec![PageBlock::Alert(text)], status)
    }

    pub(super) fn totals(&self, purged: &Purged) -> String {
        let Purged { tags, manifests, blobs, bytes, .. } = purged;
        match self.language {
            crate::page::negotiation::Language::English => {
                format!("{tags} tags, {manifests} manifests, {blobs} blobs, {}", size(*bytes))
            }
            crate::page::negotiation::Language::Chinese => {
                format!("{tags} 个标签，{manifests} 个 manifest，{blobs} 个 blob，{}", size(*bytes))
            }
        }
    }

    /// Whether this reader may know that the cache has this image.
    pub(super) fn may_be_told(&self, image: &str) -> bool {
        let parts = image.split_once('/').and_then(|(upstream, rest)| Some((upstream, rest.rsplit_once(':')?.0)));
        let Some((upstream, repository)) = parts else { return false };
        let Ok(name) = RepositoryName::parse(repository) else { return false };
        let Some(upstream) = self.request.upstreams.iter().find(|one| one.name() == upstream) else {
            return false;
        };
        if self.rights(upstream).pull(upstream.name(), &name).is_err() {
            return false;
        }
        let target = Target {
            entry: crate::route::EntryPoint { prefix: String::new(), upstream: None },
            upstream: upstream.index(),
            name,
            client_name: String::new(),
            client_path: String::new(),
            namespace: None,
            matched_by: MatchedBy::Path,
            endpoint: Endpoint::Tags,
        };
        let request = OwnRequest::new(Arc::new(target), self.reader.identity(upstream.name()), None);
        request.context(self.request.env, upstream).may_be_told()
    }

    fn purge_question(&self, asked: &str) -> PageBlock {
        let label = self.say(
            "Which images? A pattern such as docker.io/library/alpine:*, or a digest",
            "哪些镜像？输入模式（如 docker.io/library/alpine:*）或 digest",
        );
        PageBlock::Question(PageQuestion {
            action: format!("{}/-/{}", self.request.target.entry.prefix, AdminPart::Images.path()),
            fields: vec![PageField { name: "purge", label, value: asked.to_owned() }],
            button: self.say("Show what would go", "预览"),
        })
    }

    fn table<'a>(&self, caption: String, images: impl Iterator<Item = &'a Image>) -> PageTable {
        let row = |image: &Image| {
            let href = self.href(AdminPart::Explain.path(), self.language, &[("image", &image.name)]);
            let complete = if image.is_complete { self.say("yes", "是") } else { self.say("no", "否") };
            vec![
                PageCell::Link(PageLink { href, text: image.name.clone() }),
                PageCell::text(size(image.bytes)),
                PageCell::text(span(image.used_seconds_ago)),
                PageCell::text(complete),
            ]
        };
        PageTable {
            caption,
            head: vec![
                self.say("Image", "镜像"),
                self.say("Size here", "缓存大小"),
                self.say("Unused for", "未使用时长"),
                self.say("Complete", "完整"),
            ],
            rows: images.map(row).collect(),
        }
    }
}

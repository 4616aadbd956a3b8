//! The tags that clients get otherwise than their registries have them, and what is never served. A reader is told of a tag only
//! where a pull by the same reader would tell of it, too.

use http::StatusCode;

use super::blocks::{PageBlock, PageCell, PageLink, PageOrder, PageTable};
use super::order::Ordered;
use super::survey::NoSurvey;
use super::{AdminPart, AdminView, ORDERS};
use crate::admin::{HeldState, HoldEntry};
use crate::config::HoldRule;
use crate::human::span;
use crate::platform::within;

/// Tags that are shown. Each may have a button with a sealed token.
const MAX_SHOWN: usize = 100;

impl AdminView<'_> {
    pub(super) async fn holds(&self) -> (Vec<PageBlock>, StatusCode) {
        let mut blocks = Vec::new();
        let mut status = StatusCode::OK;
        if let Some(admin) = self.cache_admin() {
            let is_shown = |tag: &HoldEntry| self.rule_of(tag).is_some() && self.may_be_told(&tag.name);
            let limit = self.request.env.settings.timeouts.head.0;
            let surveys = &self.page.surveys;
            let found = within(&*self.request.env.platform.clock, limit, surveys.held(&admin, &is_shown)).await;
            match found {
                Ok(Ok(tags)) => blocks.extend(self.held_tags(&tags)),
                Ok(Err(why)) => (blocks, status) = self.unanswered(why),
                Err(_) => (blocks, status) = self.unanswered(NoSurvey::Failed("timeouts.head".to_owned())),
            }
        } else {
            blocks.push(PageBlock::Text(self.say("Nothing is cached here.", "此处没有缓存。")));
        }
        if self.is_admin() {
            blocks.extend(self.blocked());
        }
        (blocks, status)
    }

    fn held_tags(&self, tags: &[HoldEntry]) -> Vec<PageBlock> {
        if tags.is_empty() {
            return vec![PageBlock::Text(self.say(
                "Clients get every tag that you may see as its registry has it.",
                "你能看到的标签都与上游一致。",
            ))];
        }
        let mut head = vec![
            self.say("Image", "镜像"),
            self.say("State", "状态"),
            self.say("Clients get", "客户端得到"),
            self.say("The registry has", "上游现为"),
            self.say("Moved before", "变动至今"),
            self.say("Held for", "还将保留"),
        ];
        if self.is_admin() {
            head.push(self.say("Release", "放行"));
        }
        let caption = self.say("Held and pinned tags", "保留和固定的标签");
        let rows = tags.iter().take(MAX_SHOWN).map(|tag| self.row_of(tag)).collect();
        let mut blocks = vec![PageBlock::Table(PageTable { caption, head, rows })];
        if tags.len() > MAX_SHOWN {
            blocks.push(PageBlock::Text(self.say(
                "There are more. registry-proxy cache held lists all of them.",
                "还有更多；registry-proxy cache held 会列出全部。",
            )));
        }
        blocks
    }

    fn row_of(&self, tag: &HoldEntry) -> Vec<PageCell> {
        let href = self.href(AdminPart::Explain.path(), self.language, &[("image", &tag.name)]);
        let (state, is_waiting) = match tag.state {
            HeldState::Held => (self.say("held", "保留"), true),
            HeldState::New => (self.say("new", "新标签"), true),
            HeldState::Pinned => (self.say("pinned", "固定"), false),
        };
        let nothing = || self.say("nothing", "无");
        let more = self.rule_of(tag).zip(tag.newest_seconds_ago).filter(|_| is_waiting);
        let mut row = vec![
            PageCell::Link(PageLink { href, text: tag.name.clone() }),
            PageCell::Text(state),
            PageCell::Text(tag.served.clone().unwrap_or_else(nothing)),
            PageCell::Text(tag.upstream.clone().unwrap_or_default()),
            PageCell::Text(tag.moved_seconds_ago.map(span).unwrap_or_default()),
            PageCell::Text(
                more.map_or_else(String::new, |(rule, newest)| span(rule.span.0.as_secs().saturating_sub(newest))),
            ),
        ];
        if self.is_admin() {
            row.push(if is_waiting {
                PageCell::Order(PageOrder {
                    action: format!("{}/-/{ORDERS}", self.request.target.entry.prefix),
                    token: self.seal_order(Ordered::Release(tag.name.clone())),
                    button: self.say("Release it now", "立即放行"),
                })
            } else {
                PageCell::Text(String::new())
            });
        }
        row
    }

    /// The rule that holds this tag: without one its record has no effect.
    fn rule_of(&self, tag: &HoldEntry) -> Option<HoldRule> {
        let (name, version) = tag.name.rsplit_once(':')?;
        let (upstream, repository) = name.split_once('/')?;
        self.page.config.cache.hold_for(upstream, repository, version)
    }

    /// What is never served, by which rule.
    fn blocked(&self) -> Option<PageBlock> {
        let rules = &self.page.config.block;
        let row = |rule: &crate::config::BlockRule| {
            let what = rule.digest.as_deref().or(rule.pattern.as_deref()).unwrap_or_default();
            [what, &rule.reason].map(PageCell::text).into()
        };
        (!rules.is_empty()).then(|| {
            PageBlock::Table(PageTable {
                caption: self.say("Never served", "永不提供"),
                head: vec![self.say("Digest or pattern", "digest 或模式"), self.say("Reason", "原因")],
                rows: rules.iter().map(row).collect(),
            })
        })
    }
}

//! What a pull of an image would do, as `registry-proxy explain` says it, and the tags of an image, as its registry lists them.

use std::sync::Arc;

use serde::Deserialize;

use super::blocks::{PageBlock, PageCell, PageField, PageLink, PageQuestion, PageTable};
use super::{AdminPart, AdminView};
use crate::explanation::Explanation;
use crate::human::span;
use crate::listing;
use crate::request::OwnRequest;
use crate::route::{Endpoint, Target};

/// Tags that are shown.
const MAX_TAGS: usize = 200;

/// A list of tags, as registries send it.
#[derive(Deserialize)]
struct TagNames {
    tags: Option<Vec<String>>,
}

impl AdminView<'_> {
    pub(super) async fn explained(&self) -> Vec<PageBlock> {
        let asked = self.asked("image");
        let label = self.say("What would a pull of this image do?", "拉取该镜像会发生什么？");
        let mut blocks = vec![self.question(AdminPart::Explain, vec![("image", label, asked.clone())])];
        if asked.is_empty() {
            return blocks;
        }
        let target = self.request.explainer.target_of(&self.page.config, &asked);
        if !self.reader.sees_all() && !target.as_ref().is_some_and(|target| self.is_let_in(target)) {
            blocks.push(PageBlock::Alert(self.say(
                "Nothing is said of this repository, unless its registry has let you in within the last minute: pull from it first.",
                "仅当该仓库的上游在最近一分钟内允许过你的访问时才会显示：请先拉取一次。",
            )));
            return blocks;
        }
        let upstream = target.as_ref().and_then(|target| self.request.upstreams.get(target.upstream));
        let name = upstream.map_or("", |upstream| upstream.name());
        let (identity, who) = (self.reader.identity(name), self.reader.who(name));
        let mut explanation =
            self.request.explainer.explain_to(identity, Some(who), &self.page.config, &asked).await;
        if !self.is_admin() {
            // Addresses, accounts and rules are for those who run the proxy.
            explanation.upstream = None;
            explanation.clients.allow.clear();
            explanation.clients.deny.clear();
        }
        blocks.push(self.table_of(&explanation));
        let text = serde_json::to_string_pretty(&explanation).unwrap_or_default();
        blocks.push(PageBlock::Heading(self.say("All of it", "全部信息")));
        blocks.push(PageBlock::Code(text));
        blocks
    }

    fn table_of(&self, explanation: &Explanation) -> PageBlock {
        let mut rows = vec![
            (self.say("A pull would", "拉取时将"), explanation.pull.does.to_owned()),
            (self.say("Because", "原因"), explanation.pull.why.clone()),
        ];
        rows.extend(explanation.pull.advice.clone().map(|advice| (self.say("Advice", "建议"), advice)));
        if let Some(route) = &explanation.route {
            rows.push((self.say("Registry", "镜像仓库"), format!("{} ({})", route.upstream, route.by)));
            rows.push((self.say("Repository", "仓库"), format!("{}, {}", route.repository, route.reference)));
        }
        if let Some(tag) = &explanation.tag {
            rows.push((self.say("Rule", "规则"), format!("{} ({})", tag.revalidate, tag.rule)));
            rows.extend(tag.digest.clone().map(|digest| (self.say("Points to", "指向"), digest)));
            let ago = |seconds: Option<u64>| seconds.map(span);
            rows.extend(
                ago(tag.confirmed_seconds_ago).map(|ago| (self.say("Confirmed before", "距上次确认"), ago)),
            );
            rows.extend(ago(tag.fresh_seconds).map(|left| (self.say("Fresh for", "有效期剩余"), left)));
        }
        PageBlock::Table(PageTable {
            caption: explanation.image.clone(),
            head: vec![self.say("What", "项目"), self.say("Answer", "结果")],
            rows: rows.into_iter().map(|(name, value)| [name, value].map(PageCell::Text).into()).collect(),
        })
    }

    pub(super) async fn tags(&self) -> Vec<PageBlock> {
        let (asked, wanted) = (self.asked("image"), self.asked("find"));
        let label = self.say("Tags of which image?", "查询哪个镜像的标签？");
        let find = self.say("Only those that contain", "仅显示包含以下内容的标签");
        let fields = vec![("image", label, asked.clone()), ("find", find, wanted.clone())];
        let mut blocks = vec![self.question(AdminPart::Tags, fields)];
        if asked.is_empty() {
            return blocks;
        }
        let found =
            match self.request.explainer.target_of(&self.page.config, &asked).and_then(Arc::into_inner) {
                Some(target) => self.tags_of(Target { endpoint: Endpoint::Tags, ..target }).await,
                None => Err(self
                    .say("This is not the name of an image that is served here.", "这不是本代理提供的镜像名。")),
            };
        let tags = match found {
            Ok(tags) => tags,
            Err(text) => {
                blocks.push(PageBlock::Alert(text));
                return blocks;
            }
        };
        let fitting: Vec<&String> = tags.iter().filter(|tag| tag.contains(&wanted)).collect();
        let count = format!("{} / {}", fitting.len().min(MAX_TAGS), fitting.len());
        let name = asked.split('@').next().unwrap_or_default();
        let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
        let row = |tag: &&String| {
            let image = format!("{name}:{tag}");
            let href = self.href(AdminPart::Explain.path(), self.language, &[("image", &image)]);
            vec![PageCell::Link(PageLink { href, text: (*tag).clone() })]
        };
        blocks.push(PageBlock::Text(format!("{} {count}", self.say("Shown:", "已显示："))));
        blocks.push(PageBlock::Table(PageTable {
            caption: name.to_owned(),
            head: vec![self.say("Tag", "标签")],
            rows: fitting.iter().take(MAX_TAGS).map(row).collect(),
        }));
        blocks
    }

    /// The first page of tags, as a client of this reader would get it.
    async fn tags_of(&self, target: Target) -> Result<Vec<String>, String> {
        let env = self.request.env;
        let upstream = self.request.upstreams.get(target.upstream).ok_or_else(String::new)?;
        if !upstream.permits(&target.name) {
            return Err(crate::error::Error::RepositoryDenied.to_string());
        }
        self.rights(upstream).pull(upstream.name(), &target.name).map_err(|denied| denied.to_string())?;
        let identity = self.reader.identity(upstream.name());
        let request = OwnRequest::new(Arc::new(target), identity, self.request.client_view.client);
        let context = request.context(env, upstream);
        let limit = env.settings.timeouts.head.0;
        let list = async {
            let answer = listing::tags(&context).await.map_err(|error| error.to_string())?;
            let body = answer.response.into_body().collect(env.settings.limits.listing.0).await;
            body.map_err(|error| error.to_string())
        };
        let list = crate::platform::within(&*env.platform.clock, limit, list).await;
        let body = list.map_err(|error| error.to_string())??;
        let names: TagNames = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        Ok(names.tags.unwrap_or_default())
    }

    fn is_let_in(&self, target: &Arc<Target>) -> bool {
        let Some(upstream) = self.request.upstreams.get(target.upstream) else { return false };
        let request = OwnRequest::new(Arc::clone(target), self.reader.identity(upstream.name()), None);
        request.context(self.request.env, upstream).may_be_told()
    }

    fn question(&self, part: AdminPart, fields: Vec<(&'static str, String, String)>) -> PageBlock {
        let field = |(name, label, value)| PageField { name, label, value };
        PageBlock::Question(PageQuestion {
            action: format!("{}/-/{}", self.request.target.entry.prefix, part.path()),
            fields: fields.into_iter().map(field).collect(),
            button: self.say("Show", "显示"),
        })
    }
}

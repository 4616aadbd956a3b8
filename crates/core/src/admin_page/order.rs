//! Forms that change something. Each carries what it does, sealed for the login that saw the preview, and is obeyed only if it
//! was sent from this page, by a login that may. The log says who did what.

use std::sync::{Arc, OnceLock};

use http::header::ORIGIN;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::AdminView;
use super::blocks::PageBlock;
use super::survey::{NoSurvey, PurgeReport};
use crate::admin::{Command, Purge};
use crate::body::{Body, BodyError};
use crate::digest::Digest;
use crate::error::Error;
use crate::page::negotiation::Language;
use crate::platform::within;
use crate::route::parameter;
use crate::seal::SealPurpose;
use crate::sync::Event;

/// The target of lines about what somebody did, as the server's own audit log has it.
const AUDIT: &str = "registry_proxy::audit";
/// How long a preview may be obeyed, in seconds.
const ORDER_LIFE: u64 = 3600;

/// What a form does, as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PurgeOrder {
    /// The fingerprint of the login that it was given to.
    login: String,
    purge: String,
    /// Until when it counts, in seconds since 1970.
    expires: u64,
}

/// Whether a form is obeyed.
#[derive(Debug, PartialEq, Eq)]
enum OrderVerdict {
    /// This is purged.
    Obey(String),
    /// Another page sent it, or nobody can say which.
    ElsewhereSent,
    /// This login may not.
    NotAdmin,
    /// It is not ours, not for this login, or too old.
    Outdated,
}

impl OrderVerdict {
    fn of(is_ours: bool, is_admin: bool, order: Option<PurgeOrder>, login: &str, now: u64) -> Self {
        match (is_ours, is_admin, order) {
            (false, ..) => Self::ElsewhereSent,
            (true, false, _) => Self::NotAdmin,
            (true, true, Some(order)) if order.login == login && now < order.expires => Self::Obey(order.purge),
            (true, true, Some(_) | None) => Self::Outdated,
        }
    }
}

/// Whether a browser sent this from a page of ours. `Sec-Fetch-Site` says so where the browser trusts the connection; elsewhere
/// `Origin` names the page's host. What has neither comes from no browser that we know.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host)),
        (None, None) => false,
    }
}

/// What somebody wants purged: a digest, or a pattern.
pub(super) fn what_of(text: &str) -> Result<Purge, String> {
    let what = match Digest::parse(text) {
        Ok(_) => Purge::Digest(text.to_owned()),
        Err(_) => Purge::Pattern(text.to_owned()),
    };
    Command::Purge { what: what.clone(), dry_run: true }.check().map(|()| what)
}

impl AdminView<'_> {
    /// A token for the form that purges this, for this login only.
    pub(super) fn seal_order(&self, purge: &str) -> String {
        let now = self.request.env.platform.clock.unix_seconds();
        let order = PurgeOrder {
            login: self.reader.mark.clone(),
            purge: purge.to_owned(),
            expires: now.saturating_add(ORDER_LIFE),
        };
        self.request.env.sealer.seal(SealPurpose::Form, &order)
    }

    /// Does what a form says, and tells what was done.
    pub(super) async fn carry_out(&self, body: Body) -> Result<(Vec<PageBlock>, StatusCode, Language), Error> {
        let env = self.request.env;
        let read = body.collect(env.settings.limits.form_body.0);
        let form = match within(&*env.platform.clock, env.settings.timeouts.client_stall.0, read).await {
            Ok(Ok(form)) => form,
            Ok(Err(BodyError::TooLarge { limit_bytes })) => return Err(Error::TooLarge { limit_bytes }),
            Ok(Err(_)) | Err(_) => return Err(Error::ClientBody),
        };
        let form = std::str::from_utf8(&form).map_err(|_| Error::UnreadableForm)?;
        let chosen = parameter(Some(form), "lang").and_then(|code| Language::of_code(&code));
        let language = chosen.unwrap_or(self.language);
        let token = parameter(Some(form), "token").unwrap_or_default();
        let order = env.sealer.open::<PurgeOrder>(SealPurpose::Form, &token);
        let is_ours = is_same_origin(&self.request.head.headers, &self.request.client_view.host);
        let now = env.platform.clock.unix_seconds();
        let user = self.reader.name.as_deref().unwrap_or_default();
        let (status, english, chinese) = match OrderVerdict::of(
            is_ours,
            self.is_admin(),
            order,
            &self.reader.mark,
            now,
        ) {
            OrderVerdict::Obey(purge) => {
                let (blocks, status) = self.purge(user, &purge, language).await;
                return Ok((blocks, status, language));
            }
            OrderVerdict::ElsewhereSent => (
                StatusCode::FORBIDDEN,
                "This was not sent from this page. Open the page itself, and try again there. Behind another server: public_url or trusted_proxies must name the address in your browser.",
                "该请求并非来自本页面。请打开本页面后重试。若前面有其他服务器：public_url 或 trusted_proxies 必须与浏览器中的地址一致。",
            ),
            OrderVerdict::NotAdmin => {
                (StatusCode::FORBIDDEN, "Only page.admins may purge.", "只有 page.admins 中的用户可以清除。")
            }
            OrderVerdict::Outdated => (
                StatusCode::CONFLICT,
                "This preview is too old, or belongs to another login. Ask for it once more.",
                "该预览已过期，或属于其他登录。请重新预览。",
            ),
        };
        let actor = format!("{user:?}, by the administration page");
        tracing::info!(target: AUDIT, actor, action = "purge", result = "refused", error = english, "administrative action ended");
        Ok((vec![PageBlock::Alert(language.say(english, chinese).to_owned())], status, language))
    }

    /// Purges, also if the browser goes away meanwhile.
    async fn purge(&self, user: &str, asked: &str, language: Language) -> (Vec<PageBlock>, StatusCode) {
        let (Some(admin), Ok(what)) = (self.cache_admin(), what_of(asked)) else {
            return self.unanswered(NoSurvey::Failed(String::new()));
        };
        let env = self.request.env;
        let outcome = Arc::new((OnceLock::<Result<PurgeReport, NoSurvey>>::new(), Event::new()));
        let (surveys, told) = (Arc::clone(&self.page.surveys), Arc::clone(&outcome));
        let purge = asked.to_owned();
        let actor = format!("{user:?}, by the administration page");
        tracing::info!(target: AUDIT, actor, action = "purge", detail = ?purge, "administrative action begins");
        env.platform.tasks.spawn(Box::pin(async move {
            let done = surveys.purge(&admin, what, false).await;
            let (result, error) = match &done {
                Ok(_) => ("done", None),
                Err(NoSurvey::Busy) => ("failed", Some("the cache is busy")),
                Err(NoSurvey::Failed(error)) => ("failed", Some(error.as_str())),
            };
            let size_bytes = done.as_ref().ok().map(|report| report.totals.bytes);
            tracing::info!(
                target: AUDIT, actor, action = "purge", detail = ?purge, result, error, size_bytes, "administrative action ended"
            );
            let _ = told.0.set(done);
            told.1.notify(usize::MAX);
        }));
        let ended = async {
            loop {
                let listener = outcome.1.listen();
                if outcome.0.get().is_some() {
                    return;
                }
                listener.await;
            }
        };
        let is_late = within(&*env.platform.clock, env.settings.timeouts.head.0, ended).await.is_err();
        let text = match outcome.0.get() {
            Some(Ok(report)) => {
                format!("{asked}: {} {}", language.say("purged.", "已清除。"), self.totals(&report.totals))
            }
            Some(Err(NoSurvey::Busy)) => return self.unanswered(NoSurvey::Busy),
            Some(Err(NoSurvey::Failed(why))) => return self.unanswered(NoSurvey::Failed(why.clone())),
            None if is_late => language
                .say(
                    "It is being purged, and takes a while. The log says when it is done.",
                    "正在清除，需要一些时间。完成后会记录在日志中。",
                )
                .to_owned(),
            None => String::new(),
        };
        (vec![PageBlock::Text(text)], StatusCode::OK)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_form_counts_only_from_a_page_of_ours() {
        const HOST: &str = "p.example:8443";
        for (site, origin, expected) in [
            (Some("same-origin"), Some("https://p.example:8443"), true),
            (Some("same-origin"), Some("null"), true),
            (Some("same-site"), Some("https://p.example:8443"), false),
            (Some("cross-site"), Some("https://p.example:8443"), false),
            (Some("none"), None, false),
            (None, Some("https://p.example:8443"), true),
            (None, Some("http://P.example:8443"), true),
            (None, Some("https://p.example"), false),
            (None, Some("https://evil.example"), false),
            (None, Some("https://p.example:8443.evil.example"), false),
            (None, Some("null"), false),
            (None, Some(""), false),
            (None, None, false),
        ] {
            let values = [("sec-fetch-site", site), ("origin", origin)];
            let pair = |(name, value): (&'static str, Option<&'static str>)| {
                Some((HeaderName::from_static(name), HeaderValue::from_static(value?)))
            };
            let headers: HeaderMap = values.into_iter().filter_map(pair).collect();
            assert_eq!(is_same_origin(&headers, HOST), expected, "{site:?} {origin:?}");
        }
    }

    #[test]
    fn a_form_is_obeyed_for_the_admin_who_saw_its_preview_and_for_an_hour() {
        let order =
            |login: &str| Some(PurgeOrder { login: login.to_owned(), purge: "x/*".to_owned(), expires: 100 });
        let obey = || OrderVerdict::Obey("x/*".to_owned());
        for (is_ours, is_admin, order, now, expected) in [
            (true, true, order("me"), 99, obey()),
            (true, true, order("me"), 100, OrderVerdict::Outdated),
            (true, true, order("you"), 99, OrderVerdict::Outdated),
            (true, true, None, 99, OrderVerdict::Outdated),
            (true, false, order("me"), 99, OrderVerdict::NotAdmin),
            (false, true, order("me"), 99, OrderVerdict::ElsewhereSent),
            (false, false, None, 99, OrderVerdict::ElsewhereSent),
        ] {
            assert_eq!(OrderVerdict::of(is_ours, is_admin, order, "me", now), expected);
        }
    }

    #[test]
    fn a_digest_is_a_digest_and_all_else_a_pattern() {
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(what_of(&digest), Ok(Purge::Digest(digest)));
        assert_eq!(what_of("docker.io/*"), Ok(Purge::Pattern("docker.io/*".to_owned())));
        assert!(what_of("").is_err());
    }
}

//! Forms that change something. Each carries what it does, sealed for the login that saw the preview, and is obeyed only if it
//! was sent from this page, by a login that may. The log says who did what.

use std::sync::{Arc, OnceLock};

use http::header::ORIGIN;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::blocks::PageBlock;
use super::survey::NoSurvey;
use super::{AdminPart, AdminView};
use crate::admin::{Command, Purge};
use crate::audit::{self, AuditEntry, AuditResult};
use crate::body::{Body, BodyError};
use crate::digest::Digest;
use crate::error::Error;
use crate::page::negotiation::Language;
use crate::platform::within;
use crate::route::parameter;
use crate::seal::SealPurpose;
use crate::sync::Event;

/// How long a preview may be obeyed, in seconds.
const ORDER_LIFE: u64 = 3600;

/// What a form does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ordered {
    /// Purges what fits, or a digest.
    Purge(String),
    /// Lets clients have what a held tag moved to.
    Release(String),
    /// Has the images fetched that the form lists.
    Warm,
}

impl Ordered {
    /// Its name in the audit log.
    fn action(&self) -> &'static str {
        match self {
            Self::Purge(_) => "purge",
            Self::Release(_) => "release",
            Self::Warm => "warm",
        }
    }

    /// The part of the page that it was sent from.
    fn part(&self) -> AdminPart {
        match self {
            Self::Purge(_) => AdminPart::Images,
            Self::Release(_) => AdminPart::Holds,
            Self::Warm => AdminPart::Warming,
        }
    }
}

/// What a form does, as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FormOrder {
    /// The fingerprint of the login that it was given to.
    login: String,
    what: Ordered,
    /// Until when it counts, in seconds since 1970.
    expires: u64,
}

/// Whether a form is obeyed.
#[derive(Debug, PartialEq, Eq)]
enum OrderVerdict {
    /// This is done.
    Obey(Ordered),
    /// Another page sent it, or nobody can say which.
    ElsewhereSent,
    /// This login may not.
    NotAdmin,
    /// It is not ours, not for this login, or too old.
    Outdated,
}

impl OrderVerdict {
    fn of(is_ours: bool, is_admin: bool, order: Option<FormOrder>, login: &str, now: u64) -> Self {
        match (is_ours, is_admin, order) {
            (false, ..) => Self::ElsewhereSent,
            (true, false, _) => Self::NotAdmin,
            (true, true, Some(order)) if order.login == login && now < order.expires => Self::Obey(order.what),
            (true, true, Some(_) | None) => Self::Outdated,
        }
    }
}

/// What became of a form.
pub(super) struct DoneOrder {
    /// The part of the page that shows it.
    pub(super) part: AdminPart,
    pub(super) blocks: Vec<PageBlock>,
    pub(super) status: StatusCode,
    pub(super) language: Language,
}

/// What is done, as the audit log tells it.
struct AuditedWork {
    actor: String,
    action: &'static str,
    detail: String,
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
    /// A token for the form that does this, for this login only.
    pub(super) fn seal_order(&self, what: Ordered) -> String {
        let now = self.request.env.platform.clock.unix_seconds();
        let order = FormOrder { login: self.reader.mark.clone(), what, expires: now.saturating_add(ORDER_LIFE) };
        self.request.env.sealer.seal(SealPurpose::Form, &order)
    }

    /// Does what a form says, and tells what was done.
    pub(super) async fn carry_out(&self, body: Body) -> Result<DoneOrder, Error> {
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
        let order = env.sealer.open::<FormOrder>(SealPurpose::Form, &token);
        let is_ours = is_same_origin(&self.request.head.headers, &self.request.client_view.host);
        let now = env.platform.clock.unix_seconds();
        let user = self.reader.name.as_deref().unwrap_or_default();
        let actor = format!("{user:?}, by the administration page");
        let (action, part) =
            order.as_ref().map_or(("form", AdminPart::Overview), |order| (order.what.action(), order.what.part()));
        let verdict = OrderVerdict::of(is_ours, self.is_admin(), order, &self.reader.mark, now);
        let (status, english, chinese) = match verdict {
            OrderVerdict::Obey(what) => {
                let (blocks, status) = match &what {
                    Ordered::Purge(asked) => self.purge(actor, asked, language).await,
                    Ordered::Release(image) => self.release(actor, image, language).await,
                    Ordered::Warm => {
                        self.warm_list(&parameter(Some(form), "images").unwrap_or_default(), language)
                    }
                };
                return Ok(DoneOrder { part, blocks, status, language });
            }
            OrderVerdict::ElsewhereSent => (
                StatusCode::FORBIDDEN,
                "This was not sent from this page. Open the page itself, and try again there. Behind another server: public_url or trusted_proxies must name the address in your browser.",
                "该请求并非来自本页面。请打开本页面后重试。若前面有其他服务器：public_url 或 trusted_proxies 必须与浏览器中的地址一致。",
            ),
            OrderVerdict::NotAdmin => (
                StatusCode::FORBIDDEN,
                "Only page.admins may do this.",
                "只有 page.admins 中的用户可以执行此操作。",
            ),
            OrderVerdict::Outdated => (
                StatusCode::CONFLICT,
                "This form is too old, or belongs to another login. Open its page once more.",
                "该表单已过期，或属于其他登录。请重新打开页面。",
            ),
        };
        audit::record(actor, action, AuditResult::Refused(english.to_owned()));
        let blocks = vec![PageBlock::Alert(language.say(english, chinese).to_owned())];
        Ok(DoneOrder { part, blocks, status, language })
    }

    /// Purges, and says how much that was.
    async fn purge(&self, actor: String, asked: &str, language: Language) -> (Vec<PageBlock>, StatusCode) {
        let (Some(admin), Ok(what)) = (self.cache_admin(), what_of(asked)) else {
            return self.unanswered(NoSurvey::Failed(String::new()));
        };
        let surveys = Arc::clone(&self.page.surveys);
        let audited = AuditedWork { actor, action: "purge", detail: asked.to_owned() };
        let work = async move {
            let report = surveys.purge(&admin, what, false).await?;
            let size_bytes = report.totals.bytes;
            Ok((report.totals, Some(size_bytes)))
        };
        match self.to_the_end(audited, work).await {
            Some(Ok(totals)) => {
                let words = language.say("purged.", "已清除。");
                let text = format!("{asked}: {words} {}", self.totals(&totals));
                (vec![PageBlock::Text(text)], StatusCode::OK)
            }
            Some(Err(why)) => self.unanswered(why),
            None => going_on(language),
        }
    }

    /// Lets clients have what a held tag moved to.
    async fn release(&self, actor: String, image: &str, language: Language) -> (Vec<PageBlock>, StatusCode) {
        let Some(admin) = self.cache_admin() else {
            return self.unanswered(NoSurvey::Failed(String::new()));
        };
        let surveys = Arc::clone(&self.page.surveys);
        let audited = AuditedWork { actor, action: "release", detail: image.to_owned() };
        let name = image.to_owned();
        let work = async move { Ok((surveys.release(&admin, &name).await?, None)) };
        let words = match self.to_the_end(audited, work).await {
            Some(Ok(0)) => language.say("nothing is held any more.", "已没有被保留的内容。"),
            Some(Ok(_)) => language
                .say("released. Clients get what its registry has now.", "已放行。客户端将得到上游现在的内容。"),
            Some(Err(why)) => return self.unanswered(why),
            None => return going_on(language),
        };
        (vec![PageBlock::Text(format!("{image}: {words}"))], StatusCode::OK)
    }

    /// Does something to its end, also if the browser goes away meanwhile, and logs who did it. `None`: it takes longer than a
    /// reader waits.
    async fn to_the_end<T: Clone + Send + Sync + 'static>(
        &self,
        audited: AuditedWork,
        work: impl Future<Output = Result<(T, Option<u64>), NoSurvey>> + Send + 'static,
    ) -> Option<Result<T, NoSurvey>> {
        let env = self.request.env;
        let outcome = Arc::new((OnceLock::<Result<T, NoSurvey>>::new(), Event::new()));
        let told = Arc::clone(&outcome);
        let AuditedWork { actor, action, detail } = audited;
        let entry = AuditEntry::begin(actor, action, format!("{detail:?}"));
        env.platform.tasks.spawn(Box::pin(async move {
            let done = work.await;
            entry.end(match &done {
                Ok((_, size_bytes)) => AuditResult::Done { size_bytes: *size_bytes },
                Err(NoSurvey::Busy) => AuditResult::Failed("the cache is busy".to_owned()),
                Err(NoSurvey::Failed(error)) => AuditResult::Failed(error.clone()),
            });
            let _ = told.0.set(done.map(|(done, _)| done));
            told.1.notify(usize::MAX);
        }));
        let ended = async {
            loop {
                let listener = outcome.1.listen();
                if let Some(done) = outcome.0.get() {
                    return done.clone();
                }
                listener.await;
            }
        };
        within(&*env.platform.clock, env.settings.timeouts.head.0, ended).await.ok()
    }
}

fn going_on(language: Language) -> (Vec<PageBlock>, StatusCode) {
    let text = language.say(
        "It is being done, and takes a while. The log says when it has ended.",
        "正在执行，需要一些时间。完成后会记录在日志中。",
    );
    (vec![PageBlock::Text(text.to_owned())], StatusCode::OK)
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
        let what = || Ordered::Purge("x/*".to_owned());
        let order = |login: &str| Some(FormOrder { login: login.to_owned(), what: what(), expires: 100 });
        let obey = || OrderVerdict::Obey(what());
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

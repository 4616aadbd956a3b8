//! Every reason there is, what it goes with and what it means: `docs/reference/outcomes.md` is made from this list.

use super::Action::{
    self, Abandoned, Answered, Failed, Filled, Held, Hit, Joined, Redirected, Refused, Relayed, Revalidated, Stale,
};

macro_rules! reasons {
    ($($name:ident = $text:literal, [$($action:ident),+], $meaning:literal;)+) => {
        /// Why something was done: a closed set, so it can be a label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The words for it, in the header, the log and the metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What can have been done for this reason.
            pub const fn goes_with(self) -> &'static [Action] {
                match self { $(Self::$name => &[$($action),+],)+ }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

reasons! {
    Ping = "ping", [Answered], "`/v2/`, answered without asking an upstream.";
    Token = "token", [Answered], "A token issued by the proxy.";
    AdminPage = "administration page", [Answered], "`/-/`: a page for those who log in.";
    FrontPage = "front page", [Answered], "`/`: the page for a browser, or a line of text.";

    Digest = "digest", [Hit], "Cached content, requested by digest: it cannot have changed.";
    TagFresh = "tag is fresh", [Hit], "The upstream confirmed the tag recently: `cache.tag_ttl`, `cache.tags`.";
    Offline = "offline", [Hit], "`cache.offline`: cached content is served, however old.";

    ListFresh = "list is fresh", [Hit], "The list was fetched recently: `cache.listing_ttl`.";

    Arriving = "arriving", [Joined], "Another request is fetching the blob.";
    RangeArriving = "range of what is arriving", [Joined], "Another request is fetching the blob, and will soon reach this range.";
    OtherProcess = "fetched by another process", [Joined], "Another process that shares the store has fetched the blob meanwhile.";

    TagAbsent = "tag not here", [Filled], "The tag is not cached: nobody has requested it yet, or its manifest was evicted.";
    DigestAbsent = "digest not here", [Filled], "The manifest was not cached.";
    TagChanged = "tag changed", [Filled], "The tag was due for revalidation, and points to a manifest that was not cached.";
    NotGivenYet = "not given by this registry yet", [Filled], "The content is cached from another registry, which requires a login; this registry must send it once before it is served from the cache.";
    BlobAbsent = "blob not here", [Filled], "The blob was not cached.";
    BlobRest = "completed from cached ranges", [Filled], "Ranges of the blob were cached; the rest was fetched.";

    ListAbsent = "list not here", [Filled], "The list was not cached, or too old.";

    TagUnchanged = "tag unchanged", [Revalidated], "The tag was due for revalidation, and still points to the same manifest.";
    TagKnown = "tag changed to what is here", [Revalidated], "The tag was due for revalidation, and points to another cached manifest.";
    AccessConfirmed = "access confirmed", [Revalidated], "The content is cached, and the upstream confirmed that this client may read it from this repository.";

    LimitsRate = "upstream limits the rate", [Stale], "The upstream answers 429, and the tag may be served stale: `cache.stale_if_error`.";
    BudgetSpared = "budget nearly spent", [Stale], "The tag may have changed, but the last pulls of the account's budget are reserved for content that is not cached.";
    CannotBeAsked = "upstream cannot be asked", [Stale], "The upstream gave no usable response.";

    TagMoved = "tag moved", [Held], "The tag moved at its upstream, and is held: `hold` of `cache.tags`.";
    TagPinned = "tag is pinned", [Held], "An operator pinned the tag to this manifest: `registry-proxy cache pin`.";

    NoStore = "no store", [Relayed], "Nothing is cached: there is no store.";
    NeverKept = "never kept", [Relayed], "Pushes, deletions and paths outside `/v2/` are passed on and never cached.";
    LeftToClient = "redirects are not followed", [Relayed], "`redirects` is `pass` or `rewrite`: blobs are not cached.";
    AbsentHead = "head of what is not here", [Relayed], "The upstream's response to a HEAD of content that is not cached, or that the client may push.";
    AbsentRange = "range of what is not here; kept", [Relayed], "A range, fetched for this request and cached; the rest of the blob can follow later.";
    RangePassed = "range of what is not here", [Relayed], "A range, not cached: this platform cannot store a part of a blob, or another request is fetching the same bytes too slowly.";
    NoRoom = "cache cannot take it", [Relayed], "The store is full or fails: the content is passed on and not cached.";
    Unkeepable = "cannot be kept", [Relayed], "The upstream does not give the blob's length, or the blob is empty.";
    NarrowAccept = "as the client's Accept wants it", [Relayed], "The manifest's type is not in the client's `Accept`, so the proxy asked the upstream again with that `Accept`.";

    RedirectsPass = "redirects pass", [Redirected], "`redirects = \"pass\"`: to the target of the upstream's redirect.";
    TargetHere = "target behind this address", [Redirected], "`redirects = \"rewrite\"`: to the proxy, which fetches the target.";
    StorageHere = "storage behind this address", [Redirected], "`redirects = \"rewrite\"`: to the proxy, which fetches from `DEFAULT_BACKEND_HOST`.";

    StoreLink = "in the store", [Redirected], "By a signed link to the store: the blob is too large for the platform's responses, or `delivery.links` is `always`.";
    StoreFilled = "brought into the store", [Redirected], "By a signed link to the store, into which the blob was fetched for this request.";
    UpstreamLink = "not in the store in time", [Redirected], "To the upstream's own storage: the blob is too large for the platform's responses, and was not in the store within `delivery.hold`.";

    InvalidName = "invalid name", [Refused], "Not a valid repository name.";
    InvalidDigest = "invalid digest", [Refused], "Not a valid digest.";
    InvalidTag = "invalid tag", [Refused], "Not a valid tag.";
    NamespaceConflict = "ns contradicts the path", [Refused], "The path or the virtual host names one registry, `ns` another.";
    NotServed = "registry not served", [Refused], "The registry is not a configured upstream, or the path secret is missing.";
    NoSuchEndpoint = "no such endpoint", [Refused], "The path does not exist.";
    NoCatalogue = "no catalogue", [Refused], "`_catalog` is not supported.";
    RepositoryDenied = "repository not allowed", [Refused], "`repositories` does not allow this repository.";
    AccessDenied = "denied by access rule", [Refused], "A rule of `[[access]]` denies this client the repository or the push, or no rule allows it. The message says which.";
    Blocked = "blocked", [Refused], "The operator blocks this digest, tag or repository, or the blob belongs to a blocked manifest only: `[[block]]`.";
    Unsigned = "not signed", [Refused], "The image has no signature, and its policy wants one: `[[policy]]`.";
    SignatureRejected = "no valid signature", [Refused], "The image has signatures, and none is the one that its policy wants: `[[policy]]`. The message says what is wrong.";
    NoSignatureVerdict = "signature not verified", [Refused], "The proxy could not get or verify the image's signature, and its policy is enforced: `[[policy]]`. The message says why.";
    ServiceDenied = "denied by service", [Refused], "The service of `verdict_url` says no: `[[policy]]`. The message has its reason.";
    NoServiceVerdict = "no answer of service", [Refused], "The service of `verdict_url` gave no answer in time, and `verdict_default` is `deny`: `[[policy]]`. The message says what came instead.";
    OfNoSignedImage = "blob of no signed image", [Refused], "No manifest of this repository that its policy lets through names this blob, as far as the proxy knows: `[[policy]]`.";
    NewTagHeld = "new tag is held", [Refused], "The tag was never seen before, and has not stood for `hold` yet: `hold_new = \"refuse\"`.";
    DigestHeld = "digest is held", [Refused], "Only a held tag names this digest: `hold_digests`.";
    HeldGone = "held manifest is gone", [Refused], "The tag is held or pinned at a manifest that neither the cache nor the upstream has any more.";
    LoginNeeded = "login needed", [Refused], "The client must log in, or its token does not cover this request.";
    WrongLogin = "wrong login", [Refused], "Wrong user name or password.";
    TokenRefused = "issuer's token refused", [Refused], "The client's token of an OIDC issuer (`[[clients.issuer]]`) does not count; the message says why.";
    BeyondIssuerRule = "beyond the issuer's rule", [Refused], "`allow` of the client's `[[clients.issuer]]` does not have this repository, or the client pushes or deletes.";
    TooManyLogins = "too many logins", [Refused], "This address sent too many wrong passwords (`limits.wrong_logins`), or too many logins are being checked (`limits.logins`).";
    ForeignName = "not a name of this server", [Refused], "The administration page without logins was asked for by a host that is no IP address, no loopback name, and in neither `page.listen` nor `public_url`: a web site may have let its own name resolve to this server.";
    TwoRegistries = "two registries in one token", [Refused], "One token was requested for repositories of two registries.";
    TokenTooLarge = "token too large", [Refused], "Login and scopes do not fit into a token.";
    UnreadableForm = "unreadable form", [Refused], "The form posted to the token endpoint cannot be parsed.";
    UnsupportedGrant = "unsupported grant", [Refused], "The token request has a grant type that is not supported.";
    RefusedUpstream = "refused by the upstream", [Refused], "The upstream answered 401 or 403.";
    NotFound = "not found at the upstream", [Refused], "The upstream answered that it does not have the content.";
    NotFoundBefore = "not found a moment ago", [Refused], "The upstream did not have the content a moment ago, and is not asked again within `cache.negative_ttl`.";
    AbsentOffline = "offline and not here", [Refused], "`cache.offline`: no upstream is asked, and the content is not cached.";
    UnknownLink = "unknown link", [Refused], "A rewritten redirect that this proxy did not issue, that has expired (`delivery.link_life`), or that is for another login, repository or blob.";
    PushOff = "push is off", [Refused], "`push` is off for this upstream, or the request names the registry by `ns`.";
    MethodNotAllowed = "method not allowed", [Refused], "The path does not support this method.";
    UnknownUpload = "unknown upload", [Refused], "An upload session that this proxy did not issue, that is for another repository, or that has expired.";
    RangeNotSatisfiable = "range not satisfiable", [Refused], "The range begins beyond the end of the blob.";
    SeveralRanges = "several ranges", [Refused], "The request asks for several ranges.";
    TooLarge = "too large", [Refused, Failed], "The client's request (refused) or the upstream's response (failed) is larger than a limit.";
    ManifestTooLarge = "manifest too large", [Refused], "A pushed manifest is larger than `limits.manifest`.";
    RequestBroke = "request broke off", [Refused], "The client's request body ended early, or stalled for longer than `timeouts.client_stall`. The upstream has not failed.";
    TooManyWaiting = "limits.waiting reached", [Refused], "Too many requests wait for this upstream. Requests that need no upstream are still answered.";
    ClientLimit = "quota.client reached", [Refused], "This client has reached its limit for this hour or day.";
    TotalLimit = "quota.total reached", [Refused], "All clients together have reached the limit for this hour or day.";
    Closed = "quota.mode is closed", [Refused], "`quota.mode` is `closed`: all requests for content are refused.";
    Declined = "declined by the upstream", [Refused], "The upstream answered another 4xx.";
    Undeliverable = "too large for the platform", [Refused], "The platform cannot send so large a response, and the client could not be redirected either; the response says why.";
    Loop = "loop", [Refused], "The request has already passed through this proxy.";

    StaleIncomplete = "not stale: incomplete", [Failed], "The upstream gave no usable response, and the tag is not served stale, because its image is not completely cached. The message says what is missing, and why the upstream failed.";
    StaleTooOld = "not stale: too old", [Failed], "The upstream gave no usable response, and it confirmed the tag too long ago: `cache.stale_if_error`. The message says why the upstream failed.";
    Limited = "limited by the upstream", [Failed], "The upstream answers 429 to every account of the proxy.";
    NotYet = "on its way into the store", [Failed], "The blob is too large for the platform's responses, and is not in the store yet; the next request continues the download.";
    HeadTimeout = "timeouts.head passed", [Failed], "The response to the client did not begin in time.";
    Unreachable = "upstream unreachable", [Failed, Stale], "The proxy cannot connect to any address of the upstream.";
    TimedOut = "upstream timed out", [Failed, Stale], "The upstream did not answer in time: `timeouts.first_byte`.";
    Resting = "upstream left alone after a failure", [Failed, Stale], "The upstream failed a moment ago and is not asked again yet: `timeouts.down`.";
    UpstreamError = "upstream error", [Failed, Stale], "The upstream answered 5xx.";
    Broke = "upstream connection broke", [Failed, Stale], "The connection to the upstream broke.";
    Busy = "max_connections in use", [Failed, Stale], "All connections that the upstream's `max_connections` allows are in use.";
    NotLoggedIn = "no login to the upstream", [Failed, Stale], "The identity service of the upstream's cloud gave the proxy no login (`upstream.login`); the log says why.";
    NoIssuerKeys = "no keys of the issuer", [Failed], "A token of an OIDC issuer cannot be verified, because the proxy has no keys of the issuer; the message and the log say why.";
    Coded = "upstream sent coded bytes", [Failed], "The upstream compresses although asked not to; the proxy does not decode it.";
    DigestMismatch = "digest mismatch", [Failed], "The bytes from the upstream do not match the digest.";
    NoManifest = "no manifest", [Failed], "The upstream's response is not a manifest.";
    RedirectRefused = "redirect refused", [Failed], "The upstream redirects to a target that the proxy does not follow; the log says why.";
    RealmNotTrusted = "realm not trusted", [Failed], "The upstream names a token server that must not get the password: `realms`.";
    Unusable = "upstream answer unusable", [Failed], "The upstream's response is invalid; the log says why.";

    ClientLeft = "client left", [Abandoned], "The client closed its connection, or cancelled, before the response began.";
}

//! Every reason there is, what it goes with and what it means: `docs/reference/outcomes.md` is made from this list.

use super::Action::{
    self, Abandoned, Answered, Failed, Filled, Hit, Joined, Redirected, Refused, Relayed, Revalidated, Stale,
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
    Ping = "ping", [Answered], "`/v2/`, without asking any upstream.";
    Token = "token", [Answered], "A token of ours.";
    FrontPage = "front page", [Answered], "`/`, for a person with a browser.";

    Digest = "digest", [Hit], "It is here, and was asked by digest: it cannot have changed.";
    TagFresh = "tag is fresh", [Hit], "The tag was confirmed not long ago: `cache.tag_ttl`, `cache.tags`.";
    Offline = "offline", [Hit], "`cache.offline`: what is here is served, however old.";

    ListFresh = "list is fresh", [Hit], "The list was asked for not long ago: `cache.listing_ttl`.";

    Arriving = "arriving", [Joined], "Another request is fetching it.";
    RangeArriving = "range of what is arriving", [Joined], "Another request is fetching it, and is near this range.";
    OtherProcess = "fetched by another process", [Joined], "A process that shares the store has fetched it meanwhile.";

    TagAbsent = "tag not here", [Filled], "Nobody has asked for this tag yet, or its manifest was evicted.";
    DigestAbsent = "digest not here", [Filled], "The manifest was not here.";
    TagChanged = "tag changed", [Filled], "The tag was due, and points to a manifest that was not here.";
    NotGivenYet = "not given by this registry yet", [Filled], "Another registry gave it to those who log in there; this one must give it before it is served from the cache.";
    BlobAbsent = "blob not here", [Filled], "The blob was not here.";
    BlobRest = "the rest of what is here", [Filled], "Ranges of the blob were here; the rest is fetched.";

    ListAbsent = "list not here", [Filled], "The list was not here, or too old.";

    TagUnchanged = "tag unchanged", [Revalidated], "The tag was due, and points where it did.";
    TagKnown = "tag changed to what is here", [Revalidated], "The tag was due, and points to another manifest that is here.";
    AccessConfirmed = "access confirmed", [Revalidated], "It is here, and the upstream says that this client may have it from this repository.";

    LimitsRate = "upstream limits the rate", [Stale], "The upstream answers 429, and the tag may be stale: `cache.stale_if_error`.";
    BudgetSpared = "budget nearly spent", [Stale], "The tag may have changed, and the last pulls of the budget are kept for what is not here.";
    CannotBeAsked = "upstream cannot be asked", [Stale], "The upstream gave no usable answer.";

    NoStore = "no store", [Relayed], "Nothing is kept: there is no store.";
    NeverKept = "never kept", [Relayed], "Pushes, deletions and what lies outside `/v2/` are passed on.";
    LeftToClient = "redirects are not followed", [Relayed], "`redirects` is `pass` or `rewrite`, and then blobs are not kept.";
    AbsentHead = "head of what is not here", [Relayed], "HEAD of what is not here, or of what may be pushed: the upstream's answer.";
    AbsentRange = "range of what is not here; kept", [Relayed], "A range, fetched for this request; it is kept for the rest to come.";
    RangePassed = "range of what is not here", [Relayed], "A range; it is not kept, as this platform has no place for a part of a blob, or as another request fetches the same too slowly.";
    NoRoom = "cache cannot take it", [Relayed], "The store has no room, or fails: it passes by.";
    Unkeepable = "cannot be kept", [Relayed], "The upstream does not say how long it is, or it is empty.";
    NarrowAccept = "as the client's Accept wants it", [Relayed], "The client names its types, and what is here is none of them.";

    RedirectsPass = "redirects pass", [Redirected], "`redirects = \"pass\"`: to where the upstream sends.";
    TargetHere = "target behind this address", [Redirected], "`redirects = \"rewrite\"`: back to us, for the target.";
    StorageHere = "storage behind this address", [Redirected], "`redirects = \"rewrite\"`: back to us, for the storage of `DEFAULT_BACKEND_HOST`.";

    StoreLink = "in the store", [Redirected], "By a link into our store: the platform does not carry it, or `delivery.links` is `always`.";
    StoreFilled = "brought into the store", [Redirected], "By a link into our store, into which it was brought meanwhile.";
    UpstreamLink = "not in the store in time", [Redirected], "To where the upstream itself sends: the platform does not carry it, and it was not in our store within `delivery.hold`.";

    InvalidName = "invalid name", [Refused], "No legal name of a repository.";
    InvalidDigest = "invalid digest", [Refused], "No legal digest.";
    InvalidTag = "invalid tag", [Refused], "No legal tag.";
    NamespaceConflict = "ns contradicts the path", [Refused], "Path or virtual host name one registry, `ns` another.";
    NotServed = "registry not served", [Refused], "None of the configured upstreams, or the path secret is missing.";
    NoSuchEndpoint = "no such endpoint", [Refused], "No such path.";
    NoCatalogue = "no catalogue", [Refused], "`_catalog` is not offered.";
    RepositoryDenied = "repository not allowed", [Refused], "`repositories` does not let it through.";
    LoginNeeded = "login needed", [Refused], "The client must log in, or its token is not for this.";
    WrongLogin = "wrong login", [Refused], "Wrong user name or password.";
    TooManyLogins = "too many logins", [Refused], "This address was wrong about a password too often (`limits.wrong_logins`), or too many logins are being checked (`limits.logins`).";
    TwoRegistries = "two registries in one token", [Refused], "A token was asked for repositories of two registries.";
    TokenTooLarge = "token too large", [Refused], "Login and scopes do not fit into a token.";
    UnreadableForm = "unreadable form", [Refused], "The form for a token cannot be read.";
    UnsupportedGrant = "unsupported grant", [Refused], "A kind of token request that is not offered.";
    RefusedUpstream = "refused by the upstream", [Refused], "The upstream says 401 or 403.";
    NotFound = "not found at the upstream", [Refused], "The upstream says that it does not have it.";
    NotFoundBefore = "not found a moment ago", [Refused], "The upstream said so within `cache.negative_ttl`, and is not asked again.";
    AbsentOffline = "offline and not here", [Refused], "`cache.offline`: nobody is asked, and it is not here.";
    UnknownLink = "unknown link", [Refused], "A rewritten redirect that is not ours, or is over (`delivery.link_life`), or is for another login, repository or blob.";
    PushOff = "push is off", [Refused], "`push` is off for this upstream, or the address cannot push.";
    MethodNotAllowed = "method not allowed", [Refused], "The method means nothing here.";
    UnknownUpload = "unknown upload", [Refused], "An upload session that is not ours, of another repository, or too old.";
    RangeNotSatisfiable = "range not satisfiable", [Refused], "The range begins beyond the end.";
    SeveralRanges = "several ranges", [Refused], "Several ranges in one request.";
    TooLarge = "too large", [Refused, Failed], "Larger than a limit: what the client sent (refused), or the upstream.";
    ManifestTooLarge = "manifest too large", [Refused], "A pushed manifest is larger than `limits.manifest`.";
    RequestBroke = "request broke off", [Refused], "The client's body ended short, or stood still for longer than `timeouts.client_stall`. The upstream has not failed.";
    TooManyWaiting = "limits.waiting reached", [Refused], "Too many requests wait for this upstream. What is answered without it is not refused.";
    ClientLimit = "guard.client reached", [Refused], "This client has used up what one may have in this hour or day.";
    TotalLimit = "guard.total reached", [Refused], "All clients together have used up what they may have in this hour or day.";
    Closed = "guard is closed", [Refused], "`guard.mode` is `closed`: nobody gets anything.";
    Declined = "declined by the upstream", [Refused], "Another 4xx of the upstream.";
    Undeliverable = "too large for the platform", [Refused], "The platform does not carry an answer so large, and there is no link that the client could be sent to; the answer says why.";
    Loop = "loop", [Refused], "The request has passed through this proxy already.";

    StaleIncomplete = "not stale: incomplete", [Failed], "The upstream gave no usable answer, and the tag is not served stale: of its image not all is here. The message says what is missing, and what is wrong with the upstream.";
    StaleTooOld = "not stale: too old", [Failed], "The upstream gave no usable answer, and it confirmed the tag too long ago: `cache.stale_if_error`. The message says what is wrong with the upstream.";
    Limited = "limited by the upstream", [Failed], "The upstream answers 429, for every account of ours.";
    NotYet = "on its way into the store", [Failed], "The platform does not carry it, and it is not in our store yet: the next try goes on.";
    HeadTimeout = "timeouts.head passed", [Failed], "Our answer did not begin in time.";
    Unreachable = "upstream unreachable", [Failed, Stale], "No connection to any of its addresses.";
    TimedOut = "upstream timed out", [Failed, Stale], "No answer in time: `timeouts.first_byte`.";
    Resting = "upstream left alone after a failure", [Failed, Stale], "It failed a moment ago: `timeouts.down`.";
    UpstreamError = "upstream error", [Failed, Stale], "5xx.";
    Broke = "upstream connection broke", [Failed, Stale], "The connection broke.";
    Busy = "max_connections in use", [Failed, Stale], "`max_connections` of the upstream are in use.";
    Coded = "upstream sent coded bytes", [Failed], "It compresses although asked not to, and we do not decode it.";
    DigestMismatch = "digest mismatch", [Failed], "The bytes do not have their digest.";
    NoManifest = "no manifest", [Failed], "What it sent is no manifest.";
    RedirectRefused = "redirect refused", [Failed], "It redirects where we do not go; the log says where.";
    RealmNotTrusted = "realm not trusted", [Failed], "Its token server may not have our password: `realms`.";
    Unusable = "upstream answer unusable", [Failed], "Its answer makes no sense; the log says why.";

    ClientLeft = "client left", [Abandoned], "The client closed its connection, or cancelled, before its answer began.";
}

//! How a client sees us (scheme and host for realm and Location), and who it is behind a reverse proxy.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Uri};
use ipnet::IpNet;
use url::Url;

use super::id;
use crate::config::Config;
use crate::platform::Cx;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Our address as the client sees it, and the client that we see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientView {
    /// `https` or `http`.
    pub(crate) scheme: &'static str,
    /// Host, with a port where it is not the usual one.
    pub(crate) host: String,
    /// The client's address, behind trusted proxies too.
    pub(crate) client: Option<IpAddr>,
    /// A trusted proxy's name of the request.
    pub(crate) request_id: Option<HeaderValue>,
}

impl ClientView {
    /// `https://proxy.example.com`
    pub(crate) fn base(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

/// Which headers of which peers are believed.
pub(crate) struct ClientViewRules {
    public_url: Option<(&'static str, String)>,
    trusted: Vec<IpNet>,
    /// The platform itself is the reverse proxy, and speaks HTTPS.
    is_fronted: bool,
    /// The platform adds the client's address to `X-Forwarded-For`, and is itself the peer.
    adds_client: bool,
    virtual_hosts: Vec<String>,
}

impl ClientViewRules {
    /// Takes the rules from the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let authority = |url: &Url| {
            let host = url.host_str().unwrap_or_default();
            url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
        };
        Self {
            public_url: config.public_url.as_ref().map(|url| (scheme(url.scheme() == "https"), authority(url))),
            trusted: config.trusted_proxies.clone(),
            is_fronted: config.platform.is_https(),
            adds_client: config.platform.is_https() && !config.platform.names_client(),
            virtual_hosts: config
                .upstream
                .iter()
                .flat_map(|u| &u.hosts)
                .map(|host| host.to_ascii_lowercase())
                .collect(),
        }
    }

    /// Reads the request. `X-Forwarded-*` count only from a trusted peer that speaks HTTP. One that speaks the PROXY protocol passes
    /// bytes on and writes no headers, so these headers would be the client's own (P-14).
    pub(crate) fn view(&self, cx: &Cx, uri: &Uri, headers: &HeaderMap) -> ClientView {
        let is_trusted = |address: IpAddr| self.trusted.iter().any(|net| net.contains(&address));
        let behind_proxy = cx.introduced.is_none() && cx.peer.is_some_and(is_trusted);
        let forwarded = |name: HeaderName| {
            if !behind_proxy {
                return None;
            }
            // Our own peer wrote the last value; anybody can write those before it.
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            Some(value.rsplit(',').next()?.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let named = forwarded(X_FORWARDED_HOST)
            .map(Cow::Owned)
            .or_else(|| uri.authority().map(|authority| Cow::Borrowed(authority.as_str())))
            .or_else(|| headers.get(http::header::HOST)?.to_str().ok().map(Cow::Borrowed))
            .filter(|host| is_authority(host))
            .map(|host| host.to_ascii_lowercase());
        let told = forwarded(X_FORWARDED_PROTO).map(|scheme| scheme.to_ascii_lowercase());
        let scheme = match (&self.public_url, told.as_deref(), cx.is_tls) {
            (Some((scheme, _)), _, _) => scheme,
            (None, Some("https"), _) => scheme(true),
            (None, Some("http"), _) => scheme(false),
            (None, _, is_tls) => scheme(is_tls || self.is_fronted),
        };
        // A virtual host keeps its own name: a realm is on the host the client talks to (P-32).
        let is_virtual = |host: &String| {
            let bare = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
            self.virtual_hosts.iter().any(|known| known == host || known == bare)
        };
        let host = match (&self.public_url, named) {
            (Some(_), Some(host)) if is_virtual(&host) => host,
            (Some((_, public)), _) => public.clone(),
            (None, Some(host)) => host,
            (None, None) => "localhost".to_owned(),
        };
        let client = match cx.introduced {
            Some(client) => Some(client),
            None if behind_proxy || self.adds_client => forwarded_for(headers, is_trusted).or(cx.peer),
            None => cx.peer,
        };
        let request_id = behind_proxy.then(|| id::told(headers).cloned()).flatten();
        ClientView { scheme, host, client, request_id }
    }
}

fn scheme(is_https: bool) -> &'static str {
    if is_https { "https" } else { "http" }
}

/// The rightmost address that is not our own proxy's: anybody can write those before it. An address that cannot be read
/// ends the search.
fn forwarded_for(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut chain = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')).map(address);
    chain.find(|address| address.is_none_or(|address| !is_trusted(address))).flatten()
}

/// `192.0.2.1` or `2001:db8::1`; with a port, as some gateways write it, `192.0.2.1:5678` or `[2001:db8::1]:5678`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Host and port, and no character that could end a quoted string or a header.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn look(config: &str, peer: &str, is_tls: bool, headers: &[(&'static str, &'static str)]) -> (String, String) {
        let config =
            Config::load(&Sources { text: Some(config), variables: vec![], read: &|_| Ok(String::new()) })
                .unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let cx = Cx { peer: peer.parse().ok(), introduced: None, is_tls, id: 0 };
        let client_view = ClientViewRules::new(&config).view(&cx, &Uri::from_static("/v2/"), &map);
        (client_view.base(), client_view.client.unwrap().to_string())
    }

    #[test]
    fn of_a_list_what_our_peer_wrote_counts_and_nothing_that_stands_before_it() {
        for (host, proto, expected) in [
            (&["proxy.example.com"][..], &["https"][..], "https://proxy.example.com"),
            (&["proxy.example.com"][..], &["HTTPS"][..], "https://proxy.example.com"),
            (&["proxy.example.com"][..], &["https, Http"][..], "http://proxy.example.com"),
            (&["evil.example, proxy.example.com"], &["http, https"], "https://proxy.example.com"),
            (&["evil.example", "proxy.example.com"], &["http", "https"], "https://proxy.example.com"),
            (&["evil.example,proxy.example.com:8443 "], &["https"], "https://proxy.example.com:8443"),
            // Our peer's value cannot be read: no value before it replaces it.
            (&["evil.example, "], &["https, "], "http://inner:3000"),
            (&["evil.example", "a b"], &["https", "gopher"], "http://localhost"),
        ] {
            let mut headers = vec![("host", "inner:3000")];
            headers.extend(host.iter().map(|value| ("x-forwarded-host", *value)));
            headers.extend(proto.iter().map(|value| ("x-forwarded-proto", *value)));
            let (base, _) = look("trusted_proxies = ['10.0.0.0/8']", "10.1.2.3", false, &headers);
            assert_eq!(base, expected, "{host:?} {proto:?}");
        }
    }

    const FORWARDED: [(&str, &str); 4] = [
        ("host", "inner:3000"),
        ("x-forwarded-host", "Proxy.example.com"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "6.6.6.6, 9.9.9.9, 10.0.0.7"),
    ];

    #[test]
    fn forwarded_headers_count_from_trusted_peers_only() {
        let trusting = "trusted_proxies = ['10.0.0.0/8']";
        assert_eq!(
            look(trusting, "10.1.2.3", false, &FORWARDED),
            ("https://proxy.example.com".into(), "9.9.9.9".into())
        );
        assert_eq!(look(trusting, "11.1.2.3", false, &FORWARDED), ("http://inner:3000".into(), "11.1.2.3".into()));
        assert_eq!(look("", "10.1.2.3", true, &FORWARDED), ("https://inner:3000".into(), "10.1.2.3".into()));
    }

    #[test]
    fn an_introduced_client_is_believed_nothing_though_its_address_is_a_trusted_one() {
        let config = "trusted_proxies = ['10.0.0.0/8']";
        let config =
            Config::load(&Sources { text: Some(config), variables: vec![], read: &|_| Ok(String::new()) })
                .unwrap();
        let lines = FORWARDED.into_iter().chain([("x-request-id", "chosen")]);
        let headers: HeaderMap =
            lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let look = |introduced: Option<&str>| {
            let peer = "10.0.0.5".parse().ok();
            let cx = Cx { peer, introduced: introduced.map(|text| text.parse().unwrap()), is_tls: false, id: 0 };
            let client_view = ClientViewRules::new(&config).view(&cx, &Uri::from_static("/v2/"), &headers);
            (client_view.base(), client_view.client.unwrap().to_string(), client_view.request_id.is_some())
        };
        for client in ["10.20.30.40", "10.0.0.5", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(look(Some(client)), ("http://inner:3000".into(), client.into(), false));
        }
        assert_eq!(look(None), ("https://proxy.example.com".into(), "9.9.9.9".into(), true));
    }

    /// The client of a request with these lines from the peer 10.1.2.3, whose network is trusted or not.
    fn client(platform: &str, lines: &[&'static str], is_trusting: bool) -> String {
        let config =
            format!("platform='{platform}'\ntrusted_proxies=[{}]", if is_trusting { "'10.0.0.0/8'" } else { "" });
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        look(&config, "10.1.2.3", true, &lines).1
    }

    #[test]
    fn who_the_client_is_says_whoever_stands_next_to_us() {
        const PEER: &str = "10.1.2.3";
        for (lines, trusting, platform_adds) in [
            (&[][..], PEER, PEER),
            (&["9.9.9.9"][..], "9.9.9.9", "9.9.9.9"),
            (&["6.6.6.6, 9.9.9.9"][..], "9.9.9.9", "9.9.9.9"),
            (&["6.6.6.6", "9.9.9.9"][..], "9.9.9.9", "9.9.9.9"),
            (&["6.6.6.6, 9.9.9.9, 10.0.0.7"][..], "9.9.9.9", "10.0.0.7"),
            (&["10.0.0.8, 10.0.0.7"][..], PEER, "10.0.0.7"),
            (&["6.6.6.6, 9.9.9.9:5678"][..], "9.9.9.9", "9.9.9.9"),
            (&["6.6.6.6,2001:db8::1"][..], "2001:db8::1", "2001:db8::1"),
            (&["6.6.6.6, [2001:db8::1]:5678"][..], "2001:db8::1", "2001:db8::1"),
            (&["6.6.6.6, ::ffff:9.9.9.9"][..], "9.9.9.9", "9.9.9.9"),
            // An address that cannot be read ends the search.
            (&["6.6.6.6, unknown"][..], PEER, PEER),
            (&["6.6.6.6, "][..], PEER, PEER),
            (&["6.6.6.6, unknown, 10.0.0.7"][..], PEER, "10.0.0.7"),
        ] {
            assert_eq!(client("server", lines, true), trusting, "{lines:?}");
            assert_eq!(client("server", lines, false), PEER, "{lines:?}");
            for platform in ["aliyun-fc", "tencent-scf", "cloud-run", "azure-container-apps"] {
                assert_eq!(client(platform, lines, false), platform_adds, "{platform} {lines:?}");
                assert_eq!(client(platform, lines, true), trusting, "{platform} {lines:?}");
            }
            // These name the client elsewhere, and leave the client's own header in place.
            for platform in ["aws-lambda", "cloudflare-workers"] {
                assert_eq!(client(platform, lines, false), PEER, "{platform} {lines:?}");
                assert_eq!(client(platform, lines, true), trusting, "{platform} {lines:?}");
            }
        }
    }

    #[test]
    fn a_public_url_wins_but_virtual_hosts_keep_their_names() {
        let config = "public_url='https://p.example'\n[[upstream]]\nname='docker.io'\nhosts=['hub.p.example']";
        assert_eq!(look(config, "1.1.1.1", false, &[("host", "inner")]).0, "https://p.example");
        assert_eq!(look(config, "1.1.1.1", false, &[("host", "hub.p.example")]).0, "https://hub.p.example");
        assert_eq!(look(config, "1.1.1.1", false, &[]).0, "https://p.example");
    }

    #[test]
    fn a_host_that_could_break_out_of_a_quoted_string_is_not_repeated() {
        for host in ["a\"b", "a b", "a,b", "a/b", ""] {
            let headers: [(&'static str, &'static str); 1] =
                [("host", Box::leak(host.to_owned().into_boxed_str()))];
            assert_eq!(look("", "1.1.1.1", false, &headers).0, "http://localhost", "{host}");
        }
    }
}

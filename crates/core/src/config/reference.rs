//! Every key, its default and its meaning: `docs/reference/configuration.md` is made from this list, and a test holds
//! it against the structures themselves.

use std::fmt::Write as _;

use super::Config;

/// A key of the configuration.
pub struct DocumentedKey {
    /// Its path; `[]` stands for each entry of a list.
    pub path: &'static str,
    /// What it is without being set.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn key(path: &'static str, default: &'static str, meaning: &'static str) -> DocumentedKey {
    DocumentedKey { path, default, meaning }
}

/// All keys, in the order in which a person meets them.
pub const KEYS: &[DocumentedKey] = &[
    key(
        "platform",
        "detected",
        "The platform the proxy runs on: `server`, `aliyun-fc`, `aws-lambda`, `tencent-scf`, `cloud-run`, `azure-container-apps`, `cloudflare-workers`. Detected from the environment variables that the platform sets.",
    ),
    key(
        "listen",
        "127.0.0.1:3000",
        "Address and port to listen on. `--listen` overrides `PORT`, and `PORT` overrides this key.",
    ),
    key(
        "public_url",
        "from `Host`",
        "The proxy's address for clients: scheme and host. Realm, Location and Link are built from it. Set it if another server stands in front.",
    ),
    key(
        "trusted_proxies",
        "none",
        "Networks from which the proxy trusts the headers `X-Forwarded-For`, `-Host` and `-Proto`, except on connections whose client the PROXY protocol names.",
    ),
    key(
        "proxy_protocol",
        "false",
        "`true`: every connection from `trusted_proxies` must begin with a PROXY protocol header, version 1 or 2, which names the client; otherwise it is closed. Connections from other addresses must not begin with one.",
    ),
    key(
        "signing_key_file",
        "random key",
        "File with the key that encrypts tokens and upload sessions: any text, at least 32 random characters. Replicas must share it. A random key, and so every login, ends with the process.",
    ),
    key("signing_key", "none", "The key itself, for platforms without secret files. A file is better."),
    key(
        "docker_config",
        "none",
        "A Docker `config.json`; every upstream without an account of its own uses the logins in it, credential helpers included.",
    ),
    key(
        "admin_socket",
        "in the cache's directory",
        "Unix socket for `registry-proxy cache`; it answers the proxy's own user and root. `none`: no socket. If the cache is not a directory: `$XDG_RUNTIME_DIR/registry-proxy.sock`. Hosts that share a cache directory need one socket each.",
    ),
    key(
        "catalogue",
        "false",
        "`true`: adds the built-in registries to the configured upstreams. Without any upstream they are always served.",
    ),
    key(
        "clients.auth",
        "open",
        "Who may use the proxy. `open`: anybody. `users`: the users in `users_file`. `upstream`: each client logs in with its own account at the upstream, which checks the login.",
    ),
    key(
        "clients.read_token_life",
        "1h",
        "How long the proxy's tokens are valid for reading, from 5m to 24h. Clients are told 300 s and should renew by then, but some never do within a pull. For writing a token is valid for 300 s. It becomes invalid at once when its user is removed or gets another password.",
    ),
    key("clients.users_file", "none", "File with lines of `name:bcrypt-hash`, as `htpasswd -B` writes them."),
    key(
        "clients.path_secret_file",
        "none",
        "File with a lower-case path segment that every request for content must contain: `/v2/<secret>/<name>` or `/<secret>/v2/<name>`.",
    ),
    key(
        "clients.path_secret",
        "none",
        "The segment itself, for platforms without secret files. A file is better.",
    ),
    key(
        "guard.mode",
        "on",
        "`on`: the limits below apply; if none is set, nothing is counted. `off`: no limit applies. `closed`: every request for content gets 429.",
    ),
    key(
        "guard.max_clients",
        "10000",
        "Clients counted separately at once: an IPv4 address, or an IPv6 network of 64 bits. All further clients share the limits of one client until the next day.",
    ),
    key(
        "guard.client.requests_per_hour",
        "no limit",
        "Requests for manifests, blobs, lists and uploads that one client may make per clock hour (UTC); then 429 until the next hour. `/v2/` and `/token` do not count.",
    ),
    key("guard.client.requests_per_day", "no limit", "The same per day (UTC)."),
    key(
        "guard.client.bytes_per_hour",
        "no limit",
        "Response bytes sent to one client per hour. A response that has begun is not cut off.",
    ),
    key("guard.client.bytes_per_day", "no limit", "The same per day."),
    key(
        "guard.total.requests_per_hour",
        "no limit",
        "Requests of all clients together per hour. Instances that share a store add up their counts, a minute or two late.",
    ),
    key("guard.total.requests_per_day", "no limit", "The same per day."),
    key("guard.total.bytes_per_hour", "no limit", "Response bytes sent to all clients together per hour."),
    key("guard.total.bytes_per_day", "no limit", "The same per day."),
    key(
        "delivery.links",
        "auto",
        "When clients are redirected to the store by a signed link: `auto`: if the blob is too large for the platform's responses; `always`: whenever the store has the blob; `never`.",
    ),
    key(
        "delivery.link_life",
        "15m",
        "How long a link to the store, or a rewritten redirect, is valid; a transfer that has begun continues.",
    ),
    key(
        "delivery.hold",
        "20s",
        "How long a client waits while a blob that is too large for the platform's responses is fetched into the store; at most `timeouts.head` minus five seconds.",
    ),
    key(
        "delivery.miss",
        "redirect",
        "What a client gets if the blob is not in the store by then: `redirect`: a redirect to the upstream's own storage; `refuse`: \"try again\", for clients whose network does not reach that storage.",
    ),
    key(
        "cache.store",
        "auto",
        "Where content is cached: `file:///directory`, `memory:`, `s3://bucket/prefix?region=…&endpoint=…&public_endpoint=…`, or `oss`, `cos`, `obs`, `gcs`, `azblob`, with credentials from the environment variables of each cloud; or `none`: everything is relayed, nothing is cached. `auto` is `$CACHE_DIRECTORY`, `$XDG_CACHE_HOME/registry-proxy` or `~/.cache/registry-proxy`, for root `/var/cache/registry-proxy`; if none of them can be written, `none`.",
    ),
    key(
        "cache.max_size",
        "20GiB; 512MiB for `memory:`; 256MiB on a serverless platform, unless the store is a bucket",
        "Size of the cache, small records included; the least recently used content is evicted first. During eviction it may be exceeded by 5 % or 64MiB, whichever is more.",
    ),
    key(
        "cache.min_free",
        "1GiB; 64MiB on a serverless platform",
        "Space that is left free on the disk, whatever `max_size` says.",
    ),
    key("cache.max_unused", "none", "Evicts content that nobody has used for this long."),
    key(
        "cache.memory",
        "16MiB",
        "Memory for manifests, tags, and which repository contains which digest; it holds no blobs.",
    ),
    key(
        "cache.tag_ttl",
        "1m",
        "How long a tag is served before the proxy asks the upstream whether it still points to the same manifest.",
    ),
    key(
        "cache.tags",
        "none",
        "Rules for some tags, the first match wins: `{ match = \"docker.io/library/*:latest\", revalidate = \"5m\" }`; `always` revalidates on each request, `never` treats the tag as immutable.",
    ),
    key(
        "cache.stale_if_error",
        "7d",
        "How long after its last confirmation a tag is served while its upstream is down or answers 429; 0s: not at all.",
    ),
    key("cache.negative_ttl", "10s", "How long \"not found\" is remembered; at most 60s."),
    key(
        "cache.listing_ttl",
        "30s",
        "How long lists of tags and of referrers are served before the upstream is asked again.",
    ),
    key("cache.offline", "false", "`true`: serves cached content only, however old, and contacts no upstream."),
    key(
        "cache.fill.parts",
        "8",
        "Ranges of one blob fetched at once if one connection is slow; 1: never more than one.",
    ),
    key("cache.fill.part_size", "4MiB", "Length of each range; a blob shorter than two of them is fetched whole."),
    key(
        "cache.fill.parts_per_upstream",
        "32",
        "Ranges fetched at once from one upstream, for all blobs together.",
    ),
    key(
        "cache.fill.wait",
        "15s",
        "How long a request waits for bytes that another request, in this or another process, is fetching.",
    ),
    key(
        "tls.cert_file",
        "none",
        "Certificate chain (PEM), to serve HTTPS and HTTP/2 without a server in front. Read again at SIGHUP, and when it has changed.",
    ),
    key("tls.key_file", "none", "Its private key (PEM)."),
    key(
        "tls.watch_interval",
        "30s",
        "How often certificate and key files, the proxy's and those for upstreams, are checked: a file whose inode, length or modification time has changed is read again, without a signal; 0s: never. If the new files cannot be used, for example while the key of a new certificate is not written yet, the old ones stay in force.",
    ),
    key("log.format", "text", "`text` or `json`; one line per request."),
    key("log.level", "info", "`error`, `warn`, `info`, `debug`, or a filter such as `info,hyper=debug`."),
    key(
        "log.client",
        "full",
        "How much of the client's address a log line shows: `full`: all of it; `network`: the first 24 bits of an IPv4 address and 48 of an IPv6 address; `none`: nothing.",
    ),
    key(
        "metrics.listen",
        "the main address",
        "Separate address for `/metrics`, which answers everybody who reaches it; the main address then does not serve `/metrics`.",
    ),
    key(
        "metrics.public",
        "false",
        "`true`: `/metrics` on the main address answers everybody. `false`: it answers only requests from this machine that did not come through a proxy; all others get 403.",
    ),
    key(
        "limits.connections",
        "4096",
        "Client connections at once; requests on further connections wait until one is closed, except requests for `/healthz`, `/readyz` and `/metrics`. The number is lower if the process may not open three files per connection (`RLIMIT_NOFILE`, which is raised to its hard limit at start-up).",
    ),
    key(
        "limits.connections_per_address",
        "a quarter of limits.connections, at least 64",
        "Connections at once from one IPv4 address or one IPv6 network of 64 bits; further ones are closed immediately. Addresses in `trusted_proxies` are exempt; the clients that they name by the PROXY protocol are not.",
    ),
    key(
        "limits.in_flight",
        "64MiB",
        "Response bytes in memory that clients have not read yet, for all clients together: manifests, lists and pieces of blobs. A manifest or list larger than 64KiB waits until there is room. One client may use a quarter, and so may the responses arriving from one upstream. While the limit is reached, a client that holds some of this memory and reads less than 64KiB in 10s is disconnected.",
    ),
    key(
        "limits.in_flight_per_connection",
        "256KiB",
        "The part of `limits.in_flight` that may wait in memory for the socket of one HTTP/2 connection. Cached blobs are read only while the client's flow-control window is open.",
    ),
    key(
        "limits.waiting",
        "1024",
        "Requests that may wait for one upstream at once; further ones get 429. The number applies to each upstream. Requests answered from the cache do not wait.",
    ),
    key(
        "limits.logins",
        "128",
        "Logins being checked at once, of which one address may have a quarter; further ones get 429. A login that was right within the last hour is exempt.",
    ),
    key(
        "limits.wrong_logins",
        "20",
        "Wrong logins per minute from one address (`trusted_proxies`) or IPv6 network of 64 bits; further logins get 429 before the password is checked. Repeated wrong logins for one user name from one address must wait longer each time, up to a minute. 0: no limit per address.",
    ),
    key("limits.request_head", "64KiB", "Size of a request's line and headers; a larger one gets 431."),
    key("limits.form_body", "64KiB", "Size of a form posted to the token endpoint; a larger one gets 413."),
    key("limits.manifest", "4MiB", "Size of a manifest, pulled or pushed."),
    key("limits.listing", "8MiB", "Size of a list of tags or of referrers."),
    key("limits.tokens", "10000", "Upstream tokens cached at once."),
    key("limits.token_memory", "16MiB", "Memory for them together. A token of more than 64 KiB is refused."),
    key("timeouts.connect", "3s", "To connect to an upstream, TLS included."),
    key("timeouts.first_byte", "10s", "Until an upstream's response begins."),
    key(
        "timeouts.head",
        "25s",
        "Until the proxy's response to the client begins, whatever it waits for; then 504.",
    ),
    key(
        "timeouts.idle",
        "25s",
        "Silence within an upstream's body, which is then resumed where it stopped; and within a manifest that a client pushes, which is then refused.",
    ),
    key(
        "timeouts.client_first_byte",
        "10s",
        "Until the first byte of the first request on a client's new connection.",
    ),
    key(
        "timeouts.client_idle",
        "2m",
        "Time without a request on a client's connection, from its beginning or after a response; then it is closed.",
    ),
    key(
        "timeouts.client_stall",
        "5m",
        "A client that reads no bytes; then its connection is closed. On HTTP/2, a response body of which the client reads nothing; then that stream is reset. A push whose client sends nothing, or whose upstream reads nothing; then it is aborted.",
    ),
    key("timeouts.drain", "30s", "How long transfers that have begun may continue after SIGTERM."),
    key(
        "timeouts.down",
        "10s",
        "Longest pause before the proxy contacts an unreachable address again: half a second after the first failure, and twice as long after each further one.",
    ),
    key("upstream[].name", "required", "Path prefix and `ns` value, such as `ghcr.io`."),
    key(
        "upstream[].urls",
        "from the catalogue",
        "Addresses, tried in order. The path of an address is placed before `/v2/`.",
    ),
    key("upstream[].default", "false", "`true`: serves names without a registry."),
    key("upstream[].hosts", "none", "Virtual hosts: host names of the proxy that stand for this upstream."),
    key("upstream[].username", "none", "The proxy's account there."),
    key("upstream[].password", "none", "Its password; a file is better."),
    key("upstream[].password_file", "none", "File with its password. Read again at SIGHUP."),
    key(
        "upstream[].credentials",
        "none",
        "Accounts for some repositories, `{ prefix, username, password_file }`; the longest prefix wins, and `\"\"` is the prefix of all. Several accounts with the same prefix form a pool (`username` belongs to the pool of `\"\"`): the proxy uses them in turn, or by the remaining pulls that the registry reports for each. All accounts of a pool must have the same read access; pushes use the first.",
    ),
    key(
        "upstream[].realms",
        "none",
        "Token servers that may get the password besides those on the registry's own host, on its registrable domain, and those built in for known registries. `http://` only with `insecure`, and if all `urls` are `http://` too.",
    ),
    key(
        "upstream[].redirect_hosts",
        "none",
        "Private hosts it may redirect to, with or without a port. A private upstream may redirect to any private address; an upstream is private if `urls` contains a private IP address, or a host without a public suffix (`registry`, `harbor.lan`). The address that its name resolves to does not matter.",
    ),
    key(
        "upstream[].repositories.allow",
        "all",
        "Patterns of repositories that may be used: `*` within a segment, `**` across segments.",
    ),
    key(
        "upstream[].repositories.deny",
        "none",
        "Patterns of repositories that may not be used, even if `allow` matches.",
    ),
    key(
        "upstream[].redirects",
        "follow",
        "What happens to its redirects of blobs. `follow`: the proxy follows them. `pass`: the client follows them. `rewrite`: the client is redirected to the proxy, which fetches the target.",
    ),
    key(
        "upstream[].push",
        "false",
        "`true`: pushes and deletions are passed to the upstream. `false`: they get 405.",
    ),
    key("upstream[].ca_file", "none", "Certificates (PEM) trusted besides the system's."),
    key("upstream[].client_cert_file", "none", "Client certificate for this upstream (PEM)."),
    key("upstream[].client_key_file", "none", "Its private key (PEM)."),
    key(
        "upstream[].insecure",
        "false",
        "`true`: allows `http://`, and does not verify the registry's certificate. For test registries.",
    ),
    key(
        "upstream[].proxy",
        "from the environment",
        "Forward proxy to the upstream: `http://`, `https://`, `socks5://`, `socks5h://`, or `none` to connect directly. If unset, `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` decide.",
    ),
    key(
        "upstream[].max_connections",
        "0",
        "Connections to it at once, including those to the targets of its redirects; 0: no limit. With a limit, connections are not reused for the next request.",
    ),
    key(
        "upstream[].docker_config",
        "none",
        "A Docker `config.json` that contains the account for this upstream, credential helpers included.",
    ),
];

/// `docs/reference/configuration.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Made from the code by `cargo xtask docs`; do not edit.\n\n\
         A TOML file (`--config FILE` or `REGISTRY_PROXY_CONFIG`); environment variables override it: `clients.auth` is\n\
         `REGISTRY_PROXY_CLIENTS__AUTH`. Lists are written as in TOML: `REGISTRY_PROXY_TRUSTED_PROXIES=['10.0.0.0/8']`.\n\
         `registry-proxy check` prints the effective values. Durations are `250ms`, `3s`, `5m`, `1h`; sizes `4096`, `64KiB`,\n\
         `4MiB`.\n\n| key | default | meaning |\n|---|---|---|\n",
    );
    for key in KEYS {
        // A line to a key; writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {} | {} |", key.path, key.default, key.meaning);
    }
    page
}

impl Config {
    /// The effective configuration as TOML, secrets masked.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

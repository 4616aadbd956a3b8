//! Every key, its default and its meaning: `docs/reference/configuration.md` is made from this list, and a test holds
//! it against the structures themselves.

use std::fmt::Write as _;

use super::Config;

/// A key of the configuration.
pub struct Key {
    /// Its path; `[]` stands for each entry of a list.
    pub path: &'static str,
    /// What it is without being set.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn key(path: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { path, default, meaning }
}

/// All keys, in the order in which a person meets them.
pub const KEYS: &[Key] = &[
    key(
        "platform",
        "recognised",
        "Where we run: `server`, `aliyun-fc`, `aws-lambda`, `tencent-scf`, `cloud-run`, `azure-container-apps`, `cloudflare-workers`. Recognised by what the platform puts into the environment.",
    ),
    key("listen", "127.0.0.1:3000", "Address and port. `--listen` wins over `PORT`, `PORT` over this."),
    key(
        "public_url",
        "from `Host`",
        "How clients reach us, scheme and host. Realm, Location and Link are built from it. Set it wherever another server stands in front.",
    ),
    key(
        "trusted_proxies",
        "none",
        "Networks whose `X-Forwarded-For`, `-Host` and `-Proto` headers are believed, but for connections whose client the PROXY protocol names.",
    ),
    key(
        "proxy_protocol",
        "false",
        "Each connection from `trusted_proxies` begins with a header of the PROXY protocol, version 1 or 2, and is closed where it does not; the client is whom that names. Connections from elsewhere begin without one.",
    ),
    key(
        "signing_key_file",
        "random key",
        "File with the key that seals tokens and upload sessions: any text, at least 32 random characters. Replicas share it. Without it logins end with the process.",
    ),
    key("signing_key", "none", "The key itself, for platforms that have no files of secrets. Better in a file."),
    key(
        "docker_config",
        "none",
        "A Docker `config.json`; every upstream without an account of its own uses what it stores, credential helpers included.",
    ),
    key(
        "admin_socket",
        "in the cache's directory",
        "Unix socket for `registry-proxy cache`, for the user who serves and for root; `none`: no socket. Where the cache is no directory, `$XDG_RUNTIME_DIR/registry-proxy.sock`. Hosts that share a directory need one each.",
    ),
    key(
        "catalogue",
        "false",
        "Adds the built-in catalogue to the upstreams named here. Without any upstream it is always there.",
    ),
    key(
        "clients.auth",
        "open",
        "`open`: anybody. `users`: the users of `users_file`. `upstream`: each client's own login, checked by the upstream.",
    ),
    key(
        "clients.read_token_life",
        "1h",
        "How long a token of ours reads, from 5m to 24h. Clients are told 300 s, and those that do renew; some never do within a pull. It writes for 300 s. A user who is removed or gets another password ends it at once.",
    ),
    key("clients.users_file", "none", "Lines of `name:bcrypt-hash`, as `htpasswd -B` writes them."),
    key(
        "clients.path_secret_file",
        "none",
        "File with a lower-case path segment that every request must carry: `/v2/<secret>/<name>` or `/<secret>/v2/<name>`. `/v2/` alone still answers.",
    ),
    key(
        "clients.path_secret",
        "none",
        "The segment itself, for platforms that have no files of secrets. Better in a file.",
    ),
    key(
        "guard.mode",
        "on",
        "`on`: the limits below hold; without any, nothing is counted. `off`: none holds. `closed`: every request for content gets 429.",
    ),
    key(
        "guard.max_clients",
        "10000",
        "Clients told apart at once: an IPv4 address, or an IPv6 network of 64 bits. All others share what one may have, until the next day.",
    ),
    key(
        "guard.client.requests_per_hour",
        "no limit",
        "Requests for manifests, blobs, lists and uploads that one client may make in an hour of the clock (UTC); then 429 until the next. `/v2/` and `/token` do not count.",
    ),
    key("guard.client.requests_per_day", "no limit", "The same in a day (UTC)."),
    key(
        "guard.client.bytes_per_hour",
        "no limit",
        "Bytes of answers to one client in an hour. Counted as they leave: what is under way is not cut.",
    ),
    key("guard.client.bytes_per_day", "no limit", "The same in a day."),
    key(
        "guard.total.requests_per_hour",
        "no limit",
        "Requests of all clients together in an hour. Instances that share a store add up what they serve, a minute or two late.",
    ),
    key("guard.total.requests_per_day", "no limit", "The same in a day."),
    key("guard.total.bytes_per_hour", "no limit", "Bytes to all clients together in an hour."),
    key("guard.total.bytes_per_day", "no limit", "The same in a day."),
    key(
        "delivery.links",
        "auto",
        "When clients are sent to the store by a signed link: `auto`, where the platform does not carry the blob; `always`, whenever it is there; `never`.",
    ),
    key(
        "delivery.link_life",
        "15m",
        "How long a link into the store, or a rewritten redirect, can be followed; a transfer that has begun goes on.",
    ),
    key(
        "delivery.hold",
        "20s",
        "How long a client waits for a blob that is on its way into the store, where the platform does not carry it; at most `timeouts.head` less five seconds.",
    ),
    key(
        "delivery.miss",
        "redirect",
        "What a client gets for a blob that is not in the store by then: `redirect`, where the upstream itself sends; `refuse`, \"come again\", for networks that do not reach that.",
    ),
    key(
        "cache.store",
        "auto",
        "Where content is kept: `file:///directory`, `memory:`, `s3://bucket/prefix?region=…&endpoint=…&public_endpoint=…`, or `oss`, `cos`, `obs`, `gcs`, `azblob`, credentials in the environment as each cloud names them, or `none`: everything is relayed. `auto` is `$CACHE_DIRECTORY`, `$XDG_CACHE_HOME/registry-proxy` or `~/.cache/registry-proxy`, `/var/cache/registry-proxy` for root; where none can be written, `none`.",
    ),
    key(
        "cache.max_size",
        "20GiB; 512MiB for `memory:`; 256MiB on a serverless platform, unless it is in a bucket",
        "What all that is kept may take, small records included; the longest unused go first. While room is made it may be 5 % or 64MiB more, whichever is more.",
    ),
    key(
        "cache.min_free",
        "1GiB; 64MiB on a serverless platform",
        "What stays free on the disk, whatever `max_size` says.",
    ),
    key("cache.max_unused", "none", "What nobody has used for this long goes."),
    key("cache.memory", "16MiB", "Memory for manifests, tags and links; blobs are not held in it."),
    key(
        "cache.tag_ttl",
        "1m",
        "How long a tag is served before the upstream is asked whether it still points there.",
    ),
    key(
        "cache.tags",
        "none",
        "Rules for some tags, the first match wins: `{ match = \"docker.io/library/*:latest\", revalidate = \"5m\" }`; `always` asks each time, `never` treats the tag as fixed.",
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
    key("cache.offline", "false", "Serves what is here, however old, and asks no upstream for anything."),
    key(
        "cache.fill.parts",
        "8",
        "Ranges of one blob fetched at once, where one connection is slow; 1: never more than one.",
    ),
    key("cache.fill.part_size", "4MiB", "Length of each; what is shorter than two of them is fetched whole."),
    key("cache.fill.parts_per_upstream", "32", "Ranges fetched at once from one upstream, all blobs together."),
    key(
        "cache.fill.wait",
        "15s",
        "How long a request waits for bytes that another one, here or in another process, is fetching.",
    ),
    key(
        "tls.cert_file",
        "none",
        "Certificate chain (PEM), to serve HTTPS and HTTP/2 ourselves. Read again at SIGHUP, and when it has changed.",
    ),
    key("tls.key_file", "none", "Its private key (PEM)."),
    key(
        "tls.watch_interval",
        "30s",
        "How often certificate and key files, ours and those of upstreams, are looked at: those whose inode, length or time of change is another are read again, without a signal; 0s: never. What cannot be used, such as a certificate whose key has not been written yet, leaves the old in force.",
    ),
    key("log.format", "text", "`text` or `json`; one line a request."),
    key("log.level", "info", "`error`, `warn`, `info`, `debug`, or a filter such as `info,hyper=debug`."),
    key(
        "log.client",
        "full",
        "What a line says of the client's address: `full`, all of it; `network`, the first 24 bits of an IPv4 address and 48 of an IPv6 address; `none`, nothing.",
    ),
    key(
        "metrics.listen",
        "the main address",
        "An address of its own for `/metrics`, which answers everybody who reaches it; then it is not served on the main one.",
    ),
    key(
        "metrics.public",
        "false",
        "Whether `/metrics` on the main address answers everybody. Otherwise it answers only who asks from this machine and not through a proxy, and all others get 403.",
    ),
    key(
        "limits.connections",
        "4096",
        "Clients' connections at once; requests on more of them wait until one is closed, all but those for `/healthz`, `/readyz` and `/metrics`. Fewer where the process may not open three files for each of them (`RLIMIT_NOFILE`, which is raised to its hard limit at the start).",
    ),
    key(
        "limits.connections_per_address",
        "a quarter of limits.connections, at least 64",
        "Of them, those of one IPv4 address or one IPv6 network of 64 bits; more are closed at once. The addresses in `trusted_proxies` may have any number; whom one of them names by the PROXY protocol may not.",
    ),
    key(
        "limits.in_flight",
        "64MiB",
        "Bytes of answers in memory that clients have not taken yet, all clients together: manifests and lists on their way, and pieces of blobs. A manifest or list larger than 64KiB waits for room; one client, and what arrives from one upstream, may have a quarter. While there is none, a client for whom some of it is kept and who takes less than 64KiB in 10s is dropped.",
    ),
    key(
        "limits.in_flight_per_connection",
        "256KiB",
        "Of them, what may wait in memory for the socket of one HTTP/2 connection. Cached blobs are read when the client's window is open, and not before.",
    ),
    key(
        "limits.waiting",
        "1024",
        "Requests at once that wait for one upstream; more get 429. Each upstream has as many. What the cache answers waits for nobody.",
    ),
    key(
        "limits.logins",
        "128",
        "Logins that are being checked at once, those of one address a quarter of them; more get 429. A login that was right within the hour goes before them.",
    ),
    key(
        "limits.wrong_logins",
        "20",
        "Wrong logins of one address (`trusted_proxies`), or IPv6 network of 64 bits, in a minute; more get 429 before a password is looked at. One name from one address waits longer each time, up to a minute. 0: as many as it likes.",
    ),
    key("limits.request_head", "64KiB", "A request's line and headers; more gets 431."),
    key("limits.form_body", "64KiB", "A form posted to the token endpoint; more gets 413."),
    key("limits.manifest", "4MiB", "A manifest, in either direction."),
    key("limits.listing", "8MiB", "A list of tags or of referrers."),
    key("limits.tokens", "10000", "Upstream tokens remembered at once."),
    key("limits.token_memory", "16MiB", "What they take together. One of more than 64 KiB is refused."),
    key("timeouts.connect", "3s", "To connect to an upstream, TLS included."),
    key("timeouts.first_byte", "10s", "Until an upstream's answer begins."),
    key("timeouts.head", "25s", "Until our own answer begins, whatever happens inside; then 504."),
    key(
        "timeouts.idle",
        "25s",
        "Silence in the middle of an upstream's body; then it is resumed where it stopped. And of a manifest that a client pushes; then it is refused.",
    ),
    key(
        "timeouts.client_first_byte",
        "10s",
        "A client's new connection, until the first byte of its first request.",
    ),
    key(
        "timeouts.client_idle",
        "2m",
        "A client's connection that asks nothing, from its beginning or after an answer.",
    ),
    key(
        "timeouts.client_stall",
        "5m",
        "A client that takes no bytes; then its connection is closed. On HTTP/2 a body of which it takes nothing; then that stream is reset. A push of which nothing comes, or which the upstream does not take; then it is given up.",
    ),
    key("timeouts.drain", "30s", "How long transfers under way may go on after SIGTERM."),
    key(
        "timeouts.down",
        "10s",
        "How long an address that could not be reached is left alone, at most: half a second after the first failure, and twice as long after each that follows.",
    ),
    key("upstream[].name", "required", "Path prefix and `ns` value, such as `ghcr.io`."),
    key("upstream[].urls", "from the catalogue", "Addresses, tried in order. A path in one stands before `/v2/`."),
    key("upstream[].default", "false", "Serves names that say no registry."),
    key("upstream[].hosts", "none", "Virtual hosts: names of ours that mean this upstream."),
    key("upstream[].username", "none", "Our account there."),
    key("upstream[].password", "none", "Its password; better in a file."),
    key("upstream[].password_file", "none", "File with its password. Read again at SIGHUP."),
    key(
        "upstream[].credentials",
        "none",
        "Accounts for some repositories, `{ prefix, username, password_file }`; the longest prefix wins, and `\"\"` is the prefix of all. Several with the same prefix are a pool (`username` belongs to that of `\"\"`): used in turn, or by what the registry says is left of their budgets. All of a pool must be allowed to read the same; the first of them pushes.",
    ),
    key(
        "upstream[].realms",
        "none",
        "Token servers the password may go to besides the registry's own host, its registrable domain, and those we know. `http://` only with `insecure`, and where all `urls` are `http://` too.",
    ),
    key(
        "upstream[].redirect_hosts",
        "none",
        "Private hosts it may redirect to, with or without a port. An upstream that is itself private may redirect to any private address; it is private if `urls` names a private IP address, or a host without a public suffix (`registry`, `harbor.lan`). What its name resolves to does not count.",
    ),
    key(
        "upstream[].repositories.allow",
        "all",
        "Patterns of repositories that may be used: `*` within a segment, `**` across segments.",
    ),
    key("upstream[].repositories.deny", "none", "Patterns of repositories that may not, whatever `allow` says."),
    key(
        "upstream[].redirects",
        "follow",
        "`follow`: we fetch what it redirects blobs to. `pass`: the client does. `rewrite`: the client is sent back to us, and we fetch it.",
    ),
    key("upstream[].push", "false", "Passes pushes and deletions through; otherwise 405."),
    key("upstream[].ca_file", "none", "Certificates (PEM) trusted besides the system's."),
    key("upstream[].client_cert_file", "none", "Our certificate there (PEM)."),
    key("upstream[].client_key_file", "none", "Its private key (PEM)."),
    key(
        "upstream[].insecure",
        "false",
        "Permits `http://` and certificates that nobody signed. For test registries.",
    ),
    key(
        "upstream[].proxy",
        "from the environment",
        "The way out: `http://`, `https://`, `socks5://`, `socks5h://`, or `none` for no proxy. Otherwise `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` decide.",
    ),
    key(
        "upstream[].max_connections",
        "0",
        "Connections to it at once, redirects' targets included; 0: no cap. With one, connections are not kept for the next request.",
    ),
    key(
        "upstream[].docker_config",
        "none",
        "A Docker `config.json` to take its account from, credential helpers included.",
    ),
];

/// `docs/reference/configuration.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Made from the code by `cargo xtask docs`; do not edit.\n\n\
         A TOML file (`--config FILE` or `REGISTRY_PROXY_CONFIG`), overlaid by the environment: `clients.auth` is\n\
         `REGISTRY_PROXY_CLIENTS__AUTH`. Lists are written as in TOML: `REGISTRY_PROXY_TRUSTED_PROXIES=['10.0.0.0/8']`.\n\
         `registry-proxy check` prints what is in force. Durations are `250ms`, `3s`, `5m`, `1h`; sizes `4096`, `64KiB`,\n\
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

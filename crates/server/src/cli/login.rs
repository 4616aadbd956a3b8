//! The arguments of `registry-proxy login` and `logout`.

use clap::Args;

/// Arguments of `registry-proxy login`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LoginArguments {
    /// The proxy, as images name it: `proxy.example.com`, `127.0.0.1:3000`.
    #[arg(value_name = "PROXY_HOST")]
    pub(crate) host: String,

    /// The OpenID Connect issuer that the proxy trusts. Needed once; later logins at this proxy know it.
    #[arg(long, value_name = "URL", requires = "client_id")]
    pub(crate) issuer: Option<String>,

    /// As what registry-proxy is registered there: a public client with the device flow.
    #[arg(long, value_name = "ID", requires = "issuer")]
    pub(crate) client_id: Option<String>,

    /// What the issuer is asked for, separated by spaces. Default: `openid offline_access`, an ID token and its renewal.
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,

    /// Whom the token must be for, if that is not the client id.
    #[arg(long, value_name = "AUDIENCE")]
    pub(crate) audience: Option<String>,

    /// Also write the line into Docker's config.json that makes clients ask for this login.
    #[arg(long)]
    pub(crate) configure_docker: bool,
}

/// Arguments of `registry-proxy logout`.
#[derive(Args)]
pub(crate) struct LogoutArguments {
    /// The proxy, as for `login`.
    #[arg(value_name = "PROXY_HOST")]
    pub(crate) host: String,
}

const EXAMPLES: &str = "\
Prints a page and a code, and waits until you have confirmed it in a browser, on this machine or another. Clients get the
login from docker-credential-registry-proxy, a link to this program, which also renews it.

  registry-proxy login --issuer https://id.example.com --client-id registry-proxy --configure-docker proxy.example.com
  sudo ln -s \"$(command -v registry-proxy)\" /usr/local/bin/docker-credential-registry-proxy
  docker pull proxy.example.com/ghcr.io/owner/image

  registry-proxy login proxy.example.com                         again, when the login has ended
  registry-proxy logout proxy.example.com";

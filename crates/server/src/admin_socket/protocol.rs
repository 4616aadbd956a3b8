//! What is said on the socket: commands, and the lines of their answers.

use registry_proxy_core::Config;
use registry_proxy_core::admin::{Command, Event};
use registry_proxy_core::warm::{WarmEvent, WarmRequest};
use serde::{Deserialize, Serialize};

use crate::error_text::with_source;
use crate::reload::Current;

/// Most bytes of a command in the log.
const MAX_DETAIL: usize = 1 << 10;

/// What a server is asked to do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SocketCommand {
    /// Fetches images.
    Warm(WarmRequest),
    /// Anything else, by its own name.
    #[serde(untagged)]
    Cache(Command),
}

/// What it tells meanwhile.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SocketEvent {
    /// Of a warming.
    Warm(WarmEvent),
    /// Of anything else, by its own name.
    #[serde(untagged)]
    Cache(Event),
}

impl SocketCommand {
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Warm(request) => request.check(),
            Self::Cache(command) => command.check(),
        }
    }

    pub(super) async fn run(
        &self,
        current: &Current,
        tell: &(dyn Fn(SocketEvent) + Send + Sync),
    ) -> Result<(), String> {
        match self {
            Self::Warm(request) => {
                let tell = |event| tell(SocketEvent::Warm(event));
                current.proxy.warm(&current.config, request, &tell).await.map(drop)
            }
            Self::Cache(command) => {
                let admin = current.proxy.cache_admin().ok_or("nothing is cached")?;
                let tell = |event| tell(SocketEvent::Cache(event));
                admin.run(command, &tell).await.map_err(|error| with_source(&error))
            }
        }
    }

    /// Its name in the audit log; `None`: it changes nothing.
    pub(super) fn action(&self) -> Option<&'static str> {
        match self {
            Self::Warm(_) => Some("warm"),
            Self::Cache(command) => match command {
                Command::Stat | Command::List(_) | Command::Held(_) | Command::Purge { dry_run: true, .. } => None,
                Command::Purge { dry_run: false, .. } => Some("purge"),
                Command::Verify => Some("verify"),
                Command::Release(_) => Some("release"),
                Command::Pin { .. } => Some("pin"),
                Command::Unpin(_) => Some("unpin"),
            },
        }
    }
}

/// One line of an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SocketLine {
    Told(SocketEvent),
    Failed(String),
    Done,
}

/// The beginning of a command, for the log, with the path secret masked: an image may be named by its whole address.
pub(super) fn shown(text: &str, config: &Config) -> String {
    let mut text = match &config.clients.path_secret {
        Some(secret) => text.replace(secret.expose(), &secret.to_string()),
        None => text.to_owned(),
    };
    text.truncate(text.floor_char_boundary(MAX_DETAIL));
    text
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::config::Sources;

    use super::*;

    #[test]
    fn a_command_of_the_cache_is_written_as_it_was_before_there_was_warming() {
        for (line, action) in [
            (r#""stat""#, None),
            (r#"{"purge":{"what":"all","dry_run":false}}"#, Some("purge")),
            (r#"{"warm":{"images":["alpine"]}}"#, Some("warm")),
        ] {
            let command: SocketCommand = serde_json::from_str(line).unwrap();
            assert_eq!(command.action(), action, "{line}");
        }
        let line = serde_json::to_string(&SocketCommand::Cache(Command::Stat)).unwrap();
        assert_eq!(line, r#""stat""#);
    }

    #[test]
    fn the_log_has_the_beginning_of_a_long_list_and_no_path_secret() {
        let read = |_: &str| Ok("long-secret-of-the-path".to_owned());
        let load = |text| Config::load(&Sources { text: Some(text), variables: vec![], read: &read }).unwrap();
        let open = load("");
        let text = format!("{}\u{e9}", "x".repeat(MAX_DETAIL - 1));
        assert_eq!(shown(&text, &open).len(), MAX_DETAIL - 1);
        assert_eq!(shown("short", &open), "short");
        let text = format!("{}p.example/long-secret-of-the-path/alpine", "x".repeat(MAX_DETAIL - 20));
        assert!(!shown(&text, &load("[clients]\npath_secret_file='f'")).contains("long"));
    }
}

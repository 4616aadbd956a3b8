//! Docker's credential helper: the binary under the name `docker-credential-registry-proxy`. The command is its argument, the server
//! or the login stands on standard input, and the answer, errors too, on standard output
//! (<https://github.com/docker/docker-credential-helpers>, `credentials/credentials.go`).

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use registry_proxy_core::secret::Secret;
use serde::{Deserialize, Serialize};

use super::renewal::{self, RenewalState};
use super::server_key::ServerKey;
use super::stored::{CredentialsFile, StoredLogin};
use super::{exposed, read_input, unix_seconds};
use crate::terminal::{complain, print};

/// How the file of the program must be called.
pub(super) const PROGRAM: &str = "docker-credential-registry-proxy";
/// More than any login has.
const MOST_BYTES: u64 = 256 << 10;

// Clients look for these lines (`credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_SERVER: &str = "no credentials server URL";
const NO_USERNAME: &str = "no credentials username";

#[derive(Debug, PartialEq, Eq)]
enum HelperCommand {
    Get,
    Store,
    Erase,
    List,
    Version,
}

/// A login as it is sent and received.
#[derive(Serialize, Deserialize)]
struct HelperLogin {
    #[serde(rename = "ServerURL")]
    server_url: String,
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret", serialize_with = "exposed")]
    secret: Secret,
}

/// Speaks the protocol, if the program was called by the helper's name.
pub(crate) fn run_if_called_so() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    is_helper(&arguments.next()?).then(|| run(&arguments.collect::<Vec<_>>()))
}

fn is_helper(program: &OsStr) -> bool {
    Path::new(program).file_name() == Some(OsStr::new(PROGRAM))
}

/// Whether clients find the helper.
pub(super) fn is_on_path(path: Option<&OsStr>) -> bool {
    path.is_some_and(|path| std::env::split_paths(path).any(|directory| directory.join(PROGRAM).is_file()))
}

fn run(arguments: &[OsString]) -> ExitCode {
    let outcome = HelperCommand::parse(arguments).and_then(|command| {
        let input = match command {
            HelperCommand::Get | HelperCommand::Store | HelperCommand::Erase => read_input(MOST_BYTES)?,
            HelperCommand::List | HelperCommand::Version => String::new(),
        };
        carry_out(&command, &input, &CredentialsFile::of_user()?)
    });
    match outcome {
        Ok(text) => print(&text),
        Err(what) => {
            print(&format!("{what}\n"));
            ExitCode::FAILURE
        }
    }
}

impl HelperCommand {
    fn parse(arguments: &[OsString]) -> Result<Self, String> {
        let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
        match words[..] {
            ["get"] => Ok(Self::Get),
            ["store"] => Ok(Self::Store),
            ["erase"] => Ok(Self::Erase),
            ["list"] => Ok(Self::List),
            ["version"] => Ok(Self::Version),
            [..] => Err(format!("usage: {PROGRAM} <store|get|erase|list|version>")),
        }
    }
}

fn carry_out(command: &HelperCommand, input: &str, file: &CredentialsFile) -> Result<String, String> {
    match command {
        HelperCommand::Get => get(input, file),
        HelperCommand::Store => store(input, file).map(|()| String::new()),
        HelperCommand::Erase => erase(input, file).map(|()| String::new()),
        HelperCommand::List => as_json(&file.read()?.names()),
        HelperCommand::Version => Ok(format!("{PROGRAM} (registry-proxy) {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn get(input: &str, file: &CredentialsFile) -> Result<String, String> {
    let server_url = input.trim();
    let server = server(server_url)?;
    let logins = file.read()?;
    let Some(login) = logins.get(&server) else { return Err(NOT_FOUND.to_owned()) };
    let login = match RenewalState::of(login, unix_seconds()) {
        RenewalState::Good => login.clone(),
        RenewalState::Due => renewal::renewed(&server, file)?,
        RenewalState::Over => {
            // The client may show standard error alone.
            let what = renewal::over(&server);
            complain(&what);
            return Err(what);
        }
    };
    as_json(&HelperLogin { server_url: server_url.to_owned(), username: login.username, secret: login.secret })
}

fn store(input: &str, file: &CredentialsFile) -> Result<(), String> {
    // Its text has a password: an error says nothing of it.
    let login: HelperLogin = serde_json::from_str(input).map_err(|_| "no login as JSON on standard input")?;
    let server = server(&login.server_url)?;
    if login.username.is_empty() {
        return Err(NO_USERNAME.to_owned());
    }
    let stored = StoredLogin { username: login.username, secret: login.secret, expires: None, grant: None };
    let locked = file.lock()?;
    let mut logins = locked.read()?;
    logins.set(&server, stored);
    locked.write(&logins)
}

/// What is not there is erased already.
fn erase(input: &str, file: &CredentialsFile) -> Result<(), String> {
    let server = server(input)?;
    let locked = file.lock()?;
    let mut logins = locked.read()?;
    if logins.remove(&server) { locked.write(&logins) } else { Ok(()) }
}

fn server(url: &str) -> Result<ServerKey, String> {
    if url.trim().is_empty() {
        return Err(NO_SERVER.to_owned());
    }
    ServerKey::parse(url).ok_or_else(|| "the server URL names no registry".to_owned())
}

fn as_json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map(|json| json + "\n").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, CredentialsFile) {
        let home = tempfile::tempdir().unwrap();
        let file = CredentialsFile::at(home.path().join("registry-proxy/credentials.json"));
        (home, file)
    }

    fn do_it(word: &str, input: &str, file: &CredentialsFile) -> Result<String, String> {
        carry_out(&HelperCommand::parse(&[word.into()]).unwrap(), input, file)
    }

    #[test]
    fn a_login_is_stored_given_listed_and_erased_as_docker_asks_for_it() {
        let (_home, file) = place();
        let store = r#"{"ServerURL":"https://proxy.test/v2/","Username":"alice","Secret":"wonder:land"}"#;
        assert_eq!(do_it("store", store, &file).unwrap(), "");
        let got: Value = serde_json::from_str(&do_it("get", "proxy.test\n", &file).unwrap()).unwrap();
        assert_eq!(got, json!({ "ServerURL": "proxy.test", "Username": "alice", "Secret": "wonder:land" }));
        assert_eq!(do_it("list", "unused", &file).unwrap(), "{\"proxy.test\":\"alice\"}\n");
        assert_eq!(do_it("erase", "https://proxy.test", &file).unwrap(), "");
        assert_eq!(do_it("erase", "https://proxy.test", &file).unwrap(), "");
        assert_eq!(do_it("list", "unused", &file).unwrap(), "{}\n");
    }

    #[test]
    fn errors_are_the_lines_that_clients_look_for() {
        let (_home, file) = place();
        for (word, input, line) in [
            ("get", "proxy.test", "credentials not found in native keychain"),
            ("get", " \n", "no credentials server URL"),
            ("erase", "", "no credentials server URL"),
            ("store", r#"{"ServerURL":"","Username":"a","Secret":"hunter2"}"#, "no credentials server URL"),
            ("store", r#"{"ServerURL":"p.test","Username":"","Secret":"hunter2"}"#, "no credentials username"),
        ] {
            assert_eq!(do_it(word, input, &file).unwrap_err(), line, "{word} {input}");
        }
        for (word, input) in [
            ("store", "hunter2"),
            ("store", r#"{"ServerURL":"p.test","Username":"a","Secret":8675309}"#),
            ("get", "hunter2@proxy.test"),
        ] {
            let refused = do_it(word, input, &file).unwrap_err();
            assert!(!refused.contains("hunter2") && !refused.contains("8675309"), "{refused}");
        }
    }

    #[test]
    fn a_login_that_is_over_says_what_to_do() {
        let (_home, file) = place();
        let locked = file.lock().unwrap();
        let mut logins = locked.read().unwrap();
        let over =
            StoredLogin { username: "oidc".into(), secret: Secret::new("jwt"), expires: Some(1), grant: None };
        logins.set(&ServerKey::parse("proxy.test").unwrap(), over);
        locked.write(&logins).unwrap();
        drop(locked);
        let refused = do_it("get", "proxy.test", &file).unwrap_err();
        assert_eq!(refused, "the login at proxy.test is over: registry-proxy login proxy.test");
    }

    #[test]
    fn the_program_is_a_helper_by_its_name_alone() {
        for (program, expected) in [
            ("docker-credential-registry-proxy", true),
            ("/usr/local/bin/docker-credential-registry-proxy", true),
            ("/usr/local/bin/registry-proxy", false),
            ("docker-credential-registry-proxy/registry-proxy", false),
        ] {
            assert_eq!(is_helper(OsStr::new(program)), expected, "{program}");
        }
        for words in [&[][..], &["gett"], &["get", "get"]] {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            assert!(
                HelperCommand::parse(&words).unwrap_err().starts_with("usage: docker-credential-registry-proxy")
            );
        }
    }
}

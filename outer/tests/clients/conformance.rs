//! What the OCI distribution specification asks of a registry, case by case: pull, push, content discovery and content
//! management. Each case has a verdict, written here by hand: that of docker-registry itself. Through the proxy it is
//! the same, whatever the proxy keeps content in.
//!
//! Every case has repositories and content of its own, looks at what it has pushed at once, and looks twice: what is
//! remembered of the first answer must not spoil the second.

mod api;
mod discovery;
mod management;
mod pull;
mod push;
mod uploads;

use std::net::SocketAddr;

use registry_proxy_outer::failure::ensure;
use registry_proxy_outer::proxy::{Setup, Store};
use registry_proxy_outer::registry::{Access, Registry, Storage};
use registry_proxy_outer::{Failure, Outcome};

use self::api::Api;
use crate::stage::with_every_store;

with_every_store! {
    through_the_proxy_each_case_has_the_verdict_of_the_registry,
}

/// What a case comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As the specification has it.
    Conforms,
    /// Not so: with this in the message.
    Deviates(&'static str),
}

/// Something that the specification says.
struct Case {
    name: &'static str,
    check: fn(&Api) -> Outcome,
    /// At docker-registry 2.8.
    directly: Verdict,
    /// Through the proxy: the same, unless the proxy does better.
    through_the_proxy: Verdict,
}

const fn case(name: &'static str, check: fn(&Api) -> Outcome) -> Case {
    Case { name, check, directly: Verdict::Conforms, through_the_proxy: Verdict::Conforms }
}

impl Case {
    /// docker-registry does otherwise.
    const fn deviates(self, message: &'static str) -> Self {
        let verdict = Verdict::Deviates(message);
        Self { directly: verdict, through_the_proxy: verdict, ..self }
    }

    /// docker-registry does otherwise, and the proxy puts it right.
    const fn mended(self, message: &'static str) -> Self {
        Self { directly: Verdict::Deviates(message), ..self }
    }

    fn run(&self, api: &Api, expected: Verdict) -> Result<(), String> {
        match ((self.check)(api), expected) {
            (Ok(()), Verdict::Conforms) => Ok(()),
            (Err(failure), Verdict::Deviates(message)) if format!("{failure:?}").contains(message) => Ok(()),
            (Err(failure), _) => Err(format!("{}: {}", self.name, first_line(&failure))),
            (Ok(()), Verdict::Deviates(_)) => {
                Err(format!("{}: conforms, and {expected:?} was expected", self.name))
            }
        }
    }
}

/// Without the headers that may follow.
fn first_line(failure: &Failure) -> String {
    let message = format!("{failure:?}");
    message.lines().next().unwrap_or_default().to_owned()
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [pull::CASES, push::CASES, uploads::CASES, discovery::CASES, management::CASES].into_iter().flatten()
}

/// Runs all of them, however many fail.
fn run(address: SocketAddr, prefix: &'static str, expected: fn(&Case) -> Verdict) -> Outcome {
    let api = Api::new(address, prefix)?;
    let failed: Vec<String> = cases().filter_map(|case| case.run(&api, expected(case)).err()).collect();
    let count = cases().count();
    ensure(failed.is_empty(), format_args!("{} of {count} cases:\n{}", failed.len(), failed.join("\n")))
}

fn registry() -> Outcome<Registry> {
    Registry::start(&Storage::InMemory, &Access::Open)
}

#[test]
fn the_registry_itself_has_the_verdicts_that_are_written_here() -> Outcome {
    run(registry()?.address(), "", |case| case.directly)
}

fn through_the_proxy_each_case_has_the_verdict_of_the_registry(store: Store) -> Outcome {
    let registry = registry()?;
    let proxy = Setup::new().keeping(store).upstream("reg.test", registry.address(), &["push = true"]).start()?;
    run(proxy.address(), "reg.test/", |case| case.through_the_proxy)
}

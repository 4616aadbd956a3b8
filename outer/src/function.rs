//! The product as a function: started as its platform starts it, behind the gateway that enforces the platform's limits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use crate::Outcome;
use crate::gateway::lambda::{Emulator, Invocation, Tap};
use crate::gateway::rules::{LAMBDA, Rules};
use crate::gateway::{Gateway, Ledger, Turnstile};
use crate::objects::{ACCESS_KEY, SECRET_KEY};
use crate::process::Service;
use crate::proxy::{Proxy, Setup};

/// How many requests AWS Lambda answers at a time here; each takes a process of its own.
const INSTANCES: usize = 10;
const IS_READY: &str = "serving events of AWS Lambda";

/// A function. Fields are dropped in this order: the gateway before what it leads to.
pub struct Function {
    gateway: Gateway,
    instances: Instances,
}

enum Instances {
    /// One process, which listens.
    Server(Proxy),
    /// Processes that ask for events.
    Lambda {
        invocations: Arc<Mutex<Vec<Invocation>>>,
        processes: Vec<(Service, Tap, TempDir)>,
        _emulator: Emulator,
    },
}

impl Function {
    /// Starts it under these rules. `setup` is asked for each process.
    pub fn start(rules: &Rules, setup: impl Fn() -> Setup) -> Outcome<Self> {
        let gateway = Gateway::start(rules.clone())?;
        let setup = || {
            let named = rules.environment.iter();
            let setup = named.fold(setup(), |setup, (name, value)| setup.variable(name, *value));
            // Outside there is HTTPS, which the clients here do not speak.
            setup
                .variable("REGISTRY_PROXY_PUBLIC_URL", gateway.url(""))
                .variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
                .variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        };
        let instances =
            if rules.name == LAMBDA.name { lambda(&gateway, setup)? } else { server(&gateway, setup())? };
        Ok(Self { gateway, instances })
    }

    /// `IP:PORT`, as it stands in image names.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub fn url(&self, path: &str) -> String {
        self.gateway.url(path)
    }

    pub fn ledger(&self) -> &Ledger {
        self.gateway.ledger()
    }

    /// What it asked the platform to do later.
    pub fn invocations(&self) -> Vec<Invocation> {
        match &self.instances {
            Instances::Server(_) => Vec::new(),
            Instances::Lambda { invocations, .. } => {
                invocations.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
        }
    }

    /// The logs of all its processes.
    pub fn log(&self) -> String {
        match &self.instances {
            Instances::Server(proxy) => proxy.service.log(),
            Instances::Lambda { processes, .. } => processes.iter().map(|(service, ..)| service.log()).collect(),
        }
    }

    /// The most memory that a process has held at once, in KiB.
    pub fn peak_memory_kib(&self) -> Outcome<u64> {
        self.largest(Service::peak_memory_kib)
    }

    /// The memory that a process holds now, in KiB: of several, the one that holds most.
    pub fn memory_kib(&self) -> Outcome<u64> {
        self.largest(Service::memory_kib)
    }

    fn largest(&self, figure: fn(&Service) -> Outcome<u64>) -> Outcome<u64> {
        match &self.instances {
            Instances::Server(proxy) => figure(&proxy.service),
            Instances::Lambda { processes, .. } => {
                let figures = processes.iter().map(|(service, ..)| figure(service));
                Ok(figures.collect::<Outcome<Vec<_>>>()?.into_iter().max().unwrap_or(0))
            }
        }
    }
}

fn server(gateway: &Gateway, setup: Setup) -> Outcome<Instances> {
    let proxy = setup.start()?;
    let turnstile =
        if gateway.rules().freezes { Turnstile::freezing(proxy.service.id())? } else { Turnstile::open() };
    gateway.attach(proxy.address(), turnstile);
    Ok(Instances::Server(proxy))
}

fn lambda(gateway: &Gateway, setup: impl Fn() -> Setup) -> Outcome<Instances> {
    let emulator = Emulator::start()?;
    let invocations = Arc::default();
    let mut processes = Vec::new();
    for _ in 0..INSTANCES {
        let tap = Tap::start(&emulator, gateway.ledger(), &invocations)?;
        let setup = setup()
            .variable("AWS_LAMBDA_RUNTIME_API", tap.address().to_string())
            .variable("AWS_ENDPOINT_URL_LAMBDA", format!("http://{}", tap.address()));
        let (service, folder) = setup.start_until(IS_READY)?;
        tap.attach(service.id())?;
        processes.push((service, tap, folder));
    }
    gateway.attach(emulator.address(), Turnstile::open());
    Ok(Instances::Lambda { invocations, processes, _emulator: emulator })
}

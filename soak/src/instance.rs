//! A process under test: started, told to reload, killed, started again.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_proxy_outer::objects::{ACCESS_KEY, SECRET_KEY};
use registry_proxy_outer::process::{Program, Service, Signal};
use registry_proxy_outer::{Failure, Outcome};

use crate::ask::ask;
use crate::timetable::Instance;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);
/// `timeouts.drain` is 30 s.
const STOP: Duration = Duration::from_secs(40);

/// The line of its log after a reload.
const RELOADED: &str = "configuration, password and certificate files read again";

enum State {
    Starting {
        until: Duration,
    },
    Up,
    /// It was told to end, and is started again as soon as it has.
    Stopping {
        until: Duration,
    },
    /// It is started when its disturbance is over.
    Gone,
}

pub(crate) struct Process {
    pub(crate) instance: Instance,
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    folder: PathBuf,
    store: String,
    upstream: SocketAddr,
    service: Option<Service>,
    state: State,
    pub(crate) life: u32,
    /// How often the configuration was changed.
    reloads: u32,
    told_to_reload: u32,
    /// Processor time of the lives before, in milliseconds.
    pub(crate) cpu_before: u64,
}

/// Something that no disturbance explains.
pub(crate) type Fault = String;

impl Process {
    /// Starts it.
    pub(crate) fn start(
        instance: Instance,
        binary: &Path,
        room: &Path,
        address: SocketAddr,
        store: String,
        upstream: SocketAddr,
    ) -> Outcome<Self> {
        let folder = room.join(instance.to_string().replace(' ', "-"));
        fs::create_dir_all(&folder)?;
        let mut process = Self {
            instance,
            address,
            binary: binary.to_owned(),
            folder,
            store,
            upstream,
            service: None,
            state: State::Gone,
            life: 0,
            reloads: 0,
            told_to_reload: 0,
            cpu_before: 0,
        };
        process.configure()?;
        process.spawn(Duration::ZERO)?;
        Ok(process)
    }

    /// Its number, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.service.as_ref().map(Service::id)
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up)
    }

    /// Another configuration, and SIGHUP.
    pub(crate) fn reload(&mut self) -> Outcome {
        self.reloads += 1;
        self.configure()?;
        if let (State::Up, Some(service)) = (&self.state, &self.service) {
            self.told_to_reload += 1;
            service.signal(Signal::Hangup)?;
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        // Dropping kills and waits.
        self.service = None;
        self.state = State::Gone;
    }

    pub(crate) fn stop(&mut self, now: Duration) -> Outcome {
        if let Some(service) = &self.service {
            service.signal(Signal::Terminate)?;
        }
        self.state = State::Stopping { until: now + STOP };
        Ok(())
    }

    /// Starts it again, if it has ended.
    pub(crate) fn start_again(&mut self, now: Duration) -> Outcome {
        if matches!(self.state, State::Gone) {
            self.life += 1;
            self.spawn(now)?;
        }
        Ok(())
    }

    /// Looks how it is. True: it serves, and did not when this was asked before.
    pub(crate) fn look(&mut self, now: Duration) -> Outcome<Result<bool, Fault>> {
        let instance = self.instance;
        let Some(service) = &mut self.service else { return Ok(Ok(false)) };
        let is_running = service.is_running()?;
        match self.state {
            State::Gone => Ok(Ok(false)),
            State::Up if is_running => Ok(Ok(false)),
            State::Up => {
                self.kill();
                self.start_again(now)?;
                Ok(Err(format!("{instance} ended by itself")))
            }
            State::Starting { until } => {
                if ask(self.address, "GET", "/healthz", "").is_ok_and(|(status, _)| status == 200) {
                    self.state = State::Up;
                    return Ok(Ok(true));
                }
                if now > until || !is_running {
                    return Err(Failure::new(format!("{instance} did not start:\n{}", service.log())));
                }
                Ok(Ok(false))
            }
            State::Stopping { until } => {
                if is_running && now <= until {
                    return Ok(Ok(false));
                }
                self.kill();
                self.start_again(now)?;
                Ok(if is_running {
                    Err(format!("{instance} did not end within {STOP:?} of SIGTERM"))
                } else {
                    Ok(false)
                })
            }
        }
    }

    /// What the logs of all its lives show: panics, and reloads that did not happen.
    pub(crate) fn read_logs(&self) -> Outcome<Vec<Fault>> {
        let (mut faults, mut reloads) = (Vec::new(), 0);
        for life in 0..=self.life {
            for line in BufReader::new(File::open(self.log(life))?).lines() {
                let line = line?;
                if line.contains("panicked") {
                    faults.push(format!("{} panicked: {line}", self.instance));
                }
                reloads += u32::from(line.contains(RELOADED));
            }
        }
        if reloads != self.told_to_reload {
            let told = self.told_to_reload;
            faults.push(format!("{} was told to reload {told} times and did {reloads} times", self.instance));
        }
        Ok(faults)
    }

    fn log(&self, life: u32) -> PathBuf {
        self.folder.join(format!("log-{life}"))
    }

    fn spawn(&mut self, now: Duration) -> Outcome {
        let service = Program::at("registry-proxy", &self.binary)?
            .argument("--config")
            .argument(self.folder.join("config.toml"))
            .variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .start(&self.log(self.life))?;
        self.service = Some(service);
        self.state = State::Starting { until: now + START };
        Ok(())
    }

    /// Each reload changes how long tags are served, and what one user might not have.
    fn configure(&self) -> Outcome {
        let Self { address, store, upstream, .. } = self;
        let ttl = if self.reloads.is_multiple_of(2) { "20s" } else { "30s" };
        let key = self.folder.join("signing-key");
        fs::write(&key, "only this run signs with this: 0123456789abcdef")?;
        let config = format!(
            "listen = \"{address}\"\nsigning_key_file = \"{}\"\nadmin_socket = \"none\"\n\n[cache]\n{store}\ntag_ttl = \"{ttl}\"\n\n\
             [[block]]\nmatch = \"soak.test/nothing/is-here-{}\"\nreason = \"a changed rule\"\n\n\
             [[upstream]]\nname = \"soak.test\"\nurls = [\"http://{upstream}\"]\ninsecure = true\ndefault = true\n",
            key.display(),
            self.reloads,
        );
        Ok(fs::write(self.folder.join("config.toml"), config)?)
    }
}

//! The run: starts everything, disturbs it by the timetable, and measures.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use registry_proxy_bench_options::SoakOptions;
use registry_proxy_outer::{Failure, Outcome};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::ask::{ask, metric, ports};
use crate::bucket::Bucket;
use crate::content::Content;
use crate::dice::{Dice, Popularity};
use crate::instance::{Fault, Process};
use crate::journal::{Entries, Journal, quantile};
use crate::load::{Clients, REQUESTS_PER_PULL};
use crate::sample::{self, Moment, Sample};
use crate::timetable::{Disturbance, Event, Instance, Window, timetable};
use crate::upstream::{Upstream, Weather};

const SAMPLE: Duration = Duration::from_secs(10);
const PROGRESS: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);
/// A tag moves so often, while the upstream is well.
const MOVE: Duration = Duration::from_secs(5);
const SEED: u64 = 0x6d6f_7665;

/// `cache.max_size` of the directory, and what it may hold beyond that while it evicts.
pub(crate) const DIRECTORY_MIB: u64 = 128;
pub(crate) const DIRECTORY_BEYOND_MIB: u64 = 64;

/// What a run has shown.
pub(crate) struct Results {
    pub(crate) length: Duration,
    pub(crate) is_interrupted: bool,
    pub(crate) entries: Entries,
    pub(crate) samples: Vec<Sample>,
    pub(crate) moments: Vec<Moment>,
    pub(crate) windows: Vec<Window>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) reloads: u32,
    pub(crate) moves: u32,
    pub(crate) blobs: (usize, u64),
    pub(crate) upstream: (u64, u64),
    /// Entries that the directory evicted, and their bytes.
    pub(crate) evicted: (f64, f64),
    /// Processor time in milliseconds: of each process under test, and of clients and upstream together.
    pub(crate) cpu_ms: [u64; 3],
    pub(crate) own_cpu_ms: u64,
    /// Logs, and what the stores held; gone with this.
    pub(crate) room: TempDir,
}

/// Everything that runs. Fields are dropped in this order.
struct Run {
    processes: [Process; 3],
    bucket: Bucket,
    upstream: Upstream,
    content: Arc<Content>,
    journal: Arc<Journal>,
    runtime: Runtime,
    room: TempDir,
    dice: Dice,
    popularity: Popularity,
    samples: Vec<Sample>,
    moments: Vec<Moment>,
    windows: Vec<Window>,
    faults: Vec<Fault>,
    reloads: u32,
    moves: u32,
    /// The store was told to start and does not answer yet.
    is_bucket_awaited: bool,
}

/// Runs it all; until `stop` says otherwise, as long as the options say.
pub(crate) fn run(options: &SoakOptions, binary: &Path, seaweedfs: &Path, stop: &AtomicBool) -> Outcome<Results> {
    let mut run = Run::start(options, binary, seaweedfs)?;
    let total = Duration::from_secs(u64::from(options.minutes) * 60);
    let outcome = run.through(total, stop);
    let length = run.journal.now();
    if outcome.is_err() {
        eprintln!("soak: everything is kept in {}", run.room.path().display());
        run.room.disable_cleanup(true);
    }
    outcome?;
    run.results(length, stop.load(Ordering::Relaxed))
}

impl Run {
    fn start(options: &SoakOptions, binary: &Path, seaweedfs: &Path) -> Outcome<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let room = tempfile::Builder::new().prefix("registry-proxy-soak-").tempdir()?;
        let content = Arc::new(Content::new(options.images));
        let bucket = Bucket::start(seaweedfs, room.path().join("seaweedfs"))?;
        let [of_upstream, first, second, alone] = ports()?;
        let upstream = Upstream::start(runtime.handle(), of_upstream, Arc::clone(&content))?;
        let in_bucket = format!("store = \"{}\"", bucket.url());
        let in_directory = format!(
            "store = \"file://{}\"\nmax_size = \"{DIRECTORY_MIB}MiB\"",
            room.path().join("directory").display()
        );
        let start = |instance, address, store| {
            Process::start(instance, binary, room.path(), address, store, upstream.address())
        };
        let processes = [
            start(Instance::First, first, in_bucket.clone())?,
            start(Instance::Second, second, in_bucket)?,
            start(Instance::Alone, alone, in_directory)?,
        ];
        let mut run = Self {
            processes,
            bucket,
            upstream,
            content,
            journal: Arc::new(Journal::new()),
            runtime,
            room,
            dice: Dice::new(SEED),
            popularity: Popularity::new(options.images),
            samples: Vec::new(),
            moments: Vec::new(),
            windows: Vec::new(),
            faults: Vec::new(),
            reloads: 0,
            moves: 0,
            is_bucket_awaited: false,
        };
        while !run.processes.iter().all(Process::is_up) {
            run.look()?;
            thread::sleep(LOOK);
        }
        // The clock starts with the load.
        run.journal = Arc::new(Journal::new());
        let addresses = [first, second, alone];
        let (content, journal) = (Arc::clone(&run.content), Arc::clone(&run.journal));
        let clients = Clients::new(options.clients as usize, addresses, content, options.images, journal);
        run.runtime.spawn(clients.run(f64::from(options.rate) / f64::from(REQUESTS_PER_PULL)));
        Ok(run)
    }

    fn through(&mut self, total: Duration, stop: &AtomicBool) -> Outcome {
        let mut events = timetable(total).into_iter().peekable();
        let (mut sample, mut progress, mut moving) = (SAMPLE, PROGRESS, MOVE);
        while self.journal.now() < total && !stop.load(Ordering::Relaxed) {
            let now = self.journal.now();
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= now) {
                self.happens(event)?;
            }
            self.look()?;
            if now >= moving {
                moving = now + MOVE;
                if self.upstream.weather() == Weather::Fair {
                    let image = self.popularity.draw(&mut self.dice);
                    self.content.move_tag(image, now);
                    self.moves += 1;
                }
            }
            if now >= sample {
                sample += SAMPLE;
                self.sample(now);
            }
            if now >= progress {
                progress += PROGRESS;
                self.say(now);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn happens(&mut self, event: Event) -> Outcome {
        let now = self.journal.now();
        match event {
            Event::Reload => {
                self.reloads += 1;
                for process in &mut self.processes {
                    process.reload()?;
                }
            }
            Event::Begin(disturbance) => {
                self.windows.push(Window { disturbance, from: now, to: Duration::MAX / 2 });
                match disturbance {
                    Disturbance::SlowUpstream => self.upstream.set(Weather::Slow),
                    Disturbance::UpstreamDown => self.upstream.set(Weather::Down),
                    Disturbance::TooManyRequests => self.upstream.set(Weather::TooManyRequests),
                    Disturbance::StoreDown => self.bucket.kill(),
                    Disturbance::Killed(instance) => {
                        self.remember_cpu(instance);
                        self.processes[instance.index()].kill();
                    }
                    Disturbance::Stopped(instance) => {
                        self.remember_cpu(instance);
                        self.processes[instance.index()].stop(now)?;
                    }
                }
            }
            Event::End(disturbance) => match disturbance {
                Disturbance::SlowUpstream | Disturbance::UpstreamDown | Disturbance::TooManyRequests => {
                    self.upstream.set(Weather::Fair);
                    self.is_over(disturbance);
                }
                Disturbance::StoreDown => {
                    self.bucket.start_again()?;
                    self.is_bucket_awaited = true;
                }
                Disturbance::Killed(instance) => self.processes[instance.index()].start_again(now)?,
                // It is started as soon as it has ended.
                Disturbance::Stopped(_) => {}
            },
        }
        Ok(())
    }

    /// Looks whether everything is as it should be.
    fn look(&mut self) -> Outcome {
        let now = self.journal.now();
        for index in 0..self.processes.len() {
            match self.processes[index].look(now)? {
                Ok(false) => {}
                Ok(true) => {
                    let instance = self.processes[index].instance;
                    self.is_over(Disturbance::Killed(instance));
                    self.is_over(Disturbance::Stopped(instance));
                }
                Err(fault) => {
                    eprintln!("soak: {fault}");
                    self.faults.push(fault);
                }
            }
        }
        let is_down =
            self.windows.iter().any(|window| window.disturbance == Disturbance::StoreDown && window.to > now);
        if !is_down && !self.bucket.is_running() {
            return Err(Failure::new("SeaweedFS ended by itself"));
        }
        if self.is_bucket_awaited && self.bucket.is_up() {
            self.is_bucket_awaited = false;
            self.is_over(Disturbance::StoreDown);
        }
        Ok(())
    }

    fn is_over(&mut self, disturbance: Disturbance) {
        let now = self.journal.now();
        let open = self.windows.iter_mut().rev().find(|window| window.disturbance == disturbance);
        if let Some(window) = open.filter(|window| window.to > now) {
            window.to = now;
        }
    }

    fn sample(&mut self, at: Duration) {
        let mut reading = self.journal.read();
        let latency = |values: &mut [u32]| [500, 990, 1000].map(|at| quantile(values, at).unwrap_or(0));
        for process in self.processes.iter().filter(|process| process.is_up()) {
            let Some(id) = process.id() else { continue };
            // It may have ended just now, which the next look finds.
            let (Ok((memory_kib, threads)), Ok(descriptors)) =
                (sample::memory_and_threads(id), sample::descriptors(id))
            else {
                continue;
            };
            let heads = &mut reading.heads[process.instance.index()];
            self.samples.push(Sample {
                at,
                instance: process.instance,
                life: process.life,
                memory_kib,
                descriptors,
                threads,
                cpu_ms: process.cpu_before + sample::cpu_ms(id).unwrap_or(0),
                answers: heads.len(),
                latency: latency(heads),
            });
        }
        let mut all = reading.heads.concat();
        self.moments.push(Moment {
            at,
            answers: all.len(),
            latency: latency(&mut all),
            directory: sample::bytes_in(&self.room.path().join("directory")),
            bucket: sample::bytes_in(&self.bucket.data()),
        });
    }

    fn say(&self, now: Duration) {
        let Some(moment) = self.moments.last() else { return };
        let (troubles, requests) = self.journal.counts();
        let memory = Instance::ALL.map(|instance| {
            let last = self.samples.iter().rev().find(|sample| sample.instance == instance);
            last.map_or(0, |sample| sample.memory_kib >> 10)
        });
        let [half, most, all] = moment.latency.map(|micros| f64::from(micros) / 1000.0);
        eprintln!(
            "soak: {} min: {requests} requests, {troubles} failed, {} faults; p50 {half:.1} p99 {most:.1} worst {all:.0} ms; \
             RSS {memory:?} MiB; directory {} MiB, SeaweedFS {} MiB; own CPU {:.0} s",
            now.as_secs() / 60,
            self.faults.len(),
            moment.directory >> 20,
            moment.bucket >> 20,
            seconds(sample::cpu_ms(std::process::id()).unwrap_or(0)),
        );
    }

    fn remember_cpu(&mut self, instance: Instance) {
        let process = &mut self.processes[instance.index()];
        let used = process.id().and_then(|id| sample::cpu_ms(id).ok()).unwrap_or(0);
        process.cpu_before += used;
    }

    fn results(mut self, length: Duration, is_interrupted: bool) -> Outcome<Results> {
        self.sample(length);
        for instance in Instance::ALL {
            self.remember_cpu(instance);
        }
        for process in &self.processes {
            self.faults.extend(process.read_logs()?);
        }
        let alone = self.processes[Instance::Alone.index()].address;
        // If it does not say, it counts as nothing, and the run fails.
        let metrics = ask(alone, "GET", "/metrics", "").map(|(_, text)| text).unwrap_or_default();
        let evicted = (
            metric(&metrics, "registry_proxy_cache_evicted_total"),
            metric(&metrics, "registry_proxy_cache_evicted_bytes_total"),
        );
        Ok(Results {
            length,
            is_interrupted,
            entries: self.journal.take(),
            samples: std::mem::take(&mut self.samples),
            moments: std::mem::take(&mut self.moments),
            windows: std::mem::take(&mut self.windows),
            faults: std::mem::take(&mut self.faults),
            reloads: self.reloads,
            moves: self.moves,
            blobs: self.content.size(),
            upstream: self.upstream.traffic(),
            evicted,
            cpu_ms: [0, 1, 2].map(|index| self.processes[index].cpu_before),
            own_cpu_ms: sample::cpu_ms(std::process::id())?,
            room: self.room,
        })
    }
}

/// Of milliseconds, for people.
pub(crate) fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

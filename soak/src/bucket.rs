//! `SeaweedFS` with a bucket, which can go away and come back with what it held.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use registry_proxy_outer::objects::{ACCESS_KEY, SECRET_KEY};
use registry_proxy_outer::process::{Program, Service};
use registry_proxy_outer::{Failure, Outcome};

use crate::ask::{ask, ports};

/// How long it may take to answer.
const START: Duration = Duration::from_mins(1);

pub(crate) struct Bucket {
    program: PathBuf,
    folder: PathBuf,
    addresses: [SocketAddr; 8],
    service: Option<Service>,
    lives: u32,
}

impl Bucket {
    /// Starts it, and makes the bucket.
    pub(crate) fn start(program: &Path, folder: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(folder.join("data"))?;
        let identity = format!(
            r#"{{"identities":[{{"name":"soak","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],
            "actions":["Admin","Read","Write","List"]}}]}}"#
        );
        fs::write(folder.join("s3.json"), identity)?;
        let mut bucket =
            Self { program: program.to_owned(), folder, addresses: ports()?, service: None, lives: 0 };
        bucket.start_again()?;
        let begun = Instant::now();
        let filer = bucket.addresses[4];
        let makes = |method, path, body| ask(filer, method, path, body).is_ok_and(|(status, _)| status < 300);
        // A folder below /buckets is a bucket. The first file takes seconds: a volume is made for it.
        while !(bucket.is_up()
            && makes("POST", "/buckets/bucket/", "")
            && makes("PUT", "/buckets/bucket/first", "first"))
        {
            if begun.elapsed() > START {
                return Err(Failure::new("SeaweedFS makes no bucket"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(bucket)
    }

    /// As `cache.store` wants it.
    pub(crate) fn url(&self) -> String {
        format!("s3://bucket/soak?endpoint=http://{}", self.addresses[6])
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.service = None;
    }

    pub(crate) fn start_again(&mut self) -> Outcome {
        let port = |index: usize| self.addresses[index].port();
        let log = self.folder.join(format!("log-{}", self.lives));
        self.lives += 1;
        let service = Program::at("SeaweedFS", &self.program)?
            .argument("server")
            .arguments(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .argument(format!("-dir={}", self.data().display()))
            .argument(format!("-master.port={}", port(0)))
            .argument(format!("-master.port.grpc={}", port(1)))
            .argument(format!("-volume.port={}", port(2)))
            .argument(format!("-volume.port.grpc={}", port(3)))
            .argument(format!("-filer.port={}", port(4)))
            .argument(format!("-filer.port.grpc={}", port(5)))
            .argument(format!("-s3.port={}", port(6)))
            .argument(format!("-s3.port.grpc={}", port(7)))
            .argument(format!("-s3.config={}", self.folder.join("s3.json").display()))
            .arguments(["-master.volumeSizeLimitMB=512", "-volume.max=40", "-volume.minFreeSpace=200MiB"])
            .start(&log)?;
        self.service = Some(service);
        Ok(())
    }

    /// Whether its S3 side answers; what, does not matter.
    pub(crate) fn is_up(&self) -> bool {
        self.service.is_some() && ask(self.addresses[6], "GET", "/", "").is_ok()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.service.as_mut().is_some_and(|service| service.is_running().unwrap_or(false))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

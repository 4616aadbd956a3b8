//! Object stores that others make, for the tests of ours: `SeaweedFS` and moto, from `PyPI`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::pypi::{MOTO, PyPi, SEAWEEDFS};
use crate::run::{Shown, target_folder};

/// How the tests find them: names and addresses, with spaces between. The bucket's name, the key and its secret stand in
/// `crates/server/src/store/objects/tests.rs` and `outer/src/objects.rs` as well.
pub(crate) const VARIABLE: &str = "REGISTRY_PROXY_TEST_BUCKETS";
const BUCKET: &str = "bucket";
const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "the right secret";

/// How long they may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether both are installed.
pub(crate) fn are_there() -> bool {
    SEAWEEDFS.is_there() && MOTO.is_there()
}

/// Both, running; they end with this.
pub(crate) struct Running {
    children: Vec<Child>,
    variable: String,
}

impl Running {
    /// Starts them, and makes a bucket in each.
    pub(crate) fn start() -> Result<Self, String> {
        let folder = target_folder().join("buckets");
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(folder.join("data")).map_err(failed)?;
        let mut running = Self { children: Vec::new(), variable: String::new() };
        for (name, address) in [("seaweedfs", running.seaweedfs(&folder)?), ("moto", running.moto(&folder)?)] {
            running.wait_for(name, address)?;
            make_bucket(address)?;
            running.variable.extend([name, " http://", &address.to_string(), " "]);
        }
        Ok(running)
    }

    /// What [`VARIABLE`] is to be.
    pub(crate) fn variable(&self) -> &str {
        self.variable.trim_end()
    }

    fn seaweedfs(&mut self, folder: &Path) -> Result<SocketAddr, String> {
        let config = folder.join("s3.json");
        let identity = format!(
            r#"{{"identities":[{{"name":"tests","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],
            "actions":["Admin","Read","Write","List"]}}]}}"#
        );
        fs::write(&config, identity).map_err(|error| format!("{}: {error}", config.display()))?;
        let addresses = free_addresses::<8>()?;
        let port = |index: usize| addresses[index].port();
        let arguments = [
            "server".to_owned(),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-dir={}", folder.join("data").display()),
            format!("-master.port={}", port(0)),
            format!("-master.port.grpc={}", port(1)),
            format!("-volume.port={}", port(2)),
            format!("-volume.port.grpc={}", port(3)),
            format!("-filer.port={}", port(4)),
            format!("-filer.port.grpc={}", port(5)),
            "-s3".to_owned(),
            format!("-s3.port={}", port(6)),
            format!("-s3.port.grpc={}", port(7)),
            // Two more services, on ports that another one on this machine may have.
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-s3.config={}", config.display()),
            // Its volumes are files of this size, and it makes some at once.
            "-master.volumeSizeLimitMB=64".to_owned(),
            "-volume.max=30".to_owned(),
            // By itself it takes nothing more once 1 % of the disk is left, which on a large disk is more than the tests need.
            "-volume.minFreeSpace=200MiB".to_owned(),
        ];
        self.spawn(folder, &SEAWEEDFS, &arguments)?;
        Ok(addresses[6])
    }

    fn moto(&mut self, folder: &Path) -> Result<SocketAddr, String> {
        let [address] = free_addresses::<1>()?;
        let arguments = ["-H".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), address.port().to_string()];
        self.spawn(folder, &MOTO, &arguments)?;
        Ok(address)
    }

    fn spawn(&mut self, folder: &Path, package: &PyPi, arguments: &[String]) -> Result<(), String> {
        let (program, name) = (package.path(), package.variable.to_lowercase());
        eprintln!("\n$ {} {} &", program.display(), arguments.join(" "));
        let log = folder.join(format!("{name}.log"));
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        self.children.push(child);
        Ok(())
    }

    fn wait_for(&mut self, name: &str, address: SocketAddr) -> Result<(), String> {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            for child in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(format!("{name} has ended: {status}; see {}/buckets", target_folder().display()));
                }
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{name} does not answer on {address}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server may listen before it is ready: the client tries again for as long as that takes.
fn make_bucket(address: SocketAddr) -> Result<(), String> {
    let script = format!(
        "import boto3, botocore.config\n\
         config = botocore.config.Config(retries={{'max_attempts': 10, 'mode': 'standard'}})\n\
         boto3.client('s3', endpoint_url='http://{address}', region_name='us-east-1', aws_access_key_id='{ACCESS_KEY}',\n\
         \x20   aws_secret_access_key='{SECRET_KEY}', config=config).create_bucket(Bucket='{BUCKET}')\n"
    );
    Shown::new(&MOTO.path().with_file_name("python").display().to_string(), &["-c", &script]).run()
}

/// As many as are free at once.
fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT], String> {
    let failed = |error: std::io::Error| format!("no free port: {error}");
    let mut listeners = Vec::new();
    for _ in 0..COUNT {
        listeners.push(TcpListener::bind("127.0.0.1:0").map_err(failed)?);
    }
    let addresses: Result<Vec<SocketAddr>, _> = listeners.iter().map(TcpListener::local_addr).collect();
    let addresses = addresses.map_err(failed)?;
    addresses.try_into().map_err(|_| "no free port".to_owned())
}

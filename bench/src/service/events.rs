//! The interface of AWS Lambda from which a function takes its events, for one event: how long it takes from exec until
//! its answer begins.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{GLANCE, OUTPUT, START};
use crate::Result;

/// `GET /v2/`, as a function URL passes it on.
const EVENT: &str = r#"{"version":"2.0","rawPath":"/v2/","rawQueryString":"","headers":{"host":"x.lambda-url.us-east-1.on.aws"},"requestContext":{"http":{"method":"GET","path":"/v2/","sourceIp":"192.0.2.1"},"domainName":"x.lambda-url.us-east-1.on.aws"},"isBase64Encoded":false}"#;

/// What the answer's head says where all went well.
const FINE: &str = "\"statusCode\":200";

/// A process that is gone with this value.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the function, gives it one event, and says when the answer began.
pub(crate) fn first_answer(mut command: Command, room: &Path) -> Result<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let output = File::create(room.join(OUTPUT))?;
    command.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string());
    command.current_dir(room).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let begun = Instant::now();
    let mut instance = Instance(command.spawn()?);
    let mut stream = accept(&listener, &mut instance, begun)
        .map_err(|why| format!("{why}\n{}", fs::read_to_string(room.join(OUTPUT)).unwrap_or_default()))?;
    read_until(&mut stream, "\r\n\r\n")?;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: 1\r\n\
         Lambda-Runtime-Deadline-Ms: 99999999999999\r\nContent-Length: {}\r\n\r\n{EVENT}",
        EVENT.len()
    )?;
    read_until(&mut stream, FINE)?;
    Ok(begun.elapsed())
}

fn accept(listener: &TcpListener, instance: &mut Instance, begun: Instant) -> Result<TcpStream> {
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(START))?;
            return Ok(stream);
        }
        if let Some(status) = instance.0.try_wait()? {
            return Err(format!("the function ended: {status}").into());
        }
        if begun.elapsed() > START {
            return Err(format!("the function asked for no event within {START:?}").into());
        }
        thread::sleep(GLANCE);
    }
}

fn read_until(stream: &mut TcpStream, mark: &str) -> Result<()> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while !bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(format!("no {mark:?} in {:?}", String::from_utf8_lossy(&bytes)).into());
        }
        bytes.extend_from_slice(&piece[..count]);
    }
    Ok(())
}

//! The server from outside: the real binary, raw sockets on either side of it, and upstreams that misbehave by script.
//! Loopback only; every wait has a deadline.

#[cfg(test)]
mod buckets;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod cache_cli;
#[cfg(test)]
mod client_gone;
mod client_lines;
#[cfg(test)]
#[cfg(feature = "logins")]
mod cloud_login;
#[cfg(test)]
mod command_line;
mod completions;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod crashes;
#[cfg(test)]
#[cfg(feature = "logins")]
mod credential_provider;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod damage;
#[cfg(test)]
#[cfg(feature = "logins")]
mod device_login;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod earlier;
#[cfg(test)]
mod egress;
#[cfg(test)]
mod events;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod health;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod inbound_tls;
#[cfg(test)]
mod ipv6;
#[cfg(test)]
#[cfg(feature = "issuers")]
mod issuers;
#[cfg(test)]
mod keep_alive;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod log;
#[cfg(test)]
mod own_paths;
#[cfg(test)]
mod proxy_protocol;
#[cfg(test)]
mod push;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod room;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod slow_readers;
#[cfg(test)]
mod timer;
#[cfg(test)]
#[cfg(feature = "otel")]
mod traces;
#[cfg(test)]
mod upstream_tls;

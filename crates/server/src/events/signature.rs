//! The signature of an event, as Standard Webhooks 1.0.0 defines it
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): receivers have libraries
//! for it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use registry_proxy_core::config::key_bytes;
use registry_proxy_core::secret::Secret;
use sha2::Sha256;

/// The key that a receiver shares with us. It cannot be printed.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// `None`: it is no such key; the configuration refuses it before.
    pub(super) fn new(key: &Secret) -> Option<Self> {
        Hmac::new_from_slice(&key_bytes(key)?).ok().map(Self)
    }

    /// `webhook-signature` of an attempt at this time, in seconds since 1970.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_libraries() {
        // The vector of the libraries' tests.
        let key = Key::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}

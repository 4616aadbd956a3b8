//! Keys and signatures by OpenSSL 3.0.19: `openssl dgst -sha256 -sign` and, for Ed25519, `openssl pkeyutl -sign -rawin`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;

/// What is signed.
const MESSAGE: &[u8] = b"a payload";

const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEId+ZoZKqxS1cIrwcGp9W8Y988IxK
8+aIBvRmZp0r2bdlbY0PyusQHeNGZ+pS7UhXM6hJ+n/QSeLvQblVEj5sDQ==
-----END PUBLIC KEY-----
";
const P256_SIGNATURE: &str =
    "MEQCIBS1nVq7vhaj4vGdS0QioJU3ILlxBUErVttlycJxaRWMAiBwNjWaqb71p5SGRe24M7kkBRSJgxYPFZ6c/elso2ZS4w==";

const ED25519_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAT759AVFRnyGBErCqru5M+ydG9GDtj/oKsRGNBv741ik=
-----END PUBLIC KEY-----
";
const ED25519_SIGNATURE: &str =
    "gmFCMmhyBhfp2jXZKs6K4dDFMQ/5/DeHIkVNEsrwSYO9SY1vDTH/mcUGZEYqXXkMBuGuZYbcOL1dU5/5OEqUCA==";

const RSA_2048: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAp7eiAOqyoGgC2ISEZ8jV
sNebdCOUYGrFJhLx6OjdFwcCGDK4UWuKFciOdblLkZ94qjPnJBhP3mS31GUgIBqE
SDWlh0cNt/pGDI0uRc3yyddu4lwlcSG6L5roJOMUfPGVM5JQFk/pKcSTrgOfLjem
CKaAF5t2QoAUoAjFUEOod/EUmeclemwegbjteuKOBdi5frXAxA3LJhh3q1rbWnT+
ab+qa/fBfV150EaFS3D2War7WwsHS39w60knEoDEkKTrt18dBZgjSOD05++vBuDN
l8bzbirfkDn6uBms9SNTMr7Ye2z8z3BpL1WivGc6cks1vzjMOT6YGce/CIAcFJoA
dQIDAQAB
-----END PUBLIC KEY-----
";
const RSA_2048_SIGNATURE: &str = "b1Yiuo4Crb3Mkvc0LQPz9g0Kdbw/tmd18OE9/euFzM2KVue9gd4vL80e3Ue4ZGfPZbWdWenhdG4nL/mOgiG9Acv9IQbsu8nVCaEHvVR0ufXDQejUKEBdyjZsKByokLBOTUYhERJoyl7GFi+VUFwCrmb8CU302/cCy1CKHmWsWYCqcfzv577g1fC48yUPSGSwLOq6Oret6jY86CyWNB6imSMWtiS1wrbOKTiBbOMiMdWPdOd3y6F+5ua96oWlZjTvpOPYT2IjagIGsIn9GunDalCyAxC7cGqi7z6JgLU3pgNp4Tn/0dv7Fv/oKtCR+2pcrshw6CgKXeFqLnsA5dFhPA==";

const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE+/+mqLlCSmBeQAvG4GwpdHHqdWR+8jnB
PY7HIKmQFIK3KfjEVYYKmiHlqyIYNA1nzmg6mx1NRthwIXO86TYs8SFbJX6uqWMf
qVuI+Oc+ikXA6Rki0UtRhvDNtt03rV3y
-----END PUBLIC KEY-----
";

const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDxrOLddM4KTV83lKeJ3tY8NPNp
cgqNaFz91s9In7NlsSeUX/bDqiZL3GVh5HmfUGrrjuSA6mH+uMnDrAtljfeQuYkw
eoi3mqbTaGWkDGpxTLdb+cnbba9zLJlJp0o87NRsjpvtuO4cP1tt2Ngx1uFZs8ZK
mUb84FWbFwjOk/TCSwIDAQAB
-----END PUBLIC KEY-----
";

fn bytes(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

#[test]
fn a_key_of_each_kind_verifies_its_own_signatures_and_no_others() {
    let all = [(P256, P256_SIGNATURE), (ED25519_KEY, ED25519_SIGNATURE), (RSA_2048, RSA_2048_SIGNATURE)];
    for (i, (pem, _)) in all.iter().enumerate() {
        let key = PublicKey::parse(pem).unwrap();
        for (j, (_, signature)) in all.iter().enumerate() {
            let mut signature = bytes(signature);
            assert_eq!(key.verifies(MESSAGE, &signature), i == j, "{i} {j}");
            assert!(!key.verifies(b"another payload", &signature), "{i} {j}");
            signature.pop();
            assert!(!key.verifies(MESSAGE, &signature), "{i} {j}");
        }
        assert!(!key.verifies(MESSAGE, &[]), "{i}");
    }
}

#[test]
fn a_keys_fingerprint_is_that_of_its_der() {
    // openssl pkey -pubin -in cosign.pub -outform DER | sha256sum
    let key = PublicKey::parse(P256).unwrap();
    assert_eq!(key.fingerprint()[..4], [0xc5, 0x52, 0x65, 0x7e]);
    let with_a_comment = format!("a comment\n{P256}\n");
    assert_eq!(PublicKey::parse(&with_a_comment).unwrap().fingerprint(), key.fingerprint());
}

#[test]
fn other_keys_and_other_files_are_refused() {
    let private = P256.replace("PUBLIC", "ENCRYPTED SIGSTORE PRIVATE");
    let cut = P256.replace("5sDQ==", "");
    for (pem, expected) in [
        (P384, InvalidKey::OtherKind),
        (RSA_1024, InvalidKey::OtherKind),
        ("", InvalidKey::NoPublicKey),
        ("ssh-ed25519 AAAA", InvalidKey::NoPublicKey),
        (&private, InvalidKey::NoPublicKey),
    ] {
        assert_eq!(PublicKey::parse(pem).err(), Some(expected), "{pem}");
    }
    assert!(PublicKey::parse(&cut).is_err());
}

#[test]
fn the_largest_rsa_key_is_taken_and_what_only_looks_like_one_is_not() {
    let rsa = |content: usize, claimed: u16| {
        let key = vec![0x30; content];
        let mut bits = vec![0x03, 0x82];
        bits.extend(claimed.to_be_bytes());
        bits.push(0);
        bits.extend(key);
        let inner = [RSA_ALGORITHM, &bits].concat();
        let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82], length.as_slice(), &inner].concat()
    };
    assert!(key_in(&rsa(1038, 1039)).is_some());
    assert!(key_in(&rsa(1041, 1042)).is_none(), "too large");
    assert!(key_in(&rsa(265, 266)).is_none(), "too small");
    assert!(key_in(&rsa(270, 272)).is_none(), "its length is wrong");
    let whole = rsa(270, 271);
    for cut in 0..whole.len() {
        assert!(key_in(&whole[..cut]).is_none(), "{cut}");
    }
}

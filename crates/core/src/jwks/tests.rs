use serde_json::json;

use super::*;

fn b64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Value {
    json!({ "kty": "RSA", "kid": "r", "n": b64(modulus), "e": b64(exponent) })
}

fn p256_key(x: &[u8], y: &[u8]) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": b64(x), "y": b64(y) })
}

fn ed_key(x: &[u8]) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": b64(x) })
}

fn with(mut key: Value, member: &str, value: impl Into<Value>) -> Value {
    key[member] = value.into();
    key
}

/// How many of these keys count.
fn counted(keys: &[Value]) -> Result<usize, InvalidKeySet> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).map(|set| set.len())
}

#[test]
fn keys_that_signatures_can_be_verified_with_count_and_others_are_left_out() {
    let rsa = || rsa_key(&[0xff; 256], &[1, 0, 1]);
    let ed = || ed_key(&[7; 32]);
    for (key, counts) in [
        (rsa(), true),
        (with(rsa(), "alg", "RS256"), true),
        (with(rsa(), "use", "sig"), true),
        (with(rsa(), "key_ops", json!(["verify"])), true),
        (with(rsa(), "x5c", json!(["MIIC"])), true),
        (rsa_key(&[[0].as_slice(), &[0xff; 256]].concat(), &[0, 1, 0, 1]), true),
        (rsa_key(&[0xff; 512], &[3]), true),
        (p256_key(&[1; 32], &[2; 32]), true),
        (with(p256_key(&[1; 32], &[2; 32]), "alg", "ES256"), true),
        (ed(), true),
        (with(ed(), "alg", "EdDSA"), true),
        // For something else.
        (with(rsa(), "alg", "RS512"), false),
        (with(rsa(), "alg", "HS256"), false),
        (with(rsa(), "alg", "none"), false),
        (with(rsa(), "use", "enc"), false),
        (with(rsa(), "key_ops", json!(["encrypt"])), false),
        (with(ed(), "alg", "ES256"), false),
        // Too small, too large, or no number that a key has.
        (rsa_key(&[0xff; 255], &[1, 0, 1]), false),
        (rsa_key(&[0xff; 513], &[1, 0, 1]), false),
        (rsa_key(&[0xfe; 256], &[1, 0, 1]), false),
        (rsa_key(&[0xff; 256], &[1]), false),
        (rsa_key(&[0xff; 256], &[2]), false),
        (rsa_key(&[0xff; 256], &[]), false),
        (rsa_key(&[0xff; 256], &[1, 0, 0, 0, 1]), false),
        (rsa_key(&[0; 256], &[1, 0, 1]), false),
        (p256_key(&[1; 31], &[2; 32]), false),
        (p256_key(&[1; 32], &[2; 33]), false),
        (ed_key(&[7; 31]), false),
        (ed_key(&[7; 33]), false),
        (with(ed(), "x", "%%"), false),
        (with(ed(), "x", 7), false),
        // Of another kind.
        (json!({ "kty": "oct", "kid": "h", "k": b64(&[7; 32]), "alg": "HS256" }), false),
        (with(p256_key(&[1; 32], &[2; 32]), "crv", "secp256k1"), false),
        (with(p256_key(&[1; 48], &[2; 48]), "crv", "P-384"), false),
        (with(ed(), "crv", "X25519"), false),
        (with(ed(), "crv", Value::Null), false),
        (json!({ "kid": "x" }), false),
        (json!("key"), false),
    ] {
        let expected = if counts { Ok(1) } else { Err(InvalidKeySet::NoUsableKey) };
        assert_eq!(counted(std::slice::from_ref(&key)), expected, "{key}");
        assert_eq!(counted(&[key.clone(), ed()]), Ok(1 + usize::from(counts)), "{key}");
    }
}

#[test]
fn a_key_set_is_an_object_with_a_list_of_at_most_a_hundred_keys() {
    for (document, expected) in [
        ("", InvalidKeySet::NotAKeySet),
        ("[]", InvalidKeySet::NotAKeySet),
        ("{}", InvalidKeySet::NotAKeySet),
        ("<html>", InvalidKeySet::NotAKeySet),
        (r#"{"keys":{}}"#, InvalidKeySet::NotAKeySet),
        (r#"{"keys":[]}"#, InvalidKeySet::NoUsableKey),
    ] {
        assert_eq!(KeySet::parse(document.as_bytes()), Err(expected), "{document}");
    }
    assert_eq!(counted(&vec![ed_key(&[7; 32]); 100]), Ok(100));
    assert_eq!(counted(&vec![ed_key(&[7; 32]); 101]), Err(InvalidKeySet::TooManyKeys));
}

#[test]
fn a_token_is_by_the_key_that_it_names_for_its_algorithm_only() {
    let named = |kid: &str, x: u8| with(ed_key(&[x; 32]), "kid", kid);
    let set = |keys: &[Value]| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    let both = set(&[named("a", 1), named("b", 2), p256_key(&[1; 32], &[2; 32])]);
    let (ed, es) = (TokenAlgorithm::EdDsa, TokenAlgorithm::Es256);
    assert_eq!(both.find(Some("b"), ed), KeyFound::Key(&IssuerKey::Ed25519([2; 32])));
    for kid in ["p", "c", "", "../a", "a\0"] {
        assert_eq!(both.find(Some(kid), ed), KeyFound::Absent, "{kid}");
    }
    assert_eq!(both.find(Some("a"), es), KeyFound::Absent, "the key decides the algorithm");
    assert_eq!(both.find(None, ed), KeyFound::Several);
    assert!(matches!(both.find(None, es), KeyFound::Key(IssuerKey::P256(_))), "the only one");
    assert_eq!(both.find(None, TokenAlgorithm::Rs256), KeyFound::Absent);
    let twice = set(&[named("a", 1), named("a", 2)]);
    assert_eq!(twice.find(Some("a"), ed), KeyFound::Key(&IssuerKey::Ed25519([1; 32])));
    let nameless = set(&[with(ed_key(&[1; 32]), "kid", Value::Null)]);
    assert_eq!(nameless.find(Some("a"), ed), KeyFound::Absent, "a name that nothing has");
    assert!(matches!(nameless.find(None, ed), KeyFound::Key(_)));
}

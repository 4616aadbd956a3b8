//! Keys and tokens of RFC 7515 appendix A.2 (RS256) and A.3 (ES256), and of RFC 8037 appendix A (Ed25519).

use super::*;

const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

const POINT: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn bytes(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn rsa() -> IssuerKey {
    IssuerKey::Rsa { modulus: bytes(N).into(), exponent: [1, 0, 1].into() }
}

fn p256() -> IssuerKey {
    let point = [[4].as_slice(), &bytes(X), &bytes(Y)].concat();
    IssuerKey::P256(Box::new(point.try_into().unwrap()))
}

fn ed25519() -> IssuerKey {
    IssuerKey::Ed25519(bytes(POINT).try_into().unwrap())
}

/// What is signed, and the signature.
fn parts(token: &str) -> (&[u8], Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed.as_bytes(), bytes(signature))
}

#[test]
fn a_signature_is_verified_by_its_key_and_by_no_other() {
    let keys = [rsa(), p256(), ed25519()];
    for (i, token) in [RS256, ES256, EDDSA].into_iter().enumerate() {
        let (signed, signature) = parts(token);
        for (j, key) in keys.iter().enumerate() {
            assert_eq!(Signatures.verifies(key, signed, &signature), i == j, "{i} {j}");
        }
    }
}

#[test]
fn a_changed_token_or_signature_is_not_verified() {
    for (key, token) in [(rsa(), RS256), (p256(), ES256), (ed25519(), EDDSA)] {
        let (signed, signature) = parts(token);
        let mut other = signed.to_vec();
        other[30] ^= 1;
        assert!(!Signatures.verifies(&key, &other, &signature));
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut other = signature.clone();
            other[at] ^= 1;
            assert!(!Signatures.verifies(&key, signed, &other), "{at}");
        }
        // Numbers that verify anything where nobody looks (CVE-2022-21449), and lengths that no signature has.
        for other in [vec![], vec![0; 64], vec![0; 256], vec![0xff; 64], [signature.clone(), vec![0]].concat()] {
            assert!(!Signatures.verifies(&key, signed, &other), "{}", other.len());
        }
        assert!(!Signatures.verifies(&key, signed, &signature[..signature.len() - 1]));
    }
}

#[test]
fn a_key_that_is_no_point_and_no_modulus_verifies_nothing_and_does_no_harm() {
    let (signed, signature) = parts(ES256);
    assert!(!Signatures.verifies(&IssuerKey::P256(Box::new([4; 65])), signed, &signature));
    let (signed, signature) = parts(EDDSA);
    for byte in 0..=255 {
        assert!(!Signatures.verifies(&IssuerKey::Ed25519([byte; 32]), signed, &signature), "{byte}");
    }
    let (signed, signature) = parts(RS256);
    for (modulus, exponent) in
        [(vec![0xff; 512], vec![3]), (vec![1], vec![1]), (vec![], vec![]), (bytes(N), vec![1])]
    {
        let key = IssuerKey::Rsa { modulus: modulus.into(), exponent: exponent.into() };
        assert!(!Signatures.verifies(&key, signed, &signature));
    }
}

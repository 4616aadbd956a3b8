//! Addresses.

use super::*;

fn address(text: &str) -> Result<BucketAddress, StoreError> {
    BucketAddress::parse(&text.parse().unwrap(), |_| None)
}

#[test]
fn an_address_says_where_and_nothing_else() {
    for (text, region, endpoint) in [
        ("s3://bucket/prefix?region=eu-1&endpoint=https://s3.test", "eu-1", "https://s3.test"),
        ("s3://bucket", "us-east-1", ""),
        ("oss://b?region=cn-hangzhou", "cn-hangzhou", "https://oss-cn-hangzhou.aliyuncs.com"),
        (
            "oss://b/p?endpoint=https://oss-cn-beijing-internal.aliyuncs.com/",
            "cn-beijing",
            "https://oss-cn-beijing-internal.aliyuncs.com",
        ),
        ("cos://b-125?region=ap-hongkong", "ap-hongkong", "https://cos.ap-hongkong.myqcloud.com"),
        ("obs://b?region=cn-north-4", "cn-north-4", "https://obs.cn-north-4.myhuaweicloud.com"),
        ("gcs://b/p", "", ""),
        ("azblob://c/p?account=mine", "", "https://mine.blob.core.windows.net"),
    ] {
        let address = address(text).unwrap();
        assert_eq!((&*address.region, &*address.endpoint), (region, endpoint), "{text}");
        let is_in_this_build = match address.cloud {
            Cloud::Gcs => cfg!(feature = "gcs"),
            Cloud::Azblob => cfg!(feature = "azblob"),
            Cloud::S3 | Cloud::Oss | Cloud::Cos | Cloud::Obs => true,
        };
        assert_eq!(address.operator().is_ok(), is_in_this_build, "{text}");
    }
    for text in [
        "s3://bucket?access_key_id=x",
        "s3://bucket?region=",
        "s3://bucket?endpoint=s3.test",
        "s3://bucket?endpoint=ftp://s3.test",
        "s3://bucket?endpoint=https://key:secret@s3.test",
        "oss://bucket",
        "oss://bucket?endpoint=https://images.example.com",
        "cos://bucket",
        "obs://bucket",
        "obs://bucket?region=x&public_endpoint=https://x.test",
        "azblob://container",
        "gcs://bucket?region=x",
    ] {
        assert!(address(text).is_err(), "{text}");
    }
}

/// As the dashboard of R2 shows it.
#[test]
fn a_bucket_at_the_end_of_its_endpoint_is_meant_once() {
    for text in [
        "s3://bucket/p?endpoint=https://account.r2.test/bucket",
        "s3://bucket/p?endpoint=https://account.r2.test/bucket/",
        "s3://bucket/p?endpoint=https://account.r2.test",
    ] {
        let found = address(text).unwrap();
        assert_eq!((&*found.endpoint, &*found.bucket), ("https://account.r2.test", "bucket"), "{text}");
    }
    let emulated = address("azblob://container?endpoint=http://azure.test/account").unwrap();
    assert_eq!(emulated.endpoint, "http://azure.test/account");
    for text in [
        "s3://bucket?endpoint=https://s3.test/other",
        "s3://bucket?endpoint=https://s3.test/bucket/more",
        "s3://bucket?public_endpoint=https://s3.test/other",
        "s3://bucket?addressing=host",
        "oss://bucket?region=x&addressing=virtual",
    ] {
        assert!(address(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn the_bucket_is_in_the_path_or_in_the_host() {
    for (addressing, expected) in [
        ("", "https://s3.test/bucket/p/v1/"),
        ("&addressing=path", "https://s3.test/bucket/p/v1/"),
        ("&addressing=virtual", "https://bucket.s3.test/p/v1/"),
    ] {
        let address = address(&format!("s3://bucket/p?endpoint=https://s3.test{addressing}")).unwrap();
        let operator = address.operator().unwrap();
        let key = Key::blob(&Digest::sha256(b""));
        let uri = operator.presign_read(key.as_str(), std::time::Duration::from_mins(1)).await;
        assert!(uri.unwrap().uri().to_string().starts_with(expected), "{addressing}");
    }
}

#[test]
fn a_region_comes_from_where_amazons_functions_have_it() {
    let known = |name: &str| (name == "AWS_REGION").then(|| "eu-central-1".to_owned());
    assert_eq!(BucketAddress::parse(&"s3://b".parse().unwrap(), known).unwrap().region, "eu-central-1");
    assert_eq!(BucketAddress::parse(&"s3://b?region=x".parse().unwrap(), known).unwrap().region, "x");
}

#[test]
fn a_function_of_tencents_finds_its_login_by_other_names() {
    let all =
        [("TENCENTCLOUD_SECRETID", "i"), ("TENCENTCLOUD_SECRETKEY", "k"), ("TENCENTCLOUD_SESSIONTOKEN", "t")];
    let found = |count: usize| {
        let known = &all[..count];
        credentials::of_tencent_function(|name| {
            known.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(found(1), None);
    assert_eq!(found(2).unwrap().token, None);
    let login = found(3).unwrap();
    assert_eq!((&*login.id, &*login.secret, login.token.as_deref()), ("i", "k", Some("t")));
    assert!(!format!("{login:?}").contains('k'), "secrets are not printed");
}

#[test]
fn a_key_that_is_set_counts_more_than_one_that_is_lent() {
    let login = |id: &str| Login { id: id.to_owned(), secret: "k".to_owned(), token: None };
    let function = [("TENCENTCLOUD_SECRETID", "function"), ("TENCENTCLOUD_SECRETKEY", "k")];
    let set = [("TENCENTCLOUD_SECRET_ID", "set"), ("TENCENTCLOUD_SECRET_KEY", "k")];
    let chosen = |variables: &[&[(&str, &str)]], lent: Option<Login>| {
        sign::tencent(lent, |name| {
            let mut all = variables.iter().copied().flatten();
            all.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    assert_eq!(chosen(&[&function, &set], Some(login("lent"))), Some(login("set")));
    assert_eq!(chosen(&[&function, &set[..1]], Some(login("lent"))), Some(login("lent")), "half a key is none");
    assert_eq!(chosen(&[&function], None), Some(login("function")));
    assert_eq!(chosen(&[], None), None);
}

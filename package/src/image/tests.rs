use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;
use crate::elf::{Linkage, Machine};

fn binary(machine: Machine) -> Binary {
    Binary {
        path: "registry-proxy".into(),
        bytes: format!("for {}", machine.name()).into_bytes(),
        machine,
        linkage: Linkage::Static,
    }
}

fn both() -> [Binary; 2] {
    [binary(Machine::X86_64), binary(Machine::Arm64)]
}

/// Mode, owner and bytes of each entry by its name.
type Entries = BTreeMap<String, (u32, u64, Vec<u8>)>;

fn entries(tar: &[u8]) -> Entries {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let (mode, owner) = (entry.header().mode().unwrap(), entry.header().uid().unwrap());
        assert_eq!(entry.header().mtime().unwrap(), files::time().unwrap());
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, (mode, owner, bytes))
    });
    entries.collect()
}

fn parse(layout: &Entries, name: &str) -> Value {
    serde_json::from_slice(&layout[name].2).unwrap()
}

/// From the index down to the files, for each processor.
fn images(layout: &Entries) -> Vec<(Value, Entries)> {
    let top = parse(layout, "index.json");
    let index = parse(layout, &place(&top["manifests"][0]));
    let manifests = index["manifests"].as_array().unwrap();
    let one = |descriptor: &Value| {
        let manifest = parse(layout, &place(descriptor));
        let config = parse(layout, &place(&manifest["config"]));
        assert_eq!(descriptor["platform"]["architecture"], config["architecture"]);
        let mut tar = Vec::new();
        GzDecoder::new(&*layout[&place(&manifest["layers"][0])].2).read_to_end(&mut tar).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&tar)));
        (config, entries(&tar))
    };
    manifests.iter().map(one).collect()
}

#[test]
fn the_same_binaries_give_the_same_bytes() {
    let one = archive(&both(), b"licence").unwrap();
    assert!(one == archive(&both(), b"licence").unwrap());
    assert!(one != archive(&both(), b"another").unwrap());
}

#[test]
fn every_blob_lies_under_its_digest_and_is_named_with_its_size() {
    let layout = entries(&archive(&both(), b"licence").unwrap());
    let blobs: Vec<_> = layout.iter().filter(|(name, _)| name.starts_with("blobs/")).collect();
    assert_eq!(blobs.len(), 7, "an index, and for each processor a manifest, a config and a layer");
    for (name, (_, _, bytes)) in blobs {
        assert_eq!(*name, format!("blobs/sha256/{}", sha256(bytes)));
    }
    let manifest = parse(&layout, "manifest.json");
    assert!(layout.contains_key(manifest[0]["Layers"][0].as_str().unwrap()));
    assert_eq!(parse(&layout, manifest[0]["Config"].as_str().unwrap())["architecture"], "amd64");
}

#[test]
fn an_image_holds_the_binary_and_what_it_needs_and_nothing_else() {
    let layout = entries(&archive(&both(), b"licence").unwrap());
    let images = images(&layout);
    assert_eq!(images.len(), 2);
    for (config, files) in images {
        let names: Vec<&str> = files.keys().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
        assert_eq!(
            names,
            [
                "etc/group",
                "etc/passwd",
                "etc/ssl/certs/ca-certificates.crt",
                "usr/local/bin/registry-proxy",
                "usr/share/licenses/registry-proxy/LICENSE",
            ]
        );
        let expected = if config["architecture"] == "amd64" { "for x86_64" } else { "for arm64" };
        assert_eq!(files["usr/local/bin/registry-proxy"], (0o755, 0, expected.as_bytes().to_vec()));
        for (name, (mode, owner, _)) in &files {
            assert_eq!(mode & 0o6000, 0, "{name} changes who runs it");
            assert!(mode & 0o002 == 0 || mode & 0o1000 != 0, "{name} can be written by everybody");
            assert_eq!(*owner, if name == "var/cache/registry-proxy/" { 65532 } else { 0 }, "{name}");
        }
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/registry-proxy");
        let environment = config["config"]["Env"].as_array().unwrap();
        assert!(environment.contains(&"REGISTRY_PROXY_LISTEN=0.0.0.0:3000".into()), "{environment:?}");
        // It would win over the port of the platform that the image runs on.
        assert!(!environment.iter().any(|pair| pair.as_str().unwrap().starts_with("PORT=")), "{environment:?}");
        let check = &config["config"]["Healthcheck"]["Test"];
        assert_eq!(*check, serde_json::json!(["CMD", "/usr/local/bin/registry-proxy", "health"]));
    }
}

#[test]
fn the_dockerfile_makes_an_image_that_starts_in_the_same_way() {
    let file = include_str!("../../../deploy/container/Dockerfile");
    let layout = entries(&archive(&both(), b"licence").unwrap());
    let (config, _) = images(&layout).remove(0);
    let config = &config["config"];
    let words = |key: &str| -> Vec<String> {
        config[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    for line in [
        format!("ENV {}", words("Env").join(" ")),
        format!("USER {}", config["User"].as_str().unwrap()),
        format!("ENTRYPOINT [\"{}\"]", words("Entrypoint").join("\", \"")),
    ] {
        assert!(file.lines().any(|other| other == line), "{line}\n{file}");
    }
}

#[test]
fn an_image_says_where_its_sources_are() {
    // ghcr.io shows an image beside the repository that this label names.
    let layout = entries(&archive(&both(), b"licence").unwrap());
    let expected = "https://github.com/registry-proxy/registry-proxy";
    for (config, _) in images(&layout) {
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.source"], expected);
    }
    let index = parse(&layout, &place(&parse(&layout, "index.json")["manifests"][0]));
    assert_eq!(index["annotations"]["org.opencontainers.image.source"], expected);
}

#[test]
fn the_certificates_are_many_and_well_formed() {
    let layout = entries(&archive(&both(), b"").unwrap());
    let (_, files) = images(&layout).remove(0);
    let text = String::from_utf8(files["etc/ssl/certs/ca-certificates.crt"].2.clone()).unwrap();
    assert!(text.matches("-----BEGIN CERTIFICATE-----\nMII").count() > 100);
    assert!(text.lines().all(|line| line.len() <= 64));
}

#[test]
fn time_is_told_as_people_read_it() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (315_532_800, "1980-01-01T00:00:00Z"),
        (951_827_696, "2000-02-29T12:34:56Z"),
        (1_798_761_599, "2026-12-31T23:59:59Z"),
    ] {
        assert_eq!(layer::timestamp(seconds), text);
    }
}

//! The JSON Schema of the configuration: it accepts what the proxy accepts, and says in the editor what the proxy would
//! refuse at its start.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use registry_proxy_core::config::reference;
use serde_json::{Value, json};

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
    keys: Vec<String>,
}

impl Schema {
    fn new() -> Self {
        let schema: Value = serde_json::from_str(&reference::json_schema()).expect("JSON");
        let keys = schema["properties"].as_object().expect("tables").keys().cloned().collect();
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("schema.json", schema).expect("a schema");
        let index = compiler.compile("schema.json", &mut schemas).expect("a valid schema");
        Self { schemas, index, keys }
    }

    fn check(&self, configuration: &str) -> Result<(), String> {
        let table: toml::Table = configuration.parse().map_err(|error| format!("{error}"))?;
        let value = serde_json::to_value(table).expect("JSON has all that TOML has");
        self.schemas.validate(&value, self.index).map_err(|error| format!("{error:#}"))
    }

    /// Whether a block of a page is for the proxy: pages show other programs' files, too.
    fn is_ours(&self, block: &str) -> bool {
        block.parse::<toml::Table>().is_ok_and(|table| table.keys().any(|key| self.keys.contains(key)))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, ending: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, into);
        } else if path.to_string_lossy().ends_with(ending) {
            into.push(path);
        }
    }
}

/// The TOML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut indent = None;
    for line in page.lines() {
        let text = line.trim_start();
        match indent {
            None if text.starts_with("```toml") => {
                indent = Some(line.len() - text.len());
                blocks.push(String::new());
            }
            None => {}
            Some(_) if text.starts_with("```") => indent = None,
            Some(indent) => {
                let text = line.get(indent..).unwrap_or_default();
                blocks.last_mut().expect("it has begun").extend([text, "\n"]);
            }
        }
    }
    blocks
}

#[test]
fn every_configuration_that_is_shipped_or_shown_is_accepted() {
    let schema = Schema::new();
    let whole = [
        "docs/reference/every-key.toml",
        "deploy/systemd/config.toml",
        "deploy/container/near.toml",
        "crates/server/tests/earlier/every-key.toml",
    ];
    for path in whole {
        assert_eq!(schema.check(&fs::read_to_string(root().join(path)).unwrap()), Ok(()), "{path}");
    }
    let mut pages = vec![root().join("README.md"), root().join("README.zh-CN.md")];
    files(&root().join("docs"), ".md", &mut pages);
    files(&root().join("deploy"), ".md", &mut pages);
    let mut shown = 0;
    for page in pages {
        for block in blocks(&fs::read_to_string(&page).unwrap()) {
            if schema.is_ours(&block) {
                assert_eq!(schema.check(&block), Ok(()), "{}:\n{block}", page.display());
                shown += 1;
            }
        }
    }
    assert!(shown >= 20, "only {shown} configurations were found");
}

#[test]
fn every_configuration_of_the_kubernetes_manifests_is_accepted() {
    let schema = Schema::new();
    for (path, key) in [
        ("deploy/kubernetes/plain/configmap.yaml", "  config.toml: |"),
        ("deploy/kubernetes/chart/values.yaml", "config: |"),
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut lines = text.lines().skip_while(|line| *line != key).skip(1).peekable();
        assert!(lines.peek().is_some(), "{path}");
        let configuration: Vec<_> = lines.take_while(|line| line.is_empty() || line.starts_with("  ")).collect();
        assert_eq!(schema.check(&configuration.join("\n")), Ok(()), "{path}");
    }
}

#[test]
fn a_misspelt_key_and_a_value_of_the_wrong_form_are_refused() {
    let schema = Schema::new();
    for wrong in [
        "lisen = '127.0.0.1:3000'",
        "catalogue = 'yes'",
        "platform = 'lambda'",
        "public_url = 'proxy.example.com'",
        "trusted_proxies = ['10.0.0.0']",
        "[clients]\nauth = 'none'",
        "[clients]\nread_token_life = 3600",
        "[timeouts]\nidle = '3'",
        "[timeouts]\nidle = '1.5s'",
        "[timeouts]\nidle = '3 parsecs'",
        "[limits]\nmanifest = '4 megabytes'",
        "[limits]\nmanifest = -1",
        "[limits]\nconnections = '4096'",
        "[cache]\nstore = 'disk'",
        "[cache]\nstore = 's3://key:secret@bucket/x'",
        "[cache.fill]\nparts_of = 8",
        "[[cache.tags]]\nmatch = 'docker.io/**'",
        "[[cache.tags]]\nmatch = ''\nrevalidate = '5m'",
        "[[cache.tags]]\nmatch = 'docker.io/**'\nrevalidate = 'sometimes'",
        "[[cache.tags]]\nmatch = 'docker.io/**'\nhold_new = 'refuse'",
        "[[cache.tags]]\nmatch = 'docker.io/**'\nhold = '3d'\nhold_new = 'never'",
        "[[block]]\nreason = 'x'",
        "[[block]]\nmatch = '**'\ndigest = 'sha256:0'\nreason = 'x'",
        "[[block]]\nmatch = '**'",
        "[[upstream]]\nurls = ['https://x.test']",
        "[[upstream]]\nname = 'x.test'\nurls = ['x.test']",
        "[[upstream]]\nname = 'x.test'\nproxy = 'corp.test:3128'",
        "[[upstream]]\nname = 'x.test'\nredirects = 'drop'",
        "[[upstream]]\nname = 'x.test'\nrepositories = { allow = ['Library/ alpine'] }",
        "[[upstream]]\nname = 'x.test'\ncredentials = [{ prefix = 'acme/' }]",
    ] {
        assert!(schema.check(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn values_are_accepted_in_every_form_that_the_proxy_accepts() {
    let schema = Schema::new();
    for right in [
        "",
        "[timeouts]\nidle = '250ms'\nhead = ' 25 S '\ndown = '1d'",
        "[limits]\nmanifest = 4096\nlisting = '8 mib'\ntoken_memory = '4MB'\nform_body = '65536'",
        "[cache]\nstore = 'memory'",
        "[cache]\nstore = 's3://bucket/some/prefix?region=eu-1&endpoint=http://minio:9000'",
        "[cache]\nstore = 'gcs://bucket'\ntags = [{ match = '**:latest', revalidate = 'never' }]",
        "[[cache.tags]]\nmatch = 'docker.io/**'\nhold = '3d'\nhold_new = 'refuse'\nhold_max = '9d'\nhold_digests = false",
        "[[block]]\nmatch = 'docker.io/evil/**'\nreason = 'x'",
        "[metrics]\npublic = true",
        "[[upstream]]\nname = 'x.test'\nproxy = 'socks5h://[::1]:1080'",
        "[[upstream]]\nname = 'x.test'\nproxy = 'none'\nrepositories = { deny = ['**/secret-*'] }",
        "trusted_proxies = ['10.0.0.0/8', 'fd00::/8']",
    ] {
        assert_eq!(schema.check(right), Ok(()), "{right}");
    }
}

#[test]
fn an_editor_shows_the_meaning_and_the_default_of_a_key() {
    let schema: Value = serde_json::from_str(&reference::json_schema()).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    let keys = &schema["properties"];
    let tag_ttl = &keys["cache"]["properties"]["tag_ttl"];
    assert_eq!(tag_ttl["default"], "1m");
    assert!(
        tag_ttl["description"].as_str().unwrap().starts_with("How long a tag is served before the proxy asks")
    );
    // A default that depends on something else is said in words, and no value contradicts it.
    assert_eq!(keys["platform"].get("default"), None);
    assert!(keys["platform"]["description"].as_str().unwrap().ends_with("\n\nDefault: detected."));
    assert_eq!(keys["guard"]["deprecated"], true, "the old name of quota");
    let auth: Vec<_> = keys["clients"]["properties"]["auth"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["const"].clone())
        .collect();
    assert_eq!(auth, [json!("open"), json!("users"), json!("upstream")]);
}

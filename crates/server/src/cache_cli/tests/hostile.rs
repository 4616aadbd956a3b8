//! Bundles that are wrong. Each is refused with the name of the entry at which that shows, read as a file and through a pipe,
//! and leaves nothing in the cache.

use super::*;

/// What every bundle has, but for these entries.
fn sound(without: &[&str]) -> Tar {
    let (manifest, layer) = image("a");
    let index = index_json(&[(NAME, &manifest)]);
    let (manifest_path, layer_path) = (path_of("a"), layer_path_of("a"));
    let entries: [(&str, &[u8]); 4] = [
        (LAYOUT_FILE, LAYOUT_JSON.as_bytes()),
        (INDEX_FILE, &index),
        (&manifest_path, &manifest),
        (&layer_path, &layer),
    ];
    let wanted = entries.iter().filter(|(name, _)| !without.contains(name));
    wanted.fold(Tar::default(), |tar, (name, bytes)| tar.file(name, bytes))
}

/// Where the manifest of an image lies, and its layer.
fn path_of(text: &str) -> String {
    blob_path(&Digest::sha256(&image(text).0))
}

fn layer_path_of(text: &str) -> String {
    blob_path(&Digest::sha256(&image(text).1))
}

/// A sound bundle whose `index.json` names these images.
fn indexed(images: &[(&str, &[u8])]) -> Vec<u8> {
    sound(&[INDEX_FILE]).file(INDEX_FILE, &index_json(images)).end()
}

/// One record of an extended header.
fn record(text: &str) -> String {
    let length = (1..200).find(|length| format!("{length} {text}\n").len() == *length).unwrap();
    format!("{length} {text}\n")
}

/// A sound bundle with a file of these extended headers in it.
fn extended(kind: u8, records: &[u8], size: u64) -> Vec<u8> {
    let tar = sound(&[]).entry(b"PaxHeaders/x", kind, records.len() as u64, records);
    tar.entry(b"x", b'0', size, &vec![7; usize::try_from(size).unwrap()]).end()
}

/// A sound bundle with this entry in it.
fn with(name: &[u8], kind: u8, bytes: &[u8]) -> Vec<u8> {
    sound(&[]).entry(name, kind, bytes.len() as u64, bytes).end()
}

/// What is wrong, the bundle, the entry, and a part of what is said of it.
type Row = (&'static str, Vec<u8>, String, &'static str);

fn row(what: &'static str, tar: Vec<u8>, entry: &str, expected: &'static str) -> Row {
    (what, tar, entry.to_owned(), expected)
}

fn names() -> Vec<Row> {
    let hex = "0".repeat(64);
    let name = "this name is empty, absolute, leads out";
    let no_blob = "this is the name of no blob";
    vec![
        row("a way out", with(b"../evil", b'0', b"x"), "../evil", name),
        row("an absolute name", with(b"/etc/passwd", b'0', b"x"), "/etc/passwd", name),
        row("a way out in the middle", with(b"blobs/../../evil", b'0', b"x"), "blobs/../../evil", name),
        row("a way out as a directory", with(b"../evil/", b'5', b""), "../evil/", name),
        row("a way out with backslashes", with(b"..\\evil", b'0', b"x"), "..\\\\evil", name),
        row("no name", with(b"", b'0', b"x"), "an entry without a name", name),
        row("no text", with(b"caf\xe9", b'0', b"x"), "caf\u{fffd}", name),
        row("a terminal's command", with(b"x\x1b[2J", b'0', b"x"), "x\\u{1b}[2J", name),
        row("a way out by a long name", extended(b'L', b"../evil\0", 1), "../evil", name),
        row("a way out by PAX", extended(b'x', record("path=../evil").as_bytes(), 1), "../evil", name),
        row("a zero in a name by PAX", extended(b'x', record("path=a\0b").as_bytes(), 1), "a\\0b", name),
        row("no digest", with(b"blobs/sha256/evil", b'0', b"x"), "blobs/sha256/evil", no_blob),
        row(
            "capitals",
            with(format!("blobs/sha256/{}", "A".repeat(64)).as_bytes(), b'0', b"x"),
            "blobs/sha256/A",
            no_blob,
        ),
        row(
            "below a blob",
            with(format!("blobs/sha256/{hex}/x").as_bytes(), b'0', b"x"),
            "blobs/sha256/0",
            no_blob,
        ),
        row("another algorithm", with(b"blobs/md5/00", b'0', b"x"), "blobs/md5/00", "has the algorithm md5"),
    ]
}

fn kinds() -> Vec<Row> {
    let (path, layer) = (path_of("b"), layer_path_of("a"));
    let link = |kind| sound(&[&layer]).entry(layer.as_bytes(), kind, 0, b"").end();
    let mut rows = vec![
        row("a symbolic link", link(b'2'), &layer, "this is a symbolic link"),
        row("a hard link", link(b'1'), &layer, "this is a hard link"),
        row("a link to a directory", with(b"blobs", b'2', b""), "blobs", "this is a symbolic link"),
        row("a character device", with(path.as_bytes(), b'3', b""), &path, "this is a character device"),
        row("a block device", with(path.as_bytes(), b'4', b""), &path, "this is a block device"),
        row("a pipe", with(b"index.json", b'6', b""), "index.json", "this is a named pipe"),
        row("a contiguous file", with(path.as_bytes(), b'7', b"x"), &path, "this is a contiguous file"),
        row("a kind of its own", with(path.as_bytes(), b'Z', b"x"), &path, "this is of an unknown kind"),
        row("a sparse file", with(path.as_bytes(), b'S', b"x"), &path, "it is a sparse file"),
        row("a directory with bytes", with(b"blobs/", b'5', b"x"), "blobs/", "this is a directory, and claims"),
        row(
            "a file like a directory",
            with(b"index.json/", b'0', b"x"),
            "index.json/",
            "this is a directory, and claims",
        ),
    ];
    let sparse = record("GNU.sparse.major=1") + &record("GNU.sparse.realsize=99999999");
    rows.push(row(
        "a sparse file by PAX",
        extended(b'x', sparse.as_bytes(), 1),
        "PaxHeaders/x",
        "it is a sparse file",
    ));
    rows
}

fn twice() -> Vec<Row> {
    let (manifest, layer) = image("a");
    let layout = LAYOUT_JSON.as_bytes();
    let index = index_json(&[(NAME, &manifest)]);
    let again = format!("./{}", layer_path_of("a"));
    vec![
        row("two layouts", with(b"oci-layout", b'0', layout), "oci-layout", "is there twice"),
        row("two indexes", with(b"index.json", b'0', &index), "index.json", "is there twice"),
        row("a blob twice", sound(&[]).blob(&layer).end(), &layer_path_of("a"), "is there twice"),
        row("a blob twice, as ./", with(again.as_bytes(), b'0', &layer), &again, "is there twice"),
    ]
}

fn sizes() -> Vec<Row> {
    let (manifest, layer) = image("a");
    let (path, layer_path) = (path_of("a"), layer_path_of("a"));
    let wrong = manifest_of(&Digest::sha256(&layer), layer.len() + 1);
    let wrong_index =
        String::from_utf8(index_json(&[(NAME, &manifest)])).unwrap().replace("\"size\":", "\"size\":1");
    let long = format!(r#"{{"layers":[],"annotations":{{"a":"{}"}}}}"#, "x".repeat(4 << 20)).into_bytes();
    let size = |text: &str, size| extended(b'x', record(text).as_bytes(), size);
    let claims = |name: &str, bytes| sound(&[name]).entry(name.as_bytes(), b'0', bytes, b"{}").end();
    let many = vec![b'x'; (64 << 10) + 1];
    let of_index = sound(&[INDEX_FILE]).file(INDEX_FILE, wrong_index.as_bytes()).end();
    vec![
        row("a layer of another length", indexed_with(&wrong), &layer_path, "bytes, and blobs/sha256/"),
        row("a manifest of another length", of_index, &path, "and index.json says 1"),
        row("two sizes", size("size=3", 1), "x", "its headers claim 1 and 3 bytes"),
        row("a size that is none", size("size=-1", 0), "PaxHeaders/x", "an extended header before it"),
        row(
            "two sizes by PAX",
            extended(b'x', record("size=1").repeat(2).as_bytes(), 0),
            "PaxHeaders/x",
            "an extended",
        ),
        row("a size beyond all disks", huge(), "blobs/sha256/", "the cache has no room left"),
        row("a long index", claims(INDEX_FILE, (4 << 20) + 1), INDEX_FILE, "more than the 4194304 allowed"),
        row("a long layout", claims(LAYOUT_FILE, 4097), LAYOUT_FILE, "more than the 4096 allowed"),
        row("a long extended header", extended(b'x', &many, 1), "PaxHeaders/x", "longer than 65536 bytes"),
        row("a long manifest", indexed_with(&long), "blobs/sha256/", "more than the 4194304 allowed"),
    ]
}

/// A sound bundle whose image is this manifest.
fn indexed_with(manifest: &[u8]) -> Vec<u8> {
    sound(&[INDEX_FILE]).file(INDEX_FILE, &index_json(&[(NAME, manifest)])).blob(manifest).end()
}

/// A blob that claims an exbibyte.
fn huge() -> Vec<u8> {
    let text = record("size=1152921504606846976");
    let tar = sound(&[]).entry(b"PaxHeaders/x", b'x', text.len() as u64, text.as_bytes());
    tar.entry(path_of("b").as_bytes(), b'0', 0, b"").end()
}

fn cut() -> Vec<Row> {
    let whole = sound(&[]).end();
    let (path, layer) = (path_of("a"), layer_path_of("a"));
    let end = whole.len() - 2 * BLOCK;
    let mut header = whole.clone();
    header[2 * BLOCK] ^= 1;
    let no_end = "the archive ends here without its end mark";
    vec![
        row("cut in a layer", whole[..end - BLOCK + 100].to_vec(), &layer, "the archive ends within this entry"),
        row("cut in a header", whole[..end - 2 * BLOCK + 100].to_vec(), &path, no_end),
        row("cut behind a manifest", whole[..end - 2 * BLOCK - 100].to_vec(), &path, "it was cut short"),
        row("cut before its end mark", whole[..end].to_vec(), &layer, no_end),
        row("nothing at all", Vec::new(), "the archive", "this is no tar archive"),
        row("no tar", b"hello".repeat(1000), "hellohello", "this is no tar archive"),
        row("a damaged header", header, "", "this is no tar archive, or its header is damaged"),
        row("gzip", [&b"\x1f\x8b\x08\0"[..], &[0; 600]].concat(), "the archive", "gzip -dc FILE"),
        row("short gzip", b"\x1f\x8b\x08\0\0".to_vec(), "the archive", "gzip -dc FILE"),
        row("zstd", [&b"\x28\xb5\x2f\xfd"[..], &[7; 600]].concat(), "the archive", "zstd -dc FILE"),
        row(
            "an extended header of nothing",
            sound(&[]).entry(b"h", b'x', 0, b"").end(),
            "h",
            "not followed by a file",
        ),
        row(
            "a path for all",
            extended(b'g', record("path=index.json").as_bytes(), 1),
            "PaxHeaders/x",
            "an extended",
        ),
        row(
            "nonsense in a header",
            extended(b'x', b"7 path\n", 1),
            "PaxHeaders/x",
            "an extended header before it",
        ),
    ]
}

fn content() -> Vec<Row> {
    let ((manifest, layer), (other, other_layer)) = (image("a"), image("b"));
    let (path, layer_path) = (path_of("a"), layer_path_of("a"));
    let changed = sound(&[&layer_path]).file(&layer_path, &[&layer[1..], b"x"].concat()).end();
    let json = |text: &str| sound(&[INDEX_FILE]).file(INDEX_FILE, text.as_bytes()).end();
    let layout = |text: &str| sound(&[LAYOUT_FILE]).file(LAYOUT_FILE, text.as_bytes()).end();
    let half = index_of(&[(&manifest, "linux/amd64"), (&other, "linux/arm64")]);
    let half = sound(&[INDEX_FILE]).file(INDEX_FILE, &index_json(&[(NAME, &half)])).blob(&half).blob(&other).end();
    let mut deep = (manifest.clone(), sound(&[INDEX_FILE]));
    for _ in 0..4 {
        let index = index_of(&[(&deep.0, "linux/amd64")]);
        deep = (index.clone(), deep.1.blob(&index));
    }
    let deep = deep.1.file(INDEX_FILE, &index_json(&[(NAME, &deep.0)])).end();
    let old = Tar::default().file("manifest.json", b"[]").end();
    let old_layer = Tar::default().entry(format!("{}/layer.tar", "0".repeat(64)).as_bytes(), b'2', 0, b"").end();
    let layer_as_image = index_json(&[(NAME, &layer)]);
    let layer_as_image = sound(&[INDEX_FILE]).file(INDEX_FILE, &layer_as_image).end();
    let docker = "this is the older format of `docker save`";
    vec![
        row("changed bytes", changed, &layer_path, "its bytes do not have the digest in its name"),
        row("no layer", sound(&[&layer_path]).end(), &path, "which is neither in the bundle nor in the cache"),
        row("no manifest", sound(&[&path]).end(), INDEX_FILE, "which is neither in the bundle nor in the cache"),
        row("half of a platform", half, &path_of("b"), "which is neither in the bundle nor in the cache"),
        row("no images", json(r#"{"manifests":[]}"#), INDEX_FILE, "it names no image"),
        row("no index", sound(&[INDEX_FILE]).end(), INDEX_FILE, "this is no OCI image layout"),
        row("no JSON", json("{"), INDEX_FILE, "this is no JSON document"),
        row("an index like a list", json("[]"), INDEX_FILE, "this is no JSON document"),
        row(
            "no digest in it",
            json(r#"{"manifests":[{"digest":"evil"}]}"#),
            INDEX_FILE,
            "it names evil, which is no digest",
        ),
        row("md5 in it", json(r#"{"manifests":[{"digest":"md5:00"}]}"#), INDEX_FILE, "has the algorithm md5"),
        row("no layout", sound(&[LAYOUT_FILE]).end(), LAYOUT_FILE, "this is no OCI image layout"),
        row(
            "a layout to come",
            layout(r#"{"imageLayoutVersion":"2.0.0"}"#),
            LAYOUT_FILE,
            "the layout has the version 2.0.0",
        ),
        row("Docker before 25", old, "manifest.json", docker),
        row("Docker before 25, a layer", old_layer, "0000", docker),
        row("a layer as an image", layer_as_image, &layer_path, "this is no manifest of an image"),
        row("an index in an index in an index", deep, "blobs/sha256/", "nested too deep"),
        row("a name that leads out", indexed(&[("a.b/../../x:1", &manifest)]), INDEX_FILE, "serves no such name"),
        row("a foreign registry", indexed(&[("nowhere.test/x:1", &manifest)]), INDEX_FILE, "serves no such name"),
        row("a name without a registry", indexed(&[("1", &manifest)]), INDEX_FILE, "name it: --as docker.io/"),
        row(
            "two images of one name",
            sound(&[INDEX_FILE])
                .blob(&other)
                .blob(&other_layer)
                .file(INDEX_FILE, &index_json(&[(NAME, &manifest), (NAME, &other)]))
                .end(),
            INDEX_FILE,
            "it calls two images docker.io/library/a:1",
        ),
    ]
}

#[tokio::test]
async fn hostile_bundles_are_refused_and_leave_nothing() {
    let rows = [names(), kinds(), twice(), sizes(), cut(), content()].concat();
    assert!(rows.len() >= 70, "{}", rows.len());
    for (what, tar, entry, expected) in rows {
        for (input, how) in [(seekable(&tar), "a file"), (pipe(&tar), "a pipe")] {
            let lab = Lab::new();
            let refused = lab.import(input, None).await.expect_err(what);
            assert!(refused.starts_with(&entry), "{what}, as {how}: {refused}");
            assert!(refused.contains(expected), "{what}, as {how}: {refused}");
            assert_eq!(lab.keys().await, [""; 0], "{what}, as {how}");
        }
    }
    let lab = Lab::new();
    lab.import(seekable(&sound(&[]).end()), None).await.expect("without all that it is taken");
}

/// Any byte of a bundle may be another: it is refused, or what is imported has its digests.
#[tokio::test]
async fn one_wrong_byte_imports_nothing_else() {
    let whole = sound(&[]).end();
    for at in (0..whole.len() - 2 * BLOCK).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        let lab = Lab::new();
        match lab.import(pipe(&changed), None).await {
            Ok(()) => {
                let digest = Digest::sha256(&image("a").1);
                let access = &lab.access;
                let length = access.blob_bytes(&digest).await.unwrap();
                assert_eq!(length, Some(image("a").1.len() as u64), "byte {at}");
            }
            Err(_) => assert_eq!(lab.keys().await, [""; 0], "byte {at}"),
        }
    }
}

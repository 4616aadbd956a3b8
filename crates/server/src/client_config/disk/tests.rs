//! What lies beside a written file is not believed further than it has to be, and a write that fails changes nothing.

use super::*;

const FILE: &str = "/etc/docker/daemon.json";

/// A root with one file of a client.
fn root_with(text: &str) -> (tempfile::TempDir, RootDirectory, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etc/docker/daemon.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    let root = RootDirectory::open(folder.path()).unwrap();
    let file = fs::canonicalize(file).unwrap();
    (folder, root, file)
}

fn names(file: &Path) -> Vec<String> {
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_link_laid_beside_a_file_is_not_followed() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "theirs").unwrap();
    for ending in [BEFORE, RECORD] {
        let (_folder, root, file) = root_with("{}");
        if ending == BEFORE {
            let record = WriteRecord { digest: hash("{}"), existed: true, made: Vec::new() };
            write_record(&file, &record).unwrap();
        }
        std::os::unix::fs::symlink(outside.path(), beside(&file, ending)).unwrap();
        assert!(root.read(FILE).unwrap_err().contains("is no plain file"));
        assert!(root.write(FILE, "ours", 0o644).unwrap_err().contains("is no plain file"));
        assert!(root.undoable(FILE).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
    }
}

#[test]
fn undo_removes_no_directory_that_it_did_not_make_for_the_file() {
    let outside = tempfile::tempdir().unwrap();
    let (folder, root, file) = root_with("ours");
    let beside_it = folder.path().join("etc/empty");
    fs::create_dir(&beside_it).unwrap();
    let made = vec![outside.path().to_path_buf(), beside_it.clone()];
    write_record(&file, &WriteRecord { digest: hash("ours"), existed: false, made }).unwrap();
    root.undoable(FILE).unwrap().unwrap().undo().unwrap();
    assert!(!file.exists() && outside.path().is_dir() && beside_it.is_dir());
}

#[test]
fn a_write_that_fails_at_its_end_leaves_file_backup_and_record_as_they_were() {
    let (_folder, root, file) = root_with("original");
    // A directory where the new text would be written first.
    let obstacle = beside(&file, TEMPORARY);
    fs::create_dir(&obstacle).unwrap();
    assert!(root.write(FILE, "one", 0o644).is_err());
    assert_eq!(names(&file), ["daemon.json", "daemon.json.writing-registry-proxy"]);

    fs::remove_dir(&obstacle).unwrap();
    root.write(FILE, "one", 0o644).unwrap();
    fs::create_dir(&obstacle).unwrap();
    assert!(root.write(FILE, "two", 0o644).is_err());
    fs::remove_dir(&obstacle).unwrap();
    root.write(FILE, "three", 0o644).unwrap();
    root.undoable(FILE).unwrap().unwrap().undo().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "original");
    assert_eq!(names(&file), ["daemon.json"]);
}

#[test]
fn a_backup_without_its_record_is_not_written_over() {
    let (_folder, root, file) = root_with("ours");
    fs::write(beside(&file, BEFORE), "original").unwrap();
    assert!(root.write(FILE, "new", 0o644).unwrap_err().contains("before an earlier change"));
    assert_eq!(fs::read_to_string(beside(&file, BEFORE)).unwrap(), "original");
}

#[test]
fn a_file_of_ours_gets_the_mode_that_its_new_text_needs() {
    let (folder, root, _) = root_with("{}");
    let mode = || fs::metadata(folder.path().join("etc/new.conf")).unwrap().mode() & 0o777;
    root.write("/etc/new.conf", "without a secret", 0o644).unwrap();
    assert_eq!(mode(), 0o644);
    root.write("/etc/new.conf", "with a secret", 0o600).unwrap();
    assert_eq!(mode(), 0o600);
}

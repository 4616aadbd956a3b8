//! Lists of images: lines of text, a JSON array, or Kubernetes objects as `kubectl … -o json` prints them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use registry_proxy_core::warm::{MAX_IMAGE_BYTES, MAX_IMAGES};
use serde::Deserialize;

/// Most bytes of a list of lines.
const MAX_TEXT_BYTES: u64 = (MAX_IMAGES * (MAX_IMAGE_BYTES + 1)) as u64;
/// Most bytes of JSON: it is read piece by piece, and all pods of a large cluster take some hundred megabytes.
const MAX_JSON_BYTES: u64 = 1 << 30;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Images, each once, in the order of first mention.
#[derive(Default)]
pub(super) struct ImageList {
    images: Vec<String>,
    known: HashSet<String>,
}

/// A pod, what makes pods, or a list of such. Everything else in it is skipped.
#[derive(Deserialize)]
struct KubernetesObject {
    items: Option<Vec<KubernetesObject>>,
    spec: Option<KubernetesSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubernetesSpec {
    init_containers: Option<Vec<KubernetesContainer>>,
    containers: Option<Vec<KubernetesContainer>>,
    ephemeral_containers: Option<Vec<KubernetesContainer>>,
    /// Of a Deployment, a Job and the like.
    template: Option<Box<KubernetesObject>>,
    /// Of a `CronJob`.
    job_template: Option<Box<KubernetesObject>>,
}

#[derive(Deserialize)]
struct KubernetesContainer {
    image: Option<String>,
}

impl ImageList {
    /// Adds one.
    pub(super) fn add(&mut self, image: String) -> Result<(), String> {
        if self.known.contains(&image) {
            return Ok(());
        }
        if self.images.len() == MAX_IMAGES {
            return Err(format!("more than {MAX_IMAGES} images; warm them in several calls"));
        }
        self.known.insert(image.clone());
        self.images.push(image);
        Ok(())
    }

    /// All of them.
    pub(super) fn into_images(self) -> Result<Vec<String>, String> {
        if self.images.is_empty() { Err("the lists name no image".to_owned()) } else { Ok(self.images) }
    }

    /// Adds those of a file.
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.read(&path.display().to_string(), BufReader::new(file))
    }

    /// Adds those of a list, which says by its first character what it is.
    pub(super) fn read(&mut self, name: &str, mut list: impl BufRead) -> Result<(), String> {
        let first = first_byte(&mut list).map_err(|error| format!("{name}: {error}"))?;
        let said = |error: serde_json::Error| {
            format!("{name}: {error}; expected images, or what kubectl get pods -o json prints")
        };
        match first {
            Some(b'[') => {
                let images: Vec<String> = serde_json::from_reader(list.take(MAX_JSON_BYTES)).map_err(said)?;
                images.into_iter().try_for_each(|image| self.add(image))
            }
            Some(b'{') => {
                let object: KubernetesObject = serde_json::from_reader(list.take(MAX_JSON_BYTES)).map_err(said)?;
                self.add_object(object)
            }
            Some(_) => {
                let mut text = String::new();
                let read = list.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text);
                read.map_err(|error| format!("{name}: {error}"))?;
                if text.len() as u64 > MAX_TEXT_BYTES {
                    return Err(format!("{name} is larger than {MAX_TEXT_BYTES} bytes"));
                }
                self.add_lines(&text)
            }
            None => Ok(()),
        }
    }

    /// An image in each line; `#` begins a comment.
    fn add_lines(&mut self, text: &str) -> Result<(), String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).try_for_each(|line| self.add(line.to_owned()))
    }

    fn add_object(&mut self, object: KubernetesObject) -> Result<(), String> {
        if let Some(spec) = object.spec {
            let containers = [spec.init_containers, spec.containers, spec.ephemeral_containers];
            let images = containers.into_iter().flatten().flatten().filter_map(|container| container.image);
            images.filter(|image| !image.is_empty()).try_for_each(|image| self.add(image))?;
            let inner = spec.template.into_iter().chain(spec.job_template);
            inner.into_iter().try_for_each(|object| self.add_object(*object))?;
        }
        object.items.unwrap_or_default().into_iter().try_for_each(|object| self.add_object(object))
    }
}

/// The first byte that is no space; it is still to be read.
fn first_byte(list: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    if list.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        list.consume(BYTE_ORDER_MARK.len());
    }
    loop {
        let buffer = list.fill_buf()?;
        let spaces = buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (first, is_end) = (buffer.get(spaces).copied(), buffer.is_empty());
        list.consume(spaces);
        if first.is_some() || is_end {
            return Ok(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Result<Vec<String>, String> {
        let mut list = ImageList::default();
        list.read("the list", text.as_bytes())?;
        list.into_images()
    }

    #[test]
    fn lists_of_each_kind_are_read_and_each_image_once() {
        let pods = r#"{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"items":[
            {"kind":"Pod","metadata":{"name":"a","labels":{"image":"not-this"}},
             "spec":{"initContainers":[{"name":"i","image":"init:1"}],
                     "containers":[{"name":"c","image":"app:1"},{"name":"d","image":"side:1"}]},
             "status":{"containerStatuses":[{"image":"docker.io/library/app:1","imageID":"sha256:00"}]}},
            {"kind":"Pod","spec":{"containers":[{"image":"app:1"}],"ephemeralContainers":[{"image":"debug:1"}],
             "initContainers":null}}]}"#;
        let deployment = r#"{"kind":"Deployment","spec":{"replicas":2,"template":{"spec":{"containers":[{"image":"app:2"}]}}}}"#;
        let cron = r#"{"kind":"CronJob","spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"image":"cron:1"}]}}}}}}"#;
        for (text, expected) in [
            ("alpine\n\n# a comment\n  ghcr.io/o/i:1  # why\r\nalpine\n", &["alpine", "ghcr.io/o/i:1"][..]),
            ("\u{feff}alpine", &["alpine"]),
            (r#" ["alpine", "busybox:1", "alpine"]"#, &["alpine", "busybox:1"]),
            (pods, &["init:1", "app:1", "side:1", "debug:1"]),
            (deployment, &["app:2"]),
            (cron, &["cron:1"]),
        ] {
            assert_eq!(images(text), Ok(expected.iter().map(|&image| image.to_owned()).collect()), "{text}");
        }
    }

    #[test]
    fn lists_that_are_none_are_refused_with_a_sentence() {
        let many: Vec<String> = (0..=MAX_IMAGES).map(|number| format!("a:{number}\n")).collect();
        let many = many.concat();
        let deep = format!("{}{}", r#"{"items":["#.repeat(1000), "]}".repeat(1000));
        for (text, part) in [
            ("", "name no image"),
            ("# nothing\n", "name no image"),
            (r#"{"items":[]}"#, "name no image"),
            (r#"{"kind":"Pod""#, "EOF"),
            ("[1]", "kubectl get pods"),
            (&many, "more than 4096 images"),
            (&deep, "recursion limit"),
            (&"x".repeat(5 << 20), "larger than"),
        ] {
            let said = images(text).expect_err(part);
            assert!(said.contains(part), "{said}");
        }
    }
}

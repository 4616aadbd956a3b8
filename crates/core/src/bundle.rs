//! Bundles: images in one archive, as `registry-proxy cache export` writes and `registry-proxy cache import` takes them. A
//! bundle is an OCI image layout ([image-layout.md](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md)),
//! in a tar or in a directory, so that skopeo, podman and containerd read it as well. Pure: who reads and writes archives
//! asks here.
//!
//! - `entry`: what an entry is, by its name and kind
//! - `layout`: the entries of a bundle, one after the other, in whichever order they come
//! - `index`: `index.json`, read and written
//! - `image`: names of images in full; `platform`: which platforms an export carries; `parts`: what a
//!   manifest consists of
//! - `refusal`: why a bundle is refused

mod entry;
mod image;
mod index;
mod layout;
mod parts;
mod platform;
mod refusal;

pub use self::entry::{BundleEntry, EntryKind, blob_path};
pub use self::image::{BundleImage, InvalidImage};
pub use self::index::{ExportedImage, IndexedManifest, index_json};
pub use self::layout::{BundleLayout, Disposition, LayoutDocument, LayoutReader};
pub use self::parts::ManifestParts;
pub use self::platform::PlatformFilter;
pub use self::refusal::{BundleFault, BundleRefusal};

/// The file that says that a directory is a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// What it says.
pub const LAYOUT_JSON: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that names the images.
pub const INDEX_FILE: &str = "index.json";

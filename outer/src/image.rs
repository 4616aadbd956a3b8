//! The images of the tests, made once and kept in the build folder.
//!
//! Their content is pseudo-random from fixed seeds, so every run and every machine has the same
//! digests, and a second run finds the first one's files. [`layer`] makes one layer, [`layout`]
//! writes blobs and manifests as an OCI layout, [`platform`] an image of one platform. [`catalogue`]
//! says which images there are; [`tiers`] is one more, whose layers are on either side of what
//! platforms allow.

pub mod catalogue;
pub mod layer;
pub mod layout;
pub mod platform;
pub mod tiers;

pub use catalogue::{Artifact, Catalogue, Image};
pub use platform::Platform;
pub use tiers::Tiers;

//! Layers: real tar archives in gzip, as engines must unpack them.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::{Outcome, digest};

/// What a layer has besides the file itself.
pub struct Layer {
    pub digest: String,
    pub size: u64,
    /// The digest of the tar inside, which engines call the diff id.
    pub diff_id: String,
}

/// The files of a layer.
pub enum Content {
    /// No file at all: the layer of an instruction which changed nothing.
    Nothing,
    /// One file of so many bytes that no compression makes smaller.
    Noise { name: String, seed: u64, bytes: u64 },
}

/// Writes the layer to `path`, with the plain tar beside it for a moment.
pub fn write(path: &Path, content: &Content) -> Outcome<Layer> {
    let plain = path.with_extension("tar");
    write_tar(&plain, content)?;
    // Stored, not compressed: noise would not shrink, and unoptimised deflate is slow.
    let mut zipped = GzEncoder::new(BufWriter::new(File::create(path)?), Compression::none());
    std::io::copy(&mut File::open(&plain)?, &mut zipped)?;
    zipped.finish()?.flush()?;
    let layer =
        Layer { digest: digest::of_file(path)?, size: path.metadata()?.len(), diff_id: digest::of_file(&plain)? };
    std::fs::remove_file(plain)?;
    Ok(layer)
}

fn write_tar(path: &Path, content: &Content) -> Outcome {
    let mut archive = Builder::new(BufWriter::new(File::create(path)?));
    if let Content::Noise { name, seed, bytes } = content {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(*bytes);
        archive.append_data(&mut header, name, Noise::new(*seed).take(*bytes))?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

/// Xorshift64: quick, repeatable and beyond any compressor. Nothing here is secret.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        // Spread out small seeds; zero would stay zero for ever.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for piece in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
        Ok(buffer.len())
    }
}

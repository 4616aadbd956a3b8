//! The part of crates.io's `crc-fast` that opendal and s3s use: the three checksums of S3, by the crate `crc`.
//!
//! `crc-fast` chooses among 60 checksums at run time, so their tables, 700 KB, stay in every binary that links opendal's S3
//! service: a twentieth of ours. We never ask opendal for a checksum (uploads carry `Content-MD5`); the S3 server of the tests
//! does. The workspace's `[patch.crates-io]` puts this crate in its place.

use crc::{CRC_32_ISCSI, CRC_32_ISO_HDLC, CRC_64_NVME, Crc};

static ISO_HDLC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
static ISCSI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
static NVME: Crc<u64> = Crc::<u64>::new(&CRC_64_NVME);

/// A checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// CRC32 of Ethernet and zip.
    Crc32IsoHdlc,
    /// CRC32C, of iSCSI.
    Crc32Iscsi,
    /// CRC64, of `NVMe`.
    Crc64Nvme,
}

/// A checksum of bytes that come piece by piece.
pub struct Digest(State);

enum State {
    Narrow(crc::Digest<'static, u32>),
    Wide(crc::Digest<'static, u64>),
}

impl Digest {
    /// Of no bytes yet.
    pub fn new(algorithm: CrcAlgorithm) -> Self {
        Self(match algorithm {
            CrcAlgorithm::Crc32IsoHdlc => State::Narrow(ISO_HDLC.digest()),
            CrcAlgorithm::Crc32Iscsi => State::Narrow(ISCSI.digest()),
            CrcAlgorithm::Crc64Nvme => State::Wide(NVME.digest()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Narrow(digest) => digest.update(bytes),
            State::Wide(digest) => digest.update(bytes),
        }
    }

    /// The checksum; one of 32 bits is in the lower half.
    pub fn finalize(self) -> u64 {
        match self.0 {
            State::Narrow(digest) => digest.finalize().into(),
            State::Wide(digest) => digest.finalize(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of CRC algorithms: of the text `123456789`.
    #[test]
    fn checksums_have_their_published_check_values() {
        for (algorithm, expected) in [
            (CrcAlgorithm::Crc32IsoHdlc, 0xcbf4_3926),
            (CrcAlgorithm::Crc32Iscsi, 0xe306_9283),
            (CrcAlgorithm::Crc64Nvme, 0xae8b_1486_0a79_9888),
        ] {
            let mut digest = Digest::new(algorithm);
            digest.update(b"1234");
            digest.update(b"56789");
            assert_eq!(digest.finalize(), expected, "{algorithm:?}");
        }
    }
}

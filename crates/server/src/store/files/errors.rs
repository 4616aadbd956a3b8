//! Maps I/O errors to store errors.

use std::io::{self, ErrorKind};

use registry_proxy_core::platform::StoreError;

/// The store error for an I/O error.
pub(super) fn store_error(error: io::Error) -> StoreError {
    if is_full(&error) {
        return StoreError::Full;
    }
    match error.kind() {
        // A name that is too long concerns this key alone: the disk works.
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied | ErrorKind::InvalidFilename => {
            StoreError::Denied(error.into())
        }
        _ => StoreError::failed(error),
    }
}

/// Whether the disk, the quota or the file size limit is exhausted.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

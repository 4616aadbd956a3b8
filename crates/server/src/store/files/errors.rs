//! What a disk's errors mean to a store.

use std::io::{self, ErrorKind};

use registry_proxy_core::platform::StoreError;

/// What a disk's error means.
pub(super) fn why(error: io::Error) -> StoreError {
    if is_full(&error) {
        return StoreError::Full;
    }
    match error.kind() {
        // A name too long for it is refused to this one alone: the disk is well.
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied | ErrorKind::InvalidFilename => {
            StoreError::Denied(error.into())
        }
        _ => StoreError::failed(error),
    }
}

/// No room on the disk, in the quota or below the longest file that this process may write.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

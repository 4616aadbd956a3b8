//! Bytes that the memory tier holds within a limit of its own, and that clients share. Once the tier has dropped bytes that
//! clients still use, the account counts them, once however many clients use them.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use super::{Held, InFlight};

/// The tier's handle of bytes. It is dropped after the tier's own copy of them.
#[derive(Debug)]
pub(crate) struct TierHandle(Arc<SharedBytes>);

/// The bytes, which live as long as anybody uses them.
pub(crate) struct SharedBytes {
    bytes: Bytes,
    account: Arc<InFlight>,
    /// Set once a tier has dropped them.
    counted: OnceLock<Held>,
}

impl TierHandle {
    /// Puts bytes into a tier: returns the handle, and the bytes for those who use them.
    pub(crate) fn new(bytes: Bytes, account: &Arc<InFlight>) -> (Self, Bytes) {
        let shared = Arc::new(SharedBytes { bytes, account: Arc::clone(account), counted: OnceLock::new() });
        (Self(Arc::clone(&shared)), Bytes::from_owner(InUse(shared)))
    }

    /// A weak reference, by which the bytes are found again while anybody uses them.
    pub(crate) fn downgrade(&self) -> Weak<SharedBytes> {
        Arc::downgrade(&self.0)
    }

    /// The same bytes again, if anybody still uses them.
    pub(crate) fn upgrade(weak: &Weak<SharedBytes>) -> Option<(Self, Bytes)> {
        let shared = weak.upgrade()?;
        Some((Self(Arc::clone(&shared)), Bytes::from_owner(InUse(shared))))
    }

    /// Whether a tier has dropped them before, so that the account counts them.
    pub(crate) fn is_counted(&self) -> bool {
        self.0.counted.get().is_some()
    }
}

impl Drop for TierHandle {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) > 1 {
            let SharedBytes { bytes, account, counted } = &*self.0;
            counted.get_or_init(|| account.count(bytes.len() as u64));
        }
    }
}

impl std::fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedBytes").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// What users' bytes point into.
struct InUse(Arc<SharedBytes>);

impl AsRef<[u8]> for InUse {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_tier_has_dropped_are_counted_once_until_nobody_uses_them() {
        let account = InFlight::new(1 << 20, true);
        let (handle, bytes) = TierHandle::new(Bytes::from_static(b"a manifest"), &account);
        let (weak, first, second) = (handle.downgrade(), bytes.clone(), bytes.slice(2..5));
        drop(bytes);
        assert_eq!(account.held_bytes(), 0, "the tier has it");
        drop(handle);
        assert_eq!(account.held_bytes(), 10);
        let (again, third) = TierHandle::upgrade(&weak).expect("it is in use");
        assert!(again.is_counted());
        drop((first, again));
        assert_eq!((account.held_bytes(), &third[..], &second[..]), (10, &b"a manifest"[..], &b"man"[..]));
        drop((second, third));
        assert_eq!(account.held_bytes(), 0);
        assert!(TierHandle::upgrade(&weak).is_none());
    }

    #[test]
    fn bytes_that_nobody_uses_are_not_counted_when_the_tier_drops_them() {
        let account = InFlight::new(1 << 20, true);
        let (handle, bytes) = TierHandle::new(Bytes::from_static(b"a manifest"), &account);
        drop((bytes, handle));
        assert_eq!(account.held_bytes(), 0);
    }
}

//! Bytes that the memory tier holds within a limit of its own, and that clients share. Once the tier has dropped bytes that
//! clients still use, the account counts them, once however many clients use them.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use super::{Held, InFlight};

/// The tier's handle of bytes. It is dropped after the tier's own copy of them.
#[derive(Debug)]
pub(crate) struct Shelf(Arc<ShelfBytes>);

/// The bytes, which live as long as anybody uses them.
pub(crate) struct ShelfBytes {
    bytes: Bytes,
    account: Arc<InFlight>,
    let_go: OnceLock<Held>,
}

impl Shelf {
    /// Puts bytes into a tier: returns the handle, and the bytes for those who use them.
    pub(crate) fn new(bytes: Bytes, account: &Arc<InFlight>) -> (Self, Bytes) {
        let kept = Arc::new(ShelfBytes { bytes, account: Arc::clone(account), let_go: OnceLock::new() });
        (Self(Arc::clone(&kept)), Bytes::from_owner(Lent(kept)))
    }

    /// A weak reference, by which the bytes are found again while anybody uses them.
    pub(crate) fn lent(&self) -> Weak<ShelfBytes> {
        Arc::downgrade(&self.0)
    }

    /// The same bytes again, if anybody still uses them.
    pub(crate) fn again(lent: &Weak<ShelfBytes>) -> Option<(Self, Bytes)> {
        let kept = lent.upgrade()?;
        Some((Self(Arc::clone(&kept)), Bytes::from_owner(Lent(kept))))
    }

    /// Whether a tier has dropped them before, so that the account counts them.
    pub(crate) fn is_counted(&self) -> bool {
        self.0.let_go.get().is_some()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) > 1 {
            let ShelfBytes { bytes, account, let_go } = &*self.0;
            let_go.get_or_init(|| account.count(bytes.len() as u64));
        }
    }
}

impl std::fmt::Debug for ShelfBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShelfBytes").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

struct Lent(Arc<ShelfBytes>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tier_has_let_go_is_counted_once_until_nobody_uses_it() {
        let account = InFlight::new(1 << 20, true);
        let (shelf, bytes) = Shelf::new(Bytes::from_static(b"a manifest"), &account);
        let (lent, first, second) = (shelf.lent(), bytes.clone(), bytes.slice(2..5));
        drop(bytes);
        assert_eq!(account.held_bytes(), 0, "the tier has it");
        drop(shelf);
        assert_eq!(account.held_bytes(), 10);
        let (again, third) = Shelf::again(&lent).expect("it is in use");
        assert!(again.is_counted());
        drop((first, again));
        assert_eq!((account.held_bytes(), &third[..], &second[..]), (10, &b"a manifest"[..], &b"man"[..]));
        drop((second, third));
        assert_eq!(account.held_bytes(), 0);
        assert!(Shelf::again(&lent).is_none());
    }

    #[test]
    fn what_nobody_uses_is_not_counted_when_the_tier_lets_it_go() {
        let account = InFlight::new(1 << 20, true);
        let (shelf, bytes) = Shelf::new(Bytes::from_static(b"a manifest"), &account);
        drop((bytes, shelf));
        assert_eq!(account.held_bytes(), 0);
    }
}

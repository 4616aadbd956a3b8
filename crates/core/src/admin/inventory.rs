//! The content of a store, and which manifest references what: pure, and in little memory. A digest takes 32 bytes here,
//! and an item 64: 200,000 of them take 13 MB, and a million 64 MB.

use std::collections::HashMap;

use crate::digest::Digest;

/// A digest, as many of them are held at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Packed {
    Sha256([u8; 32]),
    Other(Box<str>),
}

impl Packed {
    pub(crate) fn new(digest: &Digest) -> Self {
        let packed = (digest.algorithm() == "sha256").then(|| bytes_of(digest.encoded())).flatten();
        packed.map_or_else(|| Self::Other(digest.as_str().into()), Self::Sha256)
    }

    pub(crate) fn to_digest(&self) -> Option<Digest> {
        match self {
            Self::Sha256(bytes) => Some(Digest::of_sha256(bytes)),
            Self::Other(text) => Digest::parse(text).ok(),
        }
    }
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content {
    Manifest,
    Blob,
}

impl Content {
    /// For log and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Blob => "blob",
        }
    }
}

/// A stored blob or manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) content: Content,
    pub(crate) digest: Packed,
    pub(crate) size: u64,
    /// Seconds since 1970; [`IN_USE`] for what must stay.
    pub(crate) used: u64,
    /// Bytes of the records that are of use only with it, as far as they are known: links and tags.
    pub(crate) record_bytes: u32,
}

impl Item {
    /// Bytes that are free again when it goes.
    pub(crate) fn taken(&self) -> u64 {
        self.size.saturating_add(self.record_bytes.into())
    }
}

/// What a manifest names, whether or not that is here: how many distinct digests of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildCounts {
    pub(crate) manifests: u32,
    pub(crate) blobs: u32,
}

/// Lists of each kind of content: one for each first byte of a SHA-256 digest, and one for all other digests.
const LISTS: usize = 257;

/// Items while they are listed, whose number nobody knows before. A vector that grows holds its content twice meanwhile, so
/// there are many of them, and each grows by an eighth.
#[derive(Debug)]
pub(crate) struct ListedItems {
    lists: Vec<Vec<Item>>,
}

impl Default for ListedItems {
    fn default() -> Self {
        Self { lists: vec![Vec::new(); 2 * LISTS] }
    }
}

impl ListedItems {
    pub(crate) fn push(&mut self, item: Item) {
        if let Some(list) = self.lists.get_mut(list_of(item.content, &item.digest)) {
            if list.len() == list.capacity() {
                list.reserve_exact((list.len() / 8).max(16));
            }
            list.push(item);
        }
    }
}

/// The list of an item: their order is that of content and digest.
fn list_of(content: Content, digest: &Packed) -> usize {
    let first = match content {
        Content::Manifest => 0,
        Content::Blob => LISTS,
    };
    first
        + match digest {
            Packed::Sha256(bytes) => bytes[0].into(),
            Packed::Other(_) => LISTS - 1,
        }
}

impl FromIterator<Item> for ListedItems {
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

/// When something was last used that is being used.
pub(crate) const IN_USE: u64 = u64::MAX;

/// An item of an inventory, by its place.
pub(crate) type Id = u32;

/// Stored content, and which manifest references what.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// In the order of content and digest, as they were listed.
    lists: Vec<Vec<Item>>,
    /// The place of the first item of each list.
    firsts: Vec<Id>,
    /// From a manifest to what it names, as far as that is here.
    edges: Vec<(Id, Id)>,
    /// Of each manifest that was read.
    named: HashMap<Id, ChildCounts>,
}

impl Inventory {
    pub(crate) fn new(items: ListedItems) -> Self {
        let mut inventory = Self { lists: items.lists, ..Self::default() };
        let mut count: Id = 0;
        for list in &mut inventory.lists {
            list.sort_unstable();
            list.dedup_by(|a, b| (a.content, &a.digest) == (b.content, &b.digest));
            // More than these cannot be told apart by an `Id`, and no machine lists them.
            list.truncate((Id::MAX - count) as usize);
            inventory.firsts.push(count);
            count = count.saturating_add(Id::try_from(list.len()).unwrap_or(Id::MAX));
        }
        inventory
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.lists.iter().flatten()
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    pub(crate) fn item(&self, id: Id) -> Option<&Item> {
        let (list, place) = self.place_of(id)?;
        self.lists.get(list)?.get(place)
    }

    fn item_mut(&mut self, id: Id) -> Option<&mut Item> {
        let (list, place) = self.place_of(id)?;
        self.lists.get_mut(list)?.get_mut(place)
    }

    /// The list in which an item is, and its place there.
    fn place_of(&self, id: Id) -> Option<(usize, usize)> {
        let list = self.firsts.partition_point(|first| *first <= id).checked_sub(1)?;
        let first = self.firsts.get(list)?;
        Some((list, (id - first) as usize))
    }

    /// Every item's place.
    pub(crate) fn ids(&self) -> std::ops::Range<Id> {
        0..Id::try_from(self.len()).unwrap_or(Id::MAX)
    }

    pub(crate) fn find(&self, content: Content, digest: &Packed) -> Option<Id> {
        let list = list_of(content, digest);
        let place = self.lists.get(list)?.binary_search_by(|item| item.digest.cmp(digest)).ok()?;
        self.firsts.get(list)?.checked_add(Id::try_from(place).ok()?)
    }

    /// All blobs, or all manifests.
    pub(crate) fn of(&self, content: Content) -> impl Iterator<Item = (Id, &Item)> {
        self.ids().zip(self.items()).filter(move |(_, item)| item.content == content)
    }

    /// Bytes of everything.
    pub(crate) fn bytes(&self) -> u64 {
        self.items().fold(0, |sum: u64, item| sum.saturating_add(item.size))
    }

    /// Bytes of everything, with the records that lead to it.
    pub(crate) fn taken(&self) -> u64 {
        self.items().fold(0, |sum: u64, item| sum.saturating_add(item.taken()))
    }

    /// A record of so many bytes is of use only with it.
    pub(crate) fn leads(&mut self, id: Id, bytes: u64) {
        if let Some(item) = self.item_mut(id) {
            item.record_bytes = item.record_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// A manifest was read.
    pub(crate) fn describe(&mut self, manifest: Id, named: ChildCounts) {
        self.named.insert(manifest, named);
    }

    /// What a manifest names; `None`: it was not read, or is none.
    pub(crate) fn named(&self, id: Id) -> Option<ChildCounts> {
        self.named.get(&id).copied()
    }

    /// A manifest names a part that is here.
    pub(crate) fn names(&mut self, manifest: Id, part: Id) {
        self.edges.push((manifest, part));
    }

    /// Something that leads to it was used, perhaps later than itself.
    pub(crate) fn used(&mut self, id: Id, used: u64) {
        if let Some(item) = self.item_mut(id) {
            item.used = item.used.max(used);
        }
    }

    /// All parts are named: from now on they can be asked for.
    pub(crate) fn seal(&mut self) {
        self.edges.sort_unstable();
        self.edges.dedup();
    }

    /// What a manifest consists of, as far as it is here.
    pub(crate) fn parts(&self, id: Id) -> impl Iterator<Item = Id> {
        let first = self.edges.partition_point(|(manifest, _)| *manifest < id);
        let rest = self.edges.get(first..).unwrap_or_default();
        rest.iter().take_while(move |(manifest, _)| *manifest == id).map(|(_, part)| *part)
    }

    /// How many manifests name each item.
    pub(crate) fn parents(&self) -> Vec<u32> {
        let mut counts = vec![0; self.len()];
        for (_, part) in &self.edges {
            if let Some(count) = counts.get_mut(*part as usize) {
                *count += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_packed_and_unpacked() {
        let other = Digest::parse("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8").unwrap();
        for digest in [Digest::sha256(b""), Digest::sha256(b"x"), other] {
            assert_eq!(Packed::new(&digest).to_digest(), Some(digest));
        }
    }

    /// With the edges (8 bytes each) and the order (16), 200,000 blobs stay below 40 MiB.
    #[test]
    fn an_item_is_small() {
        assert!(size_of::<Item>() <= 64, "{}", size_of::<Item>());
    }

    #[test]
    fn listed_items_are_all_there_once_in_order_and_each_at_its_place() {
        let item = |content, digest| Item { content, digest, size: 1, used: 0, record_bytes: 0 };
        let sha256 = |number: u32| Packed::new(&Digest::sha256(&number.to_le_bytes()));
        for count in [0, 1, 1000, 20_000] {
            let blobs = (0..count).map(|number| item(Content::Blob, sha256(number)));
            let again = (0..count / 2).map(|number| item(Content::Blob, sha256(number)));
            let manifests = (0..count / 4).map(|number| item(Content::Manifest, sha256(number)));
            let others = (0..3).map(|number| item(Content::Manifest, Packed::Other(number.to_string().into())));
            let inventory = Inventory::new(blobs.chain(others).chain(again).chain(manifests).collect());
            let expected = (count + count / 4 + 3) as usize;
            assert_eq!((inventory.len(), inventory.bytes()), (expected, expected as u64));
            assert!(inventory.items().is_sorted());
            for (id, listed) in inventory.ids().zip(inventory.items()) {
                assert_eq!(inventory.item(id), Some(listed));
                assert_eq!(inventory.find(listed.content, &listed.digest), Some(id));
            }
            assert_eq!(inventory.item(count + count / 4 + 3), None);
        }
    }

    #[test]
    fn an_item_is_found_by_what_it_is_and_its_digest() {
        let item = |content, byte: u8| Item {
            content,
            digest: Packed::new(&Digest::sha256(&[byte])),
            size: u64::from(byte),
            used: 0,
            record_bytes: 0,
        };
        let items = vec![item(Content::Blob, 3), item(Content::Manifest, 1), item(Content::Blob, 1)];
        let mut inventory = Inventory::new(items.into_iter().collect());
        let find = |inventory: &Inventory, content, byte: u8| {
            inventory.find(content, &Packed::new(&Digest::sha256(&[byte])))
        };
        let manifest = find(&inventory, Content::Manifest, 1).unwrap();
        let blob = find(&inventory, Content::Blob, 3).unwrap();
        assert_eq!(find(&inventory, Content::Manifest, 3), None);
        assert_eq!(inventory.item(blob).map(|item| item.size), Some(3));
        inventory.names(manifest, blob);
        inventory.names(manifest, blob);
        inventory.seal();
        assert_eq!(inventory.parts(manifest).collect::<Vec<_>>(), [blob]);
        assert_eq!(inventory.parts(blob).count(), 0);
        assert_eq!((inventory.bytes(), inventory.taken()), (5, 5));
        inventory.leads(blob, 4096);
        inventory.leads(blob, u64::MAX);
        assert_eq!(
            (inventory.bytes(), inventory.taken()),
            (5, 5 + u64::from(u32::MAX)),
            "as much as can be noted"
        );
    }
}

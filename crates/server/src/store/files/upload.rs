//! Uploads in parts: a file in `v1/tmp` that stays when nobody has it open, until it gets its name or is swept.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use registry_proxy_core::cache::Key;
use registry_proxy_core::platform::{StoreError, Upload, When};

use super::temp::Temp;
use super::{COMMIT_PATIENCE, PATIENCE, Root, absent_as_none, off_thread};
use crate::store::parked;

/// As object stores have them, so that what goes on top is the same for all.
const PART_BYTES: usize = 8 << 20;
/// First word of what is parked: its form.
const FORM: &str = "file-1";

pub(super) struct FileUpload {
    root: Arc<Root>,
    key: Key,
    temp: Arc<Temp>,
    /// Bytes sent so far.
    written: u64,
}

impl FileUpload {
    pub(super) fn begin(root: &Arc<Root>, key: Key) -> std::io::Result<Self> {
        root.want(0)?;
        let temp = Arc::new(Temp::staying(root)?);
        Ok(Self { root: Arc::clone(root), key, temp, written: 0 })
    }

    /// Goes on where somebody parked; `None`: the file is gone, shorter than it was, or somebody else's just now.
    pub(super) fn resume(root: &Arc<Root>, key: Key, parked: &str) -> std::io::Result<Option<Self>> {
        let Some((name, written)) = parse(&key, parked) else { return Ok(None) };
        let Some(temp) = Temp::again(root, name)? else { return Ok(None) };
        if temp.file.metadata()?.len() < written {
            return Ok(None);
        }
        // Whoever parked may have sent more, and died before it could say so.
        temp.file.set_len(written)?;
        Ok(Some(Self { root: Arc::clone(root), key, temp: Arc::new(temp), written }))
    }
}

fn parse<'line>(key: &Key, parked: &'line str) -> Option<(&'line str, u64)> {
    let mut words = parked::open(key, parked)?.split(' ');
    let (form, name, written) = (words.next()?, words.next()?, words.next()?);
    (form == FORM && words.next().is_none()).then_some(())?;
    Some((name, written.parse().ok()?))
}

#[async_trait]
impl Upload for FileUpload {
    fn part_bytes(&self) -> usize {
        PART_BYTES
    }

    async fn part(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let length = bytes.len();
        if length == 0 || length > PART_BYTES || !self.written.is_multiple_of(PART_BYTES as u64) {
            return Err(StoreError::failed(format!("a part of {length} bytes behind {}", self.written)));
        }
        let (root, temp, offset) = (Arc::clone(&self.root), Arc::clone(&self.temp), self.written);
        off_thread(PATIENCE, move || {
            root.want(length as u64)?;
            std::os::unix::fs::FileExt::write_all_at(&temp.file, &bytes, offset)?;
            temp.file.sync_data()
        })
        .await?;
        self.written += length as u64;
        Ok(())
    }

    fn park(&self) -> String {
        parked::seal(&self.key, &format!("{FORM} {} {}", self.temp.name(), self.written))
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        off_thread(COMMIT_PATIENCE, move || {
            let length = self.temp.file.metadata()?.len();
            if length != self.written {
                return Err(std::io::Error::other(format!("{length} bytes instead of {}", self.written)));
            }
            self.temp.place(&self.root, &self.key, When::Always).map(|_| ())
        })
        .await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        off_thread(PATIENCE, move || absent_as_none(self.temp.remove()).map(|_| ())).await
    }
}

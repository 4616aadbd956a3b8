//! The server of the tests, as strict about uploads in parts as the real ones: an upload is of one key, a part is what
//! its entity tag says, and what is over is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::verify::hex;

pub(super) struct Strict {
    files: FileSystem,
    uploads: Uploads,
}

/// Uploads that are neither completed nor aborted, by their ids.
pub(super) type Uploads = Arc<Mutex<HashMap<String, Sent>>>;

/// A key, when it was begun, and the entity tags of its parts.
pub(super) struct Sent {
    pub(super) key: String,
    pub(super) begun: SystemTime,
    tags: HashMap<i32, ETag>,
}

impl Strict {
    pub(super) fn new(files: FileSystem, uploads: Uploads) -> Self {
        Self { files, uploads }
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Sent>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, id: &str, key: &str) -> S3Result<()> {
        if self.uploads().get(id).is_some_and(|sent| sent.key == key) {
            Ok(())
        } else {
            Err(s3_error!(NoSuchUpload))
        }
    }
}

/// Base64 as hex.
fn hex_of(base64: &str) -> String {
    use base64::Engine as _;
    hex(&base64::prelude::BASE64_STANDARD.decode(base64).unwrap_or_default())
}

#[async_trait::async_trait]
impl S3 for Strict {
    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = req.input.key.clone();
        let answer = self.files.create_multipart_upload(req).await?;
        let id = answer.output.upload_id.clone().unwrap_or_default();
        self.uploads().insert(id, Sent { key, begun: SystemTime::now(), tags: HashMap::new() });
        Ok(answer)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let uploads = self.uploads();
        let found = uploads.iter().filter(|(_, sent)| sent.key.starts_with(&prefix));
        let found = found.map(|(id, sent)| MultipartUpload {
            key: Some(sent.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(sent.begun.into()),
            ..MultipartUpload::default()
        });
        let output = ListMultipartUploadsOutput {
            prefix: Some(prefix.clone()),
            uploads: Some(found.collect()),
            ..ListMultipartUploadsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let (id, number) = (req.input.upload_id.clone(), req.input.part_number);
        self.check(&id, &req.input.key)?;
        let promised = req.input.content_md5.clone();
        let answer = self.files.upload_part(req).await?;
        // It does not check this of a part itself. The tag of a written part is its MD5.
        let written = answer.output.e_tag.as_ref().map(|tag| tag.value().to_owned());
        if promised.is_some_and(|promised| Some(hex_of(&promised)) != written) {
            return Err(s3_error!(BadDigest));
        }
        if let (Some(tag), Some(sent)) = (answer.output.e_tag.clone(), self.uploads().get_mut(&id)) {
            sent.tags.insert(number, tag);
        }
        Ok(answer)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.check(&req.input.upload_id, &req.input.key)?;
        self.files.list_parts(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        self.check(&id, &req.input.key)?;
        let parts = req.input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_ref());
        for part in parts.into_iter().flatten() {
            let known = self.uploads().get(&id).and_then(|sent| sent.tags.get(&part.part_number?).cloned());
            if known.is_none() || known != part.e_tag {
                return Err(s3_error!(InvalidPart));
            }
        }
        let answer = self.files.complete_multipart_upload(req).await?;
        self.uploads().remove(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = req.input.upload_id.clone();
        self.check(&id, &req.input.key)?;
        self.uploads().remove(&id);
        self.files.abort_multipart_upload(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(req).await
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.files.put_object(req).await
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(req).await
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.files.list_objects(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(req).await
    }
}

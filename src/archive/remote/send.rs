//! Outputs into a bucket: an object appears whole, or not at all.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};

use super::client::Bucket;
use super::error::RemoteError;

/// What is larger is uploaded in parts.
const AT_ONCE: u64 = 16 << 20;
/// Of which there may be so many.
const PARTS: u64 = 10_000;
/// What says whose an object is: all outputs of one file that were asked for together have the same.
const MARK: &str = "streamdet-outputs";

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Absent,
    /// Of the same outputs of the same file.
    Ours,
    Theirs,
}

/// Looks whether an object is there.
pub(super) async fn look(bucket: &AmazonS3, key: &Key, mark: &str) -> Result<Seen, RemoteError> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    match bucket.get_opts(key, options).await {
        Ok(there) => {
            let own = there.attributes.get(&Attribute::Metadata(MARK.into()));
            Ok(if own.is_some_and(|own| own.as_ref() == mark) { Seen::Ours } else { Seen::Theirs })
        }
        Err(error) => match error.into() {
            // Who may not list a bucket hears this of what is not there; what is, is not replaced by a conditional write.
            RemoteError::Missing(_) | RemoteError::Refused(_) => Ok(Seen::Absent),
            error => Err(error),
        },
    }
}

/// Uploads a file; `is_new`: only where no object has the name. `noted` hears of an upload in parts, by which it can be given up.
pub(super) async fn send(
    bucket: &Bucket,
    key: &Key,
    (from, mark, is_new): (&Path, &str, bool),
    noted: impl FnOnce(&str) -> std::io::Result<()>,
) -> Result<(), RemoteError> {
    let mut file = File::open(from)?;
    let length = file.metadata()?.len();
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(MARK.into()), mark.to_owned().into());
    if let Some(kind) = content_type(from) {
        attributes.insert(Attribute::ContentType, kind.into());
    }
    if length <= AT_ONCE {
        let mode = if is_new { PutMode::Create } else { PutMode::Overwrite };
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        bucket.any.put_opts(key, part(&mut file, AT_ONCE)?, options).await?;
        return Ok(());
    }
    let store = if is_new { &bucket.new } else { &bucket.any };
    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    let upload = store.create_multipart_opts(key, options).await?;
    noted(&upload)?;
    let most = AT_ONCE.max(length.div_ceil(PARTS));
    let mut parts = Vec::new();
    loop {
        let bytes = part(&mut file, most)?;
        if bytes.content_length() == 0 {
            break;
        }
        parts.push(store.put_part(key, &upload, parts.len(), bytes).await?);
    }
    store.complete_multipart(key, &upload, parts).await?;
    Ok(())
}

/// Gives an upload up. One that is complete or given up already is as well.
pub(super) async fn give_up(bucket: &AmazonS3, key: &Key, upload: &str) -> Result<(), RemoteError> {
    match bucket.abort_multipart(key, &upload.to_owned()).await.map_err(RemoteError::from) {
        Err(RemoteError::Missing(_)) => Ok(()),
        given_up => given_up,
    }
}

/// The next bytes of a file.
fn part(file: &mut File, most: u64) -> std::io::Result<PutPayload> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// What browsers are told that it is.
fn content_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "mp4" => "video/mp4",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "jsonl" => "application/x-ndjson",
        "csv" => "text/csv",
        "txt" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => return None,
    })
}

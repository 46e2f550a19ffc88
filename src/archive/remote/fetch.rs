//! A file into the cache: streamed, gone on with where a connection broke, as long as it is the same file.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};
use tokio::time::sleep;

use super::error::RemoteError;
use crate::backoff::Backoff;

/// How often in a row nothing comes before it is given up; how often it is begun anew.
const NOTHING: u32 = 2;
const ANEW: u32 = 4;

/// How far it is.
#[derive(Default)]
struct Fetched {
    file: Option<File>,
    length: u64,
    at: u64,
    /// What says that it is the same file; without one it is begun anew when a connection breaks.
    tag: Option<String>,
}

/// Fetches `key`, into what `room` makes for so many bytes.
pub(super) async fn fetch(
    store: &dyn ObjectStore,
    key: &Key,
    mut room: impl AsyncFnMut(u64) -> Result<File, RemoteError>,
) -> Result<(), RemoteError> {
    let (mut fetched, mut nothing, mut anew) = (Fetched::default(), 0, 0);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let before = fetched.at;
        let broken = match more(store, key, &mut fetched, &mut room).await {
            Ok(()) if fetched.file.is_some() && fetched.at == fetched.length => return Ok(()),
            Ok(()) => RemoteError::Away("the connection ended before the file did".into()),
            Err(error @ (RemoteError::Away(_) | RemoteError::Changing)) => error,
            Err(error) => return Err(error),
        };
        nothing = if fetched.at > before { 0 } else { nothing + 1 };
        // Without a mark nobody knows whether what comes next belongs to what is there.
        if matches!(broken, RemoteError::Changing) || fetched.tag.is_none() && fetched.at > 0 {
            (fetched.at, fetched.tag, nothing, anew) = (0, None, 0, anew + 1);
        }
        // What did not come at all was asked for several times.
        if fetched.file.is_none() || nothing > NOTHING || anew > ANEW {
            return Err(broken);
        }
        sleep(backoff.next_delay()).await;
    }
}

/// Asks for what lacks, and writes it until it is there or the connection breaks.
async fn more(
    store: &dyn ObjectStore,
    key: &Key,
    fetched: &mut Fetched,
    room: &mut impl AsyncFnMut(u64) -> Result<File, RemoteError>,
) -> Result<(), RemoteError> {
    let is_rest = fetched.at > 0;
    let options = GetOptions {
        range: is_rest.then_some(GetRange::Offset(fetched.at)),
        if_match: fetched.tag.clone().filter(|_| is_rest),
        ..GetOptions::default()
    };
    let answer: GetResult = match store.get_opts(key, options).await {
        Ok(answer) => answer,
        Err(error) => {
            let is_another = is_rest && error.to_string().contains("non-partial response");
            return Err(match error.into() {
                // It is not what it was; or the server knows no parts.
                RemoteError::Exists(_) => RemoteError::Changing,
                _ if is_another => RemoteError::Changing,
                error => error,
            });
        }
    };
    let tag = answer.meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
    if is_rest && (tag != fetched.tag || answer.meta.size != fetched.length) {
        return Err(RemoteError::Changing);
    }
    if !is_rest {
        (fetched.length, fetched.tag) = (answer.meta.size, tag);
        fetched.file = Some(room(fetched.length).await?);
    }
    let Some(file) = &mut fetched.file else { return Err(RemoteError::Changing) };
    file.seek(SeekFrom::Start(fetched.at))?;
    let mut bytes = answer.into_stream();
    while let Some(bytes) = bytes.next().await {
        let bytes = bytes?;
        let end = fetched.at + bytes.len() as u64;
        if end > fetched.length {
            return Err(RemoteError::Changing);
        }
        file.write_all(&bytes)?;
        fetched.at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    #[test]
    fn a_file_is_fetched_into_the_room_that_is_made_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (store, key) = (Arc::new(InMemory::new()), Key::from("a"));
            store.put(&key, PutPayload::from_static(b"bytes")).await.expect("it is there");
            let room = async |length: u64| {
                assert_eq!(length, 5);
                Ok(File::create(&path)?)
            };
            fetch(&*store, &key, room).await.expect("it is fetched");
            let missing = fetch(&*store, &Key::from("b"), room).await;
            assert!(matches!(missing, Err(RemoteError::Missing(_))));
        });
        assert_eq!(fs::read(&path).expect("a file"), b"bytes");
    }
}

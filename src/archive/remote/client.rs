//! Connections to what lies elsewhere, and the runtime that they run on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::http::HttpBuilder;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::{BackoffConfig, Error as StoreError, ObjectStore, RetryConfig};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::error::RemoteError;
use super::http::Http;
use super::location::{Kind, Location};
use crate::shutdown::Shutdown;

/// How often the same is asked for, of a store that is away or asks for patience (503, 429).
const AGAIN: usize = 4;
/// Objects that are asked for at once.
const PAGE: usize = 1000;

/// All stores that were asked for something.
pub(super) struct Clients {
    runtime: Runtime,
    http: Http,
    web: RefCell<HashMap<String, Arc<dyn ObjectStore>>>,
    buckets: RefCell<HashMap<String, Arc<Bucket>>>,
    shutdown: Shutdown,
}

/// A bucket.
pub(super) struct Bucket {
    pub(super) any: AmazonS3,
    /// The same, which completes no upload onto what is there.
    pub(super) new: AmazonS3,
}

impl Clients {
    pub(super) fn new(shutdown: &Shutdown) -> Result<Self, RemoteError> {
        let http = Http::new().map_err(|error| RemoteError::Settings(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, http, web: RefCell::default(), buckets: RefCell::default(), shutdown: shutdown.clone() })
    }

    /// Does something until it is done, or all is told to stop.
    pub(super) fn run<T>(&self, what: impl Future<Output = Result<T, RemoteError>>) -> Result<T, RemoteError> {
        let stop = Arc::new(Notify::new());
        let told = stop.clone();
        let hook = self.shutdown.on_request(move || told.notify_one());
        let done = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.notified() => Err(RemoteError::Stopped),
                done = what => done,
            }
        });
        drop(hook);
        done
    }

    /// Does something that is over soon, whatever all is told.
    pub(super) fn whatever_is_told<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Where a file is read.
    pub(super) fn read(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, RemoteError> {
        if location.kind == Kind::S3 {
            return Ok(Arc::new(self.bucket(&location.place)?.any.clone()));
        }
        if let Some(known) = self.web.borrow().get(&location.place) {
            return Ok(known.clone());
        }
        let builder = HttpBuilder::new().with_url(&location.place).with_retry(retries());
        let store: Arc<dyn ObjectStore> = Arc::new(builder.with_http_connector(self.http.following()).build()?);
        self.web.borrow_mut().insert(location.place.clone(), store.clone());
        Ok(store)
    }

    /// Where objects are written and listed: as the environment says, in the way of AWS' own tools.
    pub(super) fn bucket(&self, name: &str) -> Result<Arc<Bucket>, RemoteError> {
        if let Some(known) = self.buckets.borrow().get(name) {
            return Ok(known.clone());
        }
        let build = |http: Http| {
            let mut builder = environment().with_bucket_name(name).with_retry(retries());
            let is_set = |key: &AmazonS3ConfigKey| builder.get_config_value(key).is_some();
            // A server of one's own knows paths; at AWS buckets have hosts, but for those whose names a certificate does not cover.
            let is_own = is_set(&AmazonS3ConfigKey::Endpoint) || is_set(&AmazonS3ConfigKey::S3Endpoint);
            if !is_own && !name.contains('.') {
                builder = builder.with_virtual_hosted_style_request(true);
            }
            builder.with_http_connector(http).build()
        };
        let bucket = Arc::new(Bucket { any: build(self.http.clone())?, new: build(self.http.writing_new())? });
        self.buckets.borrow_mut().insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }

    /// The names of all objects that begin as `prefix` does, a page at a time; those that cannot be asked for apart. Ends where `told` has
    /// enough.
    pub(super) fn list(
        &self,
        prefix: &Location,
        mut told: impl FnMut(Result<Location, Location>) -> bool,
    ) -> Result<(), RemoteError> {
        let bucket = self.bucket(&prefix.place)?;
        let named = |key: &str| Location { key: key.to_owned(), ..prefix.clone() };
        let (mut at, mut most) = (PaginatedListOptions::default(), PAGE);
        loop {
            at.max_keys = Some(most);
            let page = self.run(async { Ok(bucket.any.list_paginated(Some(&prefix.key), at.clone()).await) })?;
            match page {
                Ok(page) => {
                    for object in &page.result.objects {
                        // What marks a folder has no bytes.
                        if object.size > 0 && !told(Ok(named(object.location.as_ref()))) {
                            return Ok(());
                        }
                    }
                    let Some(next) = page.page_token else { return Ok(()) };
                    at = PaginatedListOptions { page_token: Some(next), ..Default::default() };
                }
                // The page has a name that cannot be asked for, and is refused as a whole: smaller ones, until it is that name alone.
                Err(StoreError::InvalidPath { .. }) if most > 1 => most /= 2,
                Err(StoreError::InvalidPath { source }) => {
                    let key = match source {
                        object_store::path::Error::EmptySegment { path }
                        | object_store::path::Error::BadSegment { path, .. }
                        | object_store::path::Error::NonUnicode { path, .. } => path,
                        other => return Err(RemoteError::Settings(other.to_string())),
                    };
                    if !told(Err(named(&key))) {
                        return Ok(());
                    }
                    (at, most) = (PaginatedListOptions { offset: Some(key), ..Default::default() }, PAGE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What is set in the environment: an empty variable is none.
fn environment() -> AmazonS3Builder {
    let set = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with("AWS_"))?.to_ascii_lowercase();
        let value = value.into_string().ok().filter(|value| !value.is_empty())?;
        Some((name.parse::<AmazonS3ConfigKey>().ok()?, value))
    });
    set.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: AGAIN, retry_timeout: Duration::from_mins(1) }
}

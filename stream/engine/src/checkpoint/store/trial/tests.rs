//! Tests of the trial, on stores that break one promise each.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutPayload, PutResult, Result,
};

use super::*;
use crate::clock::system_clock;

/// The promise that a store breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Broken {
    Nothing,
    /// Creating overwrites, and reports success.
    CreateOnly,
    /// Creating overwrites, and reports that the object was there.
    CreateOnlyAndHonesty,
    Create,
    Read,
    Content,
    List,
    Listing,
    Delete,
    /// The clock is an hour behind.
    Clock,
}

#[derive(Debug)]
struct BrokenStore {
    objects: InMemory,
    broken: Broken,
}

impl std::fmt::Display for BrokenStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a store that breaks {:?}", self.broken)
    }
}

fn denied(path: &Path) -> Error {
    Error::PermissionDenied {
        path: path.to_string(),
        source: "the right is missing".into(),
    }
}

#[async_trait]
impl ObjectStore for BrokenStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let is_there = self.objects.get(path).await.is_ok();
        match self.broken {
            Broken::Create => Err(denied(path)),
            Broken::CreateOnly => self.objects.put(path, payload).await,
            Broken::CreateOnlyAndHonesty if is_there => {
                self.objects.put(path, payload).await?;
                Err(Error::AlreadyExists {
                    path: path.to_string(),
                    source: "it was there".into(),
                })
            }
            _ => self.objects.put_opts(path, payload, options).await,
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.broken {
            Broken::Read => return Err(denied(path)),
            Broken::Content => {
                self.objects.put(path, "torn".into()).await?;
            }
            _ => {}
        }
        self.objects.get_opts(path, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let broken = self.broken;
        let error = denied(prefix.unwrap());
        match broken {
            Broken::List => stream::iter([Err(error)]).boxed(),
            Broken::Listing => stream::iter([]).boxed(),
            _ => {
                let hour = Duration::from_secs(3_600);
                let listed = self.objects.list(prefix);
                let changed = move |mut found: ObjectMeta| {
                    if broken == Broken::Clock {
                        found.last_modified -= hour;
                    }
                    found
                };
                listed.map(move |found| found.map(changed)).boxed()
            }
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if self.broken == Broken::Delete {
            return paths.map(|path| Err(denied(&path?))).boxed();
        }
        self.objects.delete_stream(paths)
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("an object of a trial is put whole")
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("the folder is listed by its name")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("an object of a trial is not copied")
    }
}

/// Tries a store that breaks this promise, and returns whether the trial's object is left there, too.
fn tried(broken: Broken) -> (std::result::Result<StoreTrial, StoreFault>, bool) {
    let store = Arc::new(BrokenStore {
        objects: InMemory::new(),
        broken,
    });
    let objects: Arc<dyn ObjectStore> = Arc::clone(&store) as Arc<dyn ObjectStore>;
    let checkpoints = CheckpointStore::new(objects, Path::default(), "counts");

    let tried = checkpoints.try_out(system_clock()());
    let left = futures::executor::block_on(store.objects.list(None).collect::<Vec<_>>());
    (tried, !left.is_empty())
}

#[test]
fn a_store_that_keeps_its_promises_passes_and_keeps_nothing() {
    let (tried, is_left) = tried(Broken::Nothing);
    assert!(tried.unwrap().ahead_ms.abs() < 60_000);
    assert!(!is_left);
}

#[test]
fn each_broken_promise_is_named_and_the_object_is_deleted() {
    type IsNamed = fn(&StoreFault) -> bool;
    let cases: [(Broken, IsNamed); 8] = [
        (Broken::CreateOnly, |fault| {
            matches!(fault, StoreFault::Overwrites { .. })
        }),
        (Broken::CreateOnlyAndHonesty, |fault| {
            matches!(fault, StoreFault::Overwrites { .. })
        }),
        (Broken::Create, |fault| {
            matches!(fault, StoreFault::Create { .. })
        }),
        (Broken::Read, |fault| {
            matches!(fault, StoreFault::Read { .. })
        }),
        (Broken::Content, |fault| {
            matches!(fault, StoreFault::Read { .. })
        }),
        (Broken::List, |fault| {
            matches!(fault, StoreFault::List { .. })
        }),
        (Broken::Listing, |fault| {
            matches!(fault, StoreFault::List { .. })
        }),
        (Broken::Delete, |fault| {
            matches!(fault, StoreFault::Delete { .. })
        }),
    ];

    for (broken, is_named) in cases {
        let (tried, is_left) = tried(broken);
        let fault = tried.unwrap_err();
        assert!(is_named(&fault), "{broken:?}: {fault:?}");
        assert!(fault.to_string().contains("counts/trials/"), "{fault}");
        assert_eq!(is_left, broken == Broken::Delete, "{broken:?}");
    }
}

#[test]
fn a_clock_that_is_behind_is_measured() {
    let (tried, _) = tried(Broken::Clock);
    let ahead_ms = tried.unwrap().ahead_ms;
    assert!((-3_660_000..=-3_540_000).contains(&ahead_ms), "{ahead_ms}");
}

//! An object store for a process that may die at any of its calls, or get an error there.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::TryFutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::fate::{Blow, Fate, die};

/// A process's handle to a store that outlives the process.
#[derive(Clone, Debug)]
pub struct MortalStore {
    pub objects: Arc<InMemory>,
    pub fate: Arc<Fate>,
    /// The calls that the process has made, each with its object or folder.
    pub calls: Arc<Mutex<Vec<(String, Path)>>>,
}

impl MortalStore {
    /// Creates the handle of a process with that fate.
    pub fn new(objects: &Arc<InMemory>, fate: &Arc<Fate>) -> Self {
        Self {
            objects: Arc::clone(objects),
            fate: Arc::clone(fate),
            calls: Arc::default(),
        }
    }

    /// Makes a call with the fault that the process's fate has for it.
    async fn call<T>(
        &self,
        action: &str,
        path: &Path,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let name = name(action, path);
        let call = (name.clone(), path.clone());
        self.calls.lock().unwrap().push(call);
        if let Some(delay) = self.fate.delay(&name) {
            tokio::time::sleep(delay).await;
        }

        let unavailable = || Error::Generic {
            store: "mortal",
            source: "a simulated fault".into(),
        };

        match self.fate.next(&name) {
            None | Some(Blow::AddPartition) => effect.await,
            Some(Blow::DieBefore) => die(),
            Some(Blow::DieAfter) => {
                // The process is dead: nothing reads the reply.
                drop(effect.await);
                die()
            }
            Some(Blow::LoseReply) => {
                drop(effect.await);
                Err(unavailable())
            }
            Some(Blow::Unavailable) => Err(unavailable()),
            Some(Blow::Refuse | Blow::Forbid) => Err(Error::PermissionDenied {
                path: name,
                source: "a simulated refusal".into(),
            }),
        }
    }
}

/// Returns a call's name: the action, and the folder of its object. Merged parts have a name of
/// their own, except when they are read.
fn name(action: &str, path: &Path) -> String {
    let is_merged = path.filename().is_some_and(|name| name.contains("-m"));
    if is_merged && action != "read" {
        return format!("{action} merged parts");
    }
    format!("{action} {}", path.parts().nth(1).unwrap().as_ref())
}

impl fmt::Display for MortalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mortal process's store")
    }
}

#[async_trait]
impl ObjectStore for MortalStore {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let effect = self.objects.put_opts(path, payload, options);
        self.call("create", path, effect).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let effect = self.objects.get_opts(path, options);
        self.call("read", path, effect).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix.unwrap().clone();
        let listed = async move {
            let all = store.objects.list(Some(&prefix)).try_collect::<Vec<_>>();
            store.call("list", &prefix, all).await
        };

        listed
            .map_ok(|objects| stream::iter(objects.into_iter().map(Ok)))
            .try_flatten_stream()
            .boxed()
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Path| {
            let store = store.clone();
            async move {
                let effect = store.objects.delete(&path);
                store.call("delete", &path, effect).await?;
                Ok(path)
            }
        };

        paths.and_then(delete).boxed()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("a checkpoint's objects are put whole")
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        unreachable!("folders are listed by their names")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("no object of a checkpoint is copied")
    }
}

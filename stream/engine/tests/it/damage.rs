//! What happens to objects in a store that nobody should touch.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::RngExt;
use rand::rngs::SmallRng;
use stream::checkpoint::manifest::Manifest;

use crate::oracle::World;

/// Waits for something that never waits long.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    FlippedBit,
    Truncated,
    Deleted,
}

impl Damage {
    pub const ALL: [Self; 3] = [Self::FlippedBit, Self::Truncated, Self::Deleted];

    /// Does it.
    pub fn to(self, objects: &InMemory, path: &Path, random: &mut SmallRng) {
        let mut bytes =
            wait(async { objects.get(path).await.unwrap().bytes().await.unwrap() }).to_vec();
        match self {
            Self::FlippedBit => {
                // The last byte of a manifest is a line feed that nobody reads.
                let bit = random.random_range(0..(bytes.len() - 1) * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Truncated => bytes.truncate(random.random_range(0..bytes.len() - 1)),
            Self::Deleted => return wait(objects.delete(path)).unwrap(),
        }
        write(objects, path, bytes.into());
    }
}

/// Puts an object where there may be one.
pub fn write(objects: &InMemory, path: &Path, bytes: Bytes) {
    wait(objects.put(path, bytes.into())).unwrap();
}

impl World {
    /// The paths of a folder's objects, the newest last: their names begin with attempts and boundaries.
    pub fn objects_in(&self, folder: &str) -> Vec<Path> {
        let prefix = Path::from("counts").join(folder);
        let objects: Vec<_> = wait(self.objects.list(Some(&prefix)).try_collect()).unwrap();
        let mut paths: Vec<Path> = objects.into_iter().map(|object| object.location).collect();
        paths.sort();
        paths
    }

    /// The manifest at a path.
    pub fn manifest(&self, path: &Path) -> Manifest {
        let bytes = wait(async { self.objects.get(path).await.unwrap().bytes().await.unwrap() });
        Manifest::from_bytes(&bytes, "counts").unwrap()
    }

    /// Where a part is.
    pub fn part(&self, name: &str) -> Path {
        Path::from("counts").join("parts").join(name)
    }
}

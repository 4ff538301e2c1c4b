//! Damages objects in a store.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::RngExt;
use rand::rngs::SmallRng;
use stream::internals::Manifest;

use crate::oracle::World;

/// Runs a future that never waits for long.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A kind of damage to an object.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    FlippedBit,
    Truncated,
    Deleted,
}

impl Damage {
    pub const ALL: [Self; 3] = [Self::FlippedBit, Self::Truncated, Self::Deleted];

    /// Damages the object.
    pub fn to(self, objects: &InMemory, path: &Path, random: &mut SmallRng) {
        let mut bytes =
            wait(async { objects.get(path).await.unwrap().bytes().await.unwrap() }).to_vec();
        match self {
            Self::FlippedBit => {
                // The last byte of a manifest is a line feed that is never read.
                let bit = random.random_range(0..(bytes.len() - 1) * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Truncated => bytes.truncate(random.random_range(0..bytes.len() - 1)),
            Self::Deleted => return wait(objects.delete(path)).unwrap(),
        }
        write(objects, path, bytes.into());
    }
}

/// Writes an object, replacing any existing one.
pub fn write(objects: &InMemory, path: &Path, bytes: Bytes) {
    wait(objects.put(path, bytes.into())).unwrap();
}

impl World {
    /// Returns the paths of a folder's objects, the newest last: their names begin with attempts
    /// and boundaries.
    pub fn objects_in(&self, folder: &str) -> Vec<Path> {
        let prefix = Path::from("counts").join(folder);
        let objects: Vec<_> = wait(self.objects.list(Some(&prefix)).try_collect()).unwrap();
        let mut paths: Vec<Path> = objects.into_iter().map(|object| object.location).collect();
        paths.sort();
        paths
    }

    /// Reads the manifest at a path.
    pub fn manifest(&self, path: &Path) -> Manifest {
        self.readable_manifest(path).unwrap()
    }

    /// Reads the manifest at a path; none if it is damaged.
    pub fn readable_manifest(&self, path: &Path) -> Option<Manifest> {
        Manifest::from_bytes(&self.bytes(path), "counts").ok()
    }

    /// Reads the object at a path.
    pub fn bytes(&self, path: &Path) -> Bytes {
        wait(async { self.objects.get(path).await.unwrap().bytes().await.unwrap() })
    }

    /// Returns the path of a part.
    pub fn part(&self, name: &str) -> Path {
        Path::from("counts").join("parts").join(name)
    }
}

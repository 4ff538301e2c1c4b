//! Tests of the store: attempts and objects are created once, and refusals are distinguished from silence.

use std::io;

use object_store::memory::InMemory;

use super::*;

fn store() -> CheckpointStore {
    CheckpointStore::new(Arc::new(InMemory::new()), Path::default(), "counts")
}

#[tokio::test]
async fn two_claims_never_get_the_same_attempt() {
    let store = store();
    let (one, other) = tokio::join!(store.claim_attempt(), store.claim_attempt());
    let one = one.unwrap();
    let other = other.unwrap();
    assert_ne!(one, other);
    assert_eq!(store.newest_attempt().await.unwrap(), one.max(other));
}

#[tokio::test]
async fn an_object_is_created_once_or_again_with_the_same_content() {
    let store = store();
    store.create_part("a", b"one".to_vec()).await.unwrap();
    store.create_part("a", b"one".to_vec()).await.unwrap();

    assert!(matches!(
        store.create_part("a", b"two".to_vec()).await,
        Err(StoreError::Taken(_))
    ));

    assert_eq!(store.part("a").await.unwrap(), &b"one"[..]);
    assert!(matches!(store.part("b").await, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn a_manifest_of_a_later_attempt_is_newer_whatever_its_boundary() {
    let store = store();
    for (attempt, boundary) in [(1, 90), (2, 20), (1, 10)] {
        let id = ManifestId { attempt, boundary };
        let path = store.manifest_path(id);
        store.create(&path, Bytes::new()).await.unwrap();
    }

    let manifests = store.manifests().await.unwrap();
    let manifests: Vec<String> = manifests.iter().map(ManifestId::to_string).collect();
    assert_eq!(manifests, ["2-20", "1-90", "1-10"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_after_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = CheckpointStore::open(&url, "counts")
        .unwrap()
        .with_refusal_limit(Duration::from_millis(20));
    std::fs::write(
        folder.path().join("counts"),
        "a file, where a folder has to be",
    )
    .unwrap();

    let begun = Instant::now();
    let refused = store.create_part("a", b"one".to_vec()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn what_may_pass_is_told_from_what_cannot() {
    use object_store::Error;

    let cause = || Box::<dyn std::error::Error + Send + Sync>::from("a reason");
    let io = |kind: io::ErrorKind| Error::Generic {
        store: "local",
        source: io::Error::from(kind).into(),
    };
    let path = String::new;
    let outcomes = [
        (
            Error::Unauthenticated {
                path: path(),
                source: cause(),
            },
            Failure::Forbidden,
        ),
        (
            Error::PermissionDenied {
                path: path(),
                source: cause(),
            },
            Failure::Forbidden,
        ),
        (io(io::ErrorKind::PermissionDenied), Failure::Forbidden),
        (io(io::ErrorKind::ReadOnlyFilesystem), Failure::Forbidden),
        (
            Error::NotImplemented {
                operation: path(),
                implementer: path(),
            },
            Failure::Impossible,
        ),
        (
            Error::Generic {
                store: "s3",
                source: cause(),
            },
            Failure::Unavailable,
        ),
        (io(io::ErrorKind::StorageFull), Failure::Unavailable),
        (io(io::ErrorKind::ConnectionReset), Failure::Unavailable),
    ];
    for (error, expected) in outcomes {
        assert_eq!(Failure::of(&error), expected, "{error}");
    }
}

#[test]
fn the_highest_attempt_wins_then_its_highest_boundary() {
    let id = |name| ManifestId::of_file(name).unwrap();
    assert!(id("0000000002-000000000000060.json") > id("0000000001-000000000000120.json"));
    assert!(id("0000000002-000000000000120.json") > id("0000000002-000000000000060.json"));
    assert_eq!(ManifestId::of_file("notes.txt"), None);

    assert_eq!(
        id("0000000002-000000000000060.json").to_string().parse(),
        Ok(id("0000000002-000000000000060.json"))
    );
}

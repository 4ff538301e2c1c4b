//! Every kind of file, good and hostile, through the binary that Lambda starts. `cargo bench -p file-processor` prints them as
//! a table.

use serde_json::json;

use crate::runtime_api::Function;
use crate::samples;

const MOST_MEMORY_BYTES: u64 = 128 << 20;

#[tokio::test]
async fn every_kind_of_file_is_read_or_refused_with_a_reason() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    for sample in samples::all() {
        let outcome = function
            .upload(&format!("uploads/{}", sample.name), &sample.bytes)
            .await;
        sample.check(&function.file(&outcome).await);
    }

    if let Some(taken) = function.taken() {
        assert!(
            taken.peak_memory_bytes < MOST_MEMORY_BYTES,
            "{} bytes",
            taken.peak_memory_bytes
        );
        assert!(function.cold_start().is_some());
    }
}

#[tokio::test]
async fn a_thumbnail_is_put_beside_a_picture_and_called_by_the_metadata() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let sample = samples::all()
        .into_iter()
        .find(|sample| sample.name == "shelf.jpg")
        .unwrap();

    let outcome = function
        .upload("uploads/a b/shelf.jpg", &sample.bytes)
        .await;
    let file = function.file(&outcome).await;
    let thumbnail = &file["summary"]["thumbnail"];
    let key = format!("thumbnails/{}.jpg", file["id"].as_str().unwrap());
    assert_eq!(thumbnail["key"], key);

    let kept = std::fs::read(function.path(&key)).unwrap();
    assert_eq!(
        (&thumbnail["size_bytes"], &thumbnail["width"]),
        (&json!(kept.len()), &json!(320))
    );
    assert_eq!(image::load_from_memory(&kept).unwrap().height(), 240);

    // A replaced picture leaves the thumbnail of the earlier one.
    let other = samples::all()
        .into_iter()
        .find(|sample| sample.name == "shelf.png")
        .unwrap();
    let outcome = function.upload("uploads/a b/shelf.jpg", &other.bytes).await;
    let replacing = function.file(&outcome).await;
    assert_ne!(replacing["summary"]["thumbnail"]["key"], key);
    assert_eq!(std::fs::read(function.path(&key)).unwrap(), kept);
}

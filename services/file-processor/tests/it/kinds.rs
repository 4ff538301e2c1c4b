//! Every kind of file, good and hostile, through the binary that Lambda starts.
//!
//! `cargo test -p file-processor -- --nocapture every_kind` prints the table: what was put in, what the metadata says.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::runtime_api::Function;
use crate::samples::{self, Sample};

#[tokio::test]
async fn every_kind_of_file_is_read_or_refused_with_a_reason() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let mut table =
        "\n| what | size | status | kind | what the metadata says | ms |\n|---|--:|---|---|---|--:|\n".to_owned();
    for sample in samples::all() {
        let outcome = function.upload(&format!("uploads/{}", sample.name), &sample.bytes).await;
        let file = function.file(&outcome).await;
        assert_contains(&file, &sample.expected, sample.what);
        assert_eq!(file["size_bytes"], sample.bytes.len());
        write_row(&mut table, &sample, &file);
    }
    let peak_mib = function.peak_memory_bytes() >> 20;
    eprintln!("{table}\npeak memory of the function over all of them: {peak_mib} MiB");
    assert!(peak_mib < 128, "{peak_mib} MiB");
}

/// Each in a function of its own, for what it takes to be seen: the files of the folder that `TIDEMARK_TEST_FILES` names.
#[tokio::test]
async fn files_that_somebody_brings_are_read_or_refused_as_well() {
    let Ok(folder) = std::env::var("TIDEMARK_TEST_FILES") else { return };
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mut function = Function::start("http://127.0.0.1:1").await;
        let key = format!("uploads/{}", entry.file_name().to_string_lossy());
        let outcome = function.upload(&key, &std::fs::read(entry.path()).unwrap()).await;
        let (file, peak_mib) = (function.file(&outcome).await, function.peak_memory_bytes() >> 20);
        eprintln!("{key}: {}, {}, {} ms, peak {peak_mib} MiB", shown(&file["summary"]), file["error"], file["took_ms"]);
    }
}

fn write_row(table: &mut String, sample: &Sample, file: &Value) {
    let says = match &file["error"] {
        Value::Null => shown(&file["summary"]),
        error => format!("{}: {}", error["reason"].as_str().unwrap(), error["detail"].as_str().unwrap()),
    };
    let (status, kind) = (file["status"].as_str().unwrap(), file["kind"].as_str().unwrap_or("-"));
    let (what, size) = (sample.what, sample.bytes.len());
    writeln!(table, "| {what} | {size} | {status} | {kind} | {says} | {} |", file["took_ms"]).unwrap();
}

fn shown(summary: &Value) -> String {
    let says =
        summary.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("first_") && *name != "columns");
    says.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn assert_contains(value: &Value, part: &Value, what: &str) {
    match part {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, part)| assert_contains(&value[name], part, &format!("{what}: {name}")));
        }
        part => assert_eq!(value, part, "{what}"),
    }
}

#[tokio::test]
async fn a_thumbnail_is_put_beside_a_picture_and_called_by_the_metadata() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let sample = samples::all().into_iter().find(|sample| sample.name == "shelf.jpg").unwrap();
    let outcome = function.upload("uploads/a b/shelf.jpg", &sample.bytes).await;
    let file = function.file(&outcome).await;
    let thumbnail = &file["summary"]["thumbnail"];
    assert_eq!(thumbnail["key"], "thumbnails/a b/shelf.jpg.jpg");
    let kept = std::fs::read(function.path("thumbnails/a b/shelf.jpg.jpg")).unwrap();
    assert_eq!((&thumbnail["size_bytes"], &thumbnail["width"]), (&json!(kept.len()), &json!(320)));
    assert_eq!(image::load_from_memory(&kept).unwrap().height(), 240);
}

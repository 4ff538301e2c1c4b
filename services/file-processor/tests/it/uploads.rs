//! Uploads as bodies and as forms: their names and folders, and refusals.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::service::Running;

#[tokio::test]
async fn a_form_brings_its_file_and_the_name_of_it() {
    let running = Running::start().await;
    let form = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
                --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\n\
                Content-Type: application/json\r\n\r\n[1,2,3]\r\n--x--\r\n";
    let (status, posted) = running
        .post("/files", "multipart/form-data; boundary=x", form)
        .await;

    assert_eq!(
        (status, &posted["name"], &posted["size_bytes"]),
        (202, &json!("a.json"), &json!(7)),
        "{posted}"
    );

    assert_eq!(running.finished(&posted["id"]).await["summary"]["rows"], 3);
    let empty = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--x--\r\n";
    let (status, problem) = running
        .post("/files", "multipart/form-data; boundary=x", empty)
        .await;
    assert_eq!((status, &problem["field"]), (422, &json!("file")));

    let (status, _) = running
        .post("/files", "multipart/form-data; boundary=x", "--x\r\nbroken")
        .await;
    assert_eq!(status, 400);
}

/// Returns a form of these parts, each with its header and its content.
fn form(parts: &[(&str, &str)]) -> String {
    let part = |(header, content): &(&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; {header}\r\n\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--x--\r\n"
}

#[tokio::test]
async fn the_fields_of_a_form_name_its_file_and_folder() {
    let running = Running::start().await;
    let file = ("name=\"file\"; filename=\"a.csv\"", "a,b\n1,2\n");
    let folder = ("name=\"folder\"", "catalogue");
    let name = ("name=\"name\"", "mine.csv");
    let content_type = "multipart/form-data; boundary=x";

    let (status, posted) = running
        .post("/files", content_type, form(&[folder, name, file]))
        .await;
    assert_eq!((status, &posted["name"]), (202, &json!("mine.csv")));
    let key = posted["key"].as_str().unwrap();
    assert!(key.starts_with("uploads/catalogue/"), "{key}");

    let elsewhere = ("name=\"folder\"", "elsewhere");
    for (parts, status, field) in [
        (vec![file, folder], 422, "folder"),
        (vec![file, name], 422, "name"),
        (vec![file, file], 422, "file"),
        (vec![elsewhere, file], 400, "folder"),
    ] {
        let (answered, problem) = running.post("/files", content_type, form(&parts)).await;
        assert_eq!((answered, &problem["field"]), (status, &json!(field)));
    }

    let items = running.get("/files").await["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_and_nothing_of_it_is_kept() {
    let running = Running::start().await;
    let large = vec![b'x'; (1 << 20) + 1];
    assert_eq!(
        running.post("/files?name=a.csv", "text/csv", large).await.0,
        413
    );

    for name in [
        "",
        "?name=",
        "?name=..",
        "?name=%20...%20",
        &format!("?name={}", "x".repeat(201)),
    ] {
        let (status, problem) = running
            .post(&format!("/files{name}"), "text/csv", "a,b")
            .await;
        assert_eq!((status, &problem["field"]), (422, &json!("name")), "{name}");
    }

    let (status, problem) = running
        .post("/files?name=a.csv&folder=..", "text/csv", "a,b")
        .await;
    assert_eq!((status, &problem["field"]), (400, &json!("folder")));
    assert_eq!(running.get("/files").await["items"], json!([]));

    let kept = std::fs::read_dir(running.folder.path().join("uploads")).unwrap();
    let files = kept.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    assert_eq!(files.count(), 0);
}

#[tokio::test]
async fn a_name_cannot_lead_out_of_its_folder() {
    let running = Running::start().await;
    let (status, posted) = running
        .post("/files?name=../../../etc/passwd", "text/csv", "a,b\n")
        .await;

    assert_eq!(
        (status, &posted["name"]),
        (202, &json!("_.._.._etc_passwd")),
        "{posted}"
    );

    let key = posted["key"].as_str().unwrap();
    assert!(key.starts_with("uploads/") && !key.contains("../"), "{key}");
    assert!(running.folder.path().join(key).is_file());
}

#[tokio::test]
async fn a_name_keeps_the_letters_of_its_language() {
    let running = Running::start().await;
    for (name, kept) in [
        ("价格表.csv", "价格表.csv"),
        ("Käse & прайс.csv", "Käse___прайс.csv"),
    ] {
        let path = format!(
            "/files?name={}",
            utf8_percent_encode(name, NON_ALPHANUMERIC)
        );
        let (_, posted) = running.post(&path, "text/csv", "a,b\n1,\"2\n").await;
        assert_eq!(posted["name"], kept);
        let key = posted["key"].as_str().unwrap();
        assert!(running.folder.path().join(key).is_file(), "{key}");
        running.finished(&posted["id"]).await;
    }

    let long = "价".repeat(67);
    let (status, refused) = running
        .post(
            &format!(
                "/files?name={}",
                utf8_percent_encode(&long, NON_ALPHANUMERIC)
            ),
            "text/csv",
            "a\n",
        )
        .await;
    assert_eq!((status, &refused["field"]), (422, &json!("name")));
}

//! Tests of the service over a folder: files are posted or put there, and the service returns their metadata.

use std::io::Write;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use chassis::Shutdown;
use chassis::auth::Auth;
use file_processor::{Config, Function, InvocationError, Objects, Parts, Program, Service};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Identities, TestClient};
use tower::ServiceExt;

use crate::runtime_api::{bootstrap, created};
use crate::samples;

/// The longest time that any step may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that watches its folder until the test ends.
pub struct Running {
    /// Its routes.
    pub router: Router,
    /// The folder of its objects.
    pub folder: TempDir,
    shutdown: Shutdown,
}

impl Running {
    /// Starts a service over an empty folder and table.
    pub async fn start() -> Self {
        Self::known_by(Auth::open()).await
    }

    /// Starts a service with this authentication.
    pub async fn known_by(auth: Auth) -> Self {
        Self::with(auth, bootstrap()).await
    }

    /// Starts a service with this authentication and this function.
    async fn with(auth: Auth, function: Program) -> Self {
        let config = Config {
            files_max_upload_bytes: 1 << 20,
            ..Config::default()
        };

        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&format!("file://{}", folder.path().display())).unwrap();
        let dynamodb_url = testbed::endpoint().await;
        let dynamodb = chassis::dynamodb::client(Some(&dynamodb_url)).await;
        let function = Some(told_of(function, &folder, dynamodb_url));

        let service = Service::new(
            &config,
            Parts {
                dynamodb,
                objects,
                auth,
                function,
            },
        );
        let router = service.router();
        let shutdown = Shutdown::new();
        service.prepare(&shutdown).await;

        let asked = shutdown.clone();
        tokio::spawn(async move { service.watch(&asked).await });
        Self {
            router,
            folder,
            shutdown,
        }
    }

    /// Posts a body, and returns the status and the reply.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> (u16, Value) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, content_type)
            .body(body.into())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();

        (
            status,
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes())
                .unwrap(),
        )
    }

    /// Returns the reply to a GET.
    pub async fn get(&self, path: &str) -> Value {
        TestClient::new(self.router.clone()).get(path).await.body
    }

    /// Waits until a file with this key is processed, and returns it.
    async fn processed(&self, key: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let items = self.get("/files").await["items"].clone();
            let mut files = items.as_array().unwrap().iter();
            let is_done = |file: &&Value| file["key"] == key && file["status"] == "processed";
            if let Some(file) = files.find(is_done) {
                return file.clone();
            }
            assert!(Instant::now() < deadline, "{items}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the file is finished, and returns it.
    pub async fn finished(&self, id: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let file = self.get(&format!("/files/{}", id.as_str().unwrap())).await;
            if file["status"] != "waiting" {
                return file;
            }
            assert!(Instant::now() < deadline, "{file}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Returns the program with the addresses of objects and table in its environment.
fn told_of(mut program: Program, folder: &TempDir, dynamodb: String) -> Program {
    let objects = format!("file://{}", folder.path().display());
    program.environment.extend([
        ("TIDEMARK_DYNAMODB", dynamodb),
        ("TIDEMARK_OBJECTS", objects),
    ]);
    program
}

/// Returns a shell that runs this script, with the command of the function as its arguments.
fn shell(script: &str, argument: &str) -> Program {
    let Program {
        path,
        arguments,
        environment,
    } = bootstrap();

    let words = ["-c", script, argument].map(str::to_owned).into_iter();
    let arguments = words
        .chain([path.display().to_string()])
        .chain(arguments)
        .collect();

    Program {
        path: "sh".into(),
        arguments,
        environment,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

#[tokio::test]
async fn a_posted_file_waits_and_is_then_processed() {
    let running = Running::start().await;
    let (status, posted) = running
        .post("/files?name=sälës%202.csv", "text/csv", "a,b\n1,2\n")
        .await;

    assert_eq!(
        (status, &posted["status"], &posted["name"]),
        (202, &json!("waiting"), &json!("sälës_2.csv"))
    );

    let file = running.finished(&posted["id"]).await;
    assert_eq!(
        (&file["status"], &file["summary"]["rows"]),
        (&json!("processed"), &json!(1))
    );
}

#[tokio::test]
async fn a_file_that_is_put_into_the_folder_is_found() {
    let running = Running::start().await;
    std::fs::write(
        running.folder.path().join("uploads/mine.ndjson"),
        "{\"a\":1}\n{}\n",
    )
    .unwrap();

    let file = running.processed("uploads/mine.ndjson").await;
    assert_eq!(
        (&file["key"], &file["summary"]["rows"]),
        (&json!("uploads/mine.ndjson"), &json!(2))
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_that_pauses_is_read_when_it_is_whole_and_not_before() {
    let running = Running::start().await;
    let uploads = running.folder.path().join("uploads");
    let mut copy = std::fs::File::create(uploads.join("slow.csv")).unwrap();
    copy.write_all(b"sku,price_cents\nS1,19").unwrap();

    // The scan that reads this file finds the copy as well, which has paused for longer.
    std::fs::write(uploads.join("quick.csv"), "a,b\n1,2\n").unwrap();
    running.processed("uploads/quick.csv").await;
    copy.write_all(b"99\nS2,5\n").unwrap();
    drop(copy);

    let file = running.processed("uploads/slow.csv").await;
    assert_eq!(file["summary"]["rows"], 2, "{file}");
    let items = running.get("/files").await["items"].clone();
    let read = items.as_array().unwrap().iter();
    let slow = read.filter(|file| file["key"] == "uploads/slow.csv");
    assert_eq!(slow.count(), 1, "{items}");
}

#[tokio::test]
async fn a_function_that_crashes_on_a_file_is_started_again() {
    let marks = tempfile::tempdir().unwrap();
    let dies_once = r#"if mkdir "$0" 2>/dev/null; then kill -9 $$; fi; exec "$@""#;
    let died = marks.path().join("died");
    let running = Running::with(Auth::open(), shell(dies_once, &died.display().to_string())).await;
    let (_, posted) = running
        .post("/files?name=a.csv", "text/csv", "a,b\n1,2\n")
        .await;
    assert_eq!(running.finished(&posted["id"]).await["summary"]["rows"], 1);
    assert!(died.is_dir());
}

#[tokio::test]
async fn it_is_said_why_the_function_did_not_do_its_work() {
    let event = || created(&json!({"key": "uploads/catalogue/a.csv"}));
    let mut dying = Function::new(shell("exit 3", ""));
    let Err(InvocationError::Ended(status)) = dying.invoke(event()).await else {
        panic!("it lives")
    };

    assert_eq!(status.code(), Some(3));
    let mut absent = Function::new(Program {
        path: "/nowhere/bootstrap".into(),
        ..bootstrap()
    });

    assert!(matches!(
        absent.invoke(event()).await,
        Err(InvocationError::Start(_))
    ));

    let running = Running::start().await;
    let table = testbed::endpoint().await;
    let mut function = Function::new(told_of(bootstrap(), &running.folder, table));
    std::fs::create_dir_all(running.folder.path().join("uploads/catalogue")).unwrap();

    std::fs::write(
        running.folder.path().join("uploads/catalogue/a.csv"),
        "name,price_cents\nLamp,1\n",
    )
    .unwrap();

    let Err(InvocationError::Failed(why)) = function.invoke(event()).await else {
        panic!("there is no table")
    };

    assert!(!why.is_empty(), "{why}");
}

#[tokio::test]
async fn files_are_listed_newest_first_in_pages() {
    let running = Running::start().await;
    let mut posted = Vec::new();
    for number in 0..5 {
        let (_, file) = running
            .post(&format!("/files?name={number}.csv"), "text/csv", "a,b\n")
            .await;
        posted.push(file["id"].clone());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    posted.reverse();
    let mut listed = Vec::new();
    let mut path = "/files?limit=2".to_owned();

    loop {
        let page = running.get(&path).await;
        listed.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|file| file["id"].clone()),
        );

        let Some(next) = page["next"].as_str() else {
            break;
        };

        path = format!("/files?limit=2&cursor={next}");
    }

    assert_eq!(listed, posted);
}

#[tokio::test]
async fn a_picture_has_a_thumbnail_to_be_shown_and_nothing_else_has() {
    let running = Running::start().await;
    for (name, content_type) in [("shelf.jpg", "image/jpeg"), ("shelf.gif", "image/png")] {
        let sample = samples::all()
            .into_iter()
            .find(|sample| sample.name == name)
            .unwrap();

        let (_, posted) = running
            .post(&format!("/files?name={name}"), "image/*", sample.bytes)
            .await;
        let path = format!("/files/{}/thumbnail", posted["id"].as_str().unwrap());

        assert_eq!(running.finished(&posted["id"]).await["status"], "processed");
        let response = running
            .router
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();

        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["content-type"]
            ),
            (200, &content_type.parse().unwrap())
        );

        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 320);
    }

    let (_, table) = running.post("/files?name=a.csv", "text/csv", "a,b\n").await;
    let path = format!("/files/{}/thumbnail", table["id"].as_str().unwrap());
    assert_eq!(running.get(&path).await["status"], 404);
}

#[tokio::test]
async fn bad_rows_are_offered_as_a_csv_and_good_files_have_none() {
    let running = Running::start().await;
    let text = "\u{feff}sep=;\r\nnäme;price\r\nLamp;1\r\nPen;2;3\r\n;\r\n".to_owned();
    let (_, posted) = running
        .post("/files?name=my%20list.v2.csv", "text/csv", text)
        .await;
    let file = running.finished(&posted["id"]).await;
    let expected = json!([{"row": 2, "line": 4, "column": null, "problem": "has 3 fields where the header has 2"}]);
    assert_eq!(file["summary"]["first_bad"], expected);

    let path = format!("/files/{}/bad-rows", posted["id"].as_str().unwrap());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = running.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);

    assert_eq!(
        response.headers()["content-type"],
        "text/csv; charset=utf-8"
    );

    let disposition = &response.headers()["content-disposition"];
    assert_eq!(
        disposition,
        "attachment; filename*=UTF-8''my%5Flist%2Ev2-bad-rows.csv"
    );

    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes, "\u{feff}näme;price\r\nPen;2;3\r\n".as_bytes());

    let (_, good) = running
        .post("/files?name=a.csv", "text/csv", "a,b\n1,2\n")
        .await;
    running.finished(&good["id"]).await;

    let path = format!("/files/{}/bad-rows", good["id"].as_str().unwrap());
    assert_eq!(running.get(&path).await["status"], 404);
}

#[tokio::test]
async fn files_are_for_those_who_run_the_shop() {
    let identities = Identities::default();
    let running = Running::known_by(identities.auth.clone()).await;
    let service = TestClient::new(running.router.clone());

    for (caller, status) in [(&service, 401), (&service.showing(identities.user(7)), 403)] {
        assert_eq!(caller.get("/files").await.status, status);
        assert_eq!(
            caller
                .send("POST", "/files?name=a.csv", &[], None)
                .await
                .status,
            status
        );
    }

    let admin = service.showing(identities.admin());
    let posted = admin.send("POST", "/files?name=a.csv", &[], None).await;
    assert_eq!(posted.status, 202);
    assert_eq!(admin.get(posted.header("location")).await.status, 200);
}

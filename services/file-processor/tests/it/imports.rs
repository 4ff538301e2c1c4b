//! A catalogue becomes products, through the products service itself.

use chassis::Shutdown;
use chassis::auth::{Auth, Secret};
use serde_json::{Value, json};
use testbed::{PublishedKeys, TestClient};

use crate::runtime_api::Function;

/// Starts a products service without products. Returns a client with the same secret, and the address for the function.
async fn products(secret: &Secret) -> (TestClient, String) {
    let auth = Auth::enforced(PublishedKeys::default(), Some(secret));
    let token = auth.service_token().unwrap();
    let parts = products::Parts {
        dynamodb: testbed::embedded().await,
        auth,
    };

    products::prepare(
        &products::Config {
            demo_products: false,
        },
        &parts,
        &Shutdown::new(),
    )
    .await;

    let router = products::router(&parts);
    let url = testbed::serve(router.clone()).await;

    (TestClient::new(router).showing(token), url)
}

async fn names(service: &TestClient) -> Vec<Value> {
    let items = service.get("/products").await.body["items"].clone();
    let mut names: Vec<Value> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|product| product["name"].clone())
        .collect();
    names.sort_by_key(Value::to_string);

    names
}

/// Uploads a catalogue, and returns the summary of its import.
async fn imported_by(function: &mut Function, name: &str, text: &str) -> Value {
    let key = format!("uploads/catalogue/{name}");
    let outcome = function.upload(&key, text.as_bytes()).await;
    function.file(&outcome).await["summary"].clone()
}

#[tokio::test]
async fn rows_become_products_once_however_often_they_are_imported() {
    let secret = Secret::random();
    let (service, url) = products(&secret).await;
    let settings = [
        ("TIDEMARK_AUTH", "enforced"),
        ("TIDEMARK_SERVICE_SECRET", secret.expose()),
    ];
    let mut function = Function::start_with(&url, &settings).await;
    let text = "sku,name,price_cents,stock,category\nL1,Lamp,1999,3,home\n,Pen,250,,desk\n,Bad,1.5,,\n,Cup,5,,\"\t\u{7}\"\n";
    let summary = imported_by(&mut function, "new.csv", text).await;
    let imported = &summary["products"];

    assert_eq!(
        (
            &imported["added"],
            &imported["refused"],
            &summary["bad_rows"]
        ),
        (&json!(2), &json!(1), &json!(1))
    );

    assert_eq!(names(&service).await, [json!("Lamp"), json!("Pen")]);
    let first = |part: &Value| (part[0]["line"].clone(), part[0]["column"].clone());
    assert_eq!(
        first(&summary["first_bad"]),
        (json!(4), json!("price_cents"))
    );

    assert_eq!(
        first(&imported["first_refused"]),
        (json!(5), json!("category"))
    );

    let key = summary["bad_rows_csv"]["key"].as_str().unwrap();
    let bad_rows = std::fs::read_to_string(function.path(key)).unwrap();
    assert_eq!(
        bad_rows, "sku,name,price_cents,stock,category\r\n,Bad,1.5,,\r\n,Cup,5,,\t\u{7}\r\n",
        "rows that the reader or the service refused, in the file's order"
    );

    let id = service.get("/products?category=home").await.body["items"][0]["id"].clone();
    let path = format!("/products/{}", id.as_str().unwrap());
    assert_eq!(
        service
            .send("PATCH", &path, &[], Some(json!({"stock": 1})))
            .await
            .status,
        200
    );

    let dearer = text.replace("1999", "2499");
    let summary = imported_by(&mut function, "dearer.csv", &dearer).await;
    let imported = &summary["products"];

    assert_eq!(
        (&imported["added"], &imported["changed"]),
        (&json!(0), &json!(2))
    );

    let lamp = service.get(&path).await.body;
    assert_eq!(
        (&lamp["price_cents"], &lamp["stock"]),
        (&json!(2499), &json!(1)),
        "an import does not reset the stock"
    );
    assert_eq!(names(&service).await, [json!("Lamp"), json!("Pen")]);
}

#[tokio::test]
async fn of_the_rows_of_one_product_the_last_holds() {
    let secret = Secret::random();
    let (service, url) = products(&secret).await;
    let settings = [
        ("TIDEMARK_AUTH", "enforced"),
        ("TIDEMARK_SERVICE_SECRET", secret.expose()),
    ];
    let mut function = Function::start_with(&url, &settings).await;
    let rows: String = (1..=8)
        .map(|n| format!("S1,Lamp {n},{n}00.0,{n}\n"))
        .collect();
    let text = format!("sku,name,price_cents,stock\n{rows}");
    let outcome = function
        .upload("uploads/catalogue/race.csv", text.as_bytes())
        .await;
    let imported = function.file(&outcome).await["summary"]["products"].clone();

    assert_eq!(
        (
            &imported["added"],
            &imported["changed"],
            &imported["repeated_rows"]
        ),
        (&json!(1), &json!(0), &json!(7))
    );

    let lamps = service.get("/products").await.body["items"].clone();
    assert_eq!(lamps.as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &lamps[0]["name"],
            &lamps[0]["price_cents"],
            &lamps[0]["stock"]
        ),
        (&json!("Lamp 8"), &json!(800), &json!(8))
    );
}

#[tokio::test]
async fn all_rows_of_a_refused_product_are_offered_for_correction() {
    let secret = Secret::random();
    let (service, url) = products(&secret).await;
    let settings = [
        ("TIDEMARK_AUTH", "enforced"),
        ("TIDEMARK_SERVICE_SECRET", secret.expose()),
    ];
    let mut function = Function::start_with(&url, &settings).await;
    let text = "sku,name,price_cents,currency\nS1,Lamp,1,usd\nS2,Pen,2,USD\nS1,Lamp,3,\n";
    let summary = imported_by(&mut function, "merged.csv", text).await;

    let first = &summary["products"]["first_refused"][0];
    assert_eq!(
        (&first["line"], &first["column"]),
        (&json!(2), &json!("currency"))
    );
    let key = summary["bad_rows_csv"]["key"].as_str().unwrap();
    let bad_rows = std::fs::read_to_string(function.path(key)).unwrap();
    assert_eq!(
        bad_rows, "sku,name,price_cents,currency\r\nS1,Lamp,1,usd\r\nS1,Lamp,3,\r\n",
        "both rows, because none of them was imported"
    );

    let mended = bad_rows.replace("usd", "EUR");
    let summary = imported_by(&mut function, "mended.csv", &mended).await;
    assert_eq!(summary["products"]["added"], 1, "{summary}");
    assert_eq!(names(&service).await, [json!("Lamp"), json!("Pen")]);
}

#[tokio::test]
async fn a_catalogue_that_is_no_csv_is_refused_with_advice() {
    let (service, url) = products(&Secret::random()).await;
    let mut function = Function::start(&url).await;

    for (name, text) in [
        ("new.json", r#"[{"name": "Lamp", "price_cents": 1}]"#),
        (
            "new.ndjson",
            "{\"name\":\"Lamp\",\"price_cents\":1}\n{\"name\":\"Pen\"}\n",
        ),
    ] {
        let key = format!("uploads/catalogue/{name}");
        let outcome = function.upload(&key, text.as_bytes()).await;
        let file = function.file(&outcome).await;
        let detail = file["error"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("a catalogue is a CSV"), "{name}: {file}");
    }

    assert!(names(&service).await.is_empty());
}

#[tokio::test]
async fn without_the_secret_an_import_is_an_error_and_nothing_is_added() {
    let (service, url) = products(&Secret::random()).await;
    let mut function = Function::start(&url).await;
    let error = function
        .upload(
            "uploads/catalogue/new.csv",
            b"name,price_cents\nLamp,1999\n",
        )
        .await
        .unwrap_err();

    assert_eq!(
        error["errorMessage"],
        "the products service answered 401 Unauthorized"
    );
    assert!(names(&service).await.is_empty());
}

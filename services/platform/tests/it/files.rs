//! Files, where callers must authenticate: the function is another process, and a service like the others.

use serde_json::json;

use crate::shop::{Answer, shop};

#[test]
fn the_function_imports_a_catalogue_as_a_service_that_is_known() {
    let admin = shop().admin();
    let catalogue = admin
        .request("POST", "/api/files?name=new.csv&folder=catalogue")
        .body("name,price_cents\nTide clock,8900\n");
    let id = Answer::to(catalogue).expect(202)["id"].clone();
    let path = format!("/api/files/{}", id.as_str().unwrap());
    let file = admin.get_until(&path, |file| file["status"] != "waiting");
    assert_eq!(file["summary"]["products"]["added"], 1, "{file}");

    let listed = admin.get("/api/products?limit=100").expect(200);
    assert!(
        listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|product| product["name"] == json!("Tide clock")),
        "{listed}"
    );
}

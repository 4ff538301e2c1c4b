//! The REST interface of the files, for the shop's administrators, because an upload can become
//! products.

mod form;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use chassis::auth::Admin;
use chassis::{Json, Page, PageQuery, Path, Problem, Query, Result, described};
use futures::{Stream, TryStreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use uuid::Uuid;

use crate::file::File;
use crate::folder::Posted;
use crate::objects::{Object, Objects, UPLOADS, UploadError};
use crate::store::Store;

/// The OpenAPI description of this service.
const DESCRIPTION: &str = include_str!("../openapi.json");
/// Longest name of a file, in bytes of UTF-8. File systems allow 255.
const MAX_NAME_BYTES: usize = 200;

/// The time for which a browser may cache a thumbnail. Another version of the object has another address.
const THUMBNAIL_KEPT: &str = "private, max-age=300";

/// The state of the handlers.
#[derive(Clone)]
pub struct Files {
    /// The store of the uploads.
    pub objects: Objects,
    /// The store of the metadata.
    pub store: Store,
    /// Notifies the folder of uploads. `None` where the object store sends notifications.
    pub posted: Option<Posted>,
    /// Size limit of an upload, in bytes.
    pub max_upload_bytes: u64,
}

/// The query parameters of an upload.
#[derive(Debug, Deserialize)]
struct UploadQuery {
    /// The name of the file; if it is missing, the name in the form.
    name: Option<String>,
    /// The destination folder.
    folder: Option<Destination>,
}

/// The folders with a special meaning.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Destination {
    /// CSV files here become products.
    Catalogue,
}

/// The reason why the body of an upload was cut short.
#[derive(Debug)]
enum Broken {
    TooLarge,
    BrokeOff,
    /// A part of a form after its file would have no effect.
    Late(Problem),
}

/// Returns the routes of this service.
pub fn router(files: Files) -> Router {
    let routes = Router::new()
        .route(
            "/files",
            get(list).post(upload).layer(DefaultBodyLimit::disable()),
        )
        .route("/files/{id}", get(show))
        .route("/files/{id}/thumbnail", get(thumbnail))
        .route("/files/{id}/bad-rows", get(bad_rows))
        .with_state(files);
    described(routes, DESCRIPTION)
}

async fn list(
    _: Admin,
    State(files): State<Files>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<File>>> {
    let after: Option<String> = page.after()?;
    Ok(Json(files.store.list(after.as_deref(), page.limit).await?))
}

async fn show(_: Admin, State(files): State<Files>, Path(id): Path<Uuid>) -> Result<Json<File>> {
    let file = files.store.get(id).await?;
    file.map(Json)
        .ok_or_else(|| Problem::not_found("there is no such file"))
}

/// Serves the thumbnail of a picture.
async fn thumbnail(
    _: Admin,
    State(files): State<Files>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse> {
    let missing = || Problem::not_found("there is no such thumbnail");
    let file = files.store.get(id).await?.ok_or_else(missing)?;
    let key = file.thumbnail().ok_or_else(missing)?;
    let bytes = files.made(key).await?.ok_or_else(missing)?;

    let content_type = if key.ends_with(".png") {
        "image/png"
    } else {
        "image/jpeg"
    };

    Ok((
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, THUMBNAIL_KEPT),
        ],
        bytes,
    ))
}

/// Serves the bad rows of a CSV below its header, for correction and a new upload.
async fn bad_rows(
    _: Admin,
    State(files): State<Files>,
    Path(id): Path<Uuid>,
) -> Result<impl IntoResponse> {
    let missing = || Problem::not_found("there is no such file, or it has no bad rows");
    let file = files.store.get(id).await?.ok_or_else(missing)?;
    let key = file.bad_rows().ok_or_else(missing)?;
    let bytes = files.made(key).await?.ok_or_else(missing)?;

    let name = file
        .name
        .rsplit_once('.')
        .map_or(file.name.as_str(), |(name, _)| name);
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let disposition = format!("attachment; filename*=UTF-8''{encoded}-bad-rows.csv");

    Ok((
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        ],
        bytes,
    ))
}

fn out_of_reach(error: &object_store::Error) -> Problem {
    tracing::warn!(%error, "the results of a file could not be read");
    Problem::unavailable("the results of the file cannot be read right now; try again")
}

/// Accepts a file, as the body or as the first file of a form. Answers 202 with the location of its
/// metadata, before the file is processed.
async fn upload(
    _: Admin,
    State(files): State<Files>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response> {
    if is_form(request.headers()) {
        let form = Multipart::from_request(request, &files)
            .await
            .map_err(|error| unreadable(&error))?;
        return form::take(&files, query, form).await;
    }

    let key = key(query.name.as_deref(), query.folder)?;
    let body: Body = request.into_body();
    files
        .take(&key, body.into_data_stream().map_err(|_| Broken::BrokeOff))
        .await
}

impl Files {
    /// Returns the derived object at this key, or `None` if it does not exist.
    async fn made(&self, key: &str) -> Result<Option<Bytes>> {
        let found = self.objects.find(key, None).await;
        let Some(object) = found.map_err(|error| out_of_reach(&error))? else {
            return Ok(None);
        };
        let bytes = self.objects.head(&object, object.size_bytes).await;
        bytes.map(Some).map_err(|error| out_of_reach(&error))
    }

    async fn take(
        &self,
        key: &str,
        pieces: impl Stream<Item = std::result::Result<Bytes, Broken>>,
    ) -> Result<Response> {
        let object = self
            .objects
            .upload(key, limited(pieces, self.max_upload_bytes))
            .await
            .map_err(|error| match error {
                UploadError::Source(Broken::TooLarge) => {
                    let detail = format!("the file is larger than {} bytes", self.max_upload_bytes);
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
                }
                UploadError::Source(Broken::BrokeOff) => {
                    Problem::bad_request("the body ended early")
                }
                UploadError::Source(Broken::Late(problem)) => problem,
                UploadError::Objects(error) => {
                    tracing::warn!(%error, "an upload could not be stored");
                    Problem::unavailable("the file cannot be stored right now; try again")
                }
            })?;
        self.announce(&object).await
    }

    async fn announce(&self, object: &Object) -> Result<Response> {
        let file = File::waiting(
            &object.key,
            &object.version,
            object.size_bytes,
            object.uploaded_at,
        );
        self.store.announce(&file).await?;
        if let Some(posted) = &self.posted {
            posted.tell(object);
        }

        let location = format!("/files/{}", file.id);
        Ok((
            StatusCode::ACCEPTED,
            [(header::LOCATION, location)],
            Json(file),
        )
            .into_response())
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    content_type
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
}

fn unreadable(error: &impl std::fmt::Display) -> Problem {
    Problem::bad_request(format!("the form cannot be read: {error}"))
}

/// Returns a unique key for an upload; it ends in the name.
fn key(name: Option<&str>, folder: Option<Destination>) -> Result<String> {
    let complaint = |text: &'static str| Problem::unprocessable(text).field("name");
    let name = name
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| complaint("the file needs a name"))?;

    if name.len() > MAX_NAME_BYTES {
        return Err(complaint("the name is longer than 200 bytes of UTF-8"));
    }

    let plain = plain(name);
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() {
        return Err(complaint("the name has only dots"));
    }

    let folder = match folder {
        Some(Destination::Catalogue) => "catalogue/",
        None => "",
    };

    Ok(format!("{UPLOADS}{folder}{}/{plain}", Uuid::now_v7()))
}

/// Replaces all characters that may have a special meaning. Letters of all languages stay.
fn plain(name: &str) -> String {
    let is_plain = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars()
        .map(|c| if is_plain(&c) { c } else { '_' })
        .collect()
}

/// Passes the pieces on until their total exceeds `max_bytes`.
fn limited(
    pieces: impl Stream<Item = std::result::Result<Bytes, Broken>>,
    max_bytes: u64,
) -> impl Stream<Item = std::result::Result<Bytes, Broken>> {
    let mut left = max_bytes;
    pieces.and_then(move |piece| {
        let rest = left.checked_sub(piece.len() as u64);
        left = rest.unwrap_or(0);
        std::future::ready(rest.map(|_| piece).ok_or(Broken::TooLarge))
    })
}

//! An upload as a form: one file, and before it the fields `name` and `folder`, as in the query.
//!
//! The file is stored while it arrives, so its name and folder must arrive before it. A form with
//! one of them, or another file, after its file is refused, and nothing of it is stored: a part without
//! effect would be a surprise. Other fields have no meaning and are skipped.

use axum::extract::Multipart;
use axum::extract::multipart::Field;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use chassis::{Problem, Result};
use futures::SinkExt;
use futures::channel::{mpsc, oneshot};

use super::{Broken, Destination, Files, UploadQuery, key, unreadable};

const NAME: &str = "name";
const FOLDER: &str = "folder";
/// The only folder with a meaning.
const CATALOGUE: &str = "catalogue";
/// The name of a file's part in messages.
const FILE: &str = "file";

/// The parts of a form, on their way to the store.
struct Parts {
    query: UploadQuery,
    /// Receives the key of the file; `None` once the file has begun.
    key: Option<oneshot::Sender<String>>,
    pieces: mpsc::Sender<std::result::Result<Bytes, Broken>>,
}

/// Accepts the file of a form.
pub(super) async fn take(files: &Files, query: UploadQuery, form: Multipart) -> Result<Response> {
    let (key_sender, key) = oneshot::channel();
    let (piece_sender, pieces) = mpsc::channel(0);
    let parts = Parts {
        query,
        key: Some(key_sender),
        pieces: piece_sender,
    };

    let stored = async {
        match key.await {
            Ok(key) => Some(files.take(&key, pieces).await),
            Err(oneshot::Canceled) => None,
        }
    };
    let (read, stored) = futures::join!(parts.read(form), stored);

    stored.unwrap_or_else(|| {
        read?;
        Err(Problem::unprocessable("the form has no file").field(FILE))
    })
}

impl Parts {
    /// Reads the form to its end. A problem after the beginning of the file ends the storing of the file.
    async fn read(mut self, form: Multipart) -> Result<()> {
        let outcome = self.read_parts(form).await;
        let has_begun = self.key.is_none();

        match outcome {
            Err(broken) if has_begun => {
                // If the storing has ended already, its own problem is the answer.
                let _ = self.pieces.send(Err(broken)).await;
                Ok(())
            }
            Err(Broken::Late(problem)) => Err(problem),
            Err(_) => Err(Problem::bad_request("the body ended early")),
            Ok(()) => Ok(()),
        }
    }

    async fn read_parts(&mut self, mut form: Multipart) -> std::result::Result<(), Broken> {
        while let Some(field) = form.next_field().await.map_err(|error| late(&error))? {
            match field.file_name().map(str::to_owned) {
                Some(name) => self.read_file(field, name).await?,
                None => self.read_field(field).await?,
            }
        }
        Ok(())
    }

    async fn read_file(
        &mut self,
        mut field: Field<'_>,
        own_name: String,
    ) -> std::result::Result<(), Broken> {
        let Some(begin) = self.key.take() else {
            let detail = "the form has more than one file; send each in a form of its own";
            return Err(Broken::Late(Problem::unprocessable(detail).field(FILE)));
        };

        let name = self.query.name.take().or(Some(own_name));
        let key = match key(name.as_deref(), self.query.folder) {
            Ok(key) => key,
            Err(problem) => {
                self.key = Some(begin);
                return Err(Broken::Late(problem));
            }
        };

        let mut is_wanted = begin.send(key).is_ok();
        while let Some(piece) = field.chunk().await.map_err(|_| Broken::BrokeOff)? {
            is_wanted = is_wanted && self.pieces.send(Ok(piece)).await.is_ok();
        }

        Ok(())
    }

    async fn read_field(&mut self, field: Field<'_>) -> std::result::Result<(), Broken> {
        let Some(meaning) = field
            .name()
            .and_then(|name| [NAME, FOLDER].into_iter().find(|known| *known == name))
        else {
            return Ok(());
        };

        if self.key.is_none() {
            let detail =
                format!("the field {meaning} comes after the file; put it before the file");
            return Err(Broken::Late(Problem::unprocessable(detail).field(meaning)));
        }

        let value = field.text().await.map_err(|error| late(&error))?;
        match meaning {
            NAME => self.query.name = Some(value),
            _ => self.query.folder = Some(folder(&value)?),
        }

        Ok(())
    }
}

fn folder(value: &str) -> std::result::Result<Destination, Broken> {
    if value == CATALOGUE {
        return Ok(Destination::Catalogue);
    }
    let detail = format!("folder is {value:?}; it can only be {CATALOGUE}");
    Err(Broken::Late(
        Problem::new(StatusCode::BAD_REQUEST, detail).field(FOLDER),
    ))
}

fn late(error: &impl std::fmt::Display) -> Broken {
    Broken::Late(unreadable(error))
}

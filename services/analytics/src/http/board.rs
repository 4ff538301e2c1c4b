//! `GET /analytics/board`: orders and customers of the newest windows, for everybody.
//!
//! It names no user and no amount of money, so a shop that authenticates its callers can show it to
//! anonymous visitors.

use std::time::Instant;

use axum::extract::State;
use chassis::{Json, Result};
use events::{Timestamp, WindowSummary};
use serde::Serialize;

use super::summary::SUMMARY_AGE;
use super::{Analytics, Freshness};
use crate::store::StoreError;

/// The number of windows on the board.
const WINDOWS: usize = 60;

/// The reply.
#[derive(Clone, Debug, Serialize)]
pub struct Board {
    items: Vec<BoardWindow>,
    /// Always `None`, as the board is one page. Every list has this field.
    next: Option<String>,
    freshness: Freshness,
}

/// A window of the board.
#[derive(Clone, Debug, Serialize)]
struct BoardWindow {
    id: String,
    window_start: Timestamp,
    window_end: Timestamp,
    order_count: u64,
    user_count: u64,
    revision: u32,
}

pub(super) async fn board(State(analytics): State<Analytics>) -> Result<Json<Board>> {
    Ok(Json(analytics.board().await?))
}

impl Analytics {
    /// Returns the board. It is read at most once a second, because everybody may request it.
    async fn board(&self) -> std::result::Result<Board, StoreError> {
        let mut latest = self.latest_board.lock().await;
        if let Some((_, board)) = latest
            .as_ref()
            .filter(|(made, _)| made.elapsed() < SUMMARY_AGE)
        {
            return Ok(board.clone());
        }

        let windows = self.store.newest_summaries(WINDOWS).await?;
        let board = Board {
            items: windows.into_iter().map(BoardWindow::from).collect(),
            next: None,
            freshness: self.freshness().await?,
        };
        *latest = Some((Instant::now(), board.clone()));
        Ok(board)
    }
}

impl From<WindowSummary> for BoardWindow {
    fn from(window: WindowSummary) -> Self {
        Self {
            id: window.window_start.as_ms().to_string(),
            window_start: window.window_start,
            window_end: window.window_end,
            order_count: window.order_count,
            user_count: window.user_count,
            revision: window.revision,
        }
    }
}

//! Lists come in pages: `{"items":[…],"next":"cursor or null"}`, asked for by `?limit=` and `?cursor=`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::Problem;

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 100;

/// One page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// What to ask for to see the next page; none on the last.
    pub next: Option<Cursor>,
}

/// Where a page begins: opaque to clients, any small value to us.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// How many items a page holds at most: 1 to 100, 20 when not said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit(u32);

/// The query of a list. Lists that take more name these two beside their own: an error in a flattened struct would not name
/// its parameter.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PageQuery {
    /// `?limit=`.
    #[serde(default)]
    pub limit: Limit,
    /// `?cursor=`.
    pub cursor: Option<Cursor>,
}

impl PageQuery {
    /// The position after which the page begins, if one was given.
    ///
    /// # Errors
    /// A 400 naming `cursor` when it is none of ours.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        self.cursor.as_ref().map(Cursor::decode).transpose()
    }
}

impl<T> Page<T> {
    /// The page out of up to `limit + 1` items: the one too many only says that there is a next page, which begins after
    /// `position` of this page's last item.
    pub fn cut<K: Serialize>(
        mut items: Vec<T>,
        limit: Limit,
        position: impl FnOnce(&T) -> K,
    ) -> Self {
        let more = items.len() > limit.items();
        items.truncate(limit.items());
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor::encode(&position(last)));
        Self { items, next }
    }
}

impl Cursor {
    /// Wraps a position.
    pub fn encode<K: Serialize>(position: &K) -> Self {
        let json = serde_json::to_vec(position).expect("positions are plain data");
        Self(URL_SAFE_NO_PAD.encode(json))
    }

    /// The position inside.
    ///
    /// # Errors
    /// A 400 naming `cursor` when it is none of ours.
    pub fn decode<K: DeserializeOwned>(&self) -> Result<K, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok();
        let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position.ok_or_else(|| {
            Problem::bad_request("the cursor is not one that this list gave").field("cursor")
        })
    }
}

impl Limit {
    /// How many items the page holds at most.
    pub fn items(self) -> usize {
        self.0 as usize
    }

    /// What to ask a store for: one more, to know whether there is a next page.
    pub fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    /// Takes text as well as numbers: queries are text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Limit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {MAX_LIMIT}")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Limit, E> {
                let limit = u32::try_from(number)
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit));
                limit
                    .map(Limit)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                let number = text
                    .parse()
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                self.visit_u64(number)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

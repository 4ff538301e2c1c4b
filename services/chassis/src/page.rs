//! Pages of lists: `{"items":[…],"next":"cursor or null"}`, selected by `?limit=` and `?cursor=`.

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
    /// The cursor of the next page; none on the last.
    pub next: Option<Cursor>,
}

/// The position where a page begins. Clients cannot read it; for the service it is any small value.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cursor(String);

/// Largest number of items on a page: 1 to 100, 20 by default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit(u32);

/// The query of a list. A list with more parameters declares these two fields again beside its own, because serde does not
/// name the parameter of an error in a flattened struct.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PageQuery {
    /// `?limit=`.
    #[serde(default)]
    pub limit: Limit,
    /// `?cursor=`.
    pub cursor: Option<Cursor>,
}

impl PageQuery {
    /// Returns the position after which the page begins, if one was given.
    ///
    /// # Errors
    /// A 400 naming `cursor` when the cursor is invalid.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        self.cursor.as_ref().map(Cursor::decode).transpose()
    }
}

impl<T> Page<T> {
    /// Makes a page of up to `limit + 1` items. The extra item only shows that there is a next
    /// page, which begins after `position` of this page's last item.
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
    /// Returns the cursor of a position.
    pub fn encode<K: Serialize>(position: &K) -> Self {
        let json = serde_json::to_vec(position).expect("positions are plain data");
        Self(URL_SAFE_NO_PAD.encode(json))
    }

    /// Returns the position that the cursor contains.
    ///
    /// # Errors
    /// A 400 naming `cursor` when the cursor is invalid.
    pub fn decode<K: DeserializeOwned>(&self) -> Result<K, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.0).ok();
        let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        position.ok_or_else(|| {
            Problem::bad_request("the cursor was not returned by this list").field("cursor")
        })
    }
}

impl Limit {
    /// Returns the largest number of items on the page.
    pub fn items(self) -> usize {
        self.0 as usize
    }

    /// Returns the number of items to read from a store: one more than the limit, to detect a next
    /// page.
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
    /// Accepts text as well as numbers, because query parameters are text.
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

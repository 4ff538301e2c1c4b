//! The list of products: by id, newest first, or as a search.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chassis::{Cursor, Limit, Page, PageQuery, Problem, Query, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::product::{self, Product};
use crate::search::{Position, Prices, Sort, Wanted};
use crate::store::{Listing, Store};

/// Maximum number of ids in one request.
const MAX_IDS: usize = 100;
/// Maximum length of a search, in characters.
const MAX_QUERY_CHARS: usize = 200;
/// Caches must revalidate a list before they use it, because prices change.
const KEPT: &str = "no-cache";

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only these ids, separated by commas; ids that do not exist are left out.
    ids: Option<String>,
    /// Only products with these words.
    q: Option<String>,
    /// Only products of this category.
    category: Option<String>,
    /// Only products at these prices: `from-to`.
    price: Option<String>,
    /// Only products with a price in this currency.
    currency: Option<String>,
    /// The order of the list. If `sort`, `q`, `price` or `currency` is given, the list is a search.
    sort: Option<Sort>,
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor>,
}

/// A page of a search.
#[derive(Serialize)]
struct FoundPage {
    #[serde(flatten)]
    page: Page<Product>,
    /// Number of matches on all pages.
    total: usize,
    /// The categories of the products that match the words and prices.
    categories: Vec<Facet>,
}

#[derive(Serialize)]
struct Facet {
    name: String,
    count: usize,
}

pub(super) async fn list(
    State(store): State<Store>,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Response> {
    if let Some(ids) = &query.ids {
        let items = store.get_all(&parse_ids(ids)?).await?;
        return tagged(&headers, &Page { items, next: None });
    }

    let category = query
        .category
        .clone()
        .map(|name| product::category(&Value::String(name)));

    let category = category
        .transpose()
        .map_err(|invalid| Problem::bad_request(invalid.to_string()).field(invalid.field))?;
    let is_search = query.q.is_some() || query.sort.is_some();
    if is_search || query.price.is_some() || query.currency.is_some() {
        return search(&store, &headers, query, category).await;
    }

    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };

    let listing = Listing {
        category,
        after: page.after()?,
        limit: page.limit,
    };
    tagged(&headers, &store.list(&listing).await?)
}

async fn search(
    store: &Store,
    headers: &HeaderMap,
    query: ListQuery,
    category: Option<String>,
) -> Result<Response> {
    let wanted = Wanted {
        text: words(query.q)?,
        category,
        currency: query.currency.map(currency).transpose()?,
        price: query
            .price
            .as_deref()
            .map(prices)
            .transpose()?
            .unwrap_or_default(),
        sort: query.sort.unwrap_or_default(),
    };

    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let after: Option<Position> = page.after()?;
    let (found, items) = store.search(&wanted, after.as_ref(), page.limit).await?;
    if !wanted.price.are_all() {
        check_one_currency(&found.currencies)?;
    }

    let next = Page::cut(found.page, page.limit, Clone::clone).next;

    let categories = found
        .categories
        .into_iter()
        .map(|(name, count)| Facet { name, count });

    let page = FoundPage {
        page: Page { items, next },
        total: found.total,
        categories: categories.collect(),
    };
    tagged(headers, &page)
}

/// Returns the page with an entity tag computed from its body, or a 304 if the client has the same
/// page already.
fn tagged(headers: &HeaderMap, page: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_vec(page).map_err(Problem::internal)?;
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);

    let tag = format!("W/\"{:016x}\"", hasher.finish());

    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','));
    let is_known = known.any(|known| [tag.as_str(), "*"].contains(&known.trim()));

    let caching = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, KEPT.to_owned()),
    ];

    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }

    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((caching, json, body).into_response())
}

fn words(query: Option<String>) -> Result<String> {
    let text = query.unwrap_or_default();
    if text.chars().count() > MAX_QUERY_CHARS {
        let detail = format!("must not be longer than {MAX_QUERY_CHARS} characters");
        return Err(Problem::bad_request(detail).field("q"));
    }
    Ok(text)
}

fn currency(code: String) -> Result<String> {
    product::currency(&Value::String(code))
        .map_err(|invalid| Problem::bad_request(invalid.to_string()).field(invalid.field))
}

/// Returns an error if the prices to compare are in several currencies.
fn check_one_currency(currencies: &BTreeSet<String>) -> Result<()> {
    if currencies.len() < 2 {
        return Ok(());
    }

    let listed: Vec<&str> = currencies.iter().map(String::as_str).collect();
    let detail = format!(
        "the products have prices in {}, which cannot be compared; add currency={}",
        listed.join(", "),
        listed[0]
    );
    Err(Problem::bad_request(detail).field("currency"))
}

/// Parses `100-500`, `100-` or `-500`: minor units, both ends inclusive.
fn prices(text: &str) -> Result<Prices> {
    let complaint = || {
        let detail = "must be two whole numbers of minor units with a hyphen between them, like 100-500, 100- or -500";
        Problem::bad_request(detail).field("price")
    };
    let (from, to) = text.split_once('-').ok_or_else(complaint)?;

    let end = |text: &str| match text {
        "" => Ok(None),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            number.parse().map(Some).map_err(|_| complaint())
        }
        _ => Err(complaint()),
    };

    let prices = Prices {
        from: end(from)?,
        to: end(to)?,
    };

    match prices {
        Prices {
            from: None,
            to: None,
        } => Err(complaint()),
        Prices {
            from: Some(from),
            to: Some(to),
        } if from > to => Err(Problem::bad_request(
            "the lowest price must not be higher than the highest",
        )
        .field("price")),
        prices => Ok(prices),
    }
}

fn parse_ids(ids: &str) -> Result<Vec<Uuid>> {
    let ids: std::result::Result<Vec<Uuid>, _> = ids
        .split(',')
        .filter(|id| !id.is_empty())
        .map(Uuid::from_str)
        .collect();

    match ids {
        Ok(ids) if ids.len() <= MAX_IDS => Ok(ids),
        Ok(_) => Err(Problem::bad_request(format!("at most {MAX_IDS} ids at once")).field("ids")),
        Err(_) => Err(Problem::bad_request("must be UUIDs separated by commas").field("ids")),
    }
}

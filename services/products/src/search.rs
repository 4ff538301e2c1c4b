//! Finds products by words: an inverted index of the whole catalogue, in memory. Pure.
//!
//! Texts are folded to bare words ([`words`]): case, accents and ligatures go, so that `cafe` finds "Café". A word of the
//! query matches the words that it is equal to or begins; one that matches none matches those with a typing error less.
//! A product is found when every word of the query matches one of its own. Prices and names are kept beside the words, to
//! filter and to sort by; what is shown is read from the store.
//!
//! Deleted products stay in the lists of the words, marked, until [`Index::compact`] finds them too many.

mod words;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::product::Product;
use words::{Typed, folded};

/// The share of deleted entries at which the index is made anew, as one in so many.
const COMPACTED_AT: usize = 4;

/// What is asked of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The words to be found.
    pub text: String,
    /// Only products of this category.
    pub category: Option<String>,
    /// Only products at these prices, in minor units.
    pub price: Prices,
    /// The order of what is found.
    pub sort: Sort,
}

/// A range of prices, both ends included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Prices {
    /// The least.
    pub from: Option<u64>,
    /// The most.
    pub to: Option<u64>,
}

/// The orders in which products are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Those that fit best first, and the newest of those that fit alike.
    #[default]
    Best,
    /// The newest first.
    Newest,
    /// By name.
    Name,
    /// The cheapest first; by the number of minor units.
    Cheapest,
    /// The dearest first.
    Dearest,
}

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// The products of the page, and one more where another page follows.
    pub page: Vec<Position>,
    /// How many there are on all pages.
    pub total: usize,
    /// How many of them each category has; the filter by category does not count here.
    pub categories: BTreeMap<String, usize>,
}

/// Where a product stands in what was found: each has a place of its own.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// By what it is sorted, the least first.
    by: (u64, String),
    /// Then the newest first: ids are times.
    newest: std::cmp::Reverse<Uuid>,
}

impl Position {
    /// The product.
    pub fn id(&self) -> Uuid {
        self.newest.0
    }
}

/// The catalogue, to be searched.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    places: HashMap<Uuid, u32>,
    /// The entries that have a word, in their order.
    words: BTreeMap<Box<str>, Vec<u32>>,
    deleted: usize,
}

#[derive(Debug)]
struct Entry {
    id: Uuid,
    version: u64,
    name: Box<str>,
    category: Option<Box<str>>,
    price_cents: u64,
    is_deleted: bool,
}

impl Index {
    /// How many products it has.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.len()
    }

    /// The products that it has.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.places.keys().copied()
    }

    /// Takes a product, in place of an earlier version of it.
    pub fn put(&mut self, product: &Product) {
        if let Some(place) = self.places.get(&product.id) {
            if self.entries[*place as usize].version >= product.version {
                return;
            }
            self.remove(product.id);
        }

        let place = u32::try_from(self.entries.len())
            .expect("a catalogue has fewer than 4 billion products");
        let details = &product.details;

        let described = details
            .attributes
            .get("description")
            .and_then(|text| text.as_str());

        let sku = details.attributes.get("sku").and_then(|text| text.as_str());
        let texts = [
            Some(details.name.as_str()),
            details.category.as_deref(),
            sku,
            described,
        ];

        for word in texts.into_iter().flatten().flat_map(folded) {
            let entries = self.words.entry(word.into()).or_default();
            if entries.last() != Some(&place) {
                entries.push(place);
            }
        }

        self.places.insert(product.id, place);
        self.entries.push(Entry {
            id: product.id,
            version: product.version,
            name: details.name.as_str().into(),
            category: details.category.as_deref().map(Into::into),
            price_cents: details.price_cents,
            is_deleted: false,
        });
    }

    /// Takes a product out.
    pub fn remove(&mut self, id: Uuid) {
        let Some(place) = self.places.remove(&id) else {
            return;
        };

        self.entries[place as usize].is_deleted = true;
        self.deleted += 1;
        if self.deleted * COMPACTED_AT > self.entries.len() {
            self.compact();
        }
    }

    /// Drops what is marked as deleted.
    fn compact(&mut self) {
        let mut next = 0;
        let places: Vec<Option<u32>> = self
            .entries
            .iter()
            .map(|entry| {
                let place = (!entry.is_deleted).then_some(next);
                next += u32::from(place.is_some());
                place
            })
            .collect();

        self.entries.retain(|entry| !entry.is_deleted);
        self.words.retain(|_, entries| {
            *entries = entries
                .iter()
                .filter_map(|place| places[*place as usize])
                .collect();
            !entries.is_empty()
        });

        for (place, entry) in (0..).zip(&self.entries) {
            self.places.insert(entry.id, place);
        }
        self.deleted = 0;
    }

    /// Finds what is wanted: those behind `after`, `limit` of them and one more.
    pub fn find(&self, wanted: &Wanted, after: Option<&Position>, limit: usize) -> Found {
        let scores = self.scores(&wanted.text);
        let mut found = Found::default();
        let mut positions = Vec::new();

        for (place, entry) in self.entries.iter().enumerate() {
            let score = scores.as_ref().map_or(0, |scores| scores[place]);
            let is_found = scores.is_none() || score > 0;
            if entry.is_deleted || !is_found || !wanted.price.contain(entry.price_cents) {
                continue;
            }

            if let Some(category) = entry.category.as_deref() {
                match found.categories.get_mut(category) {
                    Some(count) => *count += 1,
                    None => drop(found.categories.insert(category.to_owned(), 1)),
                }
            }

            if wanted.category.is_some() && wanted.category.as_deref() != entry.category.as_deref()
            {
                continue;
            }

            found.total += 1;
            positions.push((entry.rank(wanted.sort, score), place));
        }

        found.page = self.page(positions, wanted.sort, after, limit);
        found
    }

    fn page(
        &self,
        mut positions: Vec<(u64, usize)>,
        sort: Sort,
        after: Option<&Position>,
        limit: usize,
    ) -> Vec<Position> {
        let position = |(rank, place): &(u64, usize)| self.entries[*place].position(*rank, sort);
        let order = |one: &(u64, usize), other: &(u64, usize)| {
            let ranked = one.0.cmp(&other.0);
            ranked.then_with(|| self.entries[one.1].compare(&self.entries[other.1], sort))
        };

        if let Some(after) = after {
            positions.retain(|found| position(found) > *after);
        }

        if positions.len() > limit + 1 {
            positions.select_nth_unstable_by(limit, order);
            positions.truncate(limit + 1);
        }

        positions.sort_unstable_by(order);
        positions.iter().map(position).collect()
    }

    /// For each entry how well it fits, 0 when not at all; none when nothing is asked.
    fn scores(&self, text: &str) -> Option<Vec<u8>> {
        let words: Vec<String> = folded(text).collect();
        if words.is_empty() {
            return None;
        }

        let mut scores = vec![0; self.entries.len()];
        for (number, word) in words.iter().enumerate() {
            let fits = self.fits(word);
            for (score, fit) in scores.iter_mut().zip(fits) {
                let goes_on = fit > 0 && (number == 0 || *score > 0);
                *score = if goes_on {
                    fit.saturating_add(*score)
                } else {
                    0
                };
            }
        }

        Some(scores)
    }

    /// For each entry how well it fits one word.
    fn fits(&self, word: &str) -> Vec<u8> {
        const EXACTLY: u8 = 3;
        const BEGINS: u8 = 2;
        const MISTYPED: u8 = 1;

        let mut fits = vec![0; self.entries.len()];
        let mut note = |entries: &[u32], fit: u8| {
            for place in entries {
                let best = &mut fits[*place as usize];
                *best = fit.max(*best);
            }
        };

        let mut is_known = false;
        let from = self
            .words
            .range::<str, _>((Bound::Included(word), Bound::Unbounded));

        for (known, entries) in from.take_while(|(known, _)| known.starts_with(word)) {
            is_known = true;
            note(
                entries,
                if known.len() == word.len() {
                    EXACTLY
                } else {
                    BEGINS
                },
            );
        }

        if !is_known {
            let typed = Typed::new(word);
            let near = self.words.iter().filter(|(known, _)| typed.may_mean(known));
            near.for_each(|(_, entries)| note(entries, MISTYPED));
        }

        fits
    }
}

impl Entry {
    /// By what it is sorted before its name or age.
    fn rank(&self, sort: Sort, score: u8) -> u64 {
        match sort {
            Sort::Best => u64::from(u8::MAX - score),
            Sort::Newest | Sort::Name => 0,
            Sort::Cheapest => self.price_cents,
            Sort::Dearest => u64::MAX - self.price_cents,
        }
    }

    fn compare(&self, other: &Self, sort: Sort) -> std::cmp::Ordering {
        let by_name = match sort {
            Sort::Name => self.sort_name().cmp(&other.sort_name()),
            _ => std::cmp::Ordering::Equal,
        };
        by_name.then_with(|| other.id.cmp(&self.id))
    }

    fn position(&self, rank: u64, sort: Sort) -> Position {
        let name = if sort == Sort::Name {
            self.sort_name()
        } else {
            String::new()
        };

        Position {
            by: (rank, name),
            newest: std::cmp::Reverse(self.id),
        }
    }

    fn sort_name(&self) -> String {
        folded(&self.name).collect::<Vec<_>>().join(" ")
    }
}

impl Prices {
    fn contain(self, cents: u64) -> bool {
        self.from.is_none_or(|from| from <= cents) && self.to.is_none_or(|to| cents <= to)
    }
}

#[cfg(test)]
mod tests;

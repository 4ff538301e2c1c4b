//! Finds products by words, in an inverted index of the whole catalogue in memory. Pure.
//!
//! Texts are folded to bare words ([`words`]): case, accents and ligatures are removed, so that
//! `cafe` finds "Café". A word of the query matches the words that are equal to it or begin with
//! it. If the index has no such word, it matches words that differ from it by a typing error or
//! two. A product is found if every word of the query matches one of its own words. Prices and
//! folded names are stored with the words, for filtering and sorting; the products that are returned
//! are read from the store.
//!
//! A search looks at each product once, so nothing is folded, copied or looked up by text for each:
//! categories and currencies are numbers ([`names`]), and names are folded when a product is added.
//!
//! Deleted products are marked and stay in the words' lists. When they are more than one entry in
//! four, [`Index::compact`] removes them.

mod names;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::product::Product;
use names::Names;
use words::{Letters, Typed, folded};

/// The index is compacted when more than one in this many entries is deleted.
const COMPACTED_AT: usize = 4;

/// A search of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The words to find.
    pub text: String,
    /// If given, only products of this category match.
    pub category: Option<String>,
    /// If given, only products with a price in this currency match.
    pub currency: Option<String>,
    /// Only products at these prices match, in minor units of their currency.
    pub price: Prices,
    /// The order of the matches.
    pub sort: Sort,
}

/// A range of prices, both ends inclusive.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Prices {
    /// The lowest price.
    pub from: Option<u64>,
    /// The highest price.
    pub to: Option<u64>,
}

/// The orders in which matches are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The best matches first; equally good ones newest first.
    #[default]
    Best,
    /// The newest first.
    Newest,
    /// By folded name.
    Name,
    /// The cheapest first, by the number of minor units; currencies are not converted.
    Cheapest,
    /// The most expensive first.
    Dearest,
}

/// The result of a search.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// The positions of the page, and one more if another page follows.
    pub page: Vec<Position>,
    /// Number of matches on all pages.
    pub total: usize,
    /// Number of matches in each category if categories are not filtered.
    pub categories: BTreeMap<String, usize>,
    /// The currencies of the matches if category and price are not filtered.
    pub currencies: BTreeSet<String>,
}

/// The position of a product in the order of matches. No two products share a position.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// The sort key, ascending.
    by: (u64, String),
    /// Positions with the same key are ordered newest first: ids of version 7 contain their time.
    newest: Reverse<Uuid>,
}

impl Position {
    /// Returns the product's id.
    pub fn id(&self) -> Uuid {
        self.newest.0
    }

    fn key(&self) -> (u64, &str, Reverse<Uuid>) {
        (self.by.0, &self.by.1, self.newest)
    }
}

/// The index of the catalogue.
#[derive(Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    places: HashMap<Uuid, u32>,
    words: BTreeMap<Box<str>, Word>,
    categories: Names,
    currencies: Names,
    deleted: usize,
}

/// A word of products.
#[derive(Debug)]
struct Word {
    letters: Letters,
    /// The entries that contain it, in ascending order.
    entries: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    id: Uuid,
    version: u64,
    folded_name: Box<str>,
    category: Option<u32>,
    price_cents: u64,
    currency: u32,
    is_deleted: bool,
}

/// A match. The id stands here, so that matches of the same rank are compared without their entries, which are far apart in
/// memory.
struct Candidate {
    rank: u64,
    newest: Reverse<Uuid>,
    place: usize,
}

/// The numbers of the category and currency of a search. A name that no product has yet has none.
struct Filter {
    category: Option<Option<u32>>,
    currency: Option<Option<u32>>,
    price: Prices,
}

impl Index {
    /// Returns the number of products.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the ids of the products.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.places.keys().copied()
    }

    /// Adds a product, or replaces an earlier version of it. A version that is not newer is
    /// ignored.
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
            let letters = Letters::of(&word);
            let word = self.words.entry(word.into()).or_insert_with(|| Word {
                letters,
                entries: Vec::new(),
            });
            if word.entries.last() != Some(&place) {
                word.entries.push(place);
            }
        }

        let category = details.category.as_deref();
        let category = category.map(|category| self.categories.number(category));
        let currency = self.currencies.number(&details.currency);

        self.places.insert(product.id, place);
        self.entries.push(Entry {
            id: product.id,
            version: product.version,
            folded_name: folded_name(&details.name),
            category,
            price_cents: details.price_cents,
            currency,
            is_deleted: false,
        });
    }

    /// Removes a product.
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

    /// Drops the entries that are marked as deleted.
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
        self.words.retain(|_, word| {
            let left = word.entries.iter();
            word.entries = left.filter_map(|place| places[*place as usize]).collect();
            !word.entries.is_empty()
        });

        for (place, entry) in (0..).zip(&self.entries) {
            self.places.insert(entry.id, place);
        }
        self.deleted = 0;
    }

    /// Returns the matches that follow `after`: `limit` of them, and one more if there is one.
    pub fn find(&self, wanted: &Wanted, after: Option<&Position>, limit: usize) -> Found {
        let scores = self.scores(&wanted.text);
        let filter = self.filter(wanted);
        let mut found = Found::default();
        let mut of_categories = vec![0; self.categories.len()];
        let mut has_currency = vec![false; self.currencies.len()];
        let mut positions = Vec::new();

        for (place, entry) in self.entries.iter().enumerate() {
            let score = scores.as_ref().map_or(0, |scores| scores[place]);
            let is_found = scores.is_none() || score > 0;
            let is_currency = |wanted| wanted == Some(entry.currency);
            if entry.is_deleted || !is_found || !filter.currency.is_none_or(is_currency) {
                continue;
            }

            has_currency[entry.currency as usize] = true;
            if !filter.price.contain(entry.price_cents) {
                continue;
            }
            if let Some(category) = entry.category {
                of_categories[category as usize] += 1;
            }
            if filter
                .category
                .is_some_and(|wanted| wanted.is_none() || wanted != entry.category)
            {
                continue;
            }

            found.total += 1;
            positions.push(Candidate {
                rank: entry.rank(wanted.sort, score),
                newest: Reverse(entry.id),
                place,
            });
        }

        let counts = self.categories.iter().zip(of_categories);
        let counts = counts.filter(|(_, count)| *count > 0);
        found.categories = counts
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        let currencies = self.currencies.iter().zip(has_currency);
        let currencies = currencies.filter(|(_, is_there)| *is_there);
        found.currencies = currencies.map(|(name, _)| name.to_owned()).collect();
        found.page = self.page(positions, wanted.sort, after, limit);
        found
    }

    fn filter(&self, wanted: &Wanted) -> Filter {
        let category = wanted.category.as_deref();
        let currency = wanted.currency.as_deref();
        Filter {
            category: category.map(|name| self.categories.known(name)),
            currency: currency.map(|name| self.currencies.known(name)),
            price: wanted.price,
        }
    }

    fn page(
        &self,
        positions: Vec<Candidate>,
        sort: Sort,
        after: Option<&Position>,
        limit: usize,
    ) -> Vec<Position> {
        let name = |one: &Candidate| match sort {
            Sort::Name => &*self.entries[one.place].folded_name,
            _ => "",
        };
        let order = |one: &Candidate, other: &Candidate| {
            let ranked = one.rank.cmp(&other.rank);
            let named = ranked.then_with(|| name(one).cmp(name(other)));
            named.then_with(|| one.newest.cmp(&other.newest))
        };

        // The newest products are the last entries, and are the first of their rank. So few candidates are better than all
        // before them.
        let mut page: Vec<Candidate> = Vec::with_capacity(limit + 2);
        for one in positions.into_iter().rev() {
            let is_before =
                after.is_some_and(|after| (one.rank, name(&one), one.newest) <= after.key());
            let is_beyond =
                page.len() > limit && page.last().is_some_and(|last| order(&one, last).is_ge());
            if is_before || is_beyond {
                continue;
            }
            let place = page.partition_point(|other| order(other, &one).is_lt());
            page.insert(place, one);
            page.truncate(limit + 1);
        }

        let position = |one: &Candidate| Position {
            by: (one.rank, name(one).to_owned()),
            newest: one.newest,
        };
        page.iter().map(position).collect()
    }

    /// Returns a score for each entry, 0 if it does not match; `None` if the text is empty. A text of
    /// signs alone matches nothing, because the index has words only.
    fn scores(&self, text: &str) -> Option<Vec<u8>> {
        if text.trim().is_empty() {
            return None;
        }

        let words: Vec<String> = folded(text).collect();
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

    /// Returns for each entry how well it matches one word.
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

        for (known, found) in from.take_while(|(known, _)| known.starts_with(word)) {
            is_known = true;
            note(
                &found.entries,
                if known.len() == word.len() {
                    EXACTLY
                } else {
                    BEGINS
                },
            );
        }

        if !is_known {
            let typed = Typed::new(word);
            let near = self.words.iter();
            let near = near.filter(|(known, word)| typed.may_mean(known, word.letters));
            near.for_each(|(_, word)| note(&word.entries, MISTYPED));
        }

        fits
    }
}

impl Entry {
    /// Returns the number by which entries are sorted before name and age.
    fn rank(&self, sort: Sort, score: u8) -> u64 {
        match sort {
            Sort::Best => u64::from(u8::MAX - score),
            Sort::Newest | Sort::Name => 0,
            Sort::Cheapest => self.price_cents,
            Sort::Dearest => u64::MAX - self.price_cents,
        }
    }
}

/// Returns the words of a name, by which products are sorted.
fn folded_name(name: &str) -> Box<str> {
    folded(name).collect::<Vec<_>>().join(" ").into()
}

impl Prices {
    /// Returns `true` if no price is outside the range.
    pub fn are_all(self) -> bool {
        self == Self::default()
    }

    fn contain(self, cents: u64) -> bool {
        self.from.is_none_or(|from| from <= cents) && self.to.is_none_or(|to| cents <= to)
    }
}

#[cfg(test)]
mod tests;

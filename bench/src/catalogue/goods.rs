//! The products of the catalogue, each determined by its number, and the searches with the number of their matches.
//!
//! The expected numbers are counted over the products themselves. No two nouns are within two typing errors of each
//! other, and the words of descriptions begin like none of them, so a word with an error means one noun only.

use serde_json::{Value, json};

/// Adjectives of names; a search for one is written without its accents.
const ADJECTIVES: [(&str, &str); 8] = [
    ("Café", "cafe"),
    ("Crème", "creme"),
    ("Étoile", "etoile"),
    ("Grün", "grun"),
    ("Señor", "senor"),
    ("Łódź", "lodz"),
    ("Straße", "strasse"),
    ("Plain", "plain"),
];
/// Nouns of names, each with its category.
const NOUNS: [(&str, &str); 16] = [
    ("barometer", "instruments"),
    ("telescope", "instruments"),
    ("hourglass", "instruments"),
    ("notebook", "paper"),
    ("sketchpad", "paper"),
    ("calendar", "paper"),
    ("saucepan", "kitchen"),
    ("corkscrew", "kitchen"),
    ("teaspoon", "kitchen"),
    ("tablecloth", "kitchen"),
    ("wheelbarrow", "garden"),
    ("flowerpot", "garden"),
    ("sunshade", "garden"),
    ("umbrella", "outdoors"),
    ("raincoat", "outdoors"),
    ("backpack", "outdoors"),
];
const CONSONANTS: [char; 12] = ['b', 'd', 'g', 'j', 'k', 'l', 'm', 'n', 'p', 'r', 't', 'v'];
const VOWELS: [char; 5] = ['a', 'e', 'i', 'o', 'u'];
/// The number of different words in descriptions.
const WORDS: u64 = 20_000;
const WORDS_OF_A_DESCRIPTION: u64 = 10;
const PRICES: u64 = 100_000;

/// The kind of a search.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// One word.
    Word,
    /// Two words, one of them without its accent.
    Accent,
    /// A word with two letters swapped.
    TypingError,
    /// The beginning of a word.
    Beginning,
    /// A word, within a category and a range of prices.
    Facets,
    /// All products, by name.
    ByName,
    /// A category, cheapest first.
    ByPrice,
    /// The second page of a word.
    NextPage,
    /// A word that no product has.
    Nothing,
}

/// A search, and the number of its matches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Search {
    pub(super) kind: Kind,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) matches: u64,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Word,
        Self::Accent,
        Self::TypingError,
        Self::Beginning,
        Self::Facets,
        Self::ByName,
        Self::ByPrice,
        Self::NextPage,
        Self::Nothing,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Word => "a word",
            Self::Accent => "two words, an accent left out",
            Self::TypingError => "a word with a typing error",
            Self::Beginning => "the beginning of a word",
            Self::Facets => "a word, a category and a range of prices",
            Self::ByName => "all products, by name",
            Self::ByPrice => "a category, by price",
            Self::NextPage => "the second page of a word",
            Self::Nothing => "a word of no product",
        }
    }
}

/// Returns the product with this number, as the body of a request.
pub(super) fn product(number: u64) -> Value {
    let (adjective, _) = adjective(number);
    let (noun, category) = noun(number);
    let words =
        (0..WORDS_OF_A_DESCRIPTION).map(|place| word((number * 31 + place * 1_543) % WORDS));
    json!({
        "name": format!("{adjective} {noun} {number}"),
        "price_cents": price(number),
        "currency": "EUR",
        "stock": 100,
        "category": category,
        "sku": format!("T-{number:06}"),
        "description": words.collect::<Vec<_>>().join(" "),
    })
}

/// Returns a search of a kind; `turn` varies its words. `products` is the size of the catalogue.
pub(super) fn search(kind: Kind, turn: u64, products: u64) -> Search {
    let (_, bare) = ADJECTIVES[place(turn, ADJECTIVES.len())];
    let (noun, category) = NOUNS[place(turn * 7 + 3, NOUNS.len())];
    let is_noun = |number: u64| self::noun(number).0 == noun;
    let is_category = |number: u64| self::noun(number).1 == category;
    let from = 1_000 * (turn % 50);
    let range = from..=from + 20_000;

    let query: Vec<(&'static str, String)> = match kind {
        Kind::Word | Kind::NextPage => vec![("q", noun.to_owned())],
        Kind::Accent => vec![("q", format!("{bare} {noun}"))],
        Kind::TypingError => vec![("q", mistyped(noun))],
        Kind::Beginning => vec![("q", noun[..7].to_owned())],
        Kind::Facets => vec![
            ("q", noun.to_owned()),
            ("category", category.to_owned()),
            ("price", format!("{}-{}", range.start(), range.end())),
        ],
        Kind::ByName => vec![("sort", "name".to_owned())],
        Kind::ByPrice => vec![
            ("sort", "cheapest".to_owned()),
            ("category", category.to_owned()),
        ],
        Kind::Nothing => vec![("q", "zyzzyvas".to_owned())],
    };

    let is_match = |number: &u64| match kind {
        Kind::Word | Kind::NextPage | Kind::TypingError | Kind::Beginning => is_noun(*number),
        Kind::Accent => is_noun(*number) && adjective(*number).1 == bare,
        Kind::Facets => is_noun(*number) && range.contains(&price(*number)),
        Kind::ByName => true,
        Kind::ByPrice => is_category(*number),
        Kind::Nothing => false,
    };
    let matches = (0..products).filter(is_match).count() as u64;
    Search {
        kind,
        query,
        matches,
    }
}

fn adjective(number: u64) -> (&'static str, &'static str) {
    ADJECTIVES[place(number / 16, ADJECTIVES.len())]
}

fn noun(number: u64) -> (&'static str, &'static str) {
    NOUNS[place(number, NOUNS.len())]
}

/// Returns a price. The factor has no divisor in common with the number of prices, so each occurs as often.
fn price(number: u64) -> u64 {
    100 + number * 7_919 % PRICES
}

/// Swaps the fourth letter and the fifth.
fn mistyped(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    letters.swap(3, 4);
    letters.into_iter().collect()
}

/// Returns the word of descriptions with this number: three syllables, six letters, fewer than a search for a beginning has.
fn word(number: u64) -> String {
    let syllable = |number: u64| {
        let consonant = CONSONANTS[place(number, CONSONANTS.len())];
        let vowel = VOWELS[place(number / 12, VOWELS.len())];
        [consonant, vowel]
    };
    let syllables = [number, number / 60, number / 3_600].map(syllable);
    syllables.into_iter().flatten().collect()
}

fn place(number: u64, places: usize) -> usize {
    usize::try_from(number % places as u64).expect("a place is smaller than the list")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn matches_are_counted_over_the_products_themselves() {
        let names: Vec<String> = (0..1_000)
            .map(|number| product(number)["name"].to_string())
            .collect();
        let word = search(Kind::Word, 5, 1_000);
        let noun = word.query[0].1.clone();
        let having = names.iter().filter(|name| name.contains(&noun)).count() as u64;
        assert!(having > 10);
        assert_eq!(word.matches, having);
        assert_eq!(search(Kind::TypingError, 5, 1_000).matches, having);
        assert!(
            !names
                .iter()
                .any(|name| name.contains(&search(Kind::TypingError, 5, 1_000).query[0].1))
        );

        assert_eq!(search(Kind::ByName, 0, 1_000).matches, 1_000);
        assert_eq!(search(Kind::Nothing, 0, 1_000).matches, 0);
        let facets = search(Kind::Facets, 5, 1_000).matches;
        assert!(facets > 0 && facets < having, "{facets}");
        let accents: u64 = (0..8)
            .map(|turn| search(Kind::Accent, turn, 1_000).matches)
            .sum();
        assert!(accents > 0, "{accents}");
    }

    #[test]
    fn words_of_descriptions_are_no_beginnings_of_searches() {
        let words: BTreeSet<String> = (0..WORDS).map(word).collect();
        assert_eq!(words.len() as u64, WORDS);
        for kind in Kind::ALL {
            for turn in 0..16 {
                for (_, text) in search(kind, turn, 1)
                    .query
                    .iter()
                    .filter(|(name, _)| *name == "q")
                {
                    let begins = |word: &&String| text.split(' ').any(|own| word.starts_with(own));
                    assert_eq!(words.iter().find(begins), None, "{text}");
                }
            }
        }
    }
}

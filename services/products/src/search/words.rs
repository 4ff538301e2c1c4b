//! Folds words for comparison, without case, accents and ligatures, and compares words that have
//! typing errors. Pure.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Maximum length of a word; a longer one is cut off, as its rest rarely distinguishes it.
const MAX_CHARS: usize = 32;

/// Returns the bare words of a text, in their order.
pub(super) fn folded(text: &str) -> impl Iterator<Item = String> + use<> {
    let mut bare = String::with_capacity(text.len());
    for c in text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
    {
        match c {
            'ß' => bare.push_str("ss"),
            'æ' => bare.push_str("ae"),
            'œ' => bare.push_str("oe"),
            'ø' => bare.push('o'),
            'đ' | 'ð' => bare.push('d'),
            'ł' => bare.push('l'),
            'þ' => bare.push_str("th"),
            'ı' => bare.push('i'),
            // Apostrophes are part of a word's spelling: l'eau, don’t.
            '\'' | '’' => {}
            c => bare.push(c),
        }
    }

    let words: Vec<String> = bare
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_CHARS).collect())
        .collect();
    words.into_iter()
}

/// The set of letters of a word, hashed to 64 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters(u64);

/// A word of a query, which may have typing errors.
pub(super) struct Typed {
    chars: Vec<char>,
    letters: Letters,
    most_errors: usize,
}

impl Typed {
    /// Prepares a folded word for comparisons. No errors are accepted in a word of up to three
    /// characters, nor in one with digits: a number that is nearly right is a different number.
    pub(super) fn new(word: &str) -> Self {
        let chars: Vec<char> = word.chars().collect();
        let most_errors = match chars.len() {
            _ if chars.iter().any(|c| c.is_numeric()) => 0,
            0..=3 => 0,
            4..=7 => 1,
            _ => 2,
        };

        Self {
            letters: Letters::of(word),
            chars,
            most_errors,
        }
    }

    /// Returns whether `word` with these letters may be the intended word.
    pub(super) fn may_mean(&self, word: &str, letters: Letters) -> bool {
        // One error changes at most two of the letters present, so this rejects most words cheaply.
        let other_letters = (self.letters.0 ^ letters.0).count_ones() as usize;
        let is_too_short = word.len() + self.most_errors < self.chars.len();
        if self.most_errors == 0 || is_too_short || other_letters > 2 * self.most_errors {
            return false;
        }

        let chars: Vec<char> = word.chars().collect();
        let is_near = |other: &[char]| {
            other.len().abs_diff(self.chars.len()) <= self.most_errors
                && errors(&self.chars, other) <= self.most_errors
        };
        is_near(&chars)
    }
}

impl Letters {
    pub(super) fn of(word: &str) -> Self {
        let bits = word.chars().map(|c| 1 << (u32::from(c) % 64));
        Self(bits.fold(0, |all, bit: u64| all | bit))
    }
}

/// Returns the optimal string alignment distance: the number of letters that are wrong, missing,
/// surplus or swapped with the next one.
fn errors(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, c) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, d) in other.iter().enumerate() {
            let replaced = last[column] + usize::from(c != d);
            let mut least = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            let is_swapped = row > 0 && column > 0 && *c == other[column - 1] && one[row - 1] == *d;

            if is_swapped {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut last, line);
    }

    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> Vec<String> {
        folded(text).collect()
    }

    #[test]
    fn words_are_bare_of_case_accents_and_ligatures() {
        assert_eq!(bare("Café crème"), ["cafe", "creme"]);
        assert_eq!(bare("Cafe\u{301} CRÈME"), ["cafe", "creme"]);
        assert_eq!(
            bare("Straße, Œuvre; Smørrebrød"),
            ["strasse", "oeuvre", "smorrebrod"]
        );

        assert_eq!(bare("Łódź İstanbul ﬁn"), ["lodz", "istanbul", "fin"]);
        assert_eq!(
            bare("Max’s l'eau A-4 №5"),
            ["maxs", "leau", "a", "4", "no5"]
        );

        assert_eq!(bare(" — !? "), [""; 0]);
        assert_eq!(bare("日本 ランプ"), ["日本", "ランフ"]);
    }

    #[test]
    fn a_typing_error_is_forgiven_where_the_word_is_long_enough() {
        let means = |typed: &str, word: &str| Typed::new(typed).may_mean(word, Letters::of(word));
        for (typed, word) in [
            ("lamb", "lamp"),
            ("barmoeter", "barometer"),
            ("kompas", "compass"),
            ("lntern", "lantern"),
            ("telescoppe", "telescope"),
        ] {
            let is_forgiven = errors(
                &typed.chars().collect::<Vec<_>>(),
                &word.chars().collect::<Vec<_>>(),
            );
            assert_eq!(
                means(typed, word),
                is_forgiven <= Typed::new(typed).most_errors,
                "{typed}"
            );
        }

        assert!(
            means("lamb", "lamp") && means("barmoeter", "barometer") && means("lntern", "lantern")
        );
        assert!(!means("cup", "cap"), "too short");
        assert!(
            !means("lamb", "limp") && !means("number69", "number68") && !means("kompas", "compass")
        );
    }

    #[test]
    fn errors_are_counted_as_by_hand() {
        let count = |one: &str, other: &str| {
            errors(
                &one.chars().collect::<Vec<_>>(),
                &other.chars().collect::<Vec<_>>(),
            )
        };

        for (one, other, errors) in [
            ("", "", 0),
            ("a", "", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("abcd", "badc", 2),
        ] {
            assert_eq!(
                (count(one, other), count(other, one)),
                (errors, errors),
                "{one} {other}"
            );
        }
    }
}

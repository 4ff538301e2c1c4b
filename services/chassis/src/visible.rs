//! Names that people tell apart by sight: of users, of products and of their categories. Pure.
//!
//! A name with an invisible character looks like another name, and one that changes the direction
//! of text or heaps up accents changes how the text around it looks. Joiners and variation
//! selectors are allowed where they show: in scripts whose letters they join, and in emoji.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Most combining marks in a row. Vietnamese has two on a letter, and Hebrew with points has three.
const MOST_MARKS: usize = 4;

/// Returns whether every character of the name can be seen or shows by its effect on the one
/// beside it.
pub fn is_visible(name: &str) -> bool {
    let letters: Vec<char> = name.chars().collect();
    let is_each_visible = (0..letters.len()).all(|at| is_visible_at(&letters, at));
    is_each_visible && !has_loose_marks(&letters)
}

fn is_visible_at(letters: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| letters.get(at)).copied();
    let after = letters.get(at + 1).copied();

    match letters[at] {
        '\u{200c}' => before.is_some_and(joins) && after.is_some_and(joins),
        '\u{200d}' => {
            let is_in_word = before.is_some_and(joins) && after.is_some_and(joins);
            is_in_word || (before.is_some_and(ends_emoji) && after.is_some_and(is_symbol))
        }
        '\u{fe0e}' | '\u{fe0f}' => before.is_some_and(is_symbol),
        '\u{fe00}'..='\u{fe0d}' | '\u{e0100}'..='\u{e01ef}' => before.is_some_and(is_ideograph),
        // Letters, marks and a symbol that are drawn as nothing.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' | '\u{34f}' => false,
        '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{1d159}' => false,
        letter => !matches!(
            letter.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::Unassigned
        ),
    }
}

/// Returns whether a combining mark has no letter before it, or too many stand in a row.
fn has_loose_marks(letters: &[char]) -> bool {
    let is_mark = |letter: &char| {
        matches!(
            letter.general_category(),
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        )
    };
    let mut words = letters.split(|letter| letter.is_whitespace());
    let begins_with_mark = words.any(|word| word.first().is_some_and(is_mark));

    let has_heap = letters
        .chunk_by(|one, other| is_mark(one) && is_mark(other))
        .any(|marks| marks.len() > MOST_MARKS);
    begins_with_mark || has_heap
}

/// Returns whether a letter is of a script in which a joiner changes how a word is written: Arabic
/// and those of India and its neighbours.
fn joins(letter: char) -> bool {
    matches!(letter, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{fb50}'..='\u{fdff}')
}

fn is_symbol(letter: char) -> bool {
    matches!(
        letter,
        '#' | '*' | '0'..='9' | '\u{203c}' | '\u{2049}' | '\u{3030}' | '\u{303d}'
    ) || matches!(
        letter.general_category(),
        GeneralCategory::OtherSymbol | GeneralCategory::MathSymbol
    )
}

/// Returns whether an emoji can end here: with its picture, its skin tone or its selector.
fn ends_emoji(letter: char) -> bool {
    is_symbol(letter) || matches!(letter, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_ideograph(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_and_emoji_are_visible() {
        for name in [
            "Ada Lovelace",
            "O’Brien-Smith 3.",
            "Jörg Müße",
            "e\u{301}",
            "Nguyê\u{303}n Thi\u{323} Be\u{302}\u{301}",
            "שָׁלוֹם",
            "محمد",
            "می\u{200c}خواهم",
            "क्\u{200d}ष नमस्ते",
            "日本\u{e0100} 한국어",
            "👩\u{200d}👩\u{200d}👧 poster",
            "🧑🏽\u{200d}🚀 ❤\u{fe0f}\u{200d}🔥 ✂\u{fe0f}",
            "1\u{fe0f}\u{20e3} 9\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} *\u{fe0f}\u{20e3}",
            "↔\u{fe0f} ✂\u{fe0e} ‼\u{fe0f} ⁉\u{fe0f} 〰\u{fe0f} 〽\u{fe0f}",
            "ශ්\u{200d}රී ලංකාව",
            "ﷲ\u{200c}ﷲ",
            "神\u{fe00} 𠮷\u{e0101}野 﨑\u{e0100}",
            // Five marks in a row, one of which is a spacing mark, which does not count.
            "လျှို့ဝှက်",
            "a\u{a0}b",
        ] {
            assert!(is_visible(name), "{name:?}");
        }
    }

    #[test]
    fn a_character_that_cannot_be_seen_is_found_wherever_it_is() {
        for hidden in [
            '\0',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180e}',
            '\u{180f}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{206a}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe00}',
            '\u{fe0d}',
            '\u{fe0e}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1d159}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{10ffff}',
        ] {
            for name in [
                format!("{hidden}"),
                format!("{hidden}Ada"),
                format!("A{hidden}da"),
                format!("Ada{hidden}"),
                format!("Ada {hidden} Eve"),
            ] {
                assert!(!is_visible(&name), "{name:?}");
            }
        }
    }

    #[test]
    fn a_joiner_stands_between_letters_or_emoji_of_one_kind() {
        for name in [
            "👩\u{200d}",
            "\u{200d}👩",
            "👩\u{200d} 👧",
            "Ada\u{200d}👧",
            "👩\u{200d}Ada",
            "👩\u{200c}👧",
            "می\u{200c}",
            "می\u{200c}Ada",
            "\u{200c}می",
            "क्\u{200d}",
            "क्\u{200d}👧",
        ] {
            assert!(!is_visible(name), "{name:?}");
        }
    }

    #[test]
    fn a_mark_needs_a_letter_and_marks_are_not_heaped_up() {
        for name in [
            "\u{301}",
            "\u{301}Ada",
            "Ada \u{20e3}",
            "Ada\u{a0}\u{301}",
            "Ada\u{3000}\u{301}",
        ] {
            assert!(!is_visible(name), "{name:?}");
        }

        let heap = |marks: usize| format!("A{}da", "\u{335}".repeat(marks));
        assert!(is_visible(&heap(4)));
        assert!(!is_visible(&heap(5)));
        assert!(!is_visible(&format!("Ada Eve {}", heap(5))));
    }
}

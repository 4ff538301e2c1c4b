//! The dialect of a CSV: its separator and the start of its header. Pure.
//!
//! Spreadsheets use different separators, so the separator is inferred: the beginning of the file is
//! parsed with each candidate. The best candidate is the one with which the most rows have as many
//! fields as the header, and the most fields look whole. A line `sep=;`, which Excel writes and
//! reads, and the extension `.tsv` take precedence over inference.

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::MAX_COLUMNS;
use crate::finding::Refusal;

/// The candidates, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Number of rows that suffice for the inference.
const ROWS_TRIED: usize = 100;

/// A constant that is added to the share of rows that agree with the header. A delimiter with which
/// no row agrees then still has a score, by the share of its fields that look whole.
const NONE_AGREES: f64 = 0.01;

/// The share of agreeing rows from which a text counts as a table if its name implies no kind.
const MOST_AGREE: f64 = 0.5;

/// The dialect of a CSV.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dialect {
    /// The byte between fields.
    pub delimiter: u8,
    /// The offset of the header, in bytes of the text as UTF-8.
    pub header_at: usize,
    /// The number of lines before the header.
    pub lines_before: u64,
    /// The byte that ends a line: `\r` in files of old Macintosh programs, else `\n`.
    pub line_end: u8,
}

/// The beginning of a text.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its bytes, as UTF-8.
    pub text: &'a [u8],
    /// Whether this is the whole text.
    pub is_whole: bool,
}

impl Dialect {
    /// The dialect with commas between fields and the header at the first byte.
    #[cfg(test)]
    pub const PLAIN: Self = Self {
        delimiter: b',',
        header_at: 0,
        lines_before: 0,
        line_end: b'\n',
    };

    /// Determines the dialect of a CSV. `has_tabs` is set when the file's name implies tabs as
    /// separators.
    ///
    /// # Errors
    /// [`Refusal`] when its line `sep=` names something that cannot separate fields.
    pub fn of(head: Head<'_>, has_tabs: bool) -> Result<Self, Refusal> {
        let mut header_at = blank_lines(head.text);
        let told = separator_line(&head.text[header_at..])?;
        if let Some((_, length)) = told {
            header_at += length;
            header_at += blank_lines(&head.text[header_at..]);
        }

        let rest = Head {
            text: &head.text[header_at..],
            ..head
        };

        let delimiter = told
            .and_then(|(delimiter, _)| delimiter)
            .or_else(|| Some(b'\t').filter(|tab| has_tabs && first_line(rest.text).contains(tab)))
            .or_else(|| found(rest))
            .unwrap_or(b',');

        let line_end = if head.text.contains(&b'\n') {
            b'\n'
        } else {
            b'\r'
        };

        let before = &head.text[..header_at];
        Ok(Self {
            delimiter,
            header_at,
            lines_before: before.iter().filter(|byte| **byte == line_end).count() as u64,
            line_end,
        })
    }

    /// Returns the delimiter as text.
    pub fn separator(&self) -> String {
        char::from(self.delimiter).to_string()
    }
}

/// Returns `true` if the text looks like a CSV. Used if its name implies no kind.
pub fn is_likely(head: Head<'_>) -> bool {
    let from = blank_lines(head.text);
    let text = &head.text[from..];
    let is_told = matches!(separator_line(text), Ok(Some(_)) | Err(_));
    let fit = best(Head { text, ..head });
    is_told || fit.is_some_and(|(fit, _)| fit.agreeing >= MOST_AGREE)
}

/// Returns the length of the white space at the beginning, in whole lines.
fn blank_lines(text: &[u8]) -> usize {
    let blanks = text
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();

    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    text[..blanks]
        .iter()
        .rposition(is_end)
        .map_or(0, |end| end + 1)
}

fn first_line(text: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    &text[..text.iter().position(is_end).unwrap_or(text.len())]
}

/// Parses Excel's line `sep=;`. Returns the delimiter, if it names one, and the length of the line
/// with its end.
fn separator_line(text: &[u8]) -> Result<Option<(Option<u8>, usize)>, Refusal> {
    let line = first_line(text);
    let end = match &text[line.len()..] {
        [b'\r', b'\n', ..] => 2,
        [] => 0,
        _ => 1,
    };

    let Some(named) = named_separator(line) else {
        return Ok(None);
    };

    let length = line.len() + end;
    match named {
        b"" => Ok(Some((None, length))),
        b"\\t" => Ok(Some((Some(b'\t'), length))),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | 0) => Ok(Some((Some(*byte), length))),
        named => Err(Refusal::malformed(format!(
            "its line sep= names {:?}, and one ASCII character can separate fields; save it with commas, semicolons or tabs",
            String::from_utf8_lossy(named)
        ))),
    }
}

/// Returns the value of a line `sep=…`. Accepts quotation marks around the line, and the trailing
/// delimiters that a spreadsheet may have added.
fn named_separator(line: &[u8]) -> Option<&[u8]> {
    const WORD: &[u8] = b"sep=";

    let bare = line.strip_prefix(b"\"").unwrap_or(line);
    let word = bare.get(..WORD.len())?;
    if !word.eq_ignore_ascii_case(WORD) {
        return None;
    }

    let mut named = &bare[WORD.len()..];
    while let [rest @ .., b' '] = named
        && !rest.is_empty()
    {
        named = rest;
    }

    let is_quoted = bare.len() < line.len();
    if is_quoted {
        let end = named.iter().rposition(|byte| *byte == b'"')?;
        return Some(&named[..end]);
    }

    match named {
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => Some(&named[..1]),
        b"\\t" => Some(named),
        // A character of several bytes is returned here and refused later. A longer text means
        // that the line is a header that happens to begin with `sep=`.
        named if std::str::from_utf8(named).is_ok_and(|text| text.chars().count() <= 1) => {
            Some(named)
        }
        _ => None,
    }
}

fn found(head: Head<'_>) -> Option<u8> {
    best(head).map(|(_, delimiter)| delimiter)
}

/// Returns the best delimiter with its score, or `None` if no candidate separates the header.
fn best(head: Head<'_>) -> Option<(Fit, u8)> {
    let mut best: Option<(Fit, u8)> = None;
    for delimiter in DELIMITERS {
        let rows = rows(head, delimiter);
        let Some(fit) = Fit::of(&rows) else { continue };
        if best
            .as_ref()
            .is_none_or(|(known, _)| fit.is_better_than(known))
        {
            best = Some((fit, delimiter));
        }
    }

    best
}

/// The score of a delimiter.
struct Fit {
    /// The share of rows with as many fields as the header.
    agreeing: f64,
    /// The score: `agreeing` plus [`NONE_AGREES`], times the share of fields that look whole.
    share: f64,
    columns: usize,
}

impl Fit {
    fn of(rows: &[Vec<String>]) -> Option<Self> {
        let (header, rest) = rows.split_first()?;
        if header.len() < 2 {
            return None;
        }

        let agreeing: Vec<_> = rest
            .iter()
            .filter(|row| row.len() == header.len())
            .collect();
        let fields = || agreeing.iter().copied().chain([header]).flatten();
        let whole = fields().filter(|field| is_whole(field)).count();
        let share_agreeing = ratio(agreeing.len(), rest.len());

        Some(Self {
            agreeing: share_agreeing,
            share: (share_agreeing + NONE_AGREES) * ratio(whole, fields().count()),
            columns: header.len(),
        })
    }

    fn is_better_than(&self, other: &Self) -> bool {
        (self.share, self.columns) > (other.share, other.columns)
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// Returns `true` if a field looks whole: a number, or a text in which every candidate is
/// punctuation followed by a space.
fn is_whole(field: &str) -> bool {
    let is_number = |c: char| c.is_ascii_digit() || ".,'+-% €$£".contains(c);
    if field.chars().all(is_number) && !field.starts_with(' ') {
        return true;
    }

    let bytes = field.as_bytes();
    let is_punctuation = |at: usize| bytes[at] != b'\t' && bytes.get(at + 1) == Some(&b' ');
    let mut candidates = (0..bytes.len()).filter(|at| DELIMITERS.contains(&bytes[*at]));
    !field.starts_with(' ') && candidates.all(is_punctuation)
}

/// Parses the first rows that are not empty with this delimiter. Omits the last row if it may be
/// cut off.
fn rows(head: Head<'_>, delimiter: u8) -> Vec<Vec<String>> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let mut text = vec![0; head.text.len() + 1];
    let mut ends = vec![0; MAX_COLUMNS + 1];
    let mut input = head.text;
    let mut rows = Vec::new();
    let mut text_used = 0;
    let mut ends_used = 0;

    while rows.len() <= ROWS_TRIED {
        let (result, read, written, ended) =
            reader.read_record(input, &mut text[text_used..], &mut ends[ends_used..]);
        input = &input[read..];
        text_used += written;
        ends_used += ended;

        match result {
            ReadRecordResult::Record => {
                let row = fields(&text[..text_used], &ends[..ends_used]);
                if row.iter().any(|field| !field.trim().is_empty()) {
                    rows.push(row);
                }
                (text_used, ends_used) = (0, 0);
            }
            ReadRecordResult::InputEmpty if head.is_whole || rows.is_empty() => {}
            _ => break,
        }
    }

    rows
}

fn fields(text: &[u8], ends: &[usize]) -> Vec<String> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts
        .zip(ends)
        .map(|(start, end)| String::from_utf8_lossy(&text[start..*end]).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(text: &str) -> Dialect {
        let head = Head {
            text: text.as_bytes(),
            is_whole: true,
        };
        Dialect::of(head, false).unwrap()
    }

    fn delimiter(text: &str) -> char {
        char::from(dialect(text).delimiter)
    }

    #[test]
    fn the_line_sep_names_the_delimiter_and_is_no_header() {
        let lines = [
            ("sep=;", ';'),
            ("SEP=,", ','),
            ("sep=\t", '\t'),
            ("sep=\\t", '\t'),
            ("\"sep=|\"", '|'),
            ("sep=^", '^'),
            ("sep=:", ':'),
            ("sep=;;;", ';'),
            ("\"sep=,\",,", ','),
            ("sep=;  ", ';'),
            ("\"sep=;\" ", ';'),
            ("sep= ", ' '),
        ];

        for (line, delimiter) in lines {
            for end in ["\r\n", "\n", "\r"] {
                let before = format!("{end}{line}{end}");
                let found = dialect(&format!("{before}a;b{end}1;2{end}"));
                assert_eq!(char::from(found.delimiter), delimiter, "{line:?}{end:?}");
                assert_eq!(found.header_at, before.len(), "{line:?}{end:?}");
                assert_eq!(found.lines_before, 2, "{line:?}{end:?}");
            }
        }
    }

    #[test]
    fn a_header_that_begins_like_the_line_sep_is_a_header() {
        for text in [
            "separator,b\n1,2\n",
            "sep=x,b\n1,2\n",
            "\"sep=\n;\",b\n1,2\n",
        ] {
            assert_eq!(dialect(text).header_at, 0, "{text:?}");
        }

        let empty = dialect("sep=\na;b\n1;2\n");
        assert_eq!((empty.delimiter, empty.header_at), (b';', 5));
    }

    #[test]
    fn a_separator_of_several_bytes_is_refused_by_name() {
        let head = Head {
            text: "sep=§\na§b\n".as_bytes(),
            is_whole: true,
        };
        let detail = Dialect::of(head, false).unwrap_err().detail;
        assert!(detail.contains("\"§\""), "{detail}");
    }

    #[test]
    fn the_delimiter_is_the_one_that_the_rows_agree_with() {
        assert_eq!(
            delimiter("Produkt;Preis, netto\nLampe;1999\nStift;250\n"),
            ';'
        );

        assert_eq!(
            delimiter("Name;Preis, netto\nLampe;19,99\nStift;2,50\n"),
            ';'
        );

        assert_eq!(delimiter("Name;Size (L, B, H)\nBox;10, 20, 30\n"), ';');
        assert_eq!(
            delimiter("sku\tname, colour, size\nL1\tLamp, red, L\n"),
            '\t'
        );

        assert_eq!(delimiter("id,first;last,price\n1,a;b,2\n"), ',');
        assert_eq!(delimiter("a|b, c\n1|2\n"), '|');
        assert_eq!(
            delimiter("\"Name, first\";\"Price\n(net)\"\nLamp;1\nPen;2\n"),
            ';'
        );

        assert_eq!(delimiter("\"a,b,c,d\";b;c\n,,,,,,"), ';');
        assert_eq!(delimiter("name\nAda\n"), ',');
        assert_eq!(delimiter("\"Last, First\"|\"Street; No\"\nx|y\n"), '|');
    }

    #[test]
    fn blank_lines_before_the_header_are_passed_over() {
        for before in ["\r\n\r\n", "\n \t \n", "\r\r", "  \n"] {
            let found = dialect(&format!("{before}name;price;stock\r\nLamp;1999;3\r\n"));
            assert_eq!(
                (found.delimiter, found.header_at),
                (b';', before.len()),
                "{before:?}"
            );
        }

        assert_eq!(delimiter(";;\nname;price, net;stock\n1;2;3\n"), ';');
    }

    #[test]
    fn a_row_that_the_head_cuts_off_does_not_count() {
        let text = b"a;b,c\n1;2\n3,4";
        let head = Head {
            text,
            is_whole: false,
        };
        assert_eq!(Dialect::of(head, false).unwrap().delimiter, b';');
    }
}

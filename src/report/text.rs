//! Turns figures and hostile words into plain text, and cells into aligned tables.
//!
//! # Invariants
//! What leaves here holds no control character but the line ends and the colours this floor put there.

use crate::run::Metric;
use anstyle::Style;
use std::fmt::Write;

/// One line of a model's or a file's words. What would speak to a terminal, reverse the writing direction or not be seen at
/// all is written by its code point: `U+202E`; line ends and tabs become `·`.
pub fn plain(text: &str) -> String {
    written(text, |c, out| if matches!(c, '\n' | '\r' | '\t') { out.push('·') } else { visible(c, out) })
}

/// As [`plain`], with line ends and tabs kept.
pub fn plain_lines(text: &str) -> String {
    written(text, |c, out| if matches!(c, '\n' | '\t') { out.push(c) } else { visible(c, out) })
}

fn written(text: &str, write: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| write(c, &mut out));
    out
}

/// A character as it is, or by its code point where nobody could see what it does.
pub fn visible(c: char, out: &mut String) {
    if is_hidden(c) {
        write!(out, "U+{:04X}", u32::from(c)).expect("writing to a string");
    } else {
        out.push(c);
    }
}

/// JSON of the same value in which what nobody could see is written by its code: a terminal may obey it.
pub fn escape_json(json: &str) -> String {
    written(json, |c, out| {
        // Line ends stand between values, never within a text.
        if is_hidden(c) && c != '\n' {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| write!(out, "\\u{unit:04x}").expect("writing to a string"));
        } else {
            out.push(c);
        }
    })
}

/// Controls; marks, embeddings and isolates of the writing direction; what has no width; tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most `width` characters, the last of them `…` when something was cut.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Whole numbers as such, everything else with three decimals.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        "–".to_owned()
    } else if value.fract() == 0.0 && value.abs() > 1.0 {
        grouped(value as i64)
    } else if value != 0.0 && value.abs() < 0.001 {
        format!("{value:.1e}")
    } else {
        format!("{value:.3}")
    }
}

/// Figures that count something; every other has decimals, also where they are zero.
const COUNTS: [&str; 4] = ["count", "rows", "steps", "tokens"];

/// A metric's value: `2.000` of a mean, `48` of a count.
pub fn value(metric: &Metric) -> String {
    let is_small = metric.value.is_finite() && (1.0..1000.0).contains(&metric.value.abs());
    if is_small && !COUNTS.contains(&metric.name.as_str()) {
        format!("{:.3}", metric.value)
    } else {
        number(metric.value)
    }
}

/// `0.531 ± 0.098`; of a share so near to an end that this would leave the possible, `1.000 [0.839, 1.000]`.
pub fn figure(metric: &Metric) -> String {
    let value = value(metric);
    let Some((half, (low, high))) = metric.ci95.zip(metric.interval()) else { return value };
    let leaves = metric.value + half > 1.0 || metric.value - half < 0.0;
    if leaves && metric.is_share() { format!("{value} [{low:.3}, {high:.3}]") } else { format!("{value} ± {half:.3}") }
}

/// `12,288`
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

pub fn count(value: u64) -> String {
    grouped(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `812 bytes`, `14.2 kB`, `3.1 MB`
pub fn bytes(size: u64) -> String {
    let mut scaled = size as f64;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = None;
    while scaled >= 999.95 {
        let Some(next) = units.next() else { break };
        (scaled, unit) = (scaled / 1000.0, Some(next));
    }
    unit.map_or_else(|| format!("{size} bytes"), |unit| format!("{scaled:.1} {unit}"))
}

/// `1 node`, `1,200 nodes`
pub fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// `0.4 s`, `42 s`, `3 min 05 s`, `1 h 02 min`.
/// In at most four characters and a letter, for bounds: `840`, `12.3k`, `4.72M`; rounded up.
pub fn rough(value: u64) -> String {
    let (mut scaled, mut letters) = (value as f64, ["k", "M", "G", "T", "P", "E"].into_iter());
    let mut letter = "";
    while scaled >= 1000.0 {
        let Some(next) = letters.next() else { break };
        (scaled, letter) = (scaled / 1000.0, next);
    }
    let places = if letter.is_empty() || scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    let step = 10f64.powi(places);
    format!("{}{letter}", (scaled * step).ceil() / step)
}

pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

pub fn painted(text: &str, style: Style) -> String {
    if text.is_empty() || style == Style::new() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
    right: bool,
    /// Characters shown in a terminal; 0 shows all. Markdown always shows all.
    most: usize,
}

impl Cell {
    pub fn left(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), ..Self::default() }
    }

    pub fn right(text: impl AsRef<str>) -> Self {
        Self { right: true, ..Self::left(text) }
    }

    #[must_use]
    pub fn at_most(mut self, characters: usize) -> Self {
        self.most = characters;
        self
    }

    fn shown(&self) -> String {
        if self.most == 0 { self.text.clone() } else { clip(&self.text, self.most) }
    }

    #[must_use]
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// Rows of cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub rows: Vec<Vec<Cell>>,
    /// Whether the first row is a head.
    has_head: bool,
}

impl Table {
    pub fn with_head(head: impl IntoIterator<Item = Cell>) -> Self {
        Self { rows: vec![head.into_iter().collect()], has_head: true }
    }

    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// No row below the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= usize::from(self.has_head)
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &Cell| cell.shown().chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }

    /// Aligned by spaces, indented by two, the head dimmed.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::from(" ");
            for (cell, width) in row.iter().zip(&widths) {
                let style = if index == 0 && self.has_head { Style::new().dimmed() } else { cell.style };
                let shown = cell.shown();
                let gap = " ".repeat(width - shown.chars().count());
                let text = painted(&shown, style);
                let cell = if cell.right { format!("{gap}{text}") } else { format!("{text}{gap}") };
                write!(line, " {cell} ").expect("writing to a string");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| escape_markdown(&cell.text)).collect();
            writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a string");
            if index == 0 {
                let rule: Vec<&str> = row.iter().map(|cell| if cell.right { "---:" } else { ":---" }).collect();
                writeln!(out, "| {} |", rule.join(" | ")).expect("writing to a string");
            }
        }
        out
    }
}

/// Text that a Markdown reader shows as it is.
pub fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(12_288.0), "12,288");
        assert_eq!(number(-1_000.0), "-1,000");
        assert_eq!(number(1.0), "1.000");
        assert_eq!(number(0.53125), "0.531");
        assert_eq!(number(0.0), "0.000");
        assert_eq!(number(1.5e-5), "1.5e-5");
        assert_eq!(number(f64::NAN), "–");
        assert_eq!(duration(0.42), "0.4 s");
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
    }

    #[test]
    fn figures_look_like_their_neighbours() {
        assert_eq!(value(&Metric::plain("score.mean", 2.0, 4)), "2.000");
        assert_eq!(value(&Metric::plain("count", 2.0, 4)), "2");
        assert_eq!(figure(&Metric::share("precision", 20, 20).unwrap()), "1.000 [0.839, 1.000]");
        assert_eq!(figure(&Metric::share("precision", 10, 20).unwrap()), "0.500 ± 0.201");
    }

    #[test]
    fn hostile_words_cannot_speak_to_a_terminal_or_a_page() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d\u{200b}"), "aU+001B[31mb·cU+202EdU+200B");
        assert_eq!(plain_lines("a\u{1b}\n\tb"), "aU+001B\n\tb");
        assert_eq!(escape_markdown("<img> | *x*"), "&lt;img&gt; \\| \\*x\\*");
    }

    #[test]
    fn json_keeps_its_value_and_shows_what_could_not_be_seen() {
        let value = serde_json::json!({ "a\u{9b}31m": "\u{202e}x\u{200b}\u{e0041}\n\u{1b}", "ö": 7 });
        let json = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(json.chars().all(|c| c == '\n' || !is_hidden(c)) && json.contains("\\udb40\\udc41"), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::with_head([Cell::left("node"), Cell::right("n")]);
        table.push([Cell::left("judge@1"), Cell::right("768")]);
        table.push([Cell::left("a"), Cell::right("2")]);
        let plain_text = anstream::adapter::strip_str(&table.text()).to_string();
        assert_eq!(plain_text, "  node       n\n  judge@1  768\n  a          2\n");
        assert!(table.markdown().starts_with("| node | n |\n| :--- | ---: |\n| judge@1 | 768 |\n"));
    }
}

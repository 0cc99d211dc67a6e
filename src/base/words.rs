//! Turns somebody else's words into what a message may repeat of them: on one line, not too many, without what moves a terminal's
//! cursor.

/// So many characters are told.
const MOST: usize = 300;

/// Their beginning.
pub fn words(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(MOST) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// Their end.
pub fn final_words(text: &str) -> String {
    let line = one_line(text);
    let over = line.chars().count().saturating_sub(MOST);
    match line.char_indices().nth(over) {
        Some((start, _)) if over > 0 => format!("…{}", &line[start..]),
        _ => line,
    }
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

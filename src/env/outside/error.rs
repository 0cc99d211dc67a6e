//! What goes wrong with an environment outside the program, told apart.

/// Of somebody else's words, so many characters are told.
const MOST_WORDS: usize = 300;

/// Ends the episode that met it, and no other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("the environment cannot be started: {0}")]
    Unstarted(String),
    #[error("the environment cannot be reached: {0}")]
    Unreachable(String),
    /// It ended, or broke the connection, with the end of what it wrote to its standard error.
    #[error("the environment is gone: {how}{}", last_words(.said))]
    Gone { how: String, said: String },
    /// After so many milliseconds.
    #[error("the environment hangs: no answer in {} s", *.0 as f64 / 1e3)]
    Hangs(u64),
    /// An answer is longer than so many bytes.
    #[error("the environment floods: an answer is longer than {} MiB", .0 >> 20)]
    Floods(usize),
    #[error("the environment answers garbage: {0}")]
    Garbage(String),
    /// In its own words.
    #[error("the environment refuses: {0}")]
    Refuses(String),
    /// Its answer is sound, and not what the file declares.
    #[error("the environment is not as declared: {0}")]
    Undeclared(String),
}

impl EnvError {
    /// Whether every other episode would end in the same way.
    pub fn is_general(&self) -> bool {
        matches!(self, EnvError::Unstarted(_))
    }

    /// Whether what answered can serve another episode.
    pub fn leaves_it_sound(&self) -> bool {
        matches!(self, EnvError::Refuses(_) | EnvError::Undeclared(_))
    }
}

fn last_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; its last words: {said}") }
}

/// Somebody else's words on one line, not too many, without what moves a terminal's cursor.
pub fn words(text: &str) -> String {
    let line = one_line(text);
    line.char_indices().nth(MOST_WORDS).map_or_else(|| line.clone(), |(end, _)| format!("{}…", &line[..end]))
}

/// The same of their end.
pub fn final_words(text: &str) -> String {
    let line = one_line(text);
    let over = line.chars().count().saturating_sub(MOST_WORDS);
    match line.char_indices().nth(over) {
        Some((start, _)) if over > 0 => format!("…{}", &line[start..]),
        _ => line,
    }
}

fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

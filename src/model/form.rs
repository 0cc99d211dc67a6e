//! What form a reply is to have, as regular expressions over its whole text.

/// A text that begins as something is whole, or is not written; every other text is free. The expressions are those of the
/// crate `regex-syntax`, each over the whole of a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// Texts that begin as a call, say.
    pub begun: String,
    /// Of these, the ones that are whole.
    pub whole: String,
    /// Of those, the ones that are not to be all the same: mostly none.
    pub never: Option<String>,
    /// Special tokens that stand for themselves, though a text does without them; no other is drawn but what ends a reply.
    pub marks: &'static [&'static str],
}

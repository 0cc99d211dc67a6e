//! Turns a diagnostic's code into its title and explanation: what `agx explain` and the book print.

/// What a code means: a title, and what to know and do.
#[derive(Clone, Copy, Debug)]
pub struct Explanation {
    pub code: &'static str,
    pub title: &'static str,
    pub text: &'static str,
}

const fn code(code: &'static str, title: &'static str, text: &'static str) -> Explanation {
    Explanation { code, title, text }
}

/// The codes of files, of writing, and of what is found wrong while a tree is made.
pub const ALL: &[Explanation] = &[
    code("E0001", "the file cannot be read", "The path leads to nothing, or to something that may not be opened."),
    code("E0002", "the path is a directory", "`agx` reads files. Name an `.agx` file in the directory."),
    code(
        "E0003",
        "the file is not UTF-8",
        "An `.agx` file is UTF-8 text. The place is the first byte that starts no character; most often the file was saved \
         in another encoding.",
    ),
    code(
        "E0004",
        "the file is binary or holds control characters",
        "Text holds no NUL bytes and no control characters but line ends and tabs. In a string write `\\u{…}`.",
    ),
    code(
        "E0005",
        "the file is too large",
        "An experiment is written by people: 4 MiB is the most. Data belongs into a data set.",
    ),
    code(
        "E0101",
        "something else was due",
        "The text stops being what it began as at the place shown. The message says what could have followed. A mistake \
         breaks only the item, field, statement or stage it stands in; the rest of the file is read.",
    ),
    code(
        "E0102",
        "a string without an end",
        "A string ends on its line, with `\"`. For text of several lines use `\"\"\"`.",
    ),
    code(
        "E0103",
        "a text block without an end",
        "A text block begins with `\"\"\"`, after any number of `#`, and ends with `\"\"\"` and as many `#`. Everything \
         between is text, so an end that is missing swallows the rest of the file.",
    ),
    code(
        "E0104",
        "a bracket that is never closed",
        "Every `{`, `(` and `[` needs its partner. Where an item begins in the first column while a bracket is open, the \
         bracket is taken as forgotten, so the items after it are still read.",
    ),
    code("E0105", "a bracket that closes nothing", "Remove it, or look above for one that closed too early."),
    code(
        "E0106",
        "nested too deeply, or too long",
        "Brackets nest at most 48 deep, template blocks 16, and an expression has at most 200 operators.",
    ),
    code("E0107", "tabs do not indent", "Indent with spaces. `agx fix` replaces each tab by two."),
    code("E0108", "an unknown escape", "A string knows `\\n`, `\\t`, `\\\"`, `\\\\` and `\\u{1F600}`."),
    code(
        "E0109",
        "a missing comma",
        "Fields stand one a line, or on one line with commas between them. So do statements.",
    ),
    code(
        "E0110",
        "a number that cannot be read",
        "`4k` is refused because it may mean 4,000 or 4,096. A unit stands behind its number after a space, `512 tokens`, \
         and `_` only between two digits.",
    ),
    code(
        "E0111",
        "an unknown item",
        "Each item of a file begins with a word that says what it declares: `model`, `rule`, …",
    ),
    code(
        "E0112",
        "an unknown statement",
        "A schedule is a list of statements: `rollout`, `judge`, `select`, `train`, …",
    ),
    code("E0113", "an unknown stage", "A rule is stages with `|` between them: `where`, `top`, `dedup`, `require`, …"),
    code("E0114", "a clause given twice", "Each clause of `train` is given at most once."),
    code(
        "E0115",
        "a name that is not in lower case",
        "Names are `[a-z_][a-z0-9_]*`, so that they read alike everywhere.",
    ),
    code(
        "E0116",
        "too many mistakes",
        "After 300 mistakes of writing the rest is not told: the file is probably something else.",
    ),
    code(
        "E0117",
        "the formatter has a bug",
        "Before `agx fmt` writes a file it makes sure that the result means the same, that every comment stands where it \
         stood, that text blocks kept their bytes, and that formatting again changes nothing. Here one of these did not hold, \
         so the file stays as it was. Please report it, with the file.",
    ),
    code(
        "E0301",
        "an unknown unit",
        "Units are tokens; ms, s, min, h and days; USD; KiB, MiB, GiB and TiB, KB, MB, GB and TB. Percentages are `30%`.",
    ),
    code(
        "E0401",
        "text left of the margin",
        "The column of the closing `\"\"\"` is the margin: that much is taken off every line. A line that begins before it \
         would lose text, so it is an error.",
    ),
    code(
        "E0402",
        "a template block without its end, or an end without a block",
        "Every `{% for … %}` and `{% if … %}` ends with `{% end %}`.",
    ),
    code(
        "E0403",
        "a template's hole that cannot be read",
        "A hole is `{{ path | filter }}`, `{% for x in list %}`, `{% if path is known %}` or `{% end %}`. To write braces as \
         text, put `#` before the quotes; holes are then `#{{ … }}`.",
    ),
    code(
        "W0403",
        "a hole with single braces",
        "A hole has two braces on each side: `{{ task.request }}`. With one it is text like any other, and the model reads \
         the braces instead of the value. To write it as text, put `#` before the quotes.",
    ),
];

//! Where a generated text grows: tokens, and between them whatever space, line ends and comments the grammar allows.

/// Numbers from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Names, many of which begin like a word of the language.
const NAMES: &[&str] = &[
    "a",
    "b",
    "kept",
    "policy",
    "score",
    "_y",
    "x1",
    "desk",
    "dev",
    "good",
    "traj",
    "android",
    "order",
    "notes",
    "input",
    "island",
    "bytes",
    "perform",
    "within",
    "fromage",
    "elsewhere",
    "stalls_2",
    "since_then",
    "timesheet",
    "ask",
    "truest",
    "falsey",
    "tokens_left",
    "visible_name",
    "known",
    "a_rather_long_name_that_fills_its_line",
    "task",
    "min",
    "held_out",
];

/// Keys may be words that names may not.
const KEYS: &[&str] =
    &["in", "or", "by", "with", "from", "not", "is", "model", "prompt", "rule", "max", "use", "lr", "true"];

const COMMENTS: &[&str] = &[
    "//",
    "// why",
    "// { ( [ \" \"\"\" #",
    "//~ mark",
    "/// of the next",
    "///",
    "//! of the file",
    "//// no doc",
    "// é 🦀 ,| = ",
    "// a comment that is rather long and goes on for a while, so that the line it stands behind becomes too long",
];

pub struct Out {
    pub dice: Dice,
    pub text: String,
    pub depth: usize,
    /// How odd the layout is: 0 is plain.
    wild: usize,
    /// Inside a text block, whose end no comment may look like.
    pub in_text: bool,
}

impl Out {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let wild = dice.below(4);
        Self { dice, text: String::new(), depth: 0, wild, in_text: false }
    }

    /// A token; apart from the last one if they would be one together.
    pub fn t(&mut self, token: &str) -> &mut Self {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let (Some(last), Some(first)) = (self.text.chars().next_back(), token.chars().next()) {
            let signs = "=<>!/\"#.";
            let runs = (word(last) && (word(first) || first == '@')) || (signs.contains(last) && signs.contains(first));
            if runs {
                self.text.push(' ');
            }
        }
        self.text.push_str(token);
        self
    }

    /// A token that touches the one before.
    pub fn glued(&mut self, token: &str) -> &mut Self {
        self.text.push_str(token);
        self
    }

    /// A known word with space before it.
    pub fn word(&mut self, word: &str) -> &mut Self {
        self.s().t(word)
    }

    /// Space on the line.
    pub fn s(&mut self) -> &mut Self {
        let inside = self.text.ends_with(|c: char| !c.is_whitespace() && c != '\u{feff}');
        let space = match self.dice.below(2 + 2 * self.wild) {
            0 | 1 => " ",
            2 => "",
            3 if inside => "\t ",
            4 => "   ",
            _ => " ",
        };
        self.text.push_str(space);
        self
    }

    /// Space in which lines may end.
    pub fn w(&mut self) -> &mut Self {
        if self.wild == 0 || !self.dice.one_in(9 - 2 * self.wild) {
            return self.s();
        }
        match self.dice.below(4) {
            0 => self.line(),
            1 => self.comment(),
            2 => self.comment().comment(),
            _ => self.line().line().comment(),
        }
    }

    pub fn line(&mut self) -> &mut Self {
        let indent = match self.wild {
            0 => 2 * self.depth,
            _ => self.dice.below(9),
        };
        self.text.push_str(if self.wild == 3 && self.dice.one_in(5) { "\r\n" } else { "\n" });
        self.text.push_str(&" ".repeat(indent.max(usize::from(self.depth > 0))));
        self
    }

    pub fn comment(&mut self) -> &mut Self {
        if self.dice.one_in(3) {
            self.line();
        }
        let comment = if self.in_text { "// in a hole" } else { self.dice.pick(COMMENTS) };
        self.text.push(' ');
        self.text.push_str(comment);
        if self.dice.one_in(4) {
            self.text.push_str("  ");
        }
        self.line()
    }

    pub fn name(&mut self) -> &mut Self {
        let name = self.dice.pick(NAMES);
        self.t(name)
    }

    pub fn key(&mut self) -> &mut Self {
        let key = if self.dice.one_in(3) { self.dice.pick(KEYS) } else { self.dice.pick(NAMES) };
        self.t(key);
        if self.dice.one_in(8) {
            self.glued(".").glued("part");
        }
        self
    }

    pub fn path(&mut self) -> &mut Self {
        self.name();
        for _ in 0..[0, 0, 1, 2][self.dice.below(4)] {
            let part = self.dice.pick(NAMES);
            self.glued(".").glued(part);
        }
        self
    }

    /// Whether one more level of brackets is due.
    pub fn deeper(&self) -> bool {
        self.depth < 3
    }

    /// `some` parts, with commas between them and maybe after the last.
    pub fn list(&mut self, open: &str, close: &str, some: usize, mut part: impl FnMut(&mut Self)) {
        self.t(open).w();
        self.depth += 1;
        for at in 0..some {
            part(self);
            self.w();
            if at + 1 < some || self.dice.one_in(4) {
                self.glued(",").w();
            }
        }
        self.depth -= 1;
        self.glued(close);
    }

    /// `some` parts in braces, each with a line's end or a comma after it.
    pub fn block(&mut self, some: usize, mut part: impl FnMut(&mut Self, usize)) {
        let lines = self.dice.one_in(2) || self.depth == 0;
        self.t("{");
        self.depth += 1;
        for at in 0..some {
            if lines {
                self.line();
            }
            self.w();
            part(self, at);
            let last = at + 1 == some;
            match self.dice.below(6) {
                0 if self.wild > 0 => {
                    self.w().glued(",").w();
                }
                1 if self.wild > 0 => {
                    self.comment();
                }
                2 if self.wild > 0 => {
                    self.line().line();
                }
                _ if !lines && !last => {
                    self.glued(",");
                }
                _ if !last => {
                    self.line();
                }
                _ => {}
            }
        }
        self.w();
        self.depth -= 1;
        if lines {
            self.line();
        }
        self.t("}");
    }
}

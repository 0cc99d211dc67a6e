//! Random values, types, blocks of fields and templates.

use super::out::Out;

const UNITS: &[&str] =
    &["tokens", "ms", "s", "min", "h", "days", "USD", "KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"];
const PERIODS: &[&str] = &["task", "s", "min", "h", "day", "request", "Mtok", "token", "tokens"];
const NUMBERS: &[&str] = &["0", "1", "16", "1_000", "0.7", "1e-5", "5E+3", "2.50", "4294967295"];
const OPERATORS: &[&str] =
    &["or", "and", "==", "!=", "<", "<=", ">", ">=", "in", "..", "+", "-", "*", "/", "and", "or"];

impl Out {
    pub fn number(&mut self) -> &mut Self {
        let number = self.dice.pick(NUMBERS);
        self.t(number)
    }

    pub fn quantity(&mut self) {
        self.number();
        if self.dice.one_in(5) {
            self.glued("%");
            return;
        }
        if self.dice.one_in(3) {
            let unit = self.dice.pick(UNITS);
            self.word(unit);
        }
        if self.dice.one_in(4) {
            let period = self.dice.pick(PERIODS);
            self.word("per").s().t(period);
        }
    }

    /// What a stage or a clause counts with.
    pub fn amount(&mut self) {
        match self.dice.below(6) {
            0 => {
                self.number().glued("%");
            }
            1 if self.deeper() => self.group(),
            2 => {
                self.slot();
            }
            3 if self.deeper() => {
                self.path();
                self.arguments();
            }
            _ => {
                self.number();
            }
        }
    }

    fn group(&mut self) {
        self.t("(").w();
        self.depth += 1;
        self.expr();
        self.depth -= 1;
        self.w().glued(")");
    }

    pub fn version(&mut self) {
        self.glued("@");
        match self.dice.below(4) {
            0 => {
                self.glued("12");
            }
            1 => {
                self.glued("best").s().glued("(").s().path().s().glued(")");
            }
            _ => {
                let word = self.dice.pick(&["prev", "all", "start", "last"]);
                self.glued(word);
            }
        }
    }

    /// `from @prev`
    pub fn version_after(&mut self, word: &str) {
        self.t(word).glued(" ");
        self.version();
    }

    pub fn slot(&mut self) -> &mut Self {
        self.path();
        if self.dice.one_in(4) {
            self.version();
        }
        self
    }

    pub fn string(&mut self) -> &mut Self {
        let text = self.dice.pick(&[
            "\"\"",
            "\"base/policy\"",
            "\"a \\\"quoted\\\" \\\\ word\\n\\t\\u{1F980}\"",
            "\"// no comment {}()[] , | = é\"",
        ]);
        self.t(text)
    }

    pub fn expr(&mut self) {
        self.operand();
        let more = if self.dice.one_in(100) { 20 } else { [0, 0, 0, 0, 1, 3][self.dice.below(6)] };
        for _ in 0..more {
            if self.dice.one_in(6) {
                self.postfix();
                continue;
            }
            let operator = self.dice.pick(OPERATORS);
            self.w().t(operator).w();
            self.operand();
        }
    }

    fn operand(&mut self) {
        for _ in 0..[0, 0, 0, 0, 0, 1, 2][self.dice.below(7)] {
            let prefix = self.dice.pick(&["not", "-"]);
            self.t(prefix).s();
        }
        match self.dice.below(12) {
            0 => {
                self.string();
            }
            1 => {
                let boolean = self.dice.pick(&["true", "false"]);
                self.t(boolean);
            }
            2 if self.dice.one_in(2) && !self.in_text => self.template(),
            3 if self.deeper() => {
                let some = self.dice.below(5);
                self.list("[", "]", some, Self::expr);
            }
            4 if self.deeper() => {
                let some = 1 + self.dice.below(3);
                self.list("{", "}", some, Self::case);
            }
            5 if self.deeper() => self.group(),
            6 | 7 => self.apply(),
            8 | 9 => {
                self.path();
            }
            _ => self.quantity(),
        }
    }

    fn case(&mut self) {
        if self.dice.one_in(2) {
            self.t("_");
        } else {
            self.expr();
        }
        self.s().t("=>").s();
        self.expr();
    }

    fn postfix(&mut self) {
        self.s();
        if self.dice.one_in(2) {
            self.t("is").s();
            if self.dice.one_in(2) {
                self.t("not").s();
            }
            self.t("known");
            return;
        }
        self.t("stalls").s();
        self.amount();
        if self.dice.one_in(2) {
            self.word("by").s();
            self.amount();
        }
        if self.dice.one_in(2) {
            self.word("since").s().path();
        }
    }

    fn apply(&mut self) {
        self.path();
        if self.dice.one_in(4) {
            self.version();
        }
        if self.dice.one_in(2) && self.deeper() {
            self.arguments();
        }
        if self.dice.one_in(3) && self.deeper() {
            self.s();
            self.fields();
        }
    }

    pub fn arguments(&mut self) {
        let some = self.dice.below(4);
        self.list("(", ")", some, |out| {
            if out.dice.one_in(2) {
                out.name().s().t("=").s();
            }
            out.expr();
        });
    }

    pub fn fields(&mut self) {
        let some = self.dice.below(5);
        self.block(some, |out, _| out.field());
    }

    pub fn field(&mut self) {
        self.key().s();
        match self.dice.below(6) {
            0 if self.deeper() => self.fields(),
            1 => {
                self.t(":").s();
                self.type_expr();
            }
            _ => {
                self.t("=").s();
                self.expr();
                if self.dice.one_in(6) {
                    self.word("by").s().name();
                }
                if self.dice.one_in(6) {
                    self.word("held_out");
                }
            }
        }
    }

    pub fn type_expr(&mut self) {
        self.bounded_type();
        if self.dice.one_in(4) {
            self.word("visible").s().t("to");
            for at in 0..1 + self.dice.below(2) {
                if at > 0 {
                    self.s().glued(",").w();
                }
                let audience = self.dice.pick(&["agent", "critic", "none"]);
                self.s().t(audience);
            }
        }
    }

    /// A type whose audience is not given.
    pub fn bounded_type(&mut self) {
        self.type_name(0);
        if self.dice.one_in(3) {
            self.word("in").s();
            self.expr();
        }
        if self.dice.one_in(4) {
            self.s().t("<=").s();
            self.expr();
        }
        if self.dice.one_in(5) {
            self.word("by").s().name();
        }
    }

    fn type_name(&mut self, depth: usize) {
        self.name();
        if self.dice.one_in(3) {
            self.glued(".").glued("Task");
        }
        if depth < 3 && self.dice.one_in(3) {
            self.s().t("<").s();
            self.type_name(depth + 1);
            self.s().glued(">");
        }
        if self.dice.one_in(5) {
            self.glued("?");
        }
    }

    pub fn template(&mut self) {
        let hashes = "#".repeat([0, 0, 0, 1, 2][self.dice.below(5)]);
        self.t(&hashes).glued("\"\"\"");
        let margin = self.dice.below(7);
        match self.dice.below(4) {
            // On one line.
            0 => self.pieces(&hashes, 2, 3, None),
            // Text before the closing quotes: no margin.
            1 => {
                self.pieces(&hashes, 1, 2, Some(0));
                self.glued("end");
            }
            // The text begins behind the opening quotes.
            2 => {
                self.pieces(&hashes, 1, 3, Some(margin));
                self.glued("\n").glued(&" ".repeat(margin));
            }
            _ => {
                let space = self.dice.pick(&["", "", "  "]);
                self.glued(space).glued("\n").glued(&" ".repeat(margin));
                self.pieces(&hashes, 0, 6, Some(margin));
                self.glued("\n").glued(&" ".repeat(margin));
            }
        }
        self.glued("\"\"\"").glued(&hashes);
    }

    /// Pieces of a template; `margin`: lines may end, and begin no further left.
    fn pieces(&mut self, hashes: &str, depth: usize, most: usize, margin: Option<usize>) {
        for _ in 0..1 + self.dice.below(most) {
            match (self.dice.below(7), margin) {
                (0, _) => {
                    let outer = std::mem::replace(&mut self.in_text, true);
                    self.glued(hashes).glued("{{").w();
                    self.path();
                    while self.dice.one_in(2) {
                        self.w().t("|").w().name();
                        if self.dice.one_in(2) {
                            self.s();
                            self.arguments();
                        }
                    }
                    self.w().glued("}}");
                    self.in_text = outer;
                }
                (1, _) if depth < 3 => {
                    let own_line = margin.filter(|_| self.dice.one_in(2));
                    self.template_line(own_line);
                    self.glued(hashes).glued("{%").s();
                    if self.dice.one_in(2) {
                        self.t("for").s().name().word("in").s().path();
                    } else {
                        self.t("if").s().path().word("is").s();
                        if self.dice.one_in(2) {
                            self.t("not").s();
                        }
                        self.t("known");
                    }
                    self.s().glued("%}");
                    self.template_line(own_line);
                    self.pieces(hashes, depth + 1, 2, margin);
                    self.template_line(own_line);
                    self.glued(hashes).glued("{% end %}");
                    self.template_line(own_line);
                }
                (2 | 3, Some(_)) => {
                    self.template_line(margin);
                }
                (4, _) if !hashes.is_empty() => {
                    self.glued("{{ \"\"\" {% } // ");
                }
                _ => {
                    let text = self.dice.pick(&[
                        "text ",
                        "  two  spaces\t",
                        "é🦀 ",
                        "a \"quoted\" word",
                        "# // no comment ",
                        "} , |",
                    ]);
                    self.glued(text);
                }
            }
        }
    }

    fn template_line(&mut self, margin: Option<usize>) {
        let Some(margin) = margin else { return };
        match self.dice.below(4) {
            0 => self.glued("\n"),
            1 => self.glued("\n  \t "),
            2 => self.glued("\r\n"),
            _ => self,
        };
        let further = self.dice.pick(&["", "", "  ", "\t"]);
        self.glued("\n").glued(&" ".repeat(margin)).glued(further);
    }
}

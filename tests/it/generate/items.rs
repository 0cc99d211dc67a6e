//! Random items, stages and statements: [`file`] makes a whole file.

use super::out::Out;

/// A file that can be read, from a seed.
pub fn file(seed: u64) -> String {
    let mut out = Out::new(seed);
    if out.dice.one_in(20) {
        out.glued("\u{feff}");
    }
    out.w();
    for at in 0..1 + out.dice.below(4) {
        if at > 0 {
            match out.dice.below(6) {
                0 => out.line().line(),
                1 => out.comment().line(),
                2 => out.line().comment(),
                _ => out.line(),
            };
        }
        out.item();
        out.w();
    }
    out.text
}

impl Out {
    fn item(&mut self) {
        match self.dice.below(11) {
            0 => {
                self.t("agx").s().t("2026");
                if self.dice.one_in(2) {
                    let some = self.dice.below(3);
                    self.word("unstable").s();
                    self.list("(", ")", some, |out| {
                        out.name();
                    });
                }
            }
            1 => {
                self.t("import").s().string().s();
                if self.dice.one_in(2) {
                    self.t("as").s().name();
                } else {
                    let some = 1 + self.dice.below(3);
                    self.list("{", "}", some, |out| {
                        out.name();
                    });
                }
            }
            2 => {
                self.t("param").s().name().s().t(":").s();
                self.bounded_type();
                self.s().t("=").w();
                self.expr();
            }
            3 => {
                self.t("let").s().name().s().t("=").w();
                self.expr();
            }
            4 | 5 => {
                let word = self.dice.pick(&["env", "dataset", "model", "critic", "trainer"]);
                self.t(word).s().name().w();
                self.fields();
            }
            6 => {
                self.t("prompt").s().name().s();
                self.parameters();
                self.w();
                let some = self.dice.below(3);
                self.block(some, |out, _| {
                    let role = out.dice.pick(&["system", "user"]);
                    out.t(role).w();
                    out.template();
                });
            }
            7 => self.rule(),
            8 => self.matrix(),
            _ => self.experiment(),
        }
    }

    fn parameters(&mut self) {
        let some = self.dice.below(3);
        self.list("(", ")", some, |out| {
            out.name().s().t(":").s();
            out.type_expr();
        });
    }

    fn matrix(&mut self) {
        self.t("matrix").s().name().word("of").s().name().w();
        let some = self.dice.below(4);
        self.block(some, |out, _| match out.dice.below(4) {
            0 => {
                out.t("zip").s();
                let some = out.dice.below(3);
                out.block(some, |out, _| out.axis());
            }
            1 => {
                out.t("except").s();
                out.fields();
            }
            _ => out.axis(),
        });
    }

    fn axis(&mut self) {
        self.path().word("in").s();
        self.expr();
    }

    fn rule(&mut self) {
        self.t("rule").s().name().s();
        if self.dice.one_in(3) {
            self.parameters();
            self.s();
        }
        self.t("=").w();
        if self.dice.one_in(4) {
            self.t("|").w();
        }
        let lines = self.dice.one_in(2);
        self.depth += 1;
        for at in 0..1 + self.dice.below(4) {
            if lines {
                self.line();
            }
            if at > 0 {
                self.w().t("|").w();
            }
            self.stage();
        }
        self.depth -= 1;
    }

    fn stage(&mut self) {
        match self.dice.below(14) {
            0 => {
                self.t("where").s();
                self.expr();
            }
            1 => {
                self.ranked("top", true);
                if self.dice.one_in(2) {
                    self.s();
                    self.fields();
                }
            }
            2 => self.ranked("best", true),
            3 => self.ranked("worst", true),
            4 => self.ranked("sample", false),
            5 | 12 => {
                let word = self.dice.pick(&["dedup", "majority"]);
                self.t(word).s();
                self.by();
            }
            6 => {
                self.t("cap").s();
                self.amount();
                if self.dice.one_in(2) {
                    self.word("tokens");
                }
            }
            7 => {
                self.t("balance").s();
                self.by();
                self.word("max").s();
                self.amount();
            }
            8 => {
                self.t("add").s().path();
                if self.dice.one_in(2) {
                    self.s();
                    self.fields();
                }
            }
            9 => {
                self.t("pair").word("best").word("with").word("worst").word("per").word("task").s();
                self.by();
                if self.dice.one_in(2) {
                    self.word("margin").word("at").word("least").s();
                    self.amount();
                }
            }
            10 => {
                self.t("truncate").s().path().word("to").s();
                self.expr();
            }
            11 => {
                self.t("weight").word("by").s();
                self.expr();
            }
            _ => {
                self.t("require").word("at").word("least").s();
                self.amount();
                if self.dice.one_in(2) {
                    let otherwise = self.dice.pick(&["stop", "skip", "fail"]);
                    self.word("else").s().t(otherwise);
                }
            }
        }
    }

    fn ranked(&mut self, word: &str, by: bool) {
        self.t(word).s();
        self.amount();
        if self.dice.one_in(2) {
            self.word("per").s().t("task");
        }
        if by {
            self.s();
            self.by();
        }
    }

    fn by(&mut self) {
        self.t("by").s().path();
        while self.dice.one_in(3) {
            self.s().glued(",").s().path();
        }
    }

    fn experiment(&mut self) {
        self.t("experiment").s().name().w();
        let some = self.dice.below(5);
        self.block(some, |out, _| match out.dice.below(3) {
            0 => {
                out.t("schedule").w();
                out.statements();
            }
            1 => {
                out.t("report").w();
                let some = out.dice.below(3);
                out.block(some, |out, _| {
                    let form = out.dice.pick(&["plot", "table"]);
                    out.t(form).s().path();
                    while out.dice.one_in(2) {
                        out.s().glued(",").w().path();
                    }
                    if out.dice.one_in(2) {
                        out.word("by").s().name();
                    }
                });
            }
            _ => out.field(),
        });
    }

    fn statements(&mut self) {
        let some = self.dice.below(5);
        self.block(some, |out, _| out.statement());
    }

    fn statement(&mut self) {
        if self.dice.one_in(2) {
            self.t("let").s().name().s().t("=").w();
        }
        match self.dice.below(9) {
            0 => {
                self.t("rollout").s().slot().w().t("in").s().path();
                self.options();
            }
            1 => {
                self.t("judge").s().slot().w().t("with").s().path();
                self.options();
            }
            2 => {
                self.t("select").s().slot().w().t("by").s().path();
                if self.dice.one_in(2) {
                    self.arguments();
                }
            }
            3 => {
                self.t("audit").s().slot();
                if self.dice.one_in(2) {
                    self.w().t("against").s().path();
                }
            }
            4 => {
                self.t("calibrate").s().path().w().t("on").s().slot();
            }
            5 => self.train(),
            6 => {
                self.t("evaluate").s().slot().w().t("on").s().slot();
                self.options();
            }
            7 if self.deeper() => {
                self.t("repeat").s();
                self.expr();
                self.word("times");
                if self.dice.one_in(2) {
                    self.word("as").s().name();
                }
                self.w();
                self.statements();
                if self.dice.one_in(2) {
                    self.w().t("until").s();
                    self.expr();
                }
            }
            _ => {
                self.t("pick").s().path().word("best").word("by").s().path();
                if self.dice.one_in(2) {
                    self.w().t("including").s().path();
                    while self.dice.one_in(3) {
                        self.s().glued(",").s().path();
                    }
                }
            }
        }
    }

    fn options(&mut self) {
        if self.dice.one_in(2) {
            self.s();
            self.fields();
        }
    }

    fn train(&mut self) {
        self.t("train").s().path().w().t("on").s().slot();
        let mut clauses = vec!["mixed", "mixed", "through", "with", "from", "reference"];
        for _ in 0..self.dice.below(6) {
            let clause = clauses.remove(self.dice.below(clauses.len()));
            self.w();
            match clause {
                "mixed" => {
                    self.t("mixed").word("with").s();
                    self.amount();
                    self.s().path();
                }
                "from" | "reference" => self.version_after(clause),
                _ => {
                    self.t(clause).s().path();
                }
            }
        }
    }
}

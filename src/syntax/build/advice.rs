//! Turns a place where the grammar stopped into what was probably meant, where that can be told.

use crate::base::Span;
use crate::syntax::error::SyntaxError;
use crate::syntax::grammar::Rule;
use crate::syntax::layout::{code, is_name};
use crate::syntax::words::{Class, RESERVED};

/// A piece of text that is no `rule`, and where it stops being one.
pub struct Stop<'t> {
    pub rule: Rule,
    pub text: &'t str,
    /// Where the text begins in the file.
    pub start: usize,
    /// Within the text.
    pub at: usize,
    pub expected: &'t [&'static str],
}

impl Stop<'_> {
    /// The place of `length` bytes at `at` of the text.
    fn span(&self, at: usize, length: usize) -> Span {
        Span::new(self.start + at, self.start + at + length)
    }

    fn say(&self, span: Span, message: impl Into<String>, help: impl Into<String>) -> SyntaxError {
        SyntaxError::Advised {
            span,
            message: message.into(),
            label: "found here".into(),
            help: help.into(),
            edit: None,
        }
    }

    /// As [`Self::say`], and what to write at `place` instead.
    fn mend(&self, place: Span, instead: &str, message: impl Into<String>, help: impl Into<String>) -> SyntaxError {
        let edit = Some((place, instead.to_owned()));
        SyntaxError::Advised {
            span: place,
            message: message.into(),
            label: "found here".into(),
            help: help.into(),
            edit,
        }
    }

    /// What is wrong, if more can be said than what was due and what was found.
    pub fn advice(&self) -> Option<SyntaxError> {
        let rest = self.text[self.at..].trim_start_matches([' ', '\t']);
        let at = self.text.len() - rest.len();
        let before = self.text[..self.at].trim_end();
        self.sign(rest, at, before).or_else(|| self.name(rest, at, before)).or_else(|| match self.rule {
            Rule::only_field => self.field(rest, at, before),
            Rule::only_item => self.item(rest, at, before),
            Rule::only_message => self.message(rest, at, before),
            Rule::only_stage => self.stage(rest, at),
            Rule::only_axis => self.axis(),
            Rule::only_head => self.head(rest, at, before),
            _ => None,
        })
    }

    /// A sign that another language writes here.
    fn sign(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        let place = |length| self.span(at, length);
        if before.ends_with("..") && rest.starts_with('=') {
            return Some(self.mend(
                place(1),
                "",
                "a range is written with `..` alone",
                "both its ends belong to it: `0..4`",
            ));
        }
        if self.expected.contains(&"`=>`") {
            let sign = ["->", "=", ":"].into_iter().find(|sign| rest.starts_with(sign))?;
            let cases = self.rule == Rule::only_field && self.block_by_sign().is_none();
            return cases.then(|| self.mend(place(sign.len()), "=>", "a case is given by `=>`", "write `=>`"));
        }
        if before.ends_with('-') && rest.starts_with('>') {
            return Some(self.mend(self.span(at - 1, 2), "=>", "a case is given by `=>`", "write `=>`"));
        }
        let compares = matches!(self.rule, Rule::only_stage | Rule::only_statement);
        let first = rest.chars().next()?;
        let (length, instead) = match first {
            '\u{2265}' => (first.len_utf8(), ">="),
            '\u{2264}' => (first.len_utf8(), "<="),
            '\u{2260}' => (first.len_utf8(), "!="),
            '\u{2212}' | '\u{2013}' | '\u{2014}' => (first.len_utf8(), "-"),
            '\u{a0}' => {
                let message = "a no-break space, U+00A0, is no space";
                return Some(self.mend(place(2), " ", message, "write a plain space"));
            }
            digit if digit.is_numeric() && !digit.is_ascii() => {
                let message = format!("`{digit}` is no digit of this language");
                return Some(self.say(place(digit.len_utf8()), message, "write digits from 0 to 9"));
            }
            ';' => return Some(self.mend(place(1), "", "nothing ends a line", "leave `;` out")),
            _ if rest.starts_with("&&") => (2, "and"),
            _ if rest.starts_with("||") => (2, "or"),
            '=' if compares && !rest.starts_with("==") && !before.ends_with(is_sign) => (1, "=="),
            _ => return None,
        };
        let message = match instead {
            "==" => "two values are compared by `==`".to_owned(),
            _ => format!("`{}` is not of this language", &rest[..length]),
        };
        Some(self.mend(place(length), instead, message, format!("write `{instead}`")))
    }

    /// Names: in quotes, with a dash, of the language's words, of other letters.
    fn name(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        let last = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
        let touches = self.text[..at].len() == before.len() && is_name(last);
        let declares = matches!(self.rule, Rule::only_item | Rule::only_statement);
        if declares && before.ends_with("let mut") {
            let mark = Span::new(self.start + before.len() - 3, self.start + at);
            return Some(self.mend(mark, "", "a name has no `mut`", "leave it out: every name keeps its value"));
        }
        if touches && declares && rest.starts_with('-') {
            let part = rest[1..].split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
            let help = format!("write `{last}_{part}`");
            return Some(self.say(self.span(at, 1), "a name holds no `-`", help));
        }
        if touches && rest.starts_with(|c: char| c.is_alphabetic() && !c.is_ascii()) {
            let tail = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let span = Span::new(self.start + at - last.len(), self.start + at + tail);
            let name = format!("{last}{}", &rest[..tail]);
            let message = format!("`{name}` holds letters that no name has");
            return Some(self.say(span, message, "names are made of a to z, 0 to 9 and `_`"));
        }
        let due = self.expected == ["a name"];
        let word = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
        if due && declares && RESERVED.contains(&word) {
            let message = format!("`{word}` is a word of the language, not a name");
            return Some(self.say(self.span(at, word.len()), message, "choose another name"));
        }
        let quoted = rest.strip_prefix('"').and_then(|inner| inner.split_once('"')).map(|(name, _)| name);
        let quoted = quoted.filter(|name| is_name(name) && (due || at == 0))?;
        let length = quoted.len() + 2;
        let (message, help) = ("a name stands without quotes", format!("write `{quoted}`"));
        let behind = rest[length..].trim_start();
        if self.rule == Rule::only_field && rest[length..].starts_with(':') {
            let field = format!("{quoted} =");
            return Some(self.mend(self.span(at, length + 1), &field, message, format!("write `{field}`")));
        }
        Some(match behind.starts_with(['=', '{', '(']) {
            true => self.mend(self.span(at, length), quoted, message, help),
            false => self.say(self.span(at, length), message, help),
        })
    }

    /// `splits = { train = 1 }`: where its `=` is.
    fn block_by_sign(&self) -> Option<usize> {
        let (key, value) = self.text.split_once('=')?;
        let inner = value.trim_start().strip_prefix('{')?.trim_start();
        let name = inner.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
        let behind = inner[name.len()..].trim_start();
        let field = is_name(name) && behind.starts_with(['=', ':']) && !behind.starts_with("=>");
        (is_name(key.trim()) && field).then_some(key.len())
    }

    fn field(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        if let Some(sign) = self.block_by_sign() {
            let key = self.text[..sign].trim();
            let message = format!("`{key}` is a block");
            return Some(self.mend(self.span(sign, 1), "", message, format!("leave `=` out: `{key} {{ … }}`")));
        }
        let key = before.strip_suffix(':').map(str::trim_end);
        if key.is_some_and(|key| is_name(key) || key.ends_with('"')) && !rest.is_empty() {
            let colon = before.len() - 1;
            let instead = if before[..colon].ends_with(' ') { "=" } else { " =" };
            return Some(self.mend(self.span(colon, 1), instead, "a field is given by `=`", "write `=`"));
        }
        if is_name(before) && rest.starts_with('(') {
            let help = format!("write `{before} {{ … }}`");
            return Some(self.say(self.span(at, 1), "a block stands between braces", help));
        }
        if is_name(before) && rest.starts_with("==") {
            return Some(self.mend(self.span(at, 2), "=", "a field is given by one `=`", "write `=`"));
        }
        if at == 0 && rest.starts_with('=') {
            return Some(self.say(self.span(0, 1), "the name of the field is missing", "write it before `=`"));
        }
        let first = self.text.split_whitespace().next().unwrap_or("");
        if matches!(first, "let" | "var" | "const") {
            let place = self.span(0, first.len());
            return Some(self.say(place, format!("a field is written without `{first}`"), "leave it out"));
        }
        if let Some(decimals) = rest.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let digits = decimals.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
            let help = format!("write `0.{digits}`");
            return Some(self.mend(self.span(at, 1), "0.", "a number begins with a digit", help));
        }
        if let Some((key, word)) = before.split_once(':').map(|(key, word)| (key.trim(), word.trim()))
            && is_name(key)
            && is_name(word)
            && rest.starts_with(['(', '{'])
        {
            let place = self.span(key.len(), 1);
            return Some(self.mend(place, " =", "a field is given by `=`", "write `=`"));
        }
        if rest.starts_with("visible") {
            let help = "write `visible to agent, critic` or `visible to none`";
            return Some(self.say(self.span(at, 7), "`to` is missing behind `visible`", help));
        }
        if self.text.starts_with("- ") {
            return Some(self.mend(self.span(0, 2), "", "a block is no list", "leave `-` out"));
        }
        None
    }

    fn item(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        let words: Vec<&str> = before.split_whitespace().collect();
        match words.as_slice() {
            ["agx"] if rest.starts_with('=') => {
                Some(self.mend(self.span(at, 1), "", "the edition is given without `=`", "write `agx 2026`"))
            }
            ["param", name] if rest.starts_with('=') => {
                let help = format!("write `param {name} : int = …`");
                Some(self.say(self.span(at, 1), format!("the type of `{name}` is missing"), help))
            }
            ["param", name, ..] if self.text.contains(':') && !code(self.text).contains('=') => {
                let name = name.trim_end_matches(':');
                let message = format!("the param `{name}` has no default");
                let end = self.span(code(self.text).len(), 0);
                Some(self.say(end, message, "write `= ` and a value behind the type"))
            }
            [word] if is_name(word) && rest.starts_with(['=', ':']) => {
                let message = "a field stands outside of any item";
                Some(self.say(self.span(0, word.len()), message, "the head of its item is missing: `critic NAME {`"))
            }
            _ => None,
        }
    }

    fn axis(&self) -> Option<SyntaxError> {
        let sign = self.text.find(['=', ':'])?;
        let path = self.text[..sign].trim();
        is_name(path).then(|| {
            let instead = if self.text[..sign].ends_with(' ') { "in" } else { " in" };
            let help = format!("write `{path} in [ … ]`");
            self.mend(self.span(sign, 1), instead, "an axis is given by `in`", help)
        })
    }

    fn message(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        let sign = rest.starts_with(['=', ':']) && rest[1..].trim_start().starts_with("\"\"\"");
        (is_name(before) && sign).then(|| {
            let message = format!("nothing stands between `{before}` and its text");
            self.mend(self.span(at, 1), "", message, format!("write `{before} \"\"\"`"))
        })
    }

    fn stage(&self, rest: &str, at: usize) -> Option<SyntaxError> {
        let first = |text: &str| {
            text.split(|c: char| !c.is_ascii_lowercase()).next().is_some_and(|word| Class::Stage.has(word))
        };
        if rest.starts_with(',') && first(rest[1..].trim_start()) {
            return Some(self.mend(self.span(at, 1), " |", "a `,` does not join stages", "stages are joined by `|`"));
        }
        if first(rest) && at > 0 {
            let word = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or("");
            let mut error = self.mend(
                self.span(at, 0),
                "| ",
                format!("`|` is missing before `{word}`"),
                "stages are joined by `|`",
            );
            if let SyntaxError::Advised { span, label, .. } = &mut error {
                *span = self.span(at, word.len());
                "a stage begins here".clone_into(label);
            }
            return Some(error);
        }
        None
    }

    fn head(&self, rest: &str, at: usize, before: &str) -> Option<SyntaxError> {
        let word = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or("");
        let lost = before.ends_with("times") && is_name(word);
        lost.then(|| {
            self.mend(
                self.span(at, 0),
                "as ",
                format!("`as` is missing before `{word}`"),
                "write `repeat N times as NAME`",
            )
        })
    }
}

fn is_sign(c: char) -> bool {
    "=<>!".contains(c)
}

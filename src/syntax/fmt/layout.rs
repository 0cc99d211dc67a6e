//! Turns a stream of tokens, possible line breaks and comments into lines of at most [`WIDTH`] where they can be.
//!
//! A group is laid out on one line if it fits there; otherwise each [`Op::Break`] of its own is a line's end. A group that
//! holds a comment, a text block of several lines or a group that the author broke is broken.

use std::collections::BTreeMap;

pub const WIDTH: usize = 120;

/// The least space between code and a comment behind it.
const BEFORE_COMMENT: usize = 2;

#[derive(Clone, Debug)]
pub enum Op<'t> {
    Text(&'t str),
    Space,
    /// In a broken group a line's end, otherwise a space or nothing.
    Break(Break),
    Begin {
        broken: bool,
    },
    End,
    Indent(usize),
    Dedent(usize),
    /// Only where the group around is broken.
    IfBroken(&'static str),
    IfFlat(&'static str),
    Comment {
        text: &'t str,
        trailing: bool,
        blank: bool,
    },
    /// Comments have ended; whether an empty line follows.
    AfterComments {
        blank: bool,
    },
    /// What follows on this line begins in one column with the others of its run.
    Cell {
        run: usize,
    },
    /// The end of what a [`Op::Cell`] belongs to.
    Row,
    /// An item, with what leads up to it, begins; whether the author left an empty line somewhere before it.
    Lead {
        blank: bool,
    },
    Item,
    ItemEnd,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Break {
    /// A space where it is no line's end.
    pub space: bool,
    /// An empty line precedes the line.
    pub blank: bool,
    /// Columns that the line begins to the left.
    pub out: usize,
}

#[derive(Debug, Default)]
struct Line<'t> {
    text: String,
    comment: Option<&'t str>,
    blank: bool,
}

#[derive(Clone, Copy, Debug)]
enum Pending {
    Nothing,
    Space,
    Line { indent: usize, blank: bool },
}

#[derive(Clone, Copy, Debug)]
struct ItemLines {
    lead: usize,
    blank: bool,
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct Printer<'t> {
    lines: Vec<Line<'t>>,
    indent: usize,
    pending: Pending,
    /// Of the groups around: whether each is broken.
    broken: Vec<bool>,
    /// Where the cells began whose rows have not ended.
    open_cells: Vec<Option<(usize, usize, usize)>>,
    /// Of each run the parts that stand without a longer row between them, each row a line and a column.
    runs: BTreeMap<usize, Vec<Vec<(usize, usize)>>>,
    items: Vec<ItemLines>,
}

pub fn print(ops: &[Op]) -> String {
    let forced = forced(ops);
    let mut printer = Printer {
        lines: Vec::new(),
        indent: 0,
        pending: Pending::Line { indent: 0, blank: false },
        broken: Vec::new(),
        open_cells: Vec::new(),
        runs: BTreeMap::new(),
        items: Vec::new(),
    };
    for (at, op) in ops.iter().enumerate() {
        if let Op::Begin { .. } = op {
            let around = printer.broken.last().copied().unwrap_or(true);
            let broken = forced[at] || (around && !fits(&ops[at..], printer.column()));
            printer.broken.push(broken);
        } else {
            printer.op(op);
        }
    }
    printer.part_items();
    printer.align_cells();
    printer.text()
}

/// Which operations begin a group that cannot stand on one line.
fn forced(ops: &[Op]) -> Vec<bool> {
    let mut forced = vec![false; ops.len()];
    let mut open: Vec<usize> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let breaks = match op {
            Op::Begin { broken } => {
                open.push(at);
                *broken
            }
            Op::Comment { .. } => true,
            Op::Text(text) => text.contains('\n'),
            _ => false,
        };
        if breaks {
            // Groups further out are marked already from the first that is.
            open.iter().rev().take_while(|group| !std::mem::replace(&mut forced[**group], true)).count();
        }
        if let Op::End = op {
            open.pop();
        }
    }
    forced
}

/// Whether the group that `ops` begin with, and what must stand behind it, fits on a line of which `column` are taken.
fn fits(ops: &[Op], column: usize) -> bool {
    let mut column = column;
    let (mut depth, mut behind) = (0, false);
    for op in ops {
        match op {
            Op::Begin { .. } => depth += 1,
            Op::End => {
                depth -= 1;
                behind |= depth == 0;
            }
            Op::Break(_) | Op::Comment { .. } if behind => return true,
            Op::Break(Break { space, .. }) => column += usize::from(*space),
            Op::Text(text) => match text.split_once('\n') {
                None => column += width(text),
                Some((first, _)) => return column + width(first.trim_end()) <= WIDTH,
            },
            Op::Space => column += 1,
            Op::IfFlat(text) if !behind => column += width(text),
            Op::ItemEnd => return column <= WIDTH,
            _ => {}
        }
        if column > WIDTH {
            return false;
        }
    }
    true
}

fn width(text: &str) -> usize {
    text.chars().count()
}

impl<'t> Printer<'t> {
    fn op(&mut self, op: &Op<'t>) {
        let broken = self.broken.last().copied().unwrap_or(true);
        match op {
            Op::Begin { .. } => {}
            Op::End => {
                self.broken.pop();
            }
            Op::Text(text) => self.write(text),
            Op::Space => self.space(),
            Op::Break(Break { space, blank, out }) => {
                if broken {
                    self.pending = Pending::Line { indent: self.indent - out, blank: *blank };
                } else if *space {
                    self.space();
                }
            }
            Op::Indent(columns) => self.indent += columns,
            Op::Dedent(columns) => self.indent -= columns,
            Op::IfBroken(text) if broken => self.write(text),
            Op::IfFlat(text) if !broken => self.write(text),
            Op::IfBroken(_) | Op::IfFlat(_) => {}
            Op::Comment { text, trailing, blank } => self.comment(text, *trailing, *blank),
            Op::AfterComments { blank } => {
                if let Pending::Line { indent, .. } = self.pending {
                    self.pending = Pending::Line { indent, blank: *blank };
                }
            }
            Op::Cell { run } => {
                let place = (*run, self.lines.len(), self.column());
                self.open_cells.push(broken.then_some(place));
            }
            Op::Row => self.row(),
            Op::Lead { blank } => {
                let lead = self.lines.len();
                self.items.push(ItemLines { lead, blank: *blank, first: lead, last: lead });
            }
            Op::Item => {
                if let Some(item) = self.items.last_mut() {
                    item.first = self.lines.len();
                }
            }
            Op::ItemEnd => {
                if let Some(item) = self.items.last_mut() {
                    item.last = self.lines.len() - 1;
                }
            }
        }
    }

    fn column(&self) -> usize {
        match self.pending {
            Pending::Line { indent, .. } => indent,
            Pending::Space => self.lines.last().map_or(0, |line| width(&line.text)) + 1,
            Pending::Nothing => self.lines.last().map_or(0, |line| width(&line.text)),
        }
    }

    fn space(&mut self) {
        if let Pending::Nothing = self.pending {
            self.pending = Pending::Space;
        }
    }

    /// Ends the line if that is due, and gives the one to write to.
    fn line(&mut self) -> &mut String {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Line { indent, blank } => {
                let blank = blank && !self.lines.is_empty();
                self.lines.push(Line { text: " ".repeat(indent), comment: None, blank });
            }
            pending => {
                if let (Pending::Space, Some(line)) = (pending, self.lines.last_mut()) {
                    line.text.push(' ');
                }
            }
        }
        &mut self.lines.last_mut().expect("the first pending thing is a line").text
    }

    fn write(&mut self, text: &str) {
        let margin = self.indent + 2;
        let Some((first, rest)) = text.split_once('\n') else {
            self.line().push_str(text);
            return;
        };
        let Some(old) = margin_of(text) else {
            // The closing quotes follow text: every space is the author's.
            self.line().push_str(first.trim_end_matches('\r'));
            let rest = rest.split('\n').map(|line| line.trim_end_matches('\r'));
            self.lines.extend(rest.map(|line| Line { text: line.to_owned(), ..Line::default() }));
            return;
        };
        let opening = first.trim_end();
        let bare = opening.trim_start_matches('#') == "\"\"\"";
        self.line().push_str(if bare { opening } else { first.trim_end_matches('\r') });
        for line in rest.split('\n').map(|line| line.trim_end_matches('\r')) {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            let kept = &line[indent.min(old)..];
            let text = if indent == line.len() { String::new() } else { format!("{}{kept}", " ".repeat(margin)) };
            self.lines.push(Line { text, ..Line::default() });
        }
    }

    fn comment(&mut self, text: &'t str, trailing: bool, blank: bool) {
        let (indent, first) = match self.pending {
            Pending::Line { indent, blank: due } => (indent, blank || due),
            // In the middle of something: it goes on further in.
            _ => (self.indent + 2, false),
        };
        match self.lines.last_mut() {
            Some(line) if trailing && line.comment.is_none() => line.comment = Some(text),
            _ => {
                self.pending = Pending::Line { indent, blank: first };
                self.line().push_str(text);
            }
        }
        self.pending = Pending::Line { indent, blank: false };
    }

    fn row(&mut self) {
        let Some(Some((run, lines, column))) = self.open_cells.pop() else { return };
        let parts = self.runs.entry(run).or_insert_with(|| vec![Vec::new()]);
        if lines == self.lines.len() {
            parts.last_mut().expect("a run has a part").push((lines - 1, column));
        } else {
            parts.push(Vec::new());
        }
    }

    /// Items stand apart by an empty line, unless both are one line and stood together.
    fn part_items(&mut self) {
        for pair in self.items.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let together = before.first == before.last && after.first == after.last;
            if !after.blank && !together {
                self.lines[after.lead].blank = true;
            }
        }
    }

    fn align_cells(&mut self) {
        for part in self.runs.values().flatten() {
            let column = part.iter().map(|(_, column)| *column).max().unwrap_or(0);
            for (line, own) in part {
                let text = &mut self.lines[*line].text;
                let at = text.char_indices().nth(*own).map_or(text.len(), |(at, _)| at);
                text.insert_str(at, &" ".repeat(column - own));
            }
        }
    }

    /// Comments behind neighbouring lines begin in one column.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut column = 0;
        for (at, line) in self.lines.iter().enumerate() {
            if line.blank {
                text.push('\n');
            }
            text.push_str(&line.text);
            if let Some(comment) = line.comment {
                let follows = at > 0 && self.lines[at - 1].comment.is_some() && !line.blank;
                if !follows {
                    let next = self.lines[at + 1..].iter().take_while(|line| line.comment.is_some() && !line.blank);
                    let widest = next.map(|line| width(&line.text)).max().unwrap_or(0);
                    column = widest.max(width(&line.text)) + BEFORE_COMMENT;
                }
                text.push_str(&" ".repeat(column - width(&line.text)));
                text.push_str(comment);
            }
            text.push('\n');
        }
        text
    }
}

/// The column of the closing quotes of a text block, when they stand on a line of their own.
fn margin_of(template: &str) -> Option<usize> {
    let last = &template[template.rfind('\n')? + 1..];
    let indent = last.len() - last.trim_start_matches([' ', '\t']).len();
    last[indent..].starts_with("\"\"\"").then_some(indent)
}

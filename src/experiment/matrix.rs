//! Turns a matrix into its cells: for every combination of values that is not excepted, the experiment with those values
//! written where its axes point.
//!
//! A cell is checked like a file in which someone has written its values by hand. So a value is typed as its place
//! demands, and a mistake in it is told at the value.
//!
//! # Invariants
//! The number of cells is bounded before the first one is made. A cell changes params and fields of declarations, never a
//! schedule.

use super::link::Linked;
use super::matrix_error::MatrixError;
use super::model::{Cell, Matrix, Setting};
use super::{Checker, Given, World};
use crate::base::{Diagnostic, Span};
use crate::syntax::SourceMap;
use crate::syntax::ast::{
    self, Apply, Block, Entry, EntryKind, Expr, ExprKind, File, Item, ItemKind, ItemWord, MatrixPart, Name, Path,
};
use crate::syntax::similar::similar;

const MOST_CELLS: usize = 256;
/// Each cell is a check of the whole file: so many items in all.
const MOST_ITEMS: usize = 100_000;

/// One axis.
struct Axis<'m> {
    path: &'m Path,
    place: Place,
    values: &'m [Expr],
}

/// What an axis sets.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    item: usize,
    /// Of a declaration, the fields that lead there; none for a param.
    fields: Vec<String>,
}

/// Axes that step together: one, or those of a `zip`.
type Group<'m> = Vec<Axis<'m>>;

/// Cells of every matrix of a file in which nothing is wrong; what is wrong with a matrix is added to `found`.
pub(super) fn matrices(linked: &Linked, given: &[Given], world: World, found: &mut Vec<Diagnostic>) -> Vec<Matrix> {
    let mut matrices = Vec::new();
    for item in &linked.file.items {
        let ItemKind::Matrix(matrix) = &item.kind else { continue };
        let mut reader = Reader { linked, given, world, errors: Vec::new(), cells: Vec::new() };
        let read = reader.matrix(matrix);
        found.extend(reader.errors.into_iter().map(Diagnostic::from));
        found.extend(reader.cells);
        matrices.extend(read);
    }
    matrices
}

struct Reader<'a> {
    linked: &'a Linked,
    given: &'a [Given],
    world: World<'a>,
    errors: Vec<MatrixError>,
    /// What is wrong with single cells.
    cells: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn matrix(&mut self, matrix: &ast::Matrix) -> Option<Matrix> {
        let groups = self.groups(matrix)?;
        let mut combinations = combinations(&groups);
        let count: usize = groups.iter().map(|group| group[0].values.len()).try_fold(1, usize::checked_mul)?;
        let items = self.linked.file.items.len();
        if count > MOST_CELLS || count.saturating_mul(items) > MOST_ITEMS {
            let most = MOST_CELLS.min(MOST_ITEMS / items);
            self.errors.push(MatrixError::TooMany { span: matrix.name.span, cells: count, most });
            return None;
        }
        self.steps_twice(&groups);
        for part in &matrix.axes {
            if let MatrixPart::Except(block) = part {
                self.except(block, &groups, &mut combinations);
            }
        }
        if combinations.is_empty() && self.errors.is_empty() {
            self.errors.push(MatrixError::Empty { span: matrix.name.span });
        }
        if !self.errors.iter().all(MatrixError::is_warning) {
            return None;
        }
        let names = names(&groups);
        // Every cell is checked, also after one that is wrong.
        let cells: Vec<Option<Cell>> =
            combinations.into_iter().map(|values| self.cell(matrix, &groups, &names, &values)).collect();
        // The same mistake of many cells is told once, in the first that has it.
        self.cells.sort_by(|a, b| (a.primary(), a.code, &a.message).cmp(&(b.primary(), b.code, &b.message)));
        self.cells.dedup_by(|a, b| (a.primary(), a.code, &a.message) == (b.primary(), b.code, &b.message));
        let cells: Option<Vec<Cell>> = cells.into_iter().collect();
        let axes = groups.iter().flatten();
        let params = axes.filter(|axis| axis.place.fields.is_empty());
        let params = params.filter_map(|axis| axis_name(&self.linked.file.items[axis.place.item]).map(str::to_owned));
        let (name, of) = (matrix.name.value.clone(), matrix.of.value.clone());
        Some(Matrix { name, of, params: params.collect(), cells: cells? })
    }

    fn groups<'m>(&mut self, matrix: &'m ast::Matrix) -> Option<Vec<Group<'m>>> {
        let mut groups: Vec<Group<'m>> = Vec::new();
        let mut sound = !matrix.broken;
        for part in &matrix.axes {
            let axes: Vec<(&Path, &Expr)> = match part {
                MatrixPart::Axis { path, values } => vec![(path, values)],
                MatrixPart::Zip(axes) => axes.iter().map(|(path, values)| (path, values)).collect(),
                MatrixPart::Except(_) => continue,
            };
            let mut group: Group<'m> = Vec::new();
            for (path, values) in axes {
                let axis = self.axis(matrix, path, values);
                sound &= axis.is_some();
                let Some(axis) = axis else { continue };
                let before = groups.iter().flatten().chain(&group).find(|other| other.place == axis.place);
                if let Some(first) = before {
                    self.errors.push(MatrixError::AxisTwice {
                        span: path.span,
                        path: path.text(),
                        first: first.path.span,
                    });
                    sound = false;
                    continue;
                }
                if let Some(first) = group.first().filter(|first| first.values.len() != axis.values.len()) {
                    let (span, lengths) = (path.span, (first.values.len(), axis.values.len()));
                    self.errors.push(MatrixError::Unequal { span, lengths, first: first.path.span });
                    sound = false;
                    continue;
                }
                group.push(axis);
            }
            if !group.is_empty() {
                groups.push(group);
            }
        }
        if groups.is_empty() && sound {
            self.errors.push(MatrixError::NoAxis { span: matrix.name.span });
            return None;
        }
        sound.then_some(groups)
    }

    fn axis<'m>(&mut self, matrix: &ast::Matrix, path: &'m Path, values: &'m Expr) -> Option<Axis<'m>> {
        let place = self.place(matrix, path);
        let values = match &values.kind {
            ExprKind::List(list) if !list.is_empty() => Some(list.as_slice()),
            ExprKind::Broken => None,
            _ => {
                self.errors.push(MatrixError::NoValues { span: values.span });
                None
            }
        };
        Some(Axis { path, place: place?, values: values? })
    }

    /// The item and the field that a path leads to: `rounds`, `sft.lr`, `trainer.sft.lr`, `quickstart.seed`.
    fn place(&mut self, matrix: &ast::Matrix, path: &Path) -> Option<Place> {
        let file = &self.linked.file;
        let mut parts = path.parts.as_slice();
        let find = |name: &Name| file.items.iter().position(|item| self.names_it(item, &name.value));
        let first = find(&parts[0]);
        let kind = ItemWord::from_word(&parts[0].value).filter(|_| first.is_none() && parts.len() > 1);
        if kind.is_some() {
            parts = &parts[1..];
        }
        let item =
            first.or_else(|| find(&parts[0])).filter(|at| kind.is_none_or(|kind| word(&file.items[*at]) == Some(kind)));
        let fits = item.is_some_and(|at| match &file.items[at].kind {
            ItemKind::Param { .. } => parts.len() == 1,
            ItemKind::Declaration { body, .. } => parts.len() > 1 && leads(body, &parts[1..]),
            ItemKind::Experiment(experiment) => {
                experiment.name.value == matrix.of.value && parts.len() > 1 && leads(&experiment.body, &parts[1..])
            }
            _ => false,
        });
        if let Some(item) = item.filter(|_| fits) {
            return Some(Place { item, fields: parts[1..].iter().map(|part| part.value.clone()).collect() });
        }
        let known: Vec<&str> = file.items.iter().filter_map(axis_name).collect();
        let near = if item.is_some() { Vec::new() } else { similar(&parts[0].value, known) };
        let (span, wrong) = (path.span, parts[0].span);
        self.errors.push(MatrixError::NoPlace { span, path: path.text(), known: item.is_some(), near, wrong });
        None
    }

    fn names_it(&self, item: &Item, name: &str) -> bool {
        let long = self.linked.scopes[0].imported.get(name).map_or(name, |import| import.called.as_str());
        axis_name(item) == Some(long)
    }

    /// Tells of steps whose values an earlier step of their group has.
    fn steps_twice(&mut self, groups: &[Group]) {
        let mut checker = Checker::new(self.linked, self.world);
        checker.params(&self.linked.file, self.given);
        for group in groups {
            let mut same = |a: usize, b: usize| {
                group.iter().all(|axis| same(&mut checker, &self.linked.sources, &axis.values[a], &axis.values[b]))
            };
            for at in 0..group[0].values.len() {
                if let Some(first) = (0..at).find(|first| same(*first, at)) {
                    let (span, first) = (group[0].values[at].span, group[0].values[first].span);
                    self.errors.push(MatrixError::StepTwice { span, first });
                }
            }
        }
    }

    /// Takes out the combinations of which all the listed values are these.
    fn except(&mut self, block: &Block, groups: &[Group], combinations: &mut Vec<Vec<usize>>) {
        let mut wanted: Vec<(usize, usize, &Expr)> = Vec::new();
        for entry in &block.entries {
            let EntryKind::Value(value) = &entry.kind else {
                self.errors.push(MatrixError::NoExcept { span: entry.span });
                return;
            };
            let axis = groups.iter().enumerate().find_map(|(at, group)| {
                let axis = group.iter().position(|axis| names_axis(axis.path, &entry.key))?;
                Some((at, axis))
            });
            let Some((at, axis)) = axis else {
                let known: Vec<String> = groups.iter().flatten().map(|axis| axis.path.text()).collect();
                let (span, name) = (entry.key.span, entry.key.text());
                self.errors.push(MatrixError::NoAxisOf { span, name, known });
                return;
            };
            wanted.push((at, axis, value));
        }
        let mut checker = Checker::new(self.linked, self.world);
        checker.params(&self.linked.file, self.given);
        let before = combinations.len();
        combinations.retain(|combination| {
            let same = |(at, axis, value): &(usize, usize, &Expr)| {
                let written = &groups[*at][*axis].values[combination[*at]];
                same(&mut checker, &self.linked.sources, written, value)
            };
            wanted.is_empty() || !wanted.iter().all(same)
        });
        if combinations.len() == before && !block.broken {
            self.errors.push(MatrixError::NothingExcepted { span: block.span });
        }
    }

    fn cell(&mut self, matrix: &ast::Matrix, groups: &[Group], names: &[String], values: &[usize]) -> Option<Cell> {
        let mut file = File { items: Vec::new(), ..self.linked.file.clone() };
        let mut given = self.given.to_vec();
        let mut items = self.linked.file.items.clone();
        let mut settings = Vec::new();
        let axes = groups.iter().zip(values).flat_map(|(group, at)| group.iter().map(move |axis| (axis, *at)));
        for ((axis, at), name) in axes.clone().zip(names) {
            let value = &axis.values[at];
            settings.push(Setting { axis: name.clone(), value: written(&self.linked.sources, value) });
            let item = &mut items[axis.place.item];
            match &mut item.kind {
                ItemKind::Param { name, default, .. } => {
                    // The cell is nearer than the command line.
                    given.retain(|given| given.name != name.value);
                    *default = value.clone();
                }
                ItemKind::Declaration { body, .. } => set(body, axis.path, &axis.place.fields, value),
                ItemKind::Experiment(experiment) => set(&mut experiment.body, axis.path, &axis.place.fields, value),
                _ => {}
            }
        }
        file.items = items
            .into_iter()
            .filter(|item| match &item.kind {
                ItemKind::Experiment(experiment) => experiment.name.value == matrix.of.value,
                ItemKind::Matrix(_) => false,
                _ => true,
            })
            .collect();
        let mut checker = Checker::new(self.linked, self.world);
        let experiment = checker.file(&file, &given).pop().flatten();
        let wrong: Vec<Diagnostic> =
            checker.errors.into_iter().map(Diagnostic::from).filter(Diagnostic::is_error).collect();
        let sound = wrong.is_empty();
        let values: Vec<Span> = axes.clone().flat_map(|(axis, at)| [axis.path.span, axis.values[at].span]).collect();
        let is_value = |span: Span| values.iter().any(|value| (value.start..=value.end).contains(&span.start));
        let words: Vec<String> = settings.iter().map(|it| format!("{}={}", it.axis, it.value)).collect();
        self.cells.extend(wrong.into_iter().map(|wrong| match is_value(wrong.primary()) {
            true => wrong,
            false => wrong.label(matrix.name.span, format!("in the cell {}", words.join(", "))),
        }));
        let experiment = experiment.filter(|_| sound)?;
        Some(Cell { settings, experiment })
    }
}

/// Every way to take one value of each group, the last one turning fastest.
fn combinations(groups: &[Group]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for group in groups {
        if all.len().saturating_mul(group[0].values.len()) > MOST_CELLS {
            return Vec::new();
        }
        let longer = |start: Vec<usize>| {
            (0..group[0].values.len()).map(move |at| start.iter().copied().chain([at]).collect::<Vec<usize>>())
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// What the axes are called in a table: the last word, or the whole path where two end alike.
fn names(groups: &[Group]) -> Vec<String> {
    let paths: Vec<&Path> = groups.iter().flatten().map(|axis| axis.path).collect();
    let last = |path: &Path| path.text().rsplit('.').next().unwrap_or_default().to_owned();
    let alone = |path: &Path| paths.iter().filter(|other| last(other) == last(path)).count() == 1;
    paths.iter().map(|path| if alone(path) { last(path) } else { path.text() }).collect()
}

/// Whether an `except` means this axis: by its path, or by the end of it.
fn names_axis(axis: &Path, key: &Path) -> bool {
    let (axis, key) = (axis.text(), key.text());
    axis == key || axis.ends_with(&format!(".{key}")) || key.ends_with(&format!(".{axis}"))
}

fn same(checker: &mut Checker, sources: &SourceMap, a: &Expr, b: &Expr) -> bool {
    match (quietly(checker, a), quietly(checker, b)) {
        (Some(a), Some(b)) => a == b || (a.number().is_some() && a.number() == b.number()),
        _ => written(sources, a) == written(sources, b),
    }
}

/// The value of an expression, if it has one before the run.
fn quietly(checker: &mut Checker, expr: &Expr) -> Option<super::value::Value> {
    let before = checker.errors.len();
    let value = checker.value(expr);
    checker.errors.truncate(before);
    value
}

/// As the file has it, on one line.
fn written(sources: &SourceMap, expr: &Expr) -> String {
    let (source, span) = sources.locate(expr.span);
    let text = source.text.get(span.range()).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_matches('"').to_owned()
}

fn word(item: &Item) -> Option<ItemWord> {
    Some(match &item.kind {
        ItemKind::Param { .. } => ItemWord::Param,
        ItemKind::Declaration { kind, .. } => match kind {
            ast::Declared::Env => ItemWord::Env,
            ast::Declared::Dataset => ItemWord::Dataset,
            ast::Declared::Model => ItemWord::Model,
            ast::Declared::Critic => ItemWord::Critic,
            ast::Declared::Trainer => ItemWord::Trainer,
        },
        ItemKind::Experiment(_) => ItemWord::Experiment,
        _ => return None,
    })
}

/// The name of an item that an axis may begin with.
fn axis_name(item: &Item) -> Option<&str> {
    match &item.kind {
        ItemKind::Param { name, .. } | ItemKind::Declaration { name, .. } => Some(&name.value),
        ItemKind::Experiment(experiment) => Some(&experiment.name.value),
        _ => None,
    }
}

/// The block that the fields before the last lead to.
fn within<'b>(block: &'b mut Block, field: &str) -> Option<&'b mut Block> {
    let entry = block.entries.iter_mut().find(|entry| entry.key.text() == field)?;
    match &mut entry.kind {
        EntryKind::Block(block) => Some(block),
        EntryKind::Value(Expr { kind: ExprKind::Apply(Apply { block, .. }), .. }) => block.as_mut(),
        _ => None,
    }
}

/// Whether all fields but the last are there; whether the last is one, the check of the cell says.
fn leads(block: &Block, fields: &[Name]) -> bool {
    let mut block = block.clone();
    let mut here = &mut block;
    for field in &fields[..fields.len() - 1] {
        match within(here, &field.value) {
            Some(inner) => here = inner,
            None => return false,
        }
    }
    true
}

/// Writes a value where the fields lead.
fn set(block: &mut Block, path: &Path, fields: &[String], value: &Expr) {
    let Some((last, before)) = fields.split_last() else { return };
    let mut here = block;
    for field in before {
        match within(here, field) {
            Some(inner) => here = inner,
            None => return,
        }
    }
    let kind = EntryKind::Value(value.clone());
    match here.entries.iter_mut().find(|entry| entry.key.text() == *last) {
        Some(entry) => (entry.kind, entry.span) = (kind, value.span),
        None => {
            let name = path.parts.last().map_or(path.span, |part| part.span);
            let key = Path { span: name, parts: vec![Name::new(last.clone(), name)] };
            here.entries.push(Entry { span: value.span, key, kind });
        }
    }
}

impl Checker<'_> {
    /// What a matrix names is used.
    pub(super) fn uses_of(&mut self, matrix: &ast::Matrix) {
        let lists = matrix.axes.iter().flat_map(|part| match part {
            MatrixPart::Axis { path, values } => vec![(path, values)],
            MatrixPart::Zip(axes) => axes.iter().map(|(path, values)| (path, values)).collect(),
            MatrixPart::Except(_) => Vec::new(),
        });
        for (path, values) in lists {
            self.symbols.mark(&path.parts[0].value);
            let ExprKind::List(values) = &values.kind else { continue };
            for value in values {
                if let ExprKind::Apply(apply) = &value.kind {
                    self.symbols.mark(&apply.path.parts[0].value);
                }
            }
        }
    }
}

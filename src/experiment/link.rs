//! Turns a file and what it imports into one list of items, in which a name says whose it is.
//!
//! [`link`] is the entry. A name that an imported file declares is called by the way that leads to it from the file that is
//! run: `critics.grader` for what `import "lib/critics.agx" as critics` brings, `critics.base.grade` for what that file
//! imports in turn, and `FILE.NAME` where a file is only imported by its names. Files are read once, however many import
//! them, in the order in which they are found.
//!
//! # Invariants
//! No path leads out of the project: none is absolute, none climbs above the directory of the file that is run, and what
//! [`World::read`](super::World) gives is within it. Files, bytes and so the depth are bounded. Nothing here loops on a
//! cycle: it is one diagnostic.

use super::World;
use super::error::CheckError;
use super::link_error::{LinkError, Unreadable};
use crate::base::{Diagnostic, Span};
use crate::syntax::ast::{self, File, Imported, Item, ItemKind, ItemWord, Name};
use crate::syntax::walk::{Visitor, Walk};
use crate::syntax::{self, MAX_BYTES, Source, SourceMap};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Component, Path, PathBuf};

/// Files of one experiment, its own among them.
const MOST_FILES: usize = 64;

/// What the checker reads: every file's items, under names that are unique.
pub struct Linked {
    pub file: File,
    pub scopes: Vec<Scope>,
    /// Names that some `import` promised and no file declares, and the prefixes of files that could not be read.
    pub poisoned: Vec<String>,
    pub lost: BTreeSet<String>,
    /// Unstable features that the root file names.
    pub unstable: Vec<(String, Span)>,
    /// It names something else there, or its head cannot be read.
    pub any_feature: bool,
    pub found: Vec<Diagnostic>,
    pub sources: SourceMap,
}

/// What a file's own names mean.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Where its places begin.
    pub base: u32,
    /// Before the names that it declares; empty for the root.
    pub prefix: String,
    /// From the root's directory, with `/`.
    pub directory: PathBuf,
    /// Names that it imports, and what they are called here.
    pub imported: BTreeMap<String, Import>,
    /// Files that it imports under a name.
    pub aliases: BTreeMap<String, Import>,
}

#[derive(Clone, Debug)]
pub struct Import {
    pub called: String,
    pub span: Span,
    pub used: bool,
}

struct Module {
    /// From the root's directory: its identity.
    path: String,
    file: File,
    scope: Scope,
    imports: Vec<(usize, Span)>,
    lost: bool,
}

impl Module {
    /// `file` has its own places; they become those of the whole.
    fn new(path: String, prefix: String, base: u32, file: File) -> Self {
        let directory = Path::new(&path).parent().unwrap_or(Path::new("")).to_owned();
        let scope = Scope { base, prefix, directory, ..Scope::default() };
        Self { path, file, scope, imports: Vec::new(), lost: false }
    }
}

struct Linker<'w> {
    world: World<'w>,
    modules: Vec<Module>,
    sources: SourceMap,
    bytes: usize,
    full: bool,
    poisoned: Vec<String>,
    found: Vec<Diagnostic>,
}

/// Reads everything that `file`, the tree of `source`, imports.
pub fn link(source: Source, file: File, world: World) -> Linked {
    let path = Path::new(&source.name).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let bytes = source.text.len();
    let mut linker = Linker {
        world,
        modules: vec![Module::new(path, String::new(), 0, file)],
        sources: SourceMap::new(source),
        bytes,
        full: false,
        poisoned: Vec::new(),
        found: Vec::new(),
    };
    let mut waiting = VecDeque::from([0]);
    while let Some(importer) = waiting.pop_front() {
        linker.imports(importer, &mut waiting);
    }
    linker.cycles();
    for at in 0..linker.modules.len() {
        linker.names(at);
    }
    linker.finish()
}

impl Linker<'_> {
    fn error(&mut self, error: LinkError) {
        self.found.push(error.into());
    }

    /// Reads what one file imports; new files wait for their turn.
    fn imports(&mut self, importer: usize, waiting: &mut VecDeque<usize>) {
        let mut imports: Vec<(Name, Imported)> = Vec::new();
        for item in &self.modules[importer].file.items {
            if let ItemKind::Import { path, names } = &item.kind {
                imports.push((path.clone(), names.clone()));
            }
        }
        // Whoever has an alias keeps it as its prefix.
        imports.sort_by_key(|(_, names)| matches!(names, Imported::Names(_)));
        for (path, names) in imports {
            let target = self.target(importer, &path, &names, waiting);
            let first = self.modules[importer].imports.iter().find(|(known, _)| *known == target);
            let first = first.map(|(_, first)| *first);
            if let Some(first) = first {
                self.error(LinkError::Twice { span: path.span, path: path.value, first });
            } else {
                self.modules[importer].imports.push((target, path.span));
            }
            let prefix = self.modules[target].scope.prefix.clone();
            let told = first.is_some() || self.modules[target].lost || target == importer;
            match names {
                Imported::As(alias) => self.bind(importer, alias, prefix, true, told),
                Imported::Names(names) => names.into_iter().for_each(|name| {
                    let called = format!("{prefix}.{}", name.value);
                    self.bind(importer, name, called, false, told);
                }),
            }
        }
    }

    /// A name that an import gives to its file. `told`: something is wrong with the import, so nobody asks for its use.
    fn bind(&mut self, importer: usize, name: Name, called: String, alias: bool, told: bool) {
        let scope = &mut self.modules[importer].scope;
        let import = Import { called, span: name.span, used: told };
        if let Some(first) = scope.aliases.get(&name.value).or_else(|| scope.imported.get(&name.value)) {
            if told && first.called == import.called {
                return;
            }
            let (span, first) = (first.span.max(name.span), first.span.min(name.span));
            self.found.push(CheckError::Duplicate { span, name: name.value, first }.into());
        } else if alias {
            scope.aliases.insert(name.value, import);
        } else {
            scope.imported.insert(name.value, import);
        }
    }

    /// The module that an import leads to; one that cannot be read is lost, and told once.
    fn target(&mut self, importer: usize, path: &Name, names: &Imported, waiting: &mut VecDeque<usize>) -> usize {
        let inside = inside(&self.modules[importer].scope.directory, &path.value);
        let key = inside.clone().unwrap_or_else(|| path.value.clone());
        if let Some(known) = self.modules.iter().position(|module| module.path == key) {
            return known;
        }
        let prefix = self.prefix(importer, &key, names);
        let base = self.sources.next_base();
        let mut module = Module::new(key.clone(), prefix, base, File::default());
        match self.read(inside, path) {
            Ok(source) => {
                let (file, diagnostics) = syntax::parse_at(&source.text, base);
                self.found.extend(diagnostics);
                self.sources.add(source);
                module.file = file;
                waiting.push_back(self.modules.len());
            }
            Err(error) => {
                module.lost = true;
                if let Some(error) = error {
                    self.error(error);
                }
            }
        }
        self.modules.push(module);
        self.modules.len() - 1
    }

    /// `None` as an error: it has been told that there are too many.
    fn read(&mut self, inside: Option<String>, path: &Name) -> Result<Source, Option<LinkError>> {
        let span = path.span;
        let unreadable = |why| Some(LinkError::Unreadable { span, path: path.value.clone(), why });
        let outside = || Some(LinkError::Outside { span, path: path.value.clone() });
        let relative = inside.ok_or_else(outside)?;
        if !relative.ends_with(".agx") {
            return Err(Some(LinkError::NoAgx { span, path: path.value.clone() }));
        }
        if self.full {
            return Err(None);
        }
        let too_many = self.sources.imported().count() + 1 >= MOST_FILES;
        let bytes = if too_many {
            Vec::new()
        } else {
            match (self.world.read)(&self.world.root.join(&relative)) {
                Ok(bytes) => bytes,
                Err(Unreadable::Outside) => return Err(outside()),
                Err(Unreadable::Missing) => return Err(unreadable("there is no such file".to_owned())),
                Err(Unreadable::Other(why)) => return Err(unreadable(why)),
            }
        };
        self.bytes += bytes.len();
        if too_many || (bytes.len() <= MAX_BYTES && self.bytes > MAX_BYTES) {
            self.full = true;
            return Err(Some(LinkError::TooMany { span, files: MOST_FILES, mebibytes: MAX_BYTES >> 20 }));
        }
        let beside = Path::new(&self.sources.root().name).parent().unwrap_or(Path::new("")).join(&relative);
        match Source::from_bytes(beside.display().to_string(), bytes) {
            (source, None) => Ok(source),
            (_, Some(problem)) => Err(unreadable(problem.message)),
        }
    }

    fn prefix(&self, importer: usize, path: &str, names: &Imported) -> String {
        let own = match names {
            Imported::As(alias) => alias.value.clone(),
            Imported::Names(_) => {
                Path::new(path).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
            }
        };
        let above = &self.modules[importer].scope.prefix;
        let mut prefix = if above.is_empty() { own } else { format!("{above}.{own}") };
        while self.modules.iter().any(|module| module.scope.prefix == prefix) {
            prefix.push('_');
        }
        prefix
    }

    /// Walks the imports in depth; whoever leads back to a file on the way there closes a cycle.
    fn cycles(&mut self) {
        let mut done = vec![false; self.modules.len()];
        // The files on the way, each with how many of its imports have been followed.
        let mut way: Vec<(usize, usize)> = vec![(0, 0)];
        while let Some((at, next)) = way.last_mut() {
            let Some(&(target, span)) = self.modules[*at].imports.get(*next) else {
                done[*at] = true;
                way.pop();
                continue;
            };
            *next += 1;
            if let Some(from) = way.iter().position(|(on, _)| *on == target) {
                let path = |at: usize| self.modules[at].path.clone();
                let files = way[from..].iter().map(|(on, _)| path(*on)).chain([path(target)]).collect();
                self.error(LinkError::Cycle { span, files });
            } else if !done[target] {
                way.push((target, 0));
            }
        }
    }

    /// Gives a file's names their prefix, and the paths that go through its imports the names of what they lead to.
    fn names(&mut self, at: usize) {
        let mut file = std::mem::take(&mut self.modules[at].file);
        let mut scope = std::mem::take(&mut self.modules[at].scope);
        let mut declared: BTreeMap<String, Span> = BTreeMap::new();
        for name in file.items.iter_mut().flat_map(declared_names) {
            declared.entry(name.value.clone()).or_insert(name.span);
            if at > 0 {
                name.value = format!("{}.{}", scope.prefix, name.value);
            }
        }
        for (name, import) in scope.imported.iter().chain(&scope.aliases) {
            if let Some(other) = declared.get(name).copied() {
                let (span, first) = (import.span.max(other), import.span.min(other));
                self.found.push(CheckError::Duplicate { span, name: name.clone(), first }.into());
            }
        }
        let mut join = Join { aliases: std::mem::take(&mut scope.aliases) };
        file.walk(&mut join);
        scope.aliases = join.aliases;
        (self.modules[at].file, self.modules[at].scope) = (file, scope);
    }

    fn finish(mut self) -> Linked {
        self.promised();
        let mut whole = File { sound: true, ..File::default() };
        let (mut unstable, mut any_feature) = (Vec::new(), false);
        let (mut errors, mut found) = (Vec::new(), std::mem::take(&mut self.found));
        let (mut scopes, mut lost) = (Vec::new(), BTreeSet::new());
        for (at, Module { file, scope, lost: is_lost, .. }) in self.modules.into_iter().enumerate() {
            if is_lost {
                lost.insert(scope.prefix);
                whole.sound = false;
                continue;
            }
            let named = edition(&file, &mut errors);
            whole.cut |= file.cut;
            whole.sound &= file.sound;
            if at == 0 {
                // A file that imports itself is told; the names that it asks of itself are not looked for.
                lost.extend(scope.aliases.values().map(|import| import.called.clone()).filter(String::is_empty));
                (unstable, any_feature) = named;
                (whole.doc, whole.comments) = (file.doc, file.comments);
                whole.items.extend(file.items);
            } else {
                whole.items.extend(file.items.into_iter().filter_map(|item| imported(item, &mut found)));
            }
            scopes.push(scope);
        }
        found.extend(errors.into_iter().map(Diagnostic::from));
        Linked {
            file: whole,
            scopes,
            poisoned: self.poisoned,
            lost,
            unstable,
            any_feature,
            found,
            sources: self.sources,
        }
    }

    /// Whether every name that an import lists is declared in that file.
    fn promised(&mut self) {
        let mut missing = Vec::new();
        for module in &self.modules {
            for (name, import) in &module.scope.imported {
                let owner = import.called.rsplit_once('.').map_or("", |(owner, _)| owner);
                let Some(owner) = self.modules.iter().find(|module| module.scope.prefix == owner) else { continue };
                let mut items = owner.file.items.iter();
                let names: Vec<&str> = items.clone().flat_map(item_names).collect();
                if owner.lost || names.contains(&import.called.as_str()) {
                    continue;
                }
                self.poisoned.push(import.called.clone());
                if !owner.file.cut && !items.any(|item| matches!(item.kind, ItemKind::Broken { .. })) {
                    let own = owner.scope.prefix.len() + 1;
                    let known: Vec<String> = names.iter().map(|name| name[own..].to_owned()).collect();
                    let (span, name, path) = (import.span, name.clone(), owner.path.clone());
                    missing.push(LinkError::NotDeclared { span, name, path, known });
                }
            }
        }
        missing.into_iter().for_each(|error| self.error(error));
    }
}

/// Makes `critics.grader` one name, of the file that `critics` stands for.
struct Join {
    aliases: BTreeMap<String, Import>,
}

impl Visitor for Join {
    fn path(&mut self, path: &mut ast::Path) {
        let [first, second, ..] = path.parts.as_slice() else { return };
        let Some(import) = self.aliases.get_mut(&first.value) else { return };
        import.used = true;
        let joined = Name::new(format!("{}.{}", import.called, second.value), first.span.to(second.span));
        path.parts.splice(0..2, [joined]);
    }
}

/// The names that an item declares for its file.
fn declared_names(item: &mut Item) -> Vec<&mut Name> {
    match &mut item.kind {
        ItemKind::Edition { .. } | ItemKind::Import { .. } => Vec::new(),
        ItemKind::Param { name, .. } | ItemKind::Let { name, .. } | ItemKind::Declaration { name, .. } => vec![name],
        ItemKind::Prompt(prompt) => vec![&mut prompt.name],
        ItemKind::Rule(rule) => vec![&mut rule.name],
        ItemKind::Experiment(experiment) => vec![&mut experiment.name],
        ItemKind::Matrix(matrix) => vec![&mut matrix.name],
        ItemKind::Broken { declares, .. } => declares.iter_mut().map(|(_, name)| name).collect(),
    }
}

fn item_names(item: &Item) -> Vec<&str> {
    match &item.kind {
        ItemKind::Edition { .. } | ItemKind::Import { .. } => Vec::new(),
        ItemKind::Param { name, .. } | ItemKind::Let { name, .. } | ItemKind::Declaration { name, .. } => {
            vec![&name.value]
        }
        ItemKind::Prompt(prompt) => vec![&prompt.name.value],
        ItemKind::Rule(rule) => vec![&rule.name.value],
        ItemKind::Experiment(_) | ItemKind::Matrix(_) => Vec::new(),
        ItemKind::Broken { declares, .. } => declares.iter().map(|(_, name)| name.value.as_str()).collect(),
    }
}

/// What an imported file's item is for the whole: declarations alone.
fn imported(item: Item, found: &mut Vec<Diagnostic>) -> Option<Item> {
    let (span, what) = match &item.kind {
        ItemKind::Edition { .. } | ItemKind::Import { .. } => return None,
        ItemKind::Experiment(experiment) => (experiment.name.span, "experiment"),
        ItemKind::Matrix(matrix) => (matrix.name.span, "matrix"),
        _ => return Some(item),
    };
    found.push(LinkError::NoDeclaration { span, what }.into());
    None
}

/// The head of one file: the unstable features that it names, and whether it may name others.
fn edition(file: &File, errors: &mut Vec<CheckError>) -> (Vec<(String, Span)>, bool) {
    let (mut first, mut named, mut any) = (None, Vec::new(), false);
    for (place, item) in file.items.iter().enumerate() {
        let ItemKind::Edition { year, unstable } = &item.kind else { continue };
        match first {
            Some(first) => errors.push(CheckError::EditionTwice { span: item.span, first }),
            None if place > 0 => errors.push(CheckError::EditionLate { span: item.span }),
            None => {}
        }
        first.get_or_insert(item.span);
        if year.value != "2026" {
            errors.push(CheckError::UnknownEdition { span: year.span, edition: year.value.clone() });
        }
        for feature in unstable {
            if feature.value == "oracle" {
                named.push((feature.value.clone(), feature.span));
            } else {
                any = true;
                errors.push(CheckError::UnknownFeature { span: feature.span, feature: feature.value.clone() });
            }
        }
    }
    let broken = file.items.iter().any(|item| matches!(&item.kind, ItemKind::Broken { word: Some(ItemWord::Agx), .. }));
    if first.is_none() && !broken && !file.cut {
        let at = file.items.first().map_or(file.begin.start, |item| item.span.start);
        let begin = file.begin;
        errors.push(CheckError::NoEdition { span: Span { start: at, end: at }, begin });
    }
    (named, any || broken)
}

/// The path from the root's directory, if it stays within it.
fn inside(directory: &Path, path: &str) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    if path.contains('\\') {
        return None;
    }
    for part in directory.join(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?.to_owned()),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let from = |directory: &str, path: &str| inside(Path::new(directory), path);
        assert_eq!(from("", "lib/a.agx").as_deref(), Some("lib/a.agx"));
        assert_eq!(from("lib", "../b.agx").as_deref(), Some("b.agx"));
        assert_eq!(from("lib", "./b.agx").as_deref(), Some("lib/b.agx"));
        for (directory, path) in [("", "../a.agx"), ("lib", "../../a.agx"), ("", "/a.agx"), ("lib", "/lib/a.agx")] {
            assert_eq!(from(directory, path), None, "{path} from `{directory}`");
        }
    }
}
